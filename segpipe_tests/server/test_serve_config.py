"""What can be served, how it is set, and what is said where it cannot be."""

from pathlib import Path
from textwrap import dedent

import httpx
import pytest
import yaml

from segpipe.errors import ConfigError
from segpipe.refiners.build_refiner import build_refiner
from segpipe.refiners.loop.loop_settings import HqSamConfig
from segpipe.segmenters.build_segmenter import RecursiveConfig, Sam3Config
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.segmenters.sam3.local import LocalConfig
from segpipe.server.serve_config import ServeConfig, read_serve_config, with_options
from segpipe.server.server_settings import ServerSettings
from segpipe_tests.server.asking import ask, question
from segpipe_tests.server.running import running, running_process, wait_until

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def written(folder: Path, text: str) -> Path:
    file = folder / "service.yaml"
    file.write_text(dedent(text), encoding="utf-8")
    return file


def test_every_setting_can_be_set_by_a_file(tmp_path: Path) -> None:
    server = ServerSettings().model_dump(mode="json")
    changed = {
        name: value + 1 if type(value) in {int, float} else value for name, value in server.items()
    }
    changed |= {"token_env": "MY_TOKEN", "cors_origins": ["https://a.example"], "host": "::1"}
    changed |= {"everything": False, "max_upload_mb": 80, "max_photo_memory_mb": 900}
    assert all(changed[name] != server[name] for name in ServerSettings.model_fields)
    sam3 = {
        "kind": "sam3",
        "texts": ["ring"],
        "backend": {
            "kind": "local",
            "checkpoint": str(tmp_path),
            "device": "cpu",
            "dtype": "float32",
            "runtime": "sam3",
        },
    }
    file = tmp_path / "service.yaml"
    file.write_text(yaml.safe_dump({"server": changed, "segmenter": sam3}), encoding="utf-8")
    config = read_serve_config(file)
    assert config.server.model_dump(mode="json") == changed
    assert isinstance(config.segmenter, Sam3Config)
    assert isinstance(config.segmenter.backend, LocalConfig)
    assert config.segmenter.backend.runtime == "sam3"
    assert config.refiner.kind == "grabcut"


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("server: {ports: 1}", "server.ports", "no such setting"),
        ("server: {port: many}", "server.port", "integer"),
        ("models: sam3", "models", "no such setting"),
        ("segmenter: {kind: sam9}", "segmenter", "classical"),
        ("segmenter: {kind: recursive, max_passes: 0}", "segmenter.max_passes", "greater"),
        (
            "segmenter: {kind: sam3, backend: {kind: local, device: gpu}}",
            "segmenter.backend.device",
            "pattern",
        ),
        (
            "segmenter: {kind: recursive, inner: {kind: sam3}}",
            "segmenter.inner.backend",
            "missing",
        ),
        ("refiner: {kind: grabcut, iterations: 99}", "refiner.iterations", "20"),
        ("- 1", "--config", "no settings"),
        ("a: [", "--config", "cannot be read"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_file_and_field(
    tmp_path: Path, text: str, field: str, says: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_serve_config(file)
    assert caught.value.field == field
    assert str(file) in caught.value.message


def test_options_come_before_the_file(tmp_path: Path) -> None:
    config = read_serve_config(
        written(tmp_path, "{server: {port: 1, queue_size: 7}, segmenter: {kind: recursive}}")
    )
    assert with_options(config) == config
    assert isinstance(with_options(config, port=2).segmenter, RecursiveConfig)
    changed = with_options(config, model="classical", refiner="none", port=2, host=None)
    assert (changed.server.port, changed.server.queue_size) == (2, 7)
    assert (changed.segmenter.kind, changed.refiner.kind) == ("classical", "none")


def test_sam3_is_served_by_its_weights_alone(tmp_path: Path) -> None:
    folder = tmp_path / "weights@2026"
    folder.mkdir()
    for checkpoint in (str(folder), f"facebook/sam3@{COMMIT}"):
        config = with_options(ServeConfig(), model="sam3", checkpoint=checkpoint)
        assert isinstance(config.segmenter, Sam3Config)
        assert isinstance(config.segmenter.backend, LocalConfig)
        assert config.segmenter.backend.checkpoint == checkpoint.removesuffix(f"@{COMMIT}")
        assert not config.segmenter.cache.enabled
        assert config.server_settings.work_bytes_per_pixel == 0


@pytest.mark.parametrize(
    ("name", "checkpoint", "field"),
    [
        ("classical", "weights", "checkpoint"),
        ("sam3", None, "checkpoint"),
        ("sam3", "facebook/sam3", "checkpoint"),
        ("sam3", "facebook/sam3@", "checkpoint"),
        ("sam3", "no/such/folder", "checkpoint"),
        ("sam9", None, "model"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_said(
    name: str, checkpoint: str | None, field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        with_options(ServeConfig(), model=name, checkpoint=checkpoint)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("name", "checkpoint"),
    [
        ("grabcut", None),
        ("hq_sam", None),
        ("hq_sam", "/no/such/folder"),
        ("sam3_tracker", None),
        ("hq_sam", f"syscv-community/sam-hq-vit-large@{COMMIT}"),
    ],
)
def test_a_refiner_is_built_by_its_kind_and_loads_nothing_yet(
    name: str, checkpoint: str | None
) -> None:
    config = with_options(ServeConfig(), refiner=name, refiner_checkpoint=checkpoint)
    assert build_refiner(config.refiner).id == name


@pytest.mark.parametrize(
    ("name", "checkpoint", "field", "says"),
    [
        ("sharpest", None, "refiner", "one of none, grabcut, hq_sam"),
        ("", None, "refiner", "one of none, grabcut, hq_sam"),
        ("grabcut", "/weights", "refiner_checkpoint", "no weights"),
        ("none", "/weights", "refiner_checkpoint", "no weights"),
        ("hq_sam", "", "refiner_checkpoint", "neither a folder"),
        ("sam3_tracker", "", "refiner_checkpoint", "neither a folder"),
    ],
)
def test_what_cannot_be_a_refiner_is_said_at_once(
    name: str, checkpoint: str | None, field: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        with_options(ServeConfig(), refiner=name, refiner_checkpoint=checkpoint)
    assert caught.value.field == field


def test_weights_that_are_not_there_take_nothing_down() -> None:
    refiner = build_refiner(HqSamConfig(checkpoint="/no/such/folder"))
    with running(ClassicalSegmenter, refiner=refiner) as service:
        service.wait_for_model()
        with service.client() as client:
            # torch is imported for it, which takes long on a machine that is busy.
            wait_until(
                lambda: "could not be loaded" in ask(client)["segments"][0]["reason"],
                patience_s=60,
            )
        health = service.health()
    assert (health["refiner"], health["refiner_loaded"]) == ("hq_sam", False)


def test_the_command_serves_what_a_file_says(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        server: {max_points: 2}
        segmenter: {kind: tiled, inner: {kind: recursive, max_passes: 3}, min_photo_px: 9}
        refiner: {kind: grabcut, iterations: 1}
        """,
    )
    with running_process(tmp_path, "--config", str(file)) as service:
        wait_until(lambda: httpx.get(f"{service.url}/health").json()["refiner_loaded"])
        health = httpx.get(f"{service.url}/health").json()
        answer = httpx.post(f"{service.url}/v1/segment", json=question(), timeout=10).json()
    assert health["model"].startswith("tiled(recursive(classical))@")
    assert health["refiner"] == "grabcut"
    assert len(answer["segments"]) == 3

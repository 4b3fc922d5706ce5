"""The refiners that the service can hold, and how one is chosen."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from segpipe.errors import ConfigError
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.server.refiners import build
from segpipe_tests.server.running import running, wait_until
from segpipe_tests.server.v1.asking import ask

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_none_is_no_refiner() -> None:
    assert build("none") is None


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
    refiner = build(name, checkpoint)
    assert refiner is not None
    assert refiner.id == name


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
        build(name, checkpoint)
    assert caught.value.field == field


def test_a_folder_may_have_an_at_sign_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "weights@2026"
    folder.mkdir()
    assert build("hq_sam", str(folder)) is not None


def test_weights_that_are_not_there_take_nothing_down() -> None:
    with running(ClassicalSegmenter, refiner=build("hq_sam", "/no/such/folder")) as service:
        wait_until(lambda: service.health()["model_loaded"] is True)
        with service.client() as client:
            wait_until(lambda: "could not be loaded" in ask(client)["segments"][0]["reason"])
        health = service.health()
    assert (health["refiner"], health["refiner_loaded"]) == ("hq_sam", False)


def test_the_command_serves_with_a_refiner(tmp_path: Path) -> None:
    program = "from segpipe.cli.app import main; main()"
    command = [sys.executable, "-c", program, "serve", "--port", "0"]
    log = tmp_path / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors, cwd=tmp_path, env=dict(os.environ))
    try:
        wait_until(lambda: "running on http" in log.read_text())
        url = log.read_text().partition("running on ")[2].split()[0]
        wait_until(lambda: httpx.get(f"{url}/health").json()["refiner_loaded"])
        assert httpx.get(f"{url}/health").json()["refiner"] == "grabcut"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in {0, -signal.SIGTERM}

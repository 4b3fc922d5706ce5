"""What is said of weights that cannot be loaded."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from segpipe.errors import CheckpointError, ConfigError
from segpipe.segmenters.sam3.local import LocalConfig, load_model
from segpipe_tests.segmenters.sam3.local.tiny import change_config


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint that may be damaged."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no model.safetensors; copy the whole checkpoint"),
        ("tokenizer.json", "no tokenizer.json"),
    ],
)
def test_a_missing_file_is_named(folder: Path, file: str, words: str) -> None:
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match=words):
        load_model(LocalConfig(checkpoint=str(folder)))


def test_pickles_are_refused_by_name_and_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"whatever this runs")
    with pytest.raises(CheckpointError, match=r"pickles \(pytorch_model.bin\), which may run code"):
        load_model(LocalConfig(checkpoint=str(folder)))


def test_damaged_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:10_000])
    with pytest.raises(CheckpointError, match=r"cannot be loaded.*copy it again"):
        load_model(LocalConfig(checkpoint=str(folder)))


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_tokenizer_is_refused(folder: Path, file: str) -> None:
    (folder / file).write_text("{")
    with pytest.raises(CheckpointError, match=r"cannot be loaded.*copy it again"):
        load_model(LocalConfig(checkpoint=str(folder)))


@pytest.mark.parametrize("part", ["detector_config", "tracker_config"])
def test_a_config_without_a_part_is_refused(folder: Path, part: str) -> None:
    change_config(folder, **{part: None})
    with pytest.raises(CheckpointError, match=r"cannot be loaded"):
        load_model(LocalConfig(checkpoint=str(folder)))


def test_loading_draws_no_progress_bars(
    tiny_checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(load_model(LocalConfig(checkpoint=str(tiny_checkpoint), device="cpu")).aclose())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(
    tiny_checkpoint: Path, missing: str
) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from segpipe.errors import CheckpointError\n"
        "from segpipe.segmenters.sam3.local import LocalConfig, load_model\n"
        "try:\n"
        f"    load_model(LocalConfig(checkpoint={str(tiny_checkpoint)!r}))\n"
        "except CheckpointError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert missing in done.stdout
    assert "install segpipe[local]" in done.stdout


def test_a_checkpoint_without_a_tracker_is_refused_rather_than_made_up(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    detector = {name: value for name, value in weights.items() if name.startswith("detector")}
    save_file(detector, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks .* weights of Sam3TrackerModel"):
        load_model(LocalConfig(checkpoint=str(folder)))


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["detector_config"]["detr_decoder_config"]["num_queries"] += 1
    change_config(folder, **config)
    with pytest.raises(CheckpointError, match=r"cannot be used|cannot be loaded|lacks"):
        load_model(LocalConfig(checkpoint=str(folder)))


def test_code_in_a_checkpoint_is_not_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Model: ...\n")
    change_config(folder, auto_map={"AutoModel": "evil.Model", "AutoConfig": "evil.Model"})
    model = load_model(LocalConfig(checkpoint=str(folder), device="cpu"))
    assert model.device == "cpu"
    assert not trace.exists()
    asyncio.run(model.aclose())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused_by_field(tiny_checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match=r"sees 0 CUDA devices here") as caught:
        load_model(LocalConfig(checkpoint=str(tiny_checkpoint), device="cuda"))
    assert caught.value.field == "device"

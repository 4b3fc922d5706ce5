"""``segpipe config`` and ``segpipe doctor``."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from segpipe.cli.run_config import read_run_config
from segpipe.cli.run_deals import check_config
from segpipe.pipeline.options import RunOptions
from segpipe.prompt import Mode
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.deals import make_deal


def test_the_written_settings_are_all_defaults_and_accepted_as_they_are(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    make_deal(root, "lot", (1,))
    cli("prompt", "lot", "a", "--mode", "inside_box", "--box", "4,20,40,60")
    path = tmp_path / "run.yaml"
    assert cli("config", "--out", str(path)).exit_code == 0
    for mode in Mode:
        assert cli("run", "--mode", mode.value).exit_code == 0
        again = cli("run", "--mode", mode.value, "--config", str(path))
        assert again.exit_code == 0, again.output
        assert "up to date" in again.stdout
    written = yaml.safe_load(path.read_text())
    for mode in Mode:
        assert RunOptions(**written["ops"][mode.value]["config"]) == RunOptions()
    refused = cli("config", "--out", str(path))
    assert refused.exit_code == 1
    assert "--overwrite" in refused.stderr
    assert cli("config").stdout == path.read_text()


def chosen(text: str, kind: str) -> str:
    """The settings with another segmenter or refiner chosen: its lines uncommented."""
    lines, taken = [], False
    for line in text.splitlines():
        indent = line.find("# ")
        is_start = line.strip() == f"# {kind}:"
        if is_start:
            taken, depth = True, indent
        elif taken and not (line[depth:].startswith("#   ")):
            taken = False
        lines.append(line[:depth] + line[depth + 2 :] if taken else line)
    return "\n".join(lines)


@pytest.mark.parametrize("kind", ["sam3", "recursive", "tiled"])
def test_what_is_commented_out_is_accepted_when_it_is_chosen(
    cli: Cli, root: Path, tmp_path: Path, kind: str
) -> None:
    text = chosen(cli("config").stdout, kind)
    config: dict[str, Any] = yaml.safe_load(text)
    backend = config["resources"]["segmenter"]["config"]["backend"]
    del backend["saved"]
    assert set(backend) == {kind}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    settings = check_config(str(root), Mode.FIND_ALL, read_run_config(path)).settings
    assert getattr(settings.segmenter, "kind", "") == kind


def test_every_setting_stands_under_a_text(cli: Cli) -> None:
    text = cli("config").stdout
    for setting in ("iou_threshold", "jpeg_quality", "max_paid_calls", "grabcut"):
        line = next(i for i, each in enumerate(text.splitlines()) if f"{setting}:" in each)
        assert text.splitlines()[line - 1].strip().startswith("#")


def parts(cli: Cli, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    result = cli("doctor", "--json", *options)
    return result.exit_code, {part["part"]: part for part in json.loads(result.stdout)["parts"]}


def test_the_doctor_finds_nothing_wrong_with_a_fresh_root(cli: Cli, root: Path) -> None:
    make_deal(root, "lot", (1,))
    cli("run")
    code, told = parts(cli)
    assert code == 0
    for part in ("data root", "permissions", "disk", "database", "settings", "gpu", "keys"):
        assert told[part]["state"] in {"ok", "note"}
    assert {"port 3000", "port 8000", "segmenter classical", "refiner grabcut"} <= set(told)


def test_the_doctor_says_what_is_set_up_and_does_not_work_and_what_to_do(
    cli: Cli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_deal(root, "lot", (1,))
    cli("run")
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    database = root / "dagster" / "history" / "runs.db"
    database.write_bytes(b"no database" * 1000)
    config = tmp_path / "run.yaml"
    backends = {
        "segmind: {}": "SEGMIND_API_KEY",
        "internal: {url: 'http://127.0.0.1:9'}": "does not answer",
        "local: {checkpoint: /nowhere}": "/nowhere",
    }
    for backend, said in backends.items():
        segmenter = f"{{config: {{backend: {{sam3: {{backend: {{{backend}}}}}}}}}}}"
        config.write_text(f"resources: {{segmenter: {segmenter}}}")
        code, told = parts(cli, "--config", str(config))
        assert code == 1
        assert told["segmenter sam3"]["state"] == "fault"
        assert said in told["segmenter sam3"]["what"]
        assert told["segmenter sam3"]["advice"]
        assert told["database"]["state"] == "fault"
    config.write_text("ops: {find_all: {config: {crops: {fornat: png}}}}")
    assert parts(cli, "--config", str(config))[1]["settings"]["state"] == "fault"

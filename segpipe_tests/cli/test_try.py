"""``segpipe try``: settings on one photo, with a picture, and nothing else written."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe_tests.cli.conftest import Cli


def test_settings_are_tried_and_compared_and_nothing_but_the_drawing_is_written(
    cli: Cli, root: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alone = cli("try", str(photos[0]))
    assert alone.exit_code == 0, alone.output
    assert "the defaults\t2\t2\t0" in alone.stdout
    drawing = Path("a.trial.jpg")
    with Image.open(photos[0]) as before, Image.open(drawing) as after:
        original = np.asarray(before.convert("RGB"), np.int16)
        drawn = np.asarray(after, np.int16)
    assert drawn.shape == original.shape
    assert np.abs(drawn - original).max() > 100

    other = tmp_path / "try.yaml"
    other.write_text("segmenter: {kind: recursive}\n")
    out = tmp_path / "both.jpg"
    both = cli("try", str(photos[0]), "--compare", str(other), "--out", str(out), "--json")
    told = json.loads(both.stdout)
    assert [trial["settings"] for trial in told["trials"]] == ["the defaults", "try.yaml"]
    assert [len(trial["kept"]) for trial in told["trials"]] == [2, 2]
    recursive = told["trials"][1]
    assert recursive["segmenter"] == "recursive(classical)"
    assert {each["detection"] for each in recursive["rejected"]} == (
        set(range(recursive["found"])) - set(recursive["kept"])
    )
    with Image.open(out) as picture:
        assert picture.width > 2 * original.shape[1]
    assert not root.exists()


def test_the_saved_settings_are_tried_where_none_are_named(
    cli: Cli, photos: list[Path], tmp_path: Path
) -> None:
    cli("settings", "set", "segmenter", "recursive")
    out = ("--out", str(tmp_path / "a.jpg"))
    assert "generation 1" in cli("try", str(photos[0]), *out).stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dedup: {iou_threshold: 4}", "dedup.iou_threshold"),
        ("- a", "holds no settings"),
        ("segmenter: {kind: sam3, backend: {kind: segmind}}", "SEGMIND_API_KEY is not set"),
    ],
)
def test_what_cannot_be_tried_is_told(
    cli: Cli,
    photos: list[Path],
    tmp_path: Path,
    text: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    path = tmp_path / "try.yaml"
    path.write_text(text)
    out = tmp_path / "out.jpg"
    result = cli("try", str(photos[0]), "--settings", str(path), "--out", str(out))
    assert result.exit_code == 1
    assert says in result.stderr
    assert not out.exists()

"""A data root of release 0.1 is read as it was: by people, by exports, by plain pyarrow."""

import json
from pathlib import Path
from typing import Any

import pytest

from segpipe_tests.compatibility.doors import check_pin, segpipe, words
from segpipe_tests.compatibility.files import RUNS, tables, tree

DEALS = ("bad", "broke", "lot", "paid", "served")
COMMANDS = [
    *(["show", deal, "--mode", mode] for deal in DEALS for mode in ("find_all", "inside_box")),
    *([command, deal] for deal in DEALS for command in ("versions", "prompts", "verify")),
    ["costs"],
    ["costs", "paid"],
    ["verify"],
]
EXPORTS = {
    "coco.json": ["coco"],
    "coco": ["coco", "--masks", "polygons"],
    "coco-boxes": ["coco", "--mode", "inside_box", "--images", "none"],
    "yolo": ["yolo-seg"],
    "labelme": ["labelme"],
    "labelme-boxes": ["labelme", "--mode", "inside_box", "--images", "link"],
}

EMPTY_BOXES = {"lot": 1}


def test_every_command_that_reads_says_what_it_said(untouched: Path) -> None:
    said: dict[str, Any] = {}
    for command in COMMANDS:
        result = segpipe(untouched, *command)
        said[" ".join(command)] = {
            "exit_code": result.exit_code,
            "stdout": words(result.stdout.replace(str(untouched), "ROOT")),
            "stderr": words(result.stderr.replace(str(untouched), "ROOT")),
        }
    check_pin("commands", said)


def with_empty_boxes(lineage: str) -> str:
    """The lineage of an export as release 0.1 counted: with boxes in which nothing was found."""
    document = json.loads(lineage)
    for deal, empty in EMPTY_BOXES.items():
        document["deals"][deal]["items"] += empty
    return json.dumps(document, ensure_ascii=False, indent=1)


@pytest.mark.parametrize("name", EXPORTS)
def test_exports_hold_what_they_held(untouched: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    result = segpipe(untouched, "export", "--out", str(target), "--format", *EXPORTS[name])
    assert result.exit_code == 0, result.output
    written = tree(target) if target.is_dir() else {name: target.read_bytes()}
    photos = {path.name: path.read_bytes() for path in untouched.glob("deals/*/images/*")}
    texts = {}
    for path, data in written.items():
        photo = [own for own in photos if path.endswith(own)]
        if photo:
            assert data == photos[photo[0]]
            texts[path] = "the photo"
        else:
            texts[path] = data.decode()
    if name.endswith("-boxes"):
        texts["export.json"] = with_empty_boxes(texts["export.json"])
    check_pin(f"export-{name.removesuffix('.json')}{'-file' * name.endswith('.json')}", texts)


@pytest.mark.parametrize(("deal", "mode"), RUNS)
def test_tables_are_read_by_pyarrow_alone(untouched: Path, deal: str, mode: str) -> None:
    found = tables(untouched, deal, mode)
    for one in found.values():
        assert one["schema"][0].startswith("deal: ")
        assert {row["deal"] for row in one["rows"]} <= {deal}
    check_pin(f"tables-{deal}-{mode}", found)


def test_prompts_of_old_rows_are_json(untouched: Path) -> None:
    for deal, mode in RUNS:
        for row in tables(untouched, deal, mode)["images.parquet"]["rows"]:
            assert json.loads(row["prompt"])["mode"] == mode

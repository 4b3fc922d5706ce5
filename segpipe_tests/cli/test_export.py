"""segpipe export as an operator uses it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from segpipe.cli.app import app
from segpipe.flow.deal import DealTask, process_deal
from segpipe.store.store import DealStore
from segpipe.vision.image import decode_image
from segpipe_tests.deals import make_tools, put_photos, run_deal
from segpipe_tests.flow.exports import tree
from segpipe_tests.goods import FixedSegmenter, photo_of
from segpipe_tests.vision.photos import encode

Export = Callable[..., Result]


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Export:
    monkeypatch.setenv("SEGPIPE_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    run_deal(tmp_path / "data", "lot")
    run_deal(tmp_path / "data", "sale")

    def call(file_format: str, out: str, *arguments: str) -> Result:
        given = ["export", "--format", file_format, "--out", str(tmp_path / out), *arguments]
        return CliRunner().invoke(app, given)

    return call


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(app, ["export", "--help"])
    assert result.exit_code == 0
    assert "Example: segpipe export --format coco" in " ".join(result.output.split())


@pytest.mark.parametrize("arguments", [[], ["--deals", "all"]])
def test_all_deals_become_one_file(export: Export, tmp_path: Path, arguments: list[str]) -> None:
    result = export("coco", "goods.json", *arguments)
    assert result.exit_code == 0, result.output
    assert "2 deals, 4 photos, 16 items are in" in result.stdout
    images = json.loads((tmp_path / "goods.json").read_text())["images"]
    assert [image["deal"] for image in images] == ["lot", "lot", "sale", "sale"]


@pytest.mark.parametrize("file_format", ["coco", "yolo-seg", "labelme"])
def test_a_folder_has_copies_of_the_photos_by_default(
    export: Export, tmp_path: Path, file_format: str
) -> None:
    assert export(file_format, "goods", "--deals", "sale").exit_code == 0
    photos = [path for path in (tmp_path / "goods").rglob("*.png") if not path.is_symlink()]
    assert len(photos) == 2
    assert export(file_format, "bare", "--images", "none").exit_code == 0
    assert not [name for name in tree(tmp_path / "bare") if name.endswith(".png")]


def test_polygons_are_written_when_asked_for(export: Export, tmp_path: Path) -> None:
    assert export("coco", "goods.json", "--masks", "polygons").exit_code == 0
    annotations = json.loads((tmp_path / "goods.json").read_text())["annotations"]
    kinds = [type(annotation["segmentation"]) for annotation in annotations[:4]]
    assert kinds == [list, dict, list, list]  # the ring has a hole


def test_a_deal_without_results_is_a_fault_only_when_it_was_named(
    export: Export, tmp_path: Path
) -> None:
    put_photos(tmp_path / "data", "new", {"a.png": photo_of(True)})

    everything = export("coco", "all.json")
    assert everything.exit_code == 0
    assert "left out: NotPromotedError: deal 'new'" in everything.stderr
    assert "left out: 1" in everything.stdout

    named = export("coco", "named.json", "--deals", "new", "--deals", "lot")
    assert named.exit_code == 1
    assert (tmp_path / "named.json").is_file()


def test_a_deal_that_cannot_be_read_is_always_a_fault(export: Export, tmp_path: Path) -> None:
    put_photos(tmp_path / "data", "lot", {"b.png": photo_of(True, tint=99)})
    result = export("yolo-seg", "goods")
    assert result.exit_code == 1
    assert "StaleUpstreamError: deal 'lot', image 'b.png'" in result.stderr
    assert "1 deal, 2 photos" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--deals", "tpyo"], "DealNotFoundError"),
        (["--images", "copy"], "no place for photos"),
        (["--mode", "inside_box"], "none of the 2 deals"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    export: Export, tmp_path: Path, arguments: list[str], told: str
) -> None:
    result = export("coco", "goods.json", *arguments)
    assert result.exit_code == 1
    assert told in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "goods.json").exists()


def test_an_export_is_replaced_only_when_asked_for(export: Export, tmp_path: Path) -> None:
    assert export("labelme", "goods", "--deals", "lot").exit_code == 0
    again = export("labelme", "goods", "--deals", "sale")
    assert again.exit_code == 1
    assert "not empty" in again.stderr
    assert (tmp_path / "goods/lot").exists()
    assert export("labelme", "goods", "--deals", "sale", "--overwrite").exit_code == 0
    assert not (tmp_path / "goods/lot").exists()


def test_cutouts_are_plain_pictures_beside_a_table(export: Export, tmp_path: Path) -> None:
    result = export("CUTOUTS", "pictures", "--deals", "sale")
    assert result.exit_code == 0, result.output
    assert "1 deal, 2 photos, 8 items are in" in result.stdout
    files = tree(tmp_path / "pictures")
    assert {"cutouts.csv", "sale/contact_sheet.jpg", "sale/a-1-coin.png"} <= set(files)
    assert export("cutouts", "more", "--images", "copy").exit_code == 1


def test_photos_that_are_converted_are_named(export: Export, tmp_path: Path) -> None:
    picture = decode_image(photo_of(True)).rgb
    put_photos(tmp_path / "data", "film", {"c.gif": encode(picture, "GIF")})
    task = DealTask("film", "run-1")
    asyncio.run(process_deal(DealStore(tmp_path / "data"), task, make_tools(FixedSegmenter())))
    result = export("coco", "goods", "--deals", "film")
    assert result.exit_code == 0, result.output
    assert "1 photo (c.gif)" in result.stderr
    assert "images/film/c.jpg" in tree(tmp_path / "goods")


@pytest.mark.parametrize("arguments", [("--images", "none"), ()])
def test_a_changed_photo_is_a_fault_even_if_photos_stay(
    export: Export, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "data/deals/lot/images/b.png").unlink()
    out = "goods" if arguments else "goods.json"
    result = export("coco", out, *arguments)
    assert result.exit_code == 1
    assert "deal 'lot', image 'b.png'" in result.stderr

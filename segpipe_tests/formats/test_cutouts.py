"""The pictures of items, as somebody who wants just these finds them."""

import asyncio
import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from segpipe.detection import SegmentationResult, Thresholds
from segpipe.errors import ConfigError, InvalidIdError, NotPromotedError, StaleUpstreamError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.export_task import Images
from segpipe.formats.cutouts import TABLE_FILE
from segpipe.prompt import Mode, Prompt
from segpipe.store.store import DealStore
from segpipe.vision.image import RgbImage
from segpipe_tests.deals import make_tools, put_photos, run_deal
from segpipe_tests.drawing import EMPTY, FIRST, boxed, draw
from segpipe_tests.flow.exports import export, tree
from segpipe_tests.goods import DISC, BrightSegmenter, FixedSegmenter, goods_photo, photo_of

ITEMS = ["1-coin", "2-ring", "3-earring", "4-item"]


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    run_deal(tmp_path / "data", "lot", ("a.png", "b c.png", "empty.png"))
    return run_deal(tmp_path / "data", "שלום", ("a.png",))


def rows(folder: Path) -> list[dict[str, str]]:
    """The table, as a spreadsheet that knows the mark at its start reads it."""
    with (folder / TABLE_FILE).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_each_item_is_a_picture_with_the_name_of_its_photo_and_label(
    store: DealStore, tmp_path: Path
) -> None:
    report = export(store, "cutouts", tmp_path / "out")
    assert tree(tmp_path / "out") == sorted(
        [
            TABLE_FILE,
            "export.json",
            "lot/contact_sheet.jpg",
            *(f"lot/{photo}-{item}.png" for photo in ("a", "b c") for item in ITEMS),
            "שלום/contact_sheet.jpg",
            *(f"שלום/a-{item}.png" for item in ITEMS),
        ]
    )
    assert report.deals["lot"].items == 8
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot
    crop = snapshot.read("crops", "crops/a/0000.png")
    assert (tmp_path / "out/lot/a-1-coin.png").read_bytes() == crop
    sheet = snapshot.read("deal_report", "contact_sheet.jpg")
    assert (tmp_path / "out/lot/contact_sheet.jpg").read_bytes() == sheet


def test_the_table_says_what_each_picture_is(store: DealStore, tmp_path: Path) -> None:
    export(store, "cutouts", tmp_path / "out")
    table = rows(tmp_path / "out")
    assert [row["file"] for row in table] == [
        *(f"lot/{photo}-{item}.png" for photo in ("a", "b c") for item in ITEMS),
        *(f"שלום/a-{item}.png" for item in ITEMS),
    ]
    first = table[0]
    assert DISC.box
    assert tuple(float(first[name]) for name in ("x1", "y1", "x2", "y2")) == DISC.box
    assert (first["deal"], first["photo"], first["label"]) == ("lot", "a.png", "coin")
    assert (first["score"], first["number"], first["detection"]) == ("0.9", "1", "0")


def test_labels_of_any_kind_make_names_that_every_system_takes(tmp_path: Path) -> None:
    data = {"A.png": photo_of(True), "a.png": photo_of(True, 1), 'what? "x".png': photo_of(True, 2)}
    put_photos(tmp_path / "data", "lot", data)
    store = DealStore(tmp_path / "data")
    labels = ["../../etc/passwd", "gold: 18/24 ct", "=1+1\n", "טבעת" * 30, "...", ""]

    class Labelled(FixedSegmenter):
        async def segment(
            self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
        ) -> SegmentationResult:
            result = await super().segment(image, prompt)
            found = [replace(result.detections[0], label=label) for label in labels]
            return replace(result, detections=tuple(found))

    asyncio.run(process_deal(store, DealTask("lot", "run-1"), make_tools(Labelled())))
    export(store, "cutouts", tmp_path / "out")
    names = [Path(row["file"]) for row in rows(tmp_path / "out")]
    assert all(name.parts[0] == "lot" and len(name.parts) == 2 for name in names)
    assert len({str(name).casefold() for name in names}) == len(names)
    for name in names:
        assert (tmp_path / "out" / name).is_file()
        assert not set(name.name) & set('<>:"/\\|?*\n')
        assert len(name.name.encode()) <= 255


def test_names_follow_a_template(store: DealStore, tmp_path: Path) -> None:
    export(store, "cutouts", tmp_path / "out", file_names="{label}/{deal}_{image}_{n:03}")
    assert [row["file"] for row in rows(tmp_path / "out")][:4] == [
        "lot/coin/lot_a_001.png",
        "lot/ring/lot_a_002.png",
        "lot/earring/lot_a_003.png",
        "lot/item/lot_a_004.png",
    ]
    assert (tmp_path / "out/שלום/coin/שלום_a_001.png").is_file()


@pytest.mark.parametrize("name", ["{image}/../{n}", "{image}{n}", "{photo}_{n}", "/{image}_{n}"])
def test_a_template_that_cannot_be_is_refused_before_anything_is_written(
    store: DealStore, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match="names no files"):
        export(store, "cutouts", tmp_path / "out", file_names=name)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="no file of each item"):
        export(store, "coco", tmp_path / "out", file_names="{image}_{n}")


def test_boxes_in_which_nothing_was_found_have_no_picture_and_do_not_count(
    tmp_path: Path,
) -> None:
    put_photos(tmp_path / "data", "lot", {"a.png": goods_photo(3)})
    store = DealStore(tmp_path / "data")
    draw(store, "a", boxed("none", EMPTY), boxed("one", FIRST))
    task = DealTask("lot", "run-1", mode=Mode.INSIDE_BOX)
    asyncio.run(process_deal(store, task, make_tools(BrightSegmenter())))
    report = export(store, "cutouts", tmp_path / "out", mode=Mode.INSIDE_BOX)
    assert report.deals["lot"].items == len(rows(tmp_path / "out")) == 1
    with Image.open(io.BytesIO((tmp_path / "out/lot/a-1-item.png").read_bytes())) as picture:
        assert picture.size == (12, 16)


def test_a_deal_without_current_cutouts_is_left_out_by_name(
    store: DealStore, tmp_path: Path
) -> None:
    put_photos(tmp_path / "data", "new", {"a.png": photo_of(True)})
    stages = frozenset({"segmentation", "dedup", "refinement"})
    tools = make_tools(FixedSegmenter())
    for deal in ("new", "lot"):
        asyncio.run(process_deal(store, DealTask(deal, "run-2", stages=stages), tools))
    report = export(store, "cutouts", tmp_path / "out")
    assert set(report.deals) == {"שלום"}
    assert isinstance(report.left_out["new"], NotPromotedError)
    assert "include review, crops in the run" in str(report.left_out["lot"])
    assert isinstance(report.left_out["lot"], StaleUpstreamError)


def test_a_deal_with_the_name_of_the_table_is_left_out_by_name(
    store: DealStore, tmp_path: Path
) -> None:
    run_deal(tmp_path / "data", TABLE_FILE)
    report = export(store, "cutouts", tmp_path / "out")
    assert isinstance(report.left_out[TABLE_FILE], InvalidIdError)
    assert rows(tmp_path / "out")


@pytest.mark.parametrize("images", [Images.COPY, Images.LINK])
def test_whole_photos_have_no_place(store: DealStore, tmp_path: Path, images: Images) -> None:
    with pytest.raises(ConfigError, match="take none"):
        export(store, "cutouts", tmp_path / "out", images=images)

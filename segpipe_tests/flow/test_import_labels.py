"""Labels become prompts, and what was exported comes back as it was."""

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe.detection import SegmentationResult, Thresholds
from segpipe.errors import ConfigError, PromptError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.export_task import Images
from segpipe.flow.import_labels import ImportTask, import_labels
from segpipe.formats.label_format import CocoMasks
from segpipe.prompt import Mode, Prompt
from segpipe.store.prompts import ImagePrompts, PromptType
from segpipe.store.store import DealStore
from segpipe.vision.image import RgbImage
from segpipe_tests.deals import make_tools, put_photos
from segpipe_tests.drawing import EMPTY, boxed, draw
from segpipe_tests.flow.exports import export
from segpipe_tests.formats.label_files import coco_file, text_file
from segpipe_tests.goods import DETECTIONS, FixedSegmenter, photo_of

LONG = "ל" * 60
DEALS = {
    "lot": ("a.png", "b.png", "empty.png", "a__b.png"),
    "lot__a": ("a.png", "b.png"),
    "sale": ("b.png", "a.png"),
    LONG: (f"{LONG}x.png", f"{LONG}y.png", "a.png"),
}
CLASSES = ("coin", None, "ear ring", "טבעת")


class SameItems(FixedSegmenter):
    """Finds items of every kind; in drawn boxes one after the other."""

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        result = await super().segment(image, prompt)
        if prompt.mode is Mode.FIND_ALL:
            return result
        one_each = tuple(replace(found, label=None) for found in DETECTIONS[: len(prompt.boxes)])
        return replace(result, detections=one_each)


def task(labels: Path, file_format: str, mode: Mode = Mode.INSIDE_BOX) -> ImportTask:
    return ImportTask(labels, file_format, mode, by="ann")


def deals_with_results(root: Path, mode: Mode) -> DealStore:
    """Deals of several photos of the same names, with results of a mode."""
    store = DealStore(root)
    for deal, names in DEALS.items():
        photos = {
            name: photo_of(not name.startswith("empty"), tint) for tint, name in enumerate(names)
        }
        put_photos(root, deal, photos)
        for photo in store.photos(deal):
            boxes = (each.box for each in DETECTIONS[:3])
            drawn = [
                boxed(f"b{number}", box).model_copy(update={"category": name})
                for number, (box, name) in enumerate(zip(boxes, CLASSES, strict=False))
            ]
            if photo.image != "empty":
                draw(store, photo.image, *drawn, boxed("empty", EMPTY), deal=deal)
        run = DealTask(deal, "run-1", mode=mode)
        asyncio.run(process_deal(store, run, make_tools(SameItems())))
    return store


def expected(mode: Mode, image: str) -> list[tuple[tuple[float, ...], str]]:
    if image == "empty":
        return []
    if mode is Mode.INSIDE_BOX:
        found = zip((each.box for each in DETECTIONS[:3]), CLASSES, strict=False)
        return [(tuple(box), name or "item") for box, name in found]
    return [(tuple(each.box), each.label or "item") for each in DETECTIONS]


EXPORTS = [
    ("coco", "goods.json", CocoMasks.RLE, Images.NONE),
    ("coco", "goods", CocoMasks.POLYGONS, Images.COPY),
    ("yolo-seg", "goods", CocoMasks.RLE, Images.LINK),
    ("labelme", "goods", CocoMasks.RLE, Images.COPY),
    ("labelme", "goods", CocoMasks.RLE, Images.NONE),
    ("masks", "goods", CocoMasks.RLE, Images.NONE),
]


@pytest.mark.parametrize("mode", Mode)
def test_every_label_file_that_is_exported_can_be_imported_with_the_same_result(
    tmp_path: Path, mode: Mode
) -> None:
    store = deals_with_results(tmp_path / "data", mode)
    for file_format, name, masks, images in EXPORTS:
        place = tmp_path / f"{file_format}-{masks}-{images}"
        report = export(store, file_format, place / name, mode=mode, images=images, masks=masks)
        again = DealStore(place / "data")
        for deal, names in DEALS.items():
            source = tmp_path / "data" / "deals" / deal / "images"
            shutil.copytree(source, Path(again.root.at(f"deals/{deal}/images")))
            done = import_labels(again, deal, task(place / name, file_format))
            assert done.boxes == report.deals[deal].items
            assert done.notes == ()
            with_items = [name for name in names if expected(mode, Path(name).stem)]
            assert (
                done.added
                == done.boxes
                == sum(len(expected(mode, Path(name).stem)) for name in names)
            )
            for photo in again.photos(deal):
                if photo.name not in with_items:
                    continue
                prompts = again.prompts.of_image(deal, photo.image)
                found = [(each.box, each.category) for each in prompts.annotations]
                for (box, category), (wanted, label) in zip(
                    found, expected(mode, photo.image), strict=True
                ):
                    assert box == pytest.approx(wanted, abs=0.3), (file_format, deal, photo.name)
                    assert category == label


def test_the_class_of_a_drawn_box_is_the_label_of_what_is_found_in_it(tmp_path: Path) -> None:
    store = deals_with_results(tmp_path / "data", Mode.INSIDE_BOX)
    out = tmp_path / "goods.json"
    export(store, "coco", out, mode=Mode.INSIDE_BOX, images=Images.NONE, deals=("lot",))
    names = [each["name"] for each in json.loads(out.read_text())["categories"]]
    assert names == ["coin", "ear ring", "item"]


@pytest.fixture
def lot(tmp_path: Path) -> DealStore:
    put_photos(tmp_path / "data", "lot", {"a.png": photo_of(True), "b.png": photo_of(True, 1)})
    return DealStore(tmp_path / "data")


def annotations(*labels: str | None) -> dict[str, object]:
    """COCO's annotations, and categories, of boxes side by side."""
    names = sorted({label for label in labels if label})
    return {
        "categories": [{"id": name, "name": name} for name in names],
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [
            {"id": number, "image_id": 1, "bbox": [10 * number, 5, 8, 8], "category_id": label}
            for number, label in enumerate(labels)
        ],
    }


def of_a(store: DealStore) -> ImagePrompts:
    return store.prompts.of_image("lot", "a")


def test_labels_again_name_what_is_there_and_add_nothing(lot: DealStore, tmp_path: Path) -> None:
    draw(lot, "a", boxed("mine", DETECTIONS[0].box))
    file = coco_file(tmp_path / "c.json", **annotations(None, None))
    import_labels(lot, "lot", task(file, "coco"))
    before = of_a(lot)
    assert [each.category for each in before.annotations] == [None, None, None]
    coco_file(file, **annotations("ring", "coin"))
    assert import_labels(lot, "lot", task(file, "coco")).added == 0
    after = of_a(lot)
    assert [each.category for each in after.annotations] == [None, "ring", "coin"]
    assert [each.id for each in after.annotations] == [each.id for each in before.annotations]
    # Labels without names take none away.
    coco_file(file, **annotations(None, None))
    import_labels(lot, "lot", replace(task(file, "coco"), replace=True))
    assert of_a(lot).annotations == after.annotations[1:]


def test_one_box_of_two_classes_is_refused(lot: DealStore, tmp_path: Path) -> None:
    content = annotations("ring", "coin")
    for each in content["annotations"]:  # type: ignore[attr-defined]
        each["bbox"] = [1, 1, 5, 5]
    file = coco_file(tmp_path / "c.json", **content)
    with pytest.raises(PromptError, match="annotation 0 and annotation 1 are the same box"):
        import_labels(lot, "lot", task(file, "coco"))
    assert of_a(lot).annotations == ()


def test_labels_of_other_photos_are_told_and_not_read(lot: DealStore, tmp_path: Path) -> None:
    text_file(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.1 0.1")
    text_file(tmp_path / "labels" / "other.txt", "rubbish")
    done = import_labels(lot, "lot", task(tmp_path / "labels", "yolo", Mode.FIND_ALL))
    assert done.unknown == ("labels/other.txt",)
    assert (done.boxes, done.photos) == (1, 1)
    (example,) = of_a(lot).annotations
    assert example.prompt_type is PromptType.POSITIVE_EXEMPLAR


def test_columns_are_of_lines_alone(lot: DealStore, tmp_path: Path) -> None:
    file = coco_file(tmp_path / "c.json", **annotations(None))
    with pytest.raises(ConfigError, match="coco has no columns"):
        import_labels(lot, "lot", replace(task(file, "coco"), columns=("class", "x")))
    with pytest.raises(ConfigError, match="there is no format 'voc'"):
        import_labels(lot, "lot", task(file, "voc"))


def test_the_size_of_a_photo_is_no_matter_of_its_pixels(tmp_path: Path) -> None:
    pixels = np.zeros((11_000, 11_000), np.uint8)
    folder = tmp_path / "data" / "deals" / "lot" / "images"
    folder.mkdir(parents=True)
    Image.fromarray(pixels).save(folder / "a.png")
    store = DealStore(tmp_path / "data")
    text_file(tmp_path / "a.txt", "0 0.5 0.5 1 1")
    import_labels(store, "lot", task(tmp_path / "a.txt", "yolo"))
    assert of_a(store).annotations[0].box == (0, 0, 11_000, 11_000)

"""COCO JSON of other tools, which differ in what they leave out."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from segpipe.errors import PromptError
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import to_coco_rle
from segpipe_tests.formats.label_files import boxes, coco_file, read

BBOX = [55, 65, 110, 110]
BOX = (55, 65, 165, 175)


def annotation(**fields: Any) -> dict[str, Any]:
    return {"id": 17, "image_id": 1, "category_id": 3, "bbox": BBOX, "iscrowd": 0} | fields


def without(name: str, **fields: Any) -> dict[str, Any]:
    return {key: value for key, value in annotation(**fields).items() if key != name}


def test_a_box_has_the_name_of_its_category(tmp_path: Path) -> None:
    file = coco_file(tmp_path / "c.json", annotation(), without("category_id"))
    (photo,) = read(file, "coco")
    assert [(each.place, each.box, each.label) for each in photo.boxes] == [
        ("annotation 17", BOX, "ring"),
        ("annotation 17", BOX, None),
    ]
    assert photo.size == (480, 360)


def rle() -> dict[str, object]:
    encoded = to_coco_rle(Mask.from_box(Box(*BOX), image_width=480, image_height=360))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


POLYGON = [55, 65, 165, 65, 165, 175, 55, 175]


@pytest.mark.parametrize(
    "said",
    [
        annotation(iscrowd=None),
        without("iscrowd"),
        without("bbox", segmentation=[POLYGON]),
        annotation(bbox=None, segmentation=[POLYGON[:4], POLYGON[4:]]),
        annotation(bbox=[], segmentation=[POLYGON]),
        without("bbox", segmentation=rle()),
        without("category_id"),
    ],
)
def test_what_can_be_known_without_it_may_be_missing(tmp_path: Path, said: dict[str, Any]) -> None:
    assert boxes(coco_file(tmp_path / "c.json", said), "coco") == [BOX]


@pytest.mark.parametrize("size", [{}, {"width": None, "height": None}, {"width": 0, "height": 0}])
def test_a_size_that_is_missing_is_that_of_the_photo(
    tmp_path: Path, size: dict[str, object]
) -> None:
    images = [{"id": 1, "file_name": "a.jpg"} | size]
    (photo,) = read(coco_file(tmp_path / "c.json", annotation(), images=images), "coco")
    assert photo.size is None
    (box,) = photo.in_pixels(480, 360, file="c.json")
    assert box.box == BOX


def test_crowds_are_left_out_and_noted(tmp_path: Path) -> None:
    file = coco_file(tmp_path / "c.json", annotation(iscrowd=1), annotation(id=18))
    (photo,) = read(file, "coco")
    assert len(photo.boxes) == 1
    assert photo.notes == ("annotation 17 is a crowd, no item: left out",)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (without("bbox"), "annotation 17 has neither bbox nor segmentation"),
        (without("bbox", segmentation=[[]]), "annotation 17 has no bbox, and its segmentation"),
        (without("bbox", segmentation=[["x", 1]]), "annotation 17 has no bbox"),
        (without("bbox", segmentation={"size": [4, 4], "counts": [0, 16]}), "annotation 17"),
        (without("bbox", segmentation={"size": [4, 4], "counts": "?"}), "annotation 17"),
        (annotation(bbox=[1, 2, 3]), "annotation 17: bbox"),
        (annotation(category_id=8), "annotation 17: there is no category 8"),
        (annotation(image_id=8), "annotation 17: there is no image 8"),
        (without("image_id"), "annotation 17: image_id: is missing"),
        (without("id", bbox="x"), "annotation number 1: bbox"),
    ],
)
def test_what_cannot_be_is_said_with_the_annotations_id(
    tmp_path: Path, said: dict[str, Any], says: str
) -> None:
    with pytest.raises(PromptError, match=re.escape(f"c.json, {says}")):
        boxes(coco_file(tmp_path / "c.json", said), "coco")


def test_two_images_of_one_id_are_named(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": f"{name}.jpg"} for name in "ab"]
    with pytest.raises(PromptError, match=r"two images have the id 1, 'a.jpg' and 'b.jpg'"):
        boxes(coco_file(tmp_path / "c.json", annotation(), images=images), "coco")


def test_a_folder_stands_for_the_files_that_exports_have_in_it(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    coco_file(tmp_path / "train" / "_annotations.coco.json", annotation())
    (tmp_path / "export.json").write_text(json.dumps({}))
    assert boxes(tmp_path, "coco") == [BOX]
    coco_file(tmp_path / "annotations.json")
    assert boxes(tmp_path, "coco") == []
    (tmp_path / "none").mkdir()
    with pytest.raises(PromptError, match="name the file"):
        boxes(tmp_path / "none", "coco")

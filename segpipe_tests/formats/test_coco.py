"""COCO JSON, as pycocotools reads it."""

import contextlib
import io
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pycocotools.coco import COCO

from segpipe.errors import StoreError
from segpipe.formats.coco import CocoPhoto, CocoWriter, coco_photo
from segpipe.formats.label_format import CocoMasks
from segpipe.formats.labels import UNLABELLED, LabelledItem, LabelledPhoto
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask

# What pycocotools' decode says of numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WIDTH, HEIGHT = 64, 48
BOTH_WAYS = pytest.mark.parametrize("masks", CocoMasks)

fulls = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 1)
)


def block(x: int, y: int, width: int, height: int) -> Mask:
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    full[y : y + height, x : x + width] = 1
    return Mask.from_full(full)


def ring() -> Mask:
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(full, (30, 24), 15, (1,), 5)
    return Mask.from_full(full)


def found(mask: Mask | None, label: str | None = None, *, box: Box | None = None) -> LabelledItem:
    size = {"image_width": WIDTH, "image_height": HEIGHT}
    box = (mask.box if mask else None) or box or Box(0, 0, 1, 1)
    is_mask = mask is not None and not mask.is_empty
    pixels = mask if mask and is_mask else Mask.from_box(box, **size)
    return LabelledItem(0, label or UNLABELLED, 0.75, 0, box, pixels, is_mask)


def photo(*items: LabelledItem, image: str = "a") -> LabelledPhoto:
    numbered = (replace(item, detection=index) for index, item in enumerate(items))
    size = (items[0].mask.image_width, items[0].mask.image_height) if items else (WIDTH, HEIGHT)
    return LabelledPhoto("lot", image, f"{image}.jpg", *size, "0" * 64, tuple(numbered))


def content(*items: LabelledItem, masks: CocoMasks = CocoMasks.RLE, image: str = "a") -> CocoPhoto:
    return coco_photo(photo(*items, image=image), masks)


def written(*images: CocoPhoto) -> dict[str, Any]:
    file = io.BytesIO()
    with CocoWriter(file) as coco:
        for image in images:
            coco.add(image)
    document: dict[str, Any] = json.loads(file.getvalue())
    return document


def loaded(folder: Path, document: dict[str, Any]) -> COCO:
    path = folder / "coco.json"
    path.write_text(json.dumps(document), encoding="ascii")
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def decoded(document: dict[str, Any]) -> list[NDArray[np.uint8]]:
    coco = COCO()
    coco.dataset = document
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return [coco.annToMask(annotation) for annotation in document["annotations"]]


@BOTH_WAYS
def test_pycocotools_loads_the_survivors_with_every_pixel(tmp_path: Path, masks: CocoMasks) -> None:
    two_parts = Mask.from_full(block(2, 3, 5, 7).to_full() | block(20, 3, 4, 4).to_full())
    expected = [block(2, 2, 8, 20), ring(), two_parts]
    items = map(found, expected, ["ring", None, "ring"])

    coco = loaded(tmp_path, written(content(*items, masks=masks)))

    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    for annotation, mask in zip(annotations, expected, strict=True):
        assert np.array_equal(coco.annToMask(annotation), mask.to_full())
        assert annotation["area"] == mask.area
        assert mask.box
        x1, y1, x2, y2 = mask.box
        assert annotation["bbox"] == [x1, y1, x2 - x1, y2 - y1]
        assert annotation["iscrowd"] == 0
        assert annotation["score"] == 0.75
        assert annotation["has_mask"]
    assert [annotation["detection"] for annotation in annotations] == [0, 1, 2]
    names = [coco.loadCats([annotation["category_id"]])[0]["name"] for annotation in annotations]
    assert names == ["ring", "item", "ring"]
    assert coco.loadCats(coco.getCatIds()) == [
        {"id": 1, "name": "item"},
        {"id": 2, "name": "ring"},
    ]
    assert coco.loadImgs([1]) == [
        {
            "id": 1,
            "file_name": "a.jpg",
            "width": WIDTH,
            "height": HEIGHT,
            "deal": "lot",
            "sha256": "0" * 64,
        }
    ]


@BOTH_WAYS
@given(full=fulls)
@settings(deadline=None, max_examples=200)
def test_any_mask_decodes_bit_for_bit(masks: CocoMasks, full: NDArray[np.uint8]) -> None:
    mask = Mask.from_full(full)
    assume(not mask.is_empty)
    document = written(content(found(mask), masks=masks))
    assert np.array_equal(decoded(document)[0], mask.to_full())
    assert document["annotations"][0]["area"] == mask.area


@pytest.mark.parametrize("seed", range(4))
def test_large_jagged_masks_as_polygons_decode_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    full = np.zeros((1200, 1600), np.uint8)
    corners = rng.integers((-50, -50), (1650, 1250), (9, 2))
    cv2.fillPoly(full, [cv2.convexHull(corners.astype(np.int32))], (1,))
    noise = cv2.resize(rng.random((300, 400)), (1600, 1200)) < 0.8
    jagged = np.asarray(full & noise, np.uint8)
    # Every part without its holes.
    borders, _ = cv2.findContours(jagged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    full = np.zeros_like(full)
    cv2.drawContours(full, borders, -1, (1,), cv2.FILLED)
    mask = Mask.from_full(full)
    document = written(content(found(mask), masks=CocoMasks.POLYGONS))
    assert isinstance(document["annotations"][0]["segmentation"], list)
    assert np.array_equal(decoded(document)[0], full)


def test_polygons_are_polygons_and_a_mask_with_a_hole_is_rle() -> None:
    items = found(block(1, 2, 3, 4)), found(ring())
    polygon, rle = written(content(*items, masks=CocoMasks.POLYGONS))["annotations"]
    assert polygon["segmentation"] == [[1, 2, 1, 6, 4, 6, 4, 2]]
    assert isinstance(rle["segmentation"], dict)


@BOTH_WAYS
def test_an_item_without_a_mask_stands_as_its_box_and_says_so(
    masks: CocoMasks,
) -> None:
    box = Box(2.5, 3, 10, 8.25)
    document = written(content(found(None, box=box), masks=masks))
    (annotation,) = document["annotations"]
    assert annotation["has_mask"] is False
    assert np.array_equal(decoded(document)[0], block(2, 3, 8, 6).to_full())
    assert annotation["area"] == 48
    assert annotation["bbox"] == [2.5, 3, 7.5, 5.25]


@pytest.mark.parametrize("images", [[], [content()]])
def test_a_file_of_nothing_is_whole(tmp_path: Path, images: list[CocoPhoto]) -> None:
    coco = loaded(tmp_path, written(*images))
    assert len(coco.getImgIds()) == len(images)
    assert coco.getAnnIds() == coco.getCatIds() == []


def test_labels_of_any_kind_are_categories(tmp_path: Path) -> None:
    labels = ['a "b"\\', "tab\there", "line\nbreak", "טבעת", "", "\udce9"]
    image = content(*(found(block(1, 1, 2, 2), label) for label in labels))
    document = written(image)
    coco = loaded(tmp_path, document)
    names = [coco.cats[each["category_id"]]["name"] for each in document["annotations"]]
    assert names == [label or "item" for label in labels]
    assert [coco.cats[number]["name"] for number in coco.getCatIds()] == sorted(names)


def test_what_failed_halfway_leaves_nothing() -> None:
    file = io.BytesIO()
    a, b, c = (content(*[found(block(1, 1, 2, 2), label)] * 3, image=label) for label in "abc")

    def add_half(coco: CocoWriter) -> None:
        with coco.all_or_nothing():
            coco.add(b)
            raise StoreError("the second half is damaged")

    with CocoWriter(file) as coco:
        coco.add(a)
        with pytest.raises(StoreError):
            add_half(coco)
        coco.add(c)

    document = json.loads(file.getvalue())
    assert document == written(a, c)


def test_a_file_with_an_error_is_not_ended() -> None:
    file = io.BytesIO()

    def fail() -> None:
        with CocoWriter(file) as coco:
            coco.add(content())
            raise StoreError("no space left")

    with pytest.raises(StoreError):
        fail()
    assert file.getvalue() == b""


def test_the_same_photos_give_the_same_bytes() -> None:
    def once() -> bytes:
        file = io.BytesIO()
        with CocoWriter(file, info={"mode": "find_all"}) as coco:
            coco.add(content(found(ring())))
        return file.getvalue()

    assert once() == once()


def test_memory_does_not_grow_with_the_photos(tmp_path: Path) -> None:
    image = content(*[found(ring(), "ring")] * 50)

    def peak(photos: int) -> int:
        tracemalloc.start()
        with (tmp_path / "coco.json").open("wb") as file, CocoWriter(file) as coco:
            for _ in range(photos):
                coco.add(image)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak(200) < 1.2 * peak(10) + 50_000

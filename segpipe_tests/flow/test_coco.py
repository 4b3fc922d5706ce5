"""COCO JSON, as pycocotools reads it."""

import contextlib
import io
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pycocotools.coco import COCO

from segpipe.detection import Detection, SegmentationResult
from segpipe.errors import StoreError
from segpipe.flow.asked import Asked
from segpipe.flow.coco import CocoImage, CocoWriter, coco_image
from segpipe.flow.refinement import RefinedImage, RefinedItem
from segpipe.flow.segmentation import SegmentedImage
from segpipe.flow.settings import CocoMasks, CocoSettings
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


def photo(
    detections: Sequence[Detection],
    survivors: Sequence[int] | None = None,
    *,
    image: str = "a",
    refined: dict[int, Mask] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    missing: dict[int, str] | None = None,
) -> tuple[SegmentedImage, RefinedImage]:
    result = SegmentationResult(tuple(detections), *size, "test", 1.0, ())
    segmented = SegmentedImage(
        image, f"{image}.jpg", "0" * 64, "JPEG", (), Asked(), missing or {}, result
    )
    items = []
    for index in range(len(detections)) if survivors is None else survivors:
        mask = (refined or {}).get(index)
        used = mask or detections[index].mask
        box = (used.box if used else None) or detections[index].box
        coarse = detections[index].mask
        items.append(RefinedItem(index, box, box, "", coarse, mask, None, 0, None))
    return segmented, RefinedImage(image, tuple(items))


def found(mask: Mask | None, label: str | None = None, *, box: Box | None = None) -> Detection:
    box = box or (mask.box if mask else None) or Box(0, 0, 1, 1)
    return Detection(box, 0.75, label, mask)


def content(
    segmented: SegmentedImage, refined: RefinedImage, masks: CocoMasks = CocoMasks.RLE
) -> CocoImage:
    return coco_image("lot", segmented, refined, CocoSettings(masks=masks))


def written(*images: CocoImage) -> dict[str, Any]:
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
    drawn = [block(1, 2, 10, 20), ring(), block(5, 5, 3, 3), two_parts]
    labels = ["ring", None, "bracelet", "ring"]
    segmented, refined = photo(
        [found(mask, label) for mask, label in zip(drawn, labels, strict=True)],
        survivors=[0, 1, 3],
        refined={0: block(2, 2, 8, 20)},
    )

    coco = loaded(tmp_path, written(content(segmented, refined, masks)))

    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    expected = [block(2, 2, 8, 20), ring(), two_parts]
    for annotation, mask in zip(annotations, expected, strict=True):
        assert np.array_equal(coco.annToMask(annotation), mask.to_full())
        assert annotation["area"] == mask.area
        assert mask.box
        x1, y1, x2, y2 = mask.box
        assert annotation["bbox"] == [x1, y1, x2 - x1, y2 - y1]
        assert annotation["iscrowd"] == 0
        assert annotation["score"] == 0.75
        assert annotation["has_mask"]
    assert [annotation["detection"] for annotation in annotations] == [0, 1, 3]
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
    height, width = full.shape
    box = mask.box or Box(0, 0, 1, 1)
    segmented, refined = photo([found(mask, box=box)], size=(width, height))
    document = written(content(segmented, refined, masks))
    if mask.is_empty:
        mask = Mask.from_box(box, image_width=width, image_height=height)
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
    image = content(*photo([found(mask)], size=(1600, 1200)), CocoMasks.POLYGONS)
    assert isinstance(image.annotations[0].segmentation, list)
    assert np.array_equal(decoded(written(image))[0], full)


def test_polygons_are_polygons_and_a_mask_with_a_hole_is_rle() -> None:
    image = content(*photo([found(block(1, 2, 3, 4)), found(ring())]), CocoMasks.POLYGONS)
    assert image.annotations[0].segmentation == [[1, 2, 1, 6, 4, 6, 4, 2]]
    assert isinstance(image.annotations[1].segmentation, dict)


@BOTH_WAYS
@pytest.mark.parametrize("mask", [None, Mask.empty(image_width=WIDTH, image_height=HEIGHT)])
def test_an_item_without_a_mask_stands_as_its_box_and_says_so(
    masks: CocoMasks, mask: Mask | None
) -> None:
    box = Box(2.5, 3, 10, 8.25)
    document = written(content(*photo([found(mask, box=box)]), masks))
    (annotation,) = document["annotations"]
    assert annotation["has_mask"] is False
    assert np.array_equal(decoded(document)[0], block(2, 3, 8, 6).to_full())
    assert annotation["area"] == 48
    assert annotation["bbox"] == [2.5, 3, 7.5, 5.25]


@pytest.mark.parametrize("images", [[], [content(*photo([]))]])
def test_a_file_of_nothing_is_whole(tmp_path: Path, images: list[CocoImage]) -> None:
    coco = loaded(tmp_path, written(*images))
    assert len(coco.getImgIds()) == len(images)
    assert coco.getAnnIds() == coco.getCatIds() == []


def test_labels_of_any_kind_are_categories(tmp_path: Path) -> None:
    labels = ['a "b"\\', "tab\there", "line\nbreak", "טבעת", "", "\udce9"]
    image = content(*photo([found(block(1, 1, 2, 2), label) for label in labels]))
    document = written(image)
    coco = loaded(tmp_path, document)
    names = [coco.cats[each["category_id"]]["name"] for each in document["annotations"]]
    assert names == [label or "item" for label in labels]
    assert [coco.cats[number]["name"] for number in coco.getCatIds()] == sorted(names)


def test_what_failed_halfway_leaves_nothing() -> None:
    file = io.BytesIO()
    a, b, c = (
        content(*photo([found(block(1, 1, 2, 2), label)] * 3, image=label)) for label in "abc"
    )

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
            coco.add(content(*photo([])))
            raise StoreError("no space left")

    with pytest.raises(StoreError):
        fail()
    assert file.getvalue() == b""


def test_the_same_photos_give_the_same_bytes() -> None:
    def once() -> bytes:
        file = io.BytesIO()
        with CocoWriter(file, info={"mode": "find_all"}) as coco:
            coco.add(content(*photo([found(ring())])))
        return file.getvalue()

    assert once() == once()


def test_memory_does_not_grow_with_the_photos(tmp_path: Path) -> None:
    image = content(*photo([found(ring(), "ring")] * 50))

    def peak(photos: int) -> int:
        tracemalloc.start()
        with (tmp_path / "coco.json").open("wb") as file, CocoWriter(file) as coco:
            for _ in range(photos):
                coco.add(image)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak(200) < 1.2 * peak(10) + 50_000


def test_a_drawn_box_in_which_nothing_was_found_is_no_annotation() -> None:
    detections = [found(block(4, 4, 8, 8)), found(None, box=Box(20, 20, 30, 30))]
    done = content(*photo(detections, missing={1: "nothing was found in the box"}))
    assert [one.detection for one in done.annotations] == [0]

import asyncio
import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segpipe.errors import PromptError
from segpipe.prompt import Mode, Point, Prompt
from segpipe.scenes import Scene, make_scene
from segpipe.segmenters.classical import ClassicalSegmenter
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe_tests.scenes import iou
from segpipe_tests.scenes.difficult.open_goods import handles, rings, scissors, spectacles
from segpipe_tests.segmenters.classical.pictures import BLUE, TABLE, disc, full, inside, table

TEXTURED_SCENES = range(1000, 1004)
JITTER_PX = 4


def test_items_on_a_textured_table_are_cut_out_well_on_average() -> None:
    """Mean IoU at least .8 with boxes drawn by an unsteady hand."""
    rng = np.random.default_rng(0)
    ious: list[float] = []
    for seed in TEXTURED_SCENES:
        scene = make_scene(seed, width=640, height=480, textured_background=True)
        boxes = [Box(*(box + rng.uniform(-JITTER_PX, JITTER_PX, 4))) for box in scene.boxes]
        found = inside(scene.image, *boxes)
        ious += [iou(full(item), mask) for item, mask in zip(found, scene.masks, strict=True)]

    assert np.mean(ious) >= 0.8


def test_each_box_gives_one_detection_in_order() -> None:
    image = table()
    left, right = disc(image, 80, 120, 30), disc(image, 240, 120, 30, BLUE)
    first, second, third = inside(
        image, Box(205, 85, 275, 155), Box(45, 85, 115, 155), Box(205, 85, 275, 155)
    )
    assert iou(full(first), right) > 0.95
    assert iou(full(second), left) > 0.95
    assert np.array_equal(full(first), full(third))


def test_a_mask_stays_inside_its_box() -> None:
    image = table()
    disc(image, 160, 120, 60)
    (found,) = inside(image, Box(150.5, 100.5, 240.2, 200.7))
    assert found.box.x1 >= 150
    assert found.box.y1 >= 100
    assert found.box.x2 <= 241
    assert found.box.y2 <= 201


def test_a_large_item_is_cut_out_at_full_size() -> None:
    image = table(2000, 1500)
    truth = disc(image, 1000, 700, 500)
    (found,) = inside(image, Box(480, 190, 1520, 1210))
    assert iou(full(found), truth) > 0.98


@pytest.mark.parametrize(
    "box",
    [Box(20, 20, 100, 80), Box(20, 20, 21, 21), Box(5.2, 5.2, 5.4, 5.4), Box(0, 0, 320, 240)],
    ids=["large", "one pixel", "part of a pixel", "whole image"],
)
def test_nothing_to_see_falls_back_to_the_box_without_a_score(box: Box) -> None:
    (found,) = inside(table(), box)
    outward = Box(math.floor(box.x1), math.floor(box.y1), math.ceil(box.x2), math.ceil(box.y2))
    assert found.score == 0
    assert found.box == outward
    assert full(found).sum() == (outward.x2 - outward.x1) * (outward.y2 - outward.y1)


def test_a_box_around_the_whole_photo_finds_the_item() -> None:
    image = table()
    truth = disc(image, 160, 120, 70)
    (found,) = inside(image, Box(0, 0, 320, 240))
    assert iou(full(found), truth) > 0.95


def test_a_box_over_the_edge_is_clipped() -> None:
    image = table()
    truth = disc(image, 0, 120, 50)
    (found,) = inside(image, Box(-80, 60, 60, 180))
    assert iou(full(found), truth) > 0.9


@pytest.mark.parametrize("radius", [12, 20, 42])
def test_a_hole_that_shows_the_table_stays_open_and_a_bright_spot_is_filled(radius: int) -> None:
    for colour in (TABLE, (255, 230, 120)):
        image = table()
        truth = disc(image, 160, 120, 50)
        cv2.circle(image, (160, 120), radius, colour, cv2.FILLED)
        if colour == TABLE:
            cv2.circle(truth, (160, 120), radius, (0,), cv2.FILLED)
        (found,) = inside(image, Box(100, 60, 220, 180))
        assert iou(full(found), truth) > 0.95


@pytest.mark.parametrize(
    ("make", "least"), [(rings, 0.88), (handles, 0.95), (scissors, 0.8), (spectacles, 0.7)]
)
def test_drawn_boxes_leave_the_holes_of_goods_open(
    make: Callable[[int], Scene], least: float
) -> None:
    """Filled, rings had a mean IoU of .34, and spectacles .18."""
    ious: list[float] = []
    for seed in range(2):
        scene = make(seed)
        found = inside(scene.image, *scene.boxes)
        ious += [iou(full(item), mask) for item, mask in zip(found, scene.masks, strict=True)]
    assert np.mean(ious) >= least


def test_a_box_outside_the_photo_is_named() -> None:
    with pytest.raises(PromptError, match="outside the image of 320 x 240") as caught:
        inside(table(), Box(10, 10, 50, 50), Box(400, 10, 450, 50))
    assert caught.value.field == "boxes[1]"


@given(
    corner=st.tuples(st.floats(-30, 39), st.floats(-30, 29)),
    size=st.tuples(st.floats(0.01, 90), st.floats(0.01, 90)),
)
@settings(max_examples=40, deadline=None)
def test_any_box_on_the_photo_gives_a_mask_inside_it(
    corner: tuple[float, float], size: tuple[float, float]
) -> None:
    image = table(40, 30)
    disc(image, 20, 15, 8)
    box = Box(*corner, corner[0] + size[0], corner[1] + size[1])
    if box.x2 <= 0 or box.y2 <= 0:
        return
    prompt = Prompt(mode=Mode.INSIDE_BOX, boxes=(box,))
    (found,) = asyncio.run(ClassicalSegmenter().segment(image, prompt)).detections

    assert found.mask is not None
    assert found.mask.area > 0
    assert found.mask.box == found.box
    assert found.box.x1 >= max(0, math.floor(box.x1))
    assert found.box.y1 >= max(0, math.floor(box.y1))
    assert found.box.x2 <= min(40, math.ceil(box.x2))
    assert found.box.y2 <= min(30, math.ceil(box.y2))


def with_points(image: RgbImage, box: Box, *points: Point) -> NDArray[np.uint8]:
    prompt = Prompt(mode=Mode.INSIDE_BOX, boxes=(box,), points=points)
    (found,) = asyncio.run(ClassicalSegmenter().segment(image, prompt)).detections
    return full(found)


def test_points_say_which_item_of_a_box_is_meant() -> None:
    image = table()
    left, right = disc(image, 100, 120, 35), disc(image, 200, 120, 35, BLUE)
    box = Box(55, 75, 245, 165)
    on_left, off_right = Point(100, 120), Point(200, 120, positive=False)
    for points in ((on_left,), (off_right,), (on_left, off_right)):
        assert iou(with_points(image, box, *points), left) > 0.95
    both = (left | right).astype(np.uint8)
    assert iou(with_points(image, box, on_left, Point(200, 120)), both) > 0.95
    # Nothing is there, or it lies in another box.
    assert iou(with_points(image, box, Point(150, 90, positive=False)), both) > 0.95
    assert iou(with_points(image, box, Point(300, 20, positive=False)), both) > 0.95


@pytest.mark.parametrize("colour", [BLUE, (172, 42, 52)], ids=["other", "nearly the same"])
def test_items_that_touch_are_parted_between_points(colour: tuple[int, int, int]) -> None:
    image = table()
    left = disc(image, 130, 120, 32)
    right = disc(image, 185, 120, 32, colour)
    box = Box(90, 80, 225, 160)
    cut = with_points(image, box, Point(130, 120), Point(185, 120, positive=False))
    assert iou(cut, (left & ~right & 1).astype(np.uint8)) > 0.9


def test_a_negative_point_keeps_a_hole_open() -> None:
    image = table()
    solid = disc(image, 150, 120, 50)
    cv2.circle(image, (150, 120), 20, (200, 195, 190), cv2.FILLED)
    box = Box(90, 60, 210, 180)
    ring = solid.copy()
    cv2.circle(ring, (150, 120), 20, (0,), cv2.FILLED)
    off = Point(150, 120, positive=False)
    assert iou(with_points(image, box, Point(115, 120)), solid) > 0.95
    assert iou(with_points(image, box, off), ring) > 0.95
    assert iou(with_points(image, box, Point(115, 120), off), ring) > 0.95


def test_a_negative_point_on_the_only_item_leaves_what_there_is() -> None:
    image = table()
    item = disc(image, 150, 120, 40)
    cut = with_points(image, Box(100, 70, 200, 170), Point(150, 120, positive=False))
    assert iou(cut, item) > 0.9
    assert cut[120, 150] == 0

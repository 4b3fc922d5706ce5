"""The item that points mean."""

import asyncio

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.detection import Candidate, Thresholds
from segpipe.errors import PromptError, SegmenterError, UnsupportedPromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.scenes import make_scene
from segpipe.scenes.painted_fields import FullMask
from segpipe.segmenters.classical import ClassicalConfig, ClassicalSegmenter
from segpipe.segmenters.classical.item_at_points import at_points
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe_tests.scenes import iou
from segpipe_tests.segmenters.classical.pictures import RED, disc, table

BLUE = (40, 60, 200)


def read(image: RgbImage, *points: Point) -> tuple[Candidate, Candidate, Candidate]:
    return at_points(image, points, ClassicalConfig())


def inside(candidate: Candidate, x: int, y: int) -> bool:
    return bool(candidate.mask.to_full()[y, x])


def centre_of(mask: FullMask) -> Point:
    """The middle of what is seen of an item, or its deepest point when that is beside it."""
    rows, columns = np.nonzero(mask)
    x, y = columns.mean(), rows.mean()
    if not mask[int(y), int(x)]:
        depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)
        y, x = np.unravel_index(depth[1:-1, 1:-1].argmax(), mask.shape)
    return Point(float(x), float(y))


@pytest.mark.parametrize(
    ("textured", "seeds"), [(False, (100, 102)), (True, (103, 104))], ids=["plain", "textured"]
)
def test_a_point_in_the_middle_finds_the_item(textured: bool, seeds: tuple[int, ...]) -> None:
    best, any_of_three = [], []
    for seed in seeds:
        scene = make_scene(seed, textured_background=textured)
        for mask in scene.masks:
            ious = [iou(one.mask.to_full(), mask) for one in read(scene.image, centre_of(mask))]
            best.append(ious[0])
            any_of_three.append(max(ious))

    assert np.mean(best) >= 0.8
    assert np.mean(any_of_three) >= np.mean(best)


def test_a_point_on_an_item_of_a_long_strip_finds_that_item_alone() -> None:
    image = table(20_000, 60)
    truth = disc(image, 10_000, 30, 20)
    disc(image, 10_060, 30, 20)  # within 0.4 % of the strip's length
    best = read(image, Point(10_000, 30))[0]
    assert iou(best.mask.to_full(), truth) > 0.9


def test_the_three_readings_are_part_item_and_all_that_touches() -> None:
    image = table()
    disc(image, 90, 90, 31)
    cv2.rectangle(image, (70, 80), (85, 95), (230, 220, 90), cv2.FILLED)  # a sticker
    disc(image, 150, 90, 30, BLUE)  # a neighbour

    item, *others = read(image, Point(78, 88))
    assert inside(item, 100, 100)
    assert not inside(item, 150, 90)
    part = min(others, key=lambda one: one.mask.area)
    group = max(others, key=lambda one: one.mask.area)
    assert inside(part, 78, 88)
    assert not inside(part, 100, 100)
    assert inside(group, 150, 90)
    assert inside(group, 100, 100)


def test_several_points_mean_one_thing_together() -> None:
    image = table()
    disc(image, 60, 60, 25)
    disc(image, 200, 60, 25, BLUE)
    best, *_ = read(image, Point(60, 60), Point(200, 60))
    assert inside(best, 60, 60)
    assert inside(best, 200, 60)


def test_a_reading_grows_away_from_negative_points() -> None:
    image = table()
    cv2.rectangle(image, (60, 60), (119, 119), RED, cv2.FILLED)
    cv2.rectangle(image, (90, 60), (119, 119), BLUE, cv2.FILLED)  # one item of two colours

    for reading in read(image, Point(70, 90), Point(110, 90, positive=False)):
        assert inside(reading, 70, 90)
        assert not inside(reading, 110, 90)
        assert reading.mask.area == pytest.approx(30 * 60, rel=0.15)


def test_a_point_on_the_bare_table_scores_next_to_nothing() -> None:
    image = table()
    disc(image, 60, 60, 25)
    on_table, on_item = read(image, Point(200, 150))[0], read(image, Point(60, 60))[0]
    assert on_table.score < 0.2 < on_item.score


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    places=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
        min_size=1,
        max_size=4,
    ),
    seed=st.integers(0, 9),
)
def test_any_picture_and_points_give_three_ranked_masks_of_the_image(
    size: tuple[int, int], places: list[tuple[float, float]], seed: int
) -> None:
    width, height = size
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    points = [Point(x * width, y * height, index % 2 == 0) for index, (x, y) in enumerate(places)]
    before = image.copy()

    readings = read(image, *points)

    scores = [one.score for one in readings]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    for one in readings:
        assert (one.mask.image_width, one.mask.image_height) == (width, height)
    assert np.array_equal(image, before)


def test_a_large_photo_is_read_at_its_own_size() -> None:
    image = table()
    disc(image, 120, 90, 40)
    large = np.asarray(cv2.resize(image, None, fx=8, fy=8), np.uint8)
    best, *_ = read(large, Point(8 * 120, 8 * 90))
    (box,) = {best.mask.box}
    assert box == pytest.approx(Box(8 * 80, 8 * 50, 8 * 161, 8 * 131), abs=16)


@pytest.mark.parametrize(
    ("points", "field"),
    [
        ((), "points"),
        ((Point(5, 5, positive=False),), "points"),
        ((Point(5, 5), Point(5000, 5)), "points[1]"),
        ((Point(float("nan"), 5),), "points[0]"),
    ],
)
def test_points_that_make_no_sense_are_named(points: tuple[Point, ...], field: str) -> None:
    with pytest.raises(PromptError) as caught:
        read(table(), *points)
    assert caught.value.field == field


def test_the_segmenter_answers_points_alone_with_one_detection() -> None:
    image = table()
    disc(image, 60, 60, 25)
    disc(image, 200, 60, 25, BLUE)
    prompt = Prompt(points=(Point(60, 60),))

    (found,) = asyncio.run(ClassicalSegmenter().segment(image, prompt)).detections

    best, *_ = read(image, Point(60, 60))
    assert (found.score, found.box) == (best.score, best.mask.box)


def test_points_beside_exemplars_are_refused() -> None:
    prompt = Prompt(points=(Point(5, 5),), exemplars=(Exemplar(Box(1, 1, 5, 5)),))
    with pytest.raises(UnsupportedPromptError, match="exemplars"):
        asyncio.run(ClassicalSegmenter().segment(table(), prompt))


def test_the_model_applies_thresholds_to_what_it_looked_for_and_not_to_what_was_shown() -> None:
    image = table()
    for x, radius in ((60, 25), (140, 20), (210, 10)):
        disc(image, x, 60, radius)
    strict = Thresholds(score=1.0, max_masks=1)
    shown = Prompt(mode=Mode.INSIDE_BOX, boxes=(Box(30, 30, 90, 90), Box(115, 35, 165, 85)))

    async def find(prompt: Prompt, thresholds: Thresholds) -> int:
        result = await ClassicalSegmenter().segment(image, prompt, thresholds)
        assert result.pass_stats[0].found == len(result.detections)
        return len(result.detections)

    assert asyncio.run(find(Prompt(), Thresholds(score=0))) == 3
    assert asyncio.run(find(Prompt(), Thresholds(score=0, max_masks=2))) == 2
    assert asyncio.run(find(Prompt(), strict)) == 0
    assert asyncio.run(find(shown, strict)) == 2
    assert asyncio.run(find(Prompt(points=(Point(60, 60),)), strict)) == 1


def test_a_picture_that_is_no_rgb_is_a_segmenter_error() -> None:
    grey = np.zeros((60, 80), np.uint8)
    with pytest.raises(SegmenterError, match=r"\(60, 80\)"):
        asyncio.run(ClassicalSegmenter().candidates(grey, (Point(5, 5),)))

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from segpipe.errors import ConfigError, InputError
from segpipe.vision.boxes import Box, BoxArray, to_array
from segpipe.vision.dedup import Criterion, DedupResult, Rejection, dedup
from segpipe.vision.mask import Mask
from segpipe_tests.vision.dedup_oracle import (
    SIDE,
    assert_as_the_oracle,
    random_boxes,
    random_fulls,
)


def few_scores(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.integers(0, 6, count) / 5


@pytest.mark.parametrize("grid", [None, 4, 16])
def test_random_boxes_are_kept_and_rejected_as_by_the_oracle(grid: int | None) -> None:
    rng = np.random.default_rng(20)
    for _ in range(1000):
        count = int(rng.integers(0, 14))
        boxes = random_boxes(rng, count, grid=grid)
        assert_as_the_oracle(
            boxes,
            few_scores(rng, count),
            iou_threshold=float(rng.choice([0, 0.3, 0.5, 1])),
            containment_threshold=float(rng.choice([0, 0.5, 0.8, 1])),
        )


def test_random_masks_are_kept_and_rejected_as_by_the_oracle() -> None:
    rng = np.random.default_rng(21)
    for _ in range(1000):
        count = int(rng.integers(0, 10))
        boxes = random_boxes(rng, count, grid=int(rng.choice([4, 16])))
        assert_as_the_oracle(
            boxes,
            few_scores(rng, count),
            random_fulls(rng, boxes),
            iou_threshold=float(rng.choice([0, 0.5, 1])),
            containment_threshold=float(rng.choice([0, 0.8, 1])),
        )


@pytest.mark.parametrize("side", [2.0, 0.6, 0.1], ids=["crowded", "some overlap", "sparse"])
@pytest.mark.parametrize("count", [129, 400, 1100])
def test_many_boxes_are_decided_in_rounds_as_by_the_oracle(count: int, side: float) -> None:
    rng = np.random.default_rng(count)
    start = rng.uniform(0, SIDE, (count, 2))
    size = rng.uniform(0.5, 1.5, (count, 2)) * side
    # A few that span everything, as the background of a photo does.
    size[:3] = SIDE
    assert_as_the_oracle(np.hstack([start, start + size]), rng.permutation(count) / count)


def test_many_mixed_items_are_decided_in_rounds_as_by_the_oracle() -> None:
    rng = np.random.default_rng(22)
    boxes = random_boxes(rng, 150, grid=16)
    assert_as_the_oracle(boxes, few_scores(rng, 150), random_fulls(rng, boxes))


coordinates = st.integers(0, 6).map(float)
scored_boxes = st.lists(
    st.tuples(coordinates, coordinates, coordinates, coordinates, st.sampled_from([0.1, 0.5])),
    max_size=12,
)


@given(scored_boxes, st.floats(0, 1), st.floats(0, 1))
def test_any_boxes_are_kept_and_rejected_as_by_the_oracle(
    items: list[tuple[float, ...]], iou_threshold: float, containment_threshold: float
) -> None:
    array = np.array(items, np.float64).reshape(-1, 5)
    boxes = np.hstack(
        [np.minimum(array[:, :2], array[:, 2:4]), np.maximum(array[:, :2], array[:, 2:4])]
    )
    assert_as_the_oracle(boxes, array[:, 4], None, iou_threshold, containment_threshold)


def of_boxes(
    *boxes: Box,
    scores: Sequence[float],
    iou_threshold: float = 0.5,
    containment_threshold: float = 0.8,
) -> DedupResult:
    return dedup(
        to_array(boxes),
        np.array(scores),
        iou_threshold=iou_threshold,
        containment_threshold=containment_threshold,
    )


def test_a_rejection_names_the_survivor_the_criterion_and_the_value() -> None:
    result = of_boxes(Box(0, 0, 10, 10), Box(0, 0, 10, 8), Box(1, 1, 3, 3), scores=[0.9, 0.8, 0.7])
    assert result.kept_indices.tolist() == [0]
    assert result.kept_indices.dtype == np.intp
    assert result.rejections == (
        Rejection(index=1, survivor=0, criterion=Criterion.IOU, value=0.8),
        Rejection(index=2, survivor=0, criterion=Criterion.CONTAINMENT, value=1.0),
    )


def test_of_equal_scores_the_first_survives() -> None:
    same = Box(0, 0, 4, 4)
    result = of_boxes(same, same, same, scores=[0.5, 0.5, 0.5])
    assert result.kept_indices.tolist() == [0]
    assert [rejection.survivor for rejection in result.rejections] == [0, 0]


def test_what_a_rejected_item_overlaps_survives() -> None:
    left, middle, right = Box(0, 0, 10, 1), Box(3, 0, 13, 1), Box(6, 0, 16, 1)
    result = of_boxes(left, middle, right, scores=[0.9, 0.8, 0.7])
    assert result.kept_indices.tolist() == [0, 2]


def test_the_best_of_several_survivors_gets_the_rejection() -> None:
    small, other, around = Box(0, 0, 4, 4), Box(6, 0, 10, 4), Box(0, 0, 10, 4)
    result = of_boxes(small, other, around, scores=[0.7, 0.8, 0.1])
    assert result.rejections == (Rejection(2, 1, Criterion.CONTAINMENT, 1.0),)


def test_a_small_box_of_better_score_rejects_the_one_around_it() -> None:
    result = of_boxes(Box(0, 0, 100, 100), Box(5, 5, 9, 9), scores=[0.1, 0.9])
    assert result.kept_indices.tolist() == [1]


def test_boxes_that_touch_survive_even_a_threshold_of_0() -> None:
    result = of_boxes(
        Box(0, 0, 4, 4),
        Box(4, 0, 8, 4),
        Box(0, 4, 4, 8),
        scores=[1, 1, 1],
        iou_threshold=0,
        containment_threshold=0,
    )
    assert result.kept_indices.tolist() == [0, 1, 2]


def test_an_overlap_of_exactly_the_threshold_survives() -> None:
    half = of_boxes(Box(0, 0, 4, 4), Box(0, 0, 4, 2), scores=[1, 0], containment_threshold=1)
    assert half.kept_indices.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("off", "criterion"),
    [
        ({"iou_threshold": 1.0}, Criterion.CONTAINMENT),
        ({"containment_threshold": 1.0}, Criterion.IOU),
    ],
)
def test_a_threshold_of_1_turns_its_criterion_off(
    off: dict[str, float], criterion: Criterion
) -> None:
    same = Box(0.1, 0.2, 4.7, 4.9)
    result = of_boxes(same, same, scores=[1, 1], **off)
    assert [rejection.criterion for rejection in result.rejections] == [criterion]


def test_with_both_criteria_off_everything_survives() -> None:
    same = Box(0.1, 0.2, 4.7, 4.9)
    result = of_boxes(same, same, scores=[1, 1], iou_threshold=1, containment_threshold=1)
    assert result.kept_indices.tolist() == [0, 1]


def test_masks_decide_over_boxes() -> None:
    image = np.tri(8, dtype=np.uint8)
    boxes = to_array([Box(0, 0, 8, 8)] * 2)
    masks = [Mask.from_full(image), Mask.from_full(1 - image)]
    scores = np.array([0.9, 0.8])
    assert dedup(boxes, scores).kept_indices.tolist() == [0]
    assert dedup(boxes, scores, masks).kept_indices.tolist() == [0, 1]


def test_boxes_decide_when_one_has_no_mask() -> None:
    boxes = to_array([Box(0, 0, 8, 8)] * 2)
    masks = [Mask.from_box(Box(0, 0, 1, 1), image_width=8, image_height=8), None]
    assert dedup(boxes, np.array([0.9, 0.8]), masks).kept_indices.tolist() == [0]


def test_empty_boxes_and_masks_overlap_nothing() -> None:
    nothing = Mask.empty(image_width=8, image_height=8)
    boxes = to_array([Box(0, 0, 8, 8), Box(2, 2, 2, 4), Box(2, 2, 2, 4), Box(0, 0, 8, 8)])
    whole = Mask.from_box(Box(0, 0, 8, 8), image_width=8, image_height=8)
    result = dedup(boxes, np.ones(4), [whole, None, None, nothing])
    assert result.kept_indices.tolist() == [0, 1, 2, 3]


def test_of_nothing_nothing_is_kept() -> None:
    result = dedup(to_array([]), np.array([]), [])
    assert result.kept_indices.shape == (0,)
    assert result.rejections == ()


def test_scores_of_any_number_type_are_ordered() -> None:
    boxes = to_array([Box(0, 0, 4, 4), Box(0, 0, 4, 4)])
    result = dedup(boxes, np.array([1, 200], np.uint8))
    assert result.kept_indices.tolist() == [1]


def test_the_input_is_not_changed() -> None:
    boxes, scores = to_array([Box(0, 0, 4, 4), Box(1, 0, 4, 4)]), np.array([0.1, 0.9])
    before = boxes.copy(), scores.copy()
    masks = [Mask.from_box(Box(*box), image_width=8, image_height=8) for box in boxes.tolist()]
    dedup(boxes, scores, masks)
    assert np.array_equal(boxes, before[0])
    assert np.array_equal(scores, before[1])


TWO_BOXES = to_array([Box(0, 0, 4, 4), Box(1, 1, 3, 3)])
TWO_SCORES = np.array([0.5, 0.5])


@pytest.mark.parametrize(
    ("boxes", "scores", "masks", "field"),
    [
        (np.zeros((2, 5)), TWO_SCORES, None, "boxes"),
        (np.zeros(4), TWO_SCORES, None, "boxes"),
        (to_array([Box(0, 0, math.nan, 1)] * 2), TWO_SCORES, None, "boxes"),
        (to_array([Box(0, 0, math.inf, 1)] * 2), TWO_SCORES, None, "boxes"),
        (to_array([Box(3, 0, 2, 1)] * 2), TWO_SCORES, None, "boxes"),
        (TWO_BOXES, np.array([0.5]), None, "scores"),
        (TWO_BOXES, np.array([[0.5, 0.5]]), None, "scores"),
        (TWO_BOXES, np.array([0.5, math.nan]), None, "scores"),
        (TWO_BOXES, np.array([0.5, math.inf]), None, "scores"),
        (TWO_BOXES, TWO_SCORES, [None], "masks"),
        (
            TWO_BOXES,
            TWO_SCORES,
            [Mask.empty(image_width=4, image_height=height) for height in (4, 5)],
            "masks",
        ),
    ],
    ids=[
        "five columns",
        "flat boxes",
        "NaN box",
        "infinite box",
        "inverted box",
        "one score",
        "scores in rows",
        "NaN score",
        "infinite score",
        "one mask",
        "masks of two images",
    ],
)
def test_input_that_cannot_be_compared_is_refused(
    boxes: BoxArray,
    scores: NDArray[np.float64],
    masks: Sequence[Mask | None] | None,
    field: str,
) -> None:
    with pytest.raises(InputError) as caught:
        dedup(boxes, scores, masks)
    assert caught.value.field == field


@pytest.mark.parametrize("name", ["iou_threshold", "containment_threshold"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_threshold_outside_0_to_1_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1") as caught:
        of_boxes(scores=[], **{name: value})
    assert caught.value.field == name

"""Which masks of two answers show the same items."""

from itertools import permutations

import numpy as np
import pytest

from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask, dilate, iou
from segpipe.vision.match import boundary_iou, match_masks

SIDE = 60


def square(x: float, y: float, side: float) -> Mask:
    return Mask.from_box(Box(x, y, x + side, y + side), image_width=SIDE, image_height=SIDE)


def test_each_mask_is_in_one_pair_and_those_that_are_unlike_in_none() -> None:
    found = match_masks([square(0, 0, 10), square(30, 30, 10)], [square(31, 30, 10)])
    assert [(pair.a, pair.b) for pair in found] == [(1, 0)]
    assert found[0].iou == pytest.approx(90 / 110)
    assert match_masks([square(0, 0, 10)], [square(6, 0, 10)]) == []
    assert match_masks([], [square(0, 0, 10)]) == match_masks([square(0, 0, 10)], []) == []
    empty = Mask.empty(image_width=SIDE, image_height=SIDE)
    assert match_masks([empty], [empty, square(0, 0, 5)]) == []


def test_the_pairs_are_the_best_there_are() -> None:
    """Beside trying every way."""
    rng = np.random.default_rng(4)
    for _ in range(60):
        a, b = (
            [square(*map(float, rng.integers((0, 0, 8), (12, 12, 20)))) for _ in range(4)]
            for _ in range(2)
        )
        best = max(
            sum(each for x, y in enumerate(order) if (each := iou(a[x], b[y])) >= 0.5)
            for order in permutations(range(4))
        )
        assert sum(pair.iou for pair in match_masks(a, b)) == pytest.approx(best)


def test_the_edge_tells_what_the_area_of_a_large_item_hides() -> None:
    large = Mask.from_box(Box(100, 100, 900, 900), image_width=1000, image_height=1000)
    grown = dilate(large, 8)
    assert iou(large, grown) > 0.95
    assert boundary_iou(large, grown) < 0.75
    assert boundary_iou(large, large) == 1.0
    whole = Mask.from_box(Box(0, 0, 100, 100), image_width=100, image_height=100)
    assert boundary_iou(whole, whole) == 1.0  # the photo's border is an edge

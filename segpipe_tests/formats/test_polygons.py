"""Survivors as polygons, and several parts as one outline."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from segpipe.formats.polygons import Polygon, join_parts
from segpipe.vision.contour import mask_outlines
from segpipe.vision.mask import Mask
from segpipe_tests.goods import HEIGHT, PAIR, WIDTH

# What pycocotools' decode says of numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

fulls = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(0, 1)
).filter(np.any)


def filled(polygon: Polygon, width: int, height: int) -> NDArray[np.uint8]:
    """The pixels inside, by pycocotools."""
    rles = coco.frPyObjects([polygon.ravel().tolist()], height, width)
    return np.asarray(coco.decode(coco.merge(rles)), np.uint8)


def without_holes(full: NDArray[np.uint8]) -> NDArray[np.uint8]:
    borders, _ = cv2.findContours(full, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    solid = np.zeros_like(full)
    cv2.drawContours(solid, borders, -1, (1,), cv2.FILLED)
    return solid


@given(fulls)
@settings(deadline=None, max_examples=200)
def test_all_parts_joined_cover_just_what_they_cover(full: NDArray[np.uint8]) -> None:
    solid = without_holes(full)
    outlines = mask_outlines(Mask.from_full(solid), tolerance_px=0)
    joined = join_parts([outline.corners for outline in outlines])
    height, width = full.shape
    assert np.array_equal(filled(joined, width, height), solid)


def test_the_lines_between_parts_are_the_shortest_between_corners() -> None:
    parts = [outline.corners for outline in mask_outlines(PAIR)]
    joined = join_parts(parts)
    steps = np.linalg.norm(joined - np.roll(joined, 1, axis=0), axis=1)
    gaps = [np.linalg.norm(one[:, None] - other, axis=2).min() for one, other in pairwise(parts)]
    longest = sorted(steps)[-2 * len(gaps) :]
    assert longest == pytest.approx(sorted([*gaps, *gaps]))
    assert np.array_equal(filled(joined, WIDTH, HEIGHT), filled_parts(parts))


def filled_parts(parts: list[Polygon]) -> NDArray[np.uint8]:
    return np.asarray(
        np.bitwise_or.reduce([filled(part, WIDTH, HEIGHT) for part in parts]), np.uint8
    )


def test_a_single_part_stays_as_it_is() -> None:
    part = np.array([(0, 0), (0, 5), (4, 2)], np.float64)
    assert np.array_equal(join_parts([part]), part)


def test_corners_are_compared_in_pieces_when_they_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = [outline.corners for outline in mask_outlines(PAIR)]
    at_once = join_parts(parts)
    monkeypatch.setattr("segpipe.formats.polygons._MAX_DISTANCES", 100)
    assert np.array_equal(join_parts(parts), at_once)

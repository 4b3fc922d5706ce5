"""Small flaws go, whatever belongs to the object stays."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.refiners.loop.loop_item import clean
from segpipe.vision.mask import Bitmap
from segpipe_tests.refiners.loop.pictures import any_bitmap

ratios = st.floats(0, 1)


def square(side: int = 40, margin: int = 10) -> Bitmap:
    bits = np.zeros((side + 2 * margin, side + 2 * margin), np.uint8)
    bits[margin:-margin, margin:-margin] = 1
    return bits


def test_a_hole_smaller_than_the_share_is_filled() -> None:
    holed = square()
    holed[25:29, 25:29] = 0
    assert np.array_equal(clean(holed, 0.02), square())


def test_a_hole_larger_than_the_share_stays() -> None:
    holed = square()
    holed[20:30, 20:30] = 0
    assert np.array_equal(clean(holed, 0.02), holed)


def test_an_island_smaller_than_the_share_goes() -> None:
    with_island = square()
    with_island[2:6, 2:6] = 1
    assert np.array_equal(clean(with_island, 0.02), square())


def test_an_island_larger_than_the_share_stays() -> None:
    with_island = square(margin=14)
    with_island[1:9, 1:9] = 1
    assert np.array_equal(clean(with_island, 0.02), with_island)


def test_a_crack_is_closed() -> None:
    cracked = square()
    cracked[10:-10, 30] = 0
    assert np.array_equal(clean(cracked, 0.0), square())


def test_what_is_small_depends_on_the_object_and_not_on_the_canvas() -> None:
    mug = np.zeros((60, 60), np.uint8)
    cv2.circle(mug, (25, 30), 15, (1,), cv2.FILLED)
    cv2.circle(mug, (42, 30), 6, (1,), 2)
    assert mug[30, 42] == 0
    canvas = np.zeros((3000, 4000), np.uint8)
    canvas[1000:1060, 1000:1060] = mug
    assert np.array_equal(clean(canvas, 0.01)[1000:1060, 1000:1060], clean(mug, 0.01))
    assert clean(mug, 0.01)[30, 42] == 0


def test_the_background_is_no_hole_even_when_it_is_small() -> None:
    nearly_full = np.ones((20, 20), np.uint8)
    nearly_full[8:12, :] = 0
    assert np.array_equal(clean(nearly_full, 0.5), nearly_full)


@pytest.mark.parametrize("value", [0, 1])
def test_an_empty_and_a_full_bitmap_stay_so(value: int) -> None:
    bits = np.full((7, 5), value, np.uint8)
    assert np.array_equal(clean(bits, 0.5), bits)


@given(any_bitmap, ratios)
def test_the_largest_island_stays_whole(bits: Bitmap, ratio: float) -> None:
    _, component, stats, _ = cv2.connectedComponentsWithStats(bits, connectivity=8)
    cleaned = clean(bits, ratio)
    assert cleaned.any() == bits.any()
    if bits.any():
        largest = component == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])
        assert cleaned[largest].all()


@given(any_bitmap, ratios)
def test_no_small_hole_and_no_small_island_is_left(bits: Bitmap, ratio: float) -> None:
    limit = ratio * np.count_nonzero(bits)
    cleaned = clean(bits, ratio)
    islands = cv2.connectedComponentsWithStats(cleaned, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    if len(islands) > 1:
        assert islands.min() >= limit
    framed = np.pad(1 - cleaned, 1, constant_values=1)
    _, component, stats, _ = cv2.connectedComponentsWithStats(framed, connectivity=4)
    holes = [
        stats[label, cv2.CC_STAT_AREA] for label in range(1, len(stats)) if label != component[0, 0]
    ]
    assert all(area >= limit for area in holes)


@given(any_bitmap, ratios)
def test_the_input_is_not_changed(bits: Bitmap, ratio: float) -> None:
    before = bits.copy()
    cleaned = clean(bits, ratio)
    assert np.array_equal(bits, before)
    assert cleaned.shape == bits.shape
    assert cleaned.dtype == np.uint8
    assert cleaned.max(initial=0) <= 1

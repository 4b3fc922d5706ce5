import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from segpipe.errors import InputError
from segpipe.vision.boxes import Box
from segpipe.vision.mask import (
    Mask,
    dilate,
    intersection_area,
    iou,
)

Full = NDArray[np.uint8]

bits = st.integers(0, 1)
fulls = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=bits)
pairs_of_fulls = array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
    lambda shape: st.tuples(
        arrays(np.uint8, shape, elements=bits), arrays(np.uint8, shape, elements=bits)
    )
)


@given(fulls)
def test_a_full_image_survives_the_way_through_a_mask(full: Full) -> None:
    assert np.array_equal(Mask.from_full(full).to_full(), full)


@given(fulls)
def test_geometry_is_that_of_the_full_image(full: Full) -> None:
    mask = Mask.from_full(full)
    rows, columns = np.nonzero(full)
    assert mask.area == full.sum()
    assert mask.is_empty == (rows.size == 0)
    if rows.size:
        assert mask.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert mask.bits.shape == (np.ptp(rows) + 1, np.ptp(columns) + 1)
    else:
        assert mask.box is None
        assert mask.bits.shape == (0, 0)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float32])
def test_any_value_but_zero_is_inside(dtype: type[np.generic]) -> None:
    full = np.zeros((4, 5), dtype)
    full[1, 2] = 1
    full[3, 4] = dtype(255)
    mask = Mask.from_full(full)
    assert (mask.x, mask.y, mask.area) == (2, 1, 2)
    assert mask.bits.dtype == np.uint8


def test_a_mask_does_not_change_with_the_array_it_was_made_from() -> None:
    full = np.ones((3, 3), np.uint8)
    mask = Mask.from_full(full)
    full[:] = 0
    assert mask.area == 9


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 2, 3)])
def test_a_full_image_must_be_a_plane_with_pixels(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"\(H, W\)"):
        Mask.from_full(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("x", "y", "bitmap"),
    [
        (-1, 0, np.ones((2, 2), np.uint8)),
        (0, 5, np.ones((2, 2), np.uint8)),
        (7, 0, np.ones((2, 2), np.uint8)),
        (0, 0, np.ones((7, 2), np.uint8)),
        (9, 0, np.ones((0, 0), np.uint8)),
        (0, 0, np.ones((2, 2), np.bool_)),
        (0, 0, np.ones(4, np.uint8)),
        (0, 0, np.full((2, 2), 255, np.uint8)),
    ],
    ids=["left", "below", "right", "too high", "empty outside", "bool", "flat", "0 and 255"],
)
def test_a_bitmap_that_does_not_fit_is_refused(x: int, y: int, bitmap: Full) -> None:
    with pytest.raises(InputError) as caught:
        Mask(x, y, bitmap, image_width=8, image_height=6)
    assert caught.value.field == "bits"


def test_an_image_needs_pixels() -> None:
    with pytest.raises(InputError, match="0 x 6"):
        Mask.empty(image_width=0, image_height=6)


def test_a_box_is_filled_outward_and_clipped() -> None:
    mask = Mask.from_box(Box(-3, 1.5, 2.2, 3), image_width=8, image_height=6)
    expected = np.zeros((6, 8), np.uint8)
    expected[1:3, 0:3] = 1
    assert np.array_equal(mask.to_full(), expected)


def test_a_box_outside_the_image_is_an_empty_mask() -> None:
    assert Mask.from_box(Box(20, 0, 30, 5), image_width=8, image_height=6).is_empty


def test_a_box_that_is_not_finite_makes_no_mask() -> None:
    with pytest.raises(InputError):
        Mask.from_box(Box(0, 0, math.nan, 1), image_width=8, image_height=6)


@given(fulls)
def test_tight_keeps_the_pixels_in_the_smallest_bitmap(full: Full) -> None:
    height, width = full.shape
    tight = Mask(0, 0, full, width, height).tight()
    assert np.array_equal(tight.to_full(), full)
    assert tight.bits.shape == Mask.from_full(full).bits.shape


@given(fulls, *[st.integers(-4, 14)] * 4)
def test_a_window_reads_zero_outside_the_image(
    full: Full, left: int, top: int, width: int, height: int
) -> None:
    margin = 30
    plane = np.pad(full, margin)
    right, bottom = left + max(width, 0), top + max(height, 0)
    window = Mask.from_full(full).crop_to(left, top, right, bottom)
    expected = plane[top + margin : bottom + margin, left + margin : right + margin]
    assert np.array_equal(window, expected)


def test_a_window_is_a_copy() -> None:
    mask = Mask(0, 0, np.ones((2, 2), np.uint8), 2, 2)
    mask.crop_to(0, 0, 2, 2)[:] = 0
    assert mask.area == 4


def test_an_inverted_window_is_refused() -> None:
    with pytest.raises(InputError, match="x1 <= x2"):
        Mask.empty(image_width=4, image_height=4).crop_to(3, 0, 1, 2)


@given(pairs_of_fulls)
def test_overlap_is_that_of_the_full_images(pair: tuple[Full, Full]) -> None:
    first, second = pair
    a, b = Mask.from_full(first), Mask.from_full(second)
    shared, union = int((first & second).sum()), int((first | second).sum())
    assert intersection_area(a, b) == shared
    assert iou(a, b) == (shared / union if union else 0)


def test_masks_of_different_images_are_not_compared() -> None:
    a = Mask.empty(image_width=4, image_height=4)
    b = Mask.empty(image_width=4, image_height=5)
    with pytest.raises(InputError, match="4 x 4 and 4 x 5"):
        intersection_area(a, b)


@given(fulls, st.integers(0, 5))
def test_dilation_reaches_every_pixel_within_the_radius(full: Full, radius: int) -> None:
    grown = dilate(Mask.from_full(full), radius).to_full()
    inside = np.argwhere(full)
    expected = np.zeros_like(full)
    for row, column in np.ndindex(full.shape):
        squares = ((inside - (row, column)) ** 2).sum(axis=1)
        expected[row, column] = bool((squares <= radius**2).any())
    assert np.array_equal(grown, expected)


def test_dilation_leaves_the_mask_as_it_is() -> None:
    mask = Mask(1, 1, np.ones((1, 1), np.uint8), 3, 3)
    assert dilate(mask, 1).area == 5
    assert mask.area == 1


def test_a_negative_radius_is_refused() -> None:
    with pytest.raises(InputError, match="-1"):
        dilate(Mask.empty(image_width=2, image_height=2), -1)

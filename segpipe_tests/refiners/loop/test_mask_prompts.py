"""What prompts a mask becomes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from segpipe.errors import InputError
from segpipe.refiners.loop.mask_prompts import (
    Pixel,
    background_pixel,
    depth_inside,
    gaussian_mask,
    mask_prompts,
    tight_window,
)
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.mask import Bitmap
from segpipe_tests.refiners.loop.pictures import bitmap

STRENGTH, GAMMA = 30.0, 4.0
NEARLY = 0.03
"""By how much of itself a distance may be off."""
strengths = st.floats(0.5, 100)
gammas = st.floats(0.1, 100)


def ring() -> Bitmap:
    y, x = np.mgrid[-20:21, -20:21]
    distance = np.hypot(x, y)
    bits: Bitmap = ((distance > 8) & (distance < 18)).astype(np.uint8)
    return bits


@given(bitmap)
def test_the_inside_point_is_a_deepest_pixel_of_the_object(bits: Bitmap) -> None:
    truth = ndimage.distance_transform_edt(np.pad(bits, 1))[1:-1, 1:-1]
    point = mask_prompts(bits, gamma=GAMMA, strength=STRENGTH).inside
    assert bits[point.y, point.x] == 1
    assert truth[point.y, point.x] == pytest.approx(truth.max(), rel=NEARLY)


@given(bitmap)
def test_the_outside_point_is_in_the_box_and_farthest_from_the_object(bits: Bitmap) -> None:
    prompts = mask_prompts(bits, gamma=GAMMA, strength=STRENGTH)
    x1, y1, x2, y2 = prompts.box
    inside_box = bits[y1:y2, x1:x2]
    if inside_box.all():
        assert prompts.outside is None
        return
    point = prompts.outside
    assert point is not None
    assert x1 <= point.x < x2
    assert y1 <= point.y < y2
    assert bits[point.y, point.x] == 0
    truth = ndimage.distance_transform_edt(1 - inside_box)
    assert truth[point.y - y1, point.x - x1] == pytest.approx(truth.max(), rel=NEARLY)


@given(bitmap)
def test_the_depth_is_nearly_the_euclidean_distance_to_what_is_outside(bits: Bitmap) -> None:
    truth = ndimage.distance_transform_edt(np.pad(bits, 1))[1:-1, 1:-1]
    assert np.allclose(depth_inside(bits), truth, rtol=NEARLY)


@given(bitmap, gammas)
def test_the_soft_mask_of_all_prompts_is_that_of_the_whole_bitmap(
    bits: Bitmap, gamma: float
) -> None:
    whole = gaussian_mask(bits, depth_inside(bits), gamma=gamma, strength=STRENGTH)
    assert np.array_equal(mask_prompts(bits, gamma=gamma, strength=STRENGTH).logits, whole)


@given(bitmap)
def test_the_box_is_the_smallest_that_holds_the_object(bits: Bitmap) -> None:
    rows, columns = np.nonzero(bits)
    assert tight_window(bits) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@given(bitmap, gammas, strengths)
def test_the_soft_mask_follows_the_formula(bits: Bitmap, gamma: float, strength: float) -> None:
    depth = depth_inside(bits)
    spread = max(bits.sum() / gamma, 1)
    inside = strength * np.exp(-((depth - depth.max()) ** 2) / spread)
    expected = np.where(bits == 1, inside, -strength)
    found = gaussian_mask(bits, depth, gamma=gamma, strength=strength)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_soft_mask_is_surest_in_the_middle_and_all_against_outside() -> None:
    prompts = mask_prompts(ring(), gamma=GAMMA, strength=STRENGTH)
    assert prompts.logits[prompts.inside.y, prompts.inside.x] == STRENGTH
    assert set(prompts.logits[ring() == 0].tolist()) == {-STRENGTH} == {prompts.outside_logit}
    edge = (ring() == 1) & (depth_inside(ring()) == 1)
    assert (prompts.logits[edge] < STRENGTH).all()
    assert (prompts.logits[edge] > 0).all()


def test_the_background_point_of_a_ring_is_a_corner_or_its_middle() -> None:
    hollow = ring()
    assert background_pixel(hollow, tight_window(hollow)) == Pixel(20, 20)


def test_an_object_that_fills_its_box_has_no_background_point() -> None:
    bits = np.zeros((9, 9), np.uint8)
    bits[2:5, 3:8] = 1
    assert mask_prompts(bits, gamma=GAMMA, strength=STRENGTH).outside is None


def test_beyond_the_bitmap_is_outside() -> None:
    full = np.ones((5, 9), np.uint8)
    prompts = mask_prompts(full, gamma=GAMMA, strength=STRENGTH)
    assert prompts.inside.y == 2
    assert prompts.box == PixelWindow(0, 0, 9, 5)


def test_a_single_pixel_has_all_prompts() -> None:
    bits = np.zeros((3, 3), np.uint8)
    bits[1, 2] = 1
    prompts = mask_prompts(bits, gamma=GAMMA, strength=STRENGTH)
    assert (prompts.inside, prompts.outside) == (Pixel(2, 1), None)
    assert prompts.logits[1, 2] == STRENGTH


def test_an_empty_mask_has_no_prompts() -> None:
    with pytest.raises(InputError, match="empty mask"):
        mask_prompts(np.zeros((4, 4), np.uint8), gamma=GAMMA, strength=STRENGTH)

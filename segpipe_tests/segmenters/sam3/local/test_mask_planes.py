"""Masks of the image, beside torch's interpolation of whole planes."""

import tracemalloc

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segpipe.segmenters.sam3.local.mask_planes import rough_boxes, to_mask
from segpipe.segmenters.sam3.local.sam3_runtime import RawMasks, logit

Plane = NDArray[np.float32]


def random_plane(height: int, width: int, seed: int) -> Plane:
    """Blobs of positive and negative logits."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width))
    return np.asarray(4 * cv2.GaussianBlur(noise, (0, 0), 1.5), np.float32)


def interpolated(plane: Plane, *, width: int, height: int) -> Plane:
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(plane)[None, None], (height, width), mode="bilinear", align_corners=False
    )
    return np.asarray(whole[0, 0].numpy())


@settings(max_examples=60, deadline=None)
@given(
    plane_height=st.integers(1, 40),
    plane_width=st.integers(1, 40),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    seed=st.integers(0, 9),
    level=st.sampled_from([-1.0, 0.0, 0.7]),
)
def test_a_mask_is_the_interpolated_plane_above_the_level(
    plane_height: int, plane_width: int, height: int, width: int, seed: int, level: float
) -> None:
    plane = random_plane(plane_height, plane_width, seed)
    mask = to_mask(plane, level, width=width, height=height)
    whole = interpolated(plane, width=width, height=height)
    # Rounding decides at the level itself.
    decided = np.abs(whole - level) > 1e-4
    np.testing.assert_array_equal(mask.to_full()[decided], (whole > level)[decided])


def test_a_mask_is_cut_to_its_pixels() -> None:
    plane = np.full((16, 16), -5, np.float32)
    plane[4:6, 8:11] = 5
    mask = to_mask(plane, 0.0, width=320, height=160)
    assert mask.tight() is mask
    assert mask.box is not None
    assert 150 < mask.box.x1 < mask.box.x2 < 230


def test_long_strips_are_put_together_without_a_seam() -> None:
    plane = random_plane(36, 36, seed=1)
    mask = to_mask(plane, 0.0, width=2500, height=1700)
    whole = interpolated(plane, width=2500, height=1700)
    assert np.count_nonzero(mask.to_full() != (whole > 0)) <= 20


@pytest.mark.parametrize("level", [0.5, np.inf])
def test_nothing_above_the_level_is_an_empty_mask(level: float) -> None:
    assert to_mask(np.zeros((8, 8), np.float32), level, width=30, height=20).is_empty


def test_a_level_of_minus_infinity_is_the_whole_picture() -> None:
    mask = to_mask(np.zeros((8, 8), np.float32), -np.inf, width=30, height=20)
    assert mask.area == 600


def test_200_items_of_a_12_megapixel_photo_take_far_less_than_a_gigabyte() -> None:
    width, height, items = 4000, 3000, 200
    planes = np.full((items, 288, 288), -5, np.float32)
    for index, plane in enumerate(planes):
        across, down = 20 + 13 * (index % 20), 20 + 25 * (index // 20)
        cv2.ellipse(plane, (across, down), (20, 15), 20, 0, 360, (5.0,), cv2.FILLED)
    tracemalloc.start()
    masks = [to_mask(plane, 0.0, width=width, height=height) for plane in planes]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(not mask.is_empty for mask in masks)
    kept = sum(mask.bits.nbytes for mask in masks)
    # What is given back, and one strip.
    assert peak < kept + 40_000_000 < 400_000_000


def test_one_item_as_large_as_the_photo_takes_little_more_than_its_bitmap() -> None:
    plane = np.full((288, 288), 5, np.float32)
    tracemalloc.start()
    mask = to_mask(plane, 0.0, width=4000, height=3000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mask.area == 12_000_000
    assert peak < mask.bits.nbytes + 40_000_000


def test_rough_boxes_hold_the_pixels_of_the_planes() -> None:
    planes = np.full((2, 10, 20), -1, np.float32)
    planes[0, 2:4, 5:9] = 1
    raw = RawMasks(planes, np.zeros(2, np.float32), 0.0)
    boxes = rough_boxes(raw, width=200, height=50)
    assert boxes.tolist() == [[50, 10, 90, 20], [0, 0, 0, 0]]


def test_rough_boxes_of_nothing_are_none() -> None:
    raw = RawMasks(np.zeros((0, 8, 8), np.float32), np.zeros(0, np.float32), 0.0)
    assert rough_boxes(raw, width=9, height=9).shape == (0, 4)


@pytest.mark.parametrize(
    ("probability", "expected"), [(0.5, 0.0), (0.0, -np.inf), (1.0, np.inf), (0.75, np.log(3))]
)
def test_logit_reaches_from_minus_to_plus_infinity(probability: float, expected: float) -> None:
    assert logit(probability) == pytest.approx(expected)

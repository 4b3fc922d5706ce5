"""Edges whose truth is known: what is estimated of them, and what is left alone."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import InputError
from segpipe.vision.mask import disc
from segpipe.vision.matte import estimate_matte
from segpipe_tests.vision.composites import (
    HAIRY,
    SMOOTH,
    SOME_HAIR,
    alpha_errors,
    band_of,
    colour_errors,
    make_composite,
)

BLURS_PX = (0.0, 0.7, 1.2)
SEEDS = range(6)


@pytest.mark.parametrize("strands", [HAIRY, SOME_HAIR, SMOOTH])
@pytest.mark.parametrize("mask_is", ["exact", "a pixel too large", "a pixel too small"])
def test_alpha_is_at_most_half_as_wrong_as_the_mask_and_the_rim_a_third(
    strands: int, mask_is: str
) -> None:
    alpha, colour = [], []
    for seed in SEEDS:
        made = make_composite(seed, strands=strands, blur_px=BLURS_PX[seed % len(BLURS_PX)])
        mask = made.mask
        if mask_is != "exact":
            change = cv2.dilate if mask_is == "a pixel too large" else cv2.erode
            mask = np.asarray(change(mask, disc(1)), np.uint8)
        alpha.append(alpha_errors(made, mask))
        colour.append(colour_errors(made, mask))
    hard, soft = np.mean(alpha, axis=0)
    before, after = np.mean(colour, axis=0)
    assert soft <= hard / 2
    assert after <= before / 3
    # Also where texture is strong and contrast weak, the edge is no worse than it was.
    assert all(soft <= hard for hard, soft in alpha)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 999), st.integers(1, 6), st.booleans())
def test_nothing_changes_outside_the_band(seed: int, edge_px: int, is_cut_off: bool) -> None:
    made = make_composite(seed, strands=5, side_px=60)
    part = np.s_[:, 20:] if is_cut_off else np.s_[:, :]
    photo, mask = np.ascontiguousarray(made.photo[part]), np.ascontiguousarray(made.mask[part])
    matte = estimate_matte(photo, mask, edge_px=edge_px)
    outside = ~band_of(mask, edge_px)
    assert np.array_equal(matte.alpha[outside], 255 * mask[outside])
    assert np.array_equal(matte.rgb[outside], photo[outside])
    assert np.array_equal(matte.rgb[matte.alpha == 255], photo[matte.alpha == 255])


def test_holes_stay_holes() -> None:
    photo = np.full((120, 120, 3), (30, 60, 90), np.uint8)
    cv2.circle(photo, (60, 60), 40, (220, 180, 60), 16, cv2.LINE_AA)
    mask = (np.abs(photo[..., 0].astype(int) - 220) < 95).astype(np.uint8)
    alpha = estimate_matte(photo, mask).alpha
    assert alpha[60, 60] == 0
    assert alpha[60, 100] == 255
    assert np.count_nonzero(alpha[60, 30:90]) < 8


def test_the_tiles_of_a_large_item_meet_without_a_seam() -> None:
    made = make_composite(0, strands=HAIRY, side_px=700)
    whole = estimate_matte(made.photo, made.mask).alpha.astype(int)
    middle = np.s_[250:450, 60:640]
    alone = estimate_matte(
        np.ascontiguousarray(made.photo[middle]), np.ascontiguousarray(made.mask[middle])
    ).alpha.astype(int)
    inner = np.s_[40:-40, 40:-40]
    apart = np.abs(whole[middle][inner] - alone[inner])[band_of(made.mask)[middle][inner]]
    assert apart.mean() < 1
    assert np.quantile(apart, 0.99) < 26


@pytest.mark.parametrize("inside", [0, 1], ids=["none", "all"])
def test_without_an_edge_there_is_nothing_to_estimate(inside: int) -> None:
    photo = make_composite(1, strands=0, side_px=30).photo
    matte = estimate_matte(photo, np.full((30, 30), inside, np.uint8))
    assert (matte.alpha == 255 * inside).all()
    assert np.array_equal(matte.rgb, photo)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_the_smallest_masks_work(size: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[0, 0] = 1
    matte = estimate_matte(photo, mask)
    assert matte.alpha.shape == size
    assert matte.rgb.shape == (*size, 3)


def test_what_cannot_be_is_refused() -> None:
    photo = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(InputError, match=r"\(8, 9\)"):
        estimate_matte(photo, np.zeros((8, 9), np.uint8))
    with pytest.raises(InputError, match="1 or more, got 0"):
        estimate_matte(photo, np.zeros((8, 8), np.uint8), edge_px=0)

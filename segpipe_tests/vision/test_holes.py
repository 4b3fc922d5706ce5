"""Holes: taken apart, and pasted back without touching anything else."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import InputError
from segpipe.vision.holes import grown, hole_of_picture, hole_windows, pasted, union_of
from segpipe.vision.mask import Bitmap, Mask


def _hole(seed: int, height: int, width: int, parts: int) -> Bitmap:
    random = np.random.default_rng(seed)
    hole = np.zeros((height, width), np.uint8)
    for _ in range(parts):
        y, x = random.integers(0, height), random.integers(0, width)
        hole[y : y + random.integers(1, 12), x : x + random.integers(1, 12)] = 1
    return hole


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(0, 9),
    st.integers(0, 20),
)
def test_windows_hold_every_part_whole_and_never_meet(
    seed: int, height: int, width: int, parts: int, context_px: int
) -> None:
    hole = _hole(seed, height, width, parts)
    windows = hole_windows(hole, context_ratio=0.2, min_context_px=context_px)
    seen = np.zeros_like(hole)
    for window in windows:
        seen[window.y1 : window.y2, window.x1 : window.x2] += 1
        inside = hole[window.y1 : window.y2, window.x1 : window.x2]
        assert inside.any()
    assert seen.max(initial=0) <= 1
    assert not (hole > seen).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 9))
def test_nothing_beyond_the_feather_changes_and_the_hole_is_all_new(
    seed: int, feather_px: int
) -> None:
    random = np.random.default_rng(seed)
    hole = _hole(seed, 50, 60, 3)
    image, filled = random.integers(0, 256, (2, 50, 60, 3), np.uint8)
    made = pasted(image, filled, hole, feather_px=feather_px)
    np.testing.assert_array_equal(made[hole == 1], filled[hole == 1])
    ys, xs = np.nonzero(hole)
    rows, columns = np.mgrid[:50, :60]
    if ys.size:
        far = (
            (rows[..., None] - ys) ** 2 + (columns[..., None] - xs) ** 2 > (feather_px + 0.01) ** 2
        ).all(axis=2)
        np.testing.assert_array_equal(made[far], image[far])


@pytest.mark.parametrize("by_px", [0, 1, 2, 6, 500])  # with each pixel's disc: hours for a photo
def test_a_hole_grows_by_what_is_said_and_no_pixel_more(by_px: int) -> None:
    hole = np.zeros((600, 700), np.uint8)
    hole[10, 10] = hole[12, 40] = hole[300, 650] = 1
    rows, columns = np.mgrid[:600, :700]
    distances = [np.hypot(rows - y, columns - x) for y, x in ((10, 10), (12, 40), (300, 650))]
    np.testing.assert_array_equal(grown(hole, by_px), np.min(distances, axis=0) <= by_px)


def test_thousands_of_specks_are_thousands_of_windows() -> None:
    hole = np.zeros((1200, 1200), np.uint8)
    hole[5::8, 5::8] = 1
    started = time.process_time()
    windows = hole_windows(hole, context_ratio=0.5, min_context_px=3)
    assert len(windows) == 150 * 150  # each with each: minutes
    assert time.process_time() - started < 10


def test_masks_of_another_image_are_refused() -> None:
    mask = Mask.from_full(np.ones((4, 4), np.uint8))
    with pytest.raises(InputError, match="an image of 4 x 4 pixels, not 5 x 4"):
        union_of([mask], image_width=5, image_height=4)


def test_white_is_the_hole() -> None:
    picture = np.zeros((1, 4, 3), np.uint8)
    picture[0, 1:] = ((255, 255, 255), (127, 127, 127), (128, 128, 128))[0:3]
    assert hole_of_picture(picture).tolist() == [[0, 1, 0, 1]]

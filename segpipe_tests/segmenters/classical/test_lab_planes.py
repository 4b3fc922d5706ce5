import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray

from segpipe.segmenters.classical.lab_planes import flood


@pytest.mark.parametrize("ridge", [3, 10, 16])
@pytest.mark.parametrize("slope", [False, True])
def test_two_basins_meet_on_the_ridge(ridge: int, slope: bool) -> None:
    relief = np.full((12, 20), 10, np.uint8)
    if slope:  # a higher floor on one side moves nothing
        relief[:, ridge:] = 60
    relief[:, ridge] = 200
    markers = np.zeros(relief.shape, np.int32)
    markers[5, 0], markers[5, 19] = 1, 2
    flooded = flood(relief, markers)
    assert (flooded[:, :ridge] == 1).all()
    assert (flooded[:, ridge + 1 :] == 2).all()


def test_water_takes_the_lowest_pass() -> None:
    relief = np.full((11, 11), 10, np.uint8)
    relief[:, 5] = 250
    relief[5, 5] = 90  # the pass from left to right
    relief[0:5, 10] = relief[4, 6:] = 40  # round the basin in the upper right corner
    markers = np.zeros(relief.shape, np.int32)
    markers[10, 0], markers[0, 7] = 1, 2
    flooded = flood(relief, markers)
    assert (flooded[:, :5] == 1).all()
    # Marker 2 gets over its rim of 40 before marker 1 gets through the pass of 90.
    assert (flooded[:, 6:] == 2).all()


def _pass_heights(relief: NDArray[np.uint8], start: tuple[int, int]) -> NDArray[np.int64]:
    """The lowest height by which each pixel can be reached, two neighbours' mean at each step."""
    height, width = relief.shape
    level = np.full(relief.shape, 10**6)
    level[start] = 0
    queue = [(0, start)]
    while queue:
        reached, (y, x) = heapq.heappop(queue)
        for ny, nx in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= ny < height and 0 <= nx < width:
                step = max(reached, int(relief[y, x] >> 1) + int(relief[ny, nx] >> 1) + 1)
                if step < level[ny, nx]:
                    level[ny, nx] = step
                    heapq.heappush(queue, (step, (ny, nx)))
    return level


@given(st_numpy.arrays(np.uint8, (7, 9), elements=st.integers(0, 255)), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_pixel_goes_to_a_marker_that_reaches_it_lowest(
    relief: NDArray[np.uint8], data: st.DataObject
) -> None:
    pixels = st.tuples(st.integers(0, 6), st.integers(0, 8))
    places = data.draw(st.lists(pixels, min_size=1, max_size=4, unique=True))
    markers = np.zeros(relief.shape, np.int32)
    for label, place in enumerate(places, 1):
        markers[place] = label
    flooded = flood(relief, markers)
    assert set(np.unique(flooded)) <= set(range(1, len(places) + 1))

    heights = np.stack([_pass_heights(relief, place) for place in places])
    lowest = heights.min(0)
    own = np.take_along_axis(heights, flooded[None] - 1, axis=0)[0]
    for label, place in enumerate(places, 1):
        assert flooded[place] == label
    # A pixel on the line between two basins may fall to either, and then it blocks the way.
    agreeing = own == lowest
    on_line = np.zeros(relief.shape, np.bool_)
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)):
        on_line |= np.roll(flooded, (dy, dx), (0, 1)) != flooded
    assert (agreeing | on_line).all()


def test_no_pixel_is_left_behind_a_dividing_line() -> None:
    """OpenCV's lines may enclose pixels that no water reaches."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        markers = np.zeros((6, 7), np.int32)
        for label in range(1, 5):
            markers[rng.integers(6), rng.integers(7)] = label
        assert flood(rng.integers(0, 256, (6, 7), dtype=np.uint8), markers).min() > 0


def test_without_a_marker_nothing_is_flooded() -> None:
    assert not flood(np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.int32)).any()


def test_a_marker_that_covers_everything_stays() -> None:
    markers = np.full((4, 5), 7, np.int32)
    assert (flood(np.zeros((4, 5), np.uint8), markers) == 7).all()

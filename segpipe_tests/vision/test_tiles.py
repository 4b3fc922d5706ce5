import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import ConfigError
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.tiles import tile_windows, window_around

lengths = st.integers(1, 300)
tile_sides = st.integers(9, 130)
overlaps = st.floats(0.05, 0.5)


@given(lengths, lengths, tile_sides, overlaps)
def test_tiles_cover_each_pixel_overlap_as_asked_and_are_bounded(
    width: int, height: int, tile_px: int, overlap_ratio: float
) -> None:
    tiles = tile_windows(width, height, tile_px=tile_px, overlap_ratio=overlap_ratio)
    covered = np.zeros((height, width), np.bool_)
    for tile in tiles:
        assert (tile.width, tile.height) == (min(width, tile_px), min(height, tile_px))
        assert tile.intersect(PixelWindow(0, 0, width, height)) == tile
        covered[tile.y1 : tile.y2, tile.x1 : tile.x2] = True
    assert covered.all()
    assert len(set(tiles)) == len(tiles)
    for starts in ({tile.x1 for tile in tiles}, {tile.y1 for tile in tiles}):
        gaps = np.diff(sorted(starts))
        assert (tile_px - gaps >= math.ceil(tile_px * overlap_ratio)).all()
        assert gaps.max(initial=0) - gaps.min(initial=tile_px) <= 1


@given(lengths, tile_sides, overlaps)
def test_no_tile_is_more_than_are_needed(length: int, tile_px: int, overlap_ratio: float) -> None:
    count = len(tile_windows(length, 1, tile_px=tile_px, overlap_ratio=overlap_ratio))
    step = tile_px - math.ceil(tile_px * overlap_ratio)
    assert (count - 1) * step < length - tile_px + step or count == 1


@given(st.data(), lengths, lengths, tile_sides)
def test_a_tile_around_a_point_holds_it_and_lies_in_the_image(
    data: st.DataObject, width: int, height: int, tile_px: int
) -> None:
    x, y = data.draw(st.floats(0, width - 0.001)), data.draw(st.floats(0, height - 0.001))
    tile = window_around(x, y, tile_px=tile_px, image_width=width, image_height=height)
    assert tile.x1 <= x < tile.x2
    assert tile.y1 <= y < tile.y2
    assert tile.intersect(PixelWindow(0, 0, width, height)) == tile
    assert (tile.width, tile.height) == (min(width, tile_px), min(height, tile_px))


@pytest.mark.parametrize(
    ("tile_px", "overlap_ratio", "field"),
    [(1, 0.2, "tile_px"), (9, 0.6, "overlap_ratio"), (9, 0.0, "overlap_ratio")],
)
def test_settings_out_of_range_are_refused(tile_px: int, overlap_ratio: float, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tile_windows(9, 9, tile_px=tile_px, overlap_ratio=overlap_ratio)
    assert caught.value.field == field

"""How windows come to fill the square that a model sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.refiners.iterative.square import Fit, Square
from segpipe.vision.boxes import PixelWindow

SIDE = 256
PAD, STRETCH = (Square(SIDE, 64, fit) for fit in (Fit.PAD, Fit.STRETCH))
sides = st.integers(1, 500)


@given(sides, sides)
def test_a_padded_window_keeps_its_shape_and_fills_the_longer_side(width: int, height: int) -> None:
    columns, rows = PAD.size_of(width, height)
    assert max(columns, rows) == SIDE
    assert min(columns, rows) >= 1
    assert columns * height == pytest.approx(rows * width, abs=max(width, height))


@given(sides, sides)
def test_a_stretched_window_fills_the_square(width: int, height: int) -> None:
    assert STRETCH.size_of(width, height) == (SIDE, SIDE)


@given(sides, sides, sides, sides, st.data())
def test_what_is_shown_holds_the_window_and_lies_in_the_image(
    width: int, height: int, right: int, below: int, data: st.DataObject
) -> None:
    image = PixelWindow(0, 0, width + right, height + below)
    x, y = data.draw(st.integers(0, right)), data.draw(st.integers(0, below))
    window = PixelWindow(x, y, x + width, y + height)
    assert PAD.window_for(window, image) == window
    shown = STRETCH.window_for(window, image)
    assert shown.intersect(window) == window
    assert shown.intersect(image) == shown
    longer = max(width, height)
    for length, limit in ((shown.width, image.width), (shown.height, image.height)):
        assert length >= min(longer / 2, limit)


def test_a_window_of_a_camera_s_shape_is_shown_as_it_is() -> None:
    window = PixelWindow(10, 10, 170, 100)
    assert STRETCH.window_for(window, PixelWindow(0, 0, 4000, 3000)) == window


def test_what_is_added_lies_on_both_sides_where_there_is_room() -> None:
    line = PixelWindow(100, 50, 300, 60)
    assert STRETCH.window_for(line, PixelWindow(0, 0, 400, 400)) == (100, 5, 300, 105)
    assert STRETCH.window_for(line, PixelWindow(0, 0, 400, 80)) == (100, 0, 300, 80)
    top = PixelWindow(100, 0, 300, 10)
    assert STRETCH.window_for(top, PixelWindow(0, 0, 400, 400)) == (100, 0, 300, 100)

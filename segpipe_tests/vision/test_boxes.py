import math

import numpy as np
import pytest

from segpipe.errors import InputError
from segpipe.vision.boxes import Box, PixelWindow, pixel_window, to_array


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(1, 2, 3, 4), PixelWindow(1, 2, 3, 4)),
        (Box(1.9, 2.1, 2.1, 3.9), PixelWindow(1, 2, 3, 4)),
        (Box(-5.5, -0.1, 0.1, 99.0), PixelWindow(0, 0, 1, 6)),
        (Box(-1e300, -1e300, 1e300, 1e300), PixelWindow(0, 0, 8, 6)),
    ],
    ids=["whole pixels", "rounded outward", "clipped", "far beyond the image"],
)
def test_a_box_touches_the_pixels_it_covers_in_part(box: Box, expected: PixelWindow) -> None:
    assert pixel_window(box, image_width=8, image_height=6) == expected


@pytest.mark.parametrize(
    "box",
    [
        Box(3, 3, 3, 5),
        Box(5.5, 2, 5.5, 5),
        Box(1, 2.5, 4, 2.5),
        Box(3.9, 1, 3.1, 4),
        Box(8, 0, 9, 6),
        Box(-2, -2, 0, 0),
        Box(5, 1, 2, 4),
    ],
    ids=[
        "no width",
        "no width within a pixel",
        "no height within a pixel",
        "inverted within a pixel",
        "right of the image",
        "left of the image",
        "inverted",
    ],
)
def test_a_box_without_pixels_has_an_empty_window(box: Box) -> None:
    assert pixel_window(box, image_width=8, image_height=6).is_empty


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_box_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="finite"):
        pixel_window(Box(0, value, 1, 1), image_width=8, image_height=6)


def test_windows_intersect_in_their_shared_pixels() -> None:
    assert PixelWindow(0, 0, 4, 4).intersect(PixelWindow(2, 1, 9, 3)) == PixelWindow(2, 1, 4, 3)


def test_windows_that_only_touch_share_no_pixel() -> None:
    assert PixelWindow(0, 0, 4, 4).intersect(PixelWindow(4, 0, 8, 4)).is_empty


def test_boxes_become_an_array_of_four_columns() -> None:
    array = to_array([Box(1, 2, 3, 4), Box(5, 6, 7, 8.5)])
    assert array.dtype == np.float64
    assert array.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8.5]]
    assert to_array([]).shape == (0, 4)

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segpipe.errors import InputError
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask, iou
from segpipe.vision.path_fill import FillRule, path_to_mask

Full = NDArray[np.uint8]
Corner = tuple[int, int]
GRID = 16  # corners of polygons in tests lie on sixteenths of a pixel
CANVAS = 12

corners = st.tuples(*[st.integers(-3 * GRID, (CANVAS + 3) * GRID)] * 2)
polygons = st.lists(st.lists(corners, min_size=1, max_size=7), min_size=1, max_size=3)


def slow_fill(polygons: Sequence[Sequence[Corner]], fill_rule: FillRule) -> Full:
    """The pixels whose centres have a line winding round them, on the canvas."""
    rows, columns = np.indices((CANVAS, CANVAS))
    y, x = (GRID * rows + GRID // 2).astype(object), (GRID * columns + GRID // 2).astype(object)
    winding = np.zeros((CANVAS, CANVAS), object)
    for polygon in polygons:
        for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
            # Left of the centre, or on it: the sign of the cross product, for a line going down.
            side = (x2 - x1) * (y - y1) - (x - x1) * (y2 - y1)
            winding += ((y1 <= y) & (y < y2) & (side <= 0)).astype(int)
            winding -= ((y2 <= y) & (y < y1) & (side >= 0)).astype(int)
    inside = winding % 2 if fill_rule is FillRule.EVENODD else winding != 0
    return np.asarray(inside, np.uint8)


def path_of(polygons: Sequence[Sequence[Corner]]) -> str:
    return "".join(f"M{'L'.join(f'{x},{y}' for x, y in polygon)}Z" for polygon in polygons)


@given(polygons, st.sampled_from(FillRule))
@settings(deadline=None)
def test_the_pixels_are_those_whose_centres_are_inside(
    drawn: list[list[Corner]], fill_rule: FillRule
) -> None:
    mask = path_to_mask(
        path_of(drawn),
        Box(0, 0, 1 / GRID, 1 / GRID),
        image_width=CANVAS,
        image_height=CANVAS,
        fill_rule=fill_rule,
    )
    assert np.array_equal(mask.to_full(), slow_fill(drawn, fill_rule))


# There and back


@pytest.mark.parametrize(
    ("path", "nonzero", "evenodd"),
    [
        ("M0,0H9V9H0ZM3,3H6V6H3Z", 81, 72),
        ("M0,0H9V9H0ZM3,3V6H6V3Z", 72, 72),
        ("M0,0H6V6H0ZM3,3H9V9H3Z", 63, 54),
    ],
    ids=["hole wound the same way", "hole wound the other way", "overlap"],
)
def test_the_fill_rule_decides_where_subpaths_lie_on_each_other(
    path: str, nonzero: int, evenodd: int
) -> None:
    areas = [
        path_to_mask(path, Box(0, 0, 1, 1), image_width=9, image_height=9, fill_rule=fill_rule).area
        for fill_rule in (FillRule.NONZERO, FillRule.EVENODD)
    ]
    assert areas == [nonzero, evenodd]


@pytest.mark.parametrize(
    "path",
    [
        # Four arcs of a circle of radius 1 around 1,1 (the usual 0.5523), as cubic curves.
        "M2,1C2,1.5523 1.5523,2 1,2S0,1.5523 0,1S.4477,0 1,0S2,.4477 2,1Z",
        # Two points of a circle a quarter apart and where its tangents meet, eight times.
        "M2,1"
        + "".join(
            f"Q{1 + np.cos(a - np.pi / 8) / np.cos(np.pi / 8)},"
            f"{1 + np.sin(a - np.pi / 8) / np.cos(np.pi / 8)} {1 + np.cos(a)},{1 + np.sin(a)}"
            for a in np.arange(1, 9) * np.pi / 4
        ),
    ],
    ids=["C and S", "Q"],
)
def test_curves_draw_a_disc(path: str) -> None:
    rows, columns = np.indices((400, 400)) + 0.5
    disc = Mask.from_full(np.hypot(rows - 200, columns - 200) < 200)
    mask = path_to_mask(path, Box(0, 0, 200, 200), image_width=400, image_height=400)
    assert iou(mask, disc) > 0.994  # eight parabolas are off by 0.1 % of the radius
    assert iou(mask, disc) > 0.998 or "Q" in path


@pytest.mark.parametrize(
    "path", ["", " \n", "M.5,.5", "M0,0L1,1", "M0,0L1,1Z", "M3,3h1v1z", "M0,0"]
)
def test_a_path_without_area_in_the_image_is_an_empty_mask(path: str) -> None:
    mask = path_to_mask(path, Box(0, 0, 10, 10), image_width=10, image_height=10)
    assert mask.is_empty
    assert (mask.image_width, mask.image_height) == (10, 10)


def test_open_subpaths_are_closed() -> None:
    mask = path_to_mask("M0,0H1V1H0M2,2h1v1h-1", Box(0, 0, 1, 1), image_width=4, image_height=4)
    assert np.array_equal(mask.to_full(), np.diag([1, 0, 1, 0]))


def test_what_reaches_out_of_the_image_is_cut_off() -> None:
    mask = path_to_mask(
        "M-1e6,-1e6H1e6V1e6H-1e6ZM2,2V3H3V2Z", Box(0, 0, 1e4, 1e4), image_width=5, image_height=4
    )
    assert mask.area == 20


@pytest.mark.parametrize(
    "box",
    [
        Box(0, 0, 0, 1),
        Box(0, 3, 1, 2),
        Box(np.nan, 0, 1, 1),
        Box(0, 0, np.inf, 1),
        Box(-1e308, 0, 1e308, 1),
        Box(0, 0, 1e300, 1e300),
    ],
)
def test_a_box_without_area_or_end_is_refused(box: Box) -> None:
    with pytest.raises(InputError) as caught:
        path_to_mask("M0,0H1V1Z", box, image_width=9, image_height=9)
    assert caught.value.field == "box"


@pytest.mark.parametrize(
    "path",
    ["M0,0" + "V1H1V0H0" * 500, "M0,0" + "C9e5,0 0,9e5 0,0" * 1000],
    ids=["too many crossings", "too many lines"],
)
def test_a_path_that_would_take_endless_work_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="more than") as caught:
        path_to_mask(path, Box(0, 0, 5e3, 5e3), image_width=5000, image_height=5000)
    assert caught.value.field == "svg_path"


# Outlines as arrays

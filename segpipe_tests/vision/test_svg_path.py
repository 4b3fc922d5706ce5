from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segpipe.errors import InputError
from segpipe.vision.svg_path import MAX_CHARACTERS, Curves, Drawing, flatten, parse_path

# In quarters, so that sums of relative steps are exact.
numbers = st.integers(-80, 80).map(lambda number: number / 4)
SIZES = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0}
commands = st.sampled_from(sorted(SIZES)).flatmap(
    lambda kind: st.tuples(
        st.just(kind), st.lists(numbers, min_size=SIZES[kind], max_size=SIZES[kind])
    )
)
controls = st.complex_numbers(max_magnitude=1000, allow_nan=False)
curves = st.lists(st.tuples(*[controls] * 4), max_size=4).map(
    lambda rows: np.array(rows, np.complex128).reshape(-1, 4)
)


def assert_same(path: str, other: str) -> None:
    first, second = parse_path(path), parse_path(other)
    assert np.allclose(first.lines, second.lines, rtol=0, atol=1e-12)
    assert np.allclose(first.curves, second.curves, rtol=0, atol=1e-12)


def curves_of(path: str) -> list[list[complex]]:
    rows: list[list[complex]] = parse_path(path).curves.tolist()
    return rows


def slow_points(curve: Sequence[complex], count: int) -> NDArray[np.complex128]:
    """Points of a curve by de Casteljau's construction."""
    t = np.linspace(0, 1, count)
    left = [np.full(count, control) for control in curve]
    while len(left) > 1:
        left = [(1 - t) * a + t * b for a, b in pairwise(left)]
    return left[0]


def distances(points: NDArray[np.complex128], lines: NDArray[np.complex128]) -> NDArray[np.float64]:
    """From each point to the nearest of the lines."""
    start, span = lines[:, 0], lines[:, 1] - lines[:, 0]
    length = np.maximum(np.abs(span) ** 2, 1e-300)
    along = ((points[:, None] - start) * span.conj()).real / length
    nearest = start + np.clip(along, 0, 1) * span
    return np.asarray(np.abs(points[:, None] - nearest).min(axis=1))


def relative(absolute: Sequence[tuple[str, list[float]]]) -> str:
    """The same commands with relative numbers."""
    at, start, written = 0j, 0j, []
    for kind, values in absolute:
        if kind in "HV":
            own = at.real if kind == "H" else at.imag
            written.append(f"{kind.lower()}{values[0] - own}")
            at = complex(values[0], at.imag) if kind == "H" else complex(at.real, values[0])
            continue
        offsets = [value - (at.imag if i % 2 else at.real) for i, value in enumerate(values)]
        written.append(kind.lower() + " ".join(map(str, offsets)))
        at = complex(*values[-2:]) if values else start
        start = at if kind == "M" else start
    return "".join(written)


# What is drawn


def test_lines_are_drawn_and_closed() -> None:
    lines = parse_path("M1,2L3,4H5V6").lines.tolist()
    assert lines == [[1 + 2j, 3 + 4j], [3 + 4j, 5 + 4j], [5 + 4j, 5 + 6j], [5 + 6j, 1 + 2j]]


def test_a_cubic_curve_keeps_its_control_points() -> None:
    assert curves_of("M1,2C3,4 5,6 7,8") == [[1 + 2j, 3 + 4j, 5 + 6j, 7 + 8j]]


def test_a_quadratic_curve_is_raised_to_the_same_cubic_one() -> None:
    (curve,) = curves_of("M0,0Q3,6 6,0")
    assert np.allclose(slow_points(curve, 20), slow_points([0j, 3 + 6j, 6 + 0j], 20))


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("M0,0S5,6 7,8", "M0,0C0,0 5,6 7,8"),
        ("M0,0C1,2 3,4 5,5S8,8 9,0", "M0,0C1,2 3,4 5,5C7,6 8,8 9,0"),
        ("M0,0S3,4 5,5S8,8 9,0", "M0,0S3,4 5,5C7,6 8,8 9,0"),
        ("M0,0C1,2 3,4 5,5L6,6S8,8 9,0", "M0,0C1,2 3,4 5,5L6,6C6,6 8,8 9,0"),
        ("M0,0Q3,4 5,5S8,8 9,0", "M0,0Q3,4 5,5C5,5 8,8 9,0"),
        ("M0,0Q3,4 5,5T9,0", "M0,0Q3,4 5,5Q7,6 9,0"),
        ("M0,0Q3,4 5,5T9,0T0,1", "M0,0Q3,4 5,5Q7,6 9,0Q11,-6 0,1"),
        ("M1,1T9,0", "M1,1Q1,1 9,0"),
        ("M0,0C1,2 3,4 5,5T9,0", "M0,0C1,2 3,4 5,5Q5,5 9,0"),
        ("M0,0Q3,4 5,5ZT9,0", "M0,0Q3,4 5,5ZQ0,0 9,0"),
        ("M0,0Q3,4 5,5M2,2T9,0", "M0,0Q3,4 5,5M2,2Q2,2 9,0"),
        ("M0,0C1,2 3,4 0,0ZS8,8 9,0", "M0,0C1,2 3,4 0,0ZC0,0 8,8 9,0"),
    ],
    ids=[
        "S alone",
        "S after C",
        "S after S",
        "S after L",
        "S after Q",
        "T after Q",
        "T after T",
        "T alone",
        "T after C",
        "T after Z",
        "T after M",
        "S after a Z that draws nothing",
    ],
)
def test_s_and_t_go_on_smoothly_after_their_own_kind_alone(path: str, same: str) -> None:
    assert_same(path, same)


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("M1,1 2,3 4,0", "M1,1L2,3L4,0"),
        ("m1,1 2,3 4,0", "M1,1L3,4L7,4"),
        ("M1,1L2,3 4,0", "M1,1L2,3L4,0"),
        ("M1,1H2 3 4V5 6", "M1,1H2H3H4V5V6"),
        ("m1,1h2 3v4 5", "M1,1H3H6V5V10"),
        ("M0,0c1,1 2,2 3,0 1,1 2,2 3,0", "M0,0C1,1 2,2 3,0C4,1 5,2 6,0"),
        ("M0,0q1,1 2,0 1,1 2,0t1,1", "M0,0Q1,1 2,0Q3,1 4,0T5,1"),
        ("M1,1L5,1L5,5ZL9,9", "M1,1L5,1L5,5ZM1,1L9,9"),
        ("M1,1L5,1L5,5zl1,1", "M1,1L5,1L5,5ZM1,1L2,2"),
        ("M1,1l4,0l0,4zm1,1l1,0", "M1,1L5,1L5,5ZM2,2L3,2"),
        ("M1,1l4,0l0,4m1,1l1,0", "M1,1L5,1L5,5ZM6,6L7,6"),
        ("M1,1L5,1L5,5ZZ", "M1,1L5,1L5,5"),
    ],
    ids=[
        "M goes on as L",
        "m goes on as l",
        "L again",
        "H and V again",
        "h and v again",
        "c again",
        "q again",
        "L after Z",
        "l after z",
        "m after z",
        "m without z",
        "Z twice",
    ],
)
def test_commands_repeat_and_subpaths_follow_each_other(path: str, same: str) -> None:
    assert_same(path, same)


@given(st.lists(commands, max_size=8))
@settings(deadline=None)
def test_relative_commands_draw_what_absolute_ones_do(drawn: list[tuple[str, list[float]]]) -> None:
    absolute = [("M", [1.0, 2.0]), *drawn]
    written = "".join(kind + " ".join(map(str, values)) for kind, values in absolute)
    assert_same(written, relative(absolute))


@given(st.lists(commands, max_size=8))
@settings(deadline=None)
def test_every_subpath_comes_back_to_where_it_began(drawn: list[tuple[str, list[float]]]) -> None:
    drawing = parse_path("M0,0" + "".join(k + " ".join(map(str, v)) for k, v in drawn))
    ends = [*drawing.lines.ravel().tolist(), *drawing.curves[:, [0, 3]].ravel().tolist()]
    assert all(ends.count(end) % 2 == 0 for end in ends)


@given(
    st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5), min_size=1, max_size=4)
)
@settings(deadline=None)
def test_polygons_as_they_are_traced_are_those_written_in_any_other_way(
    polygons: list[list[tuple[float, float]]],
) -> None:
    traced = "".join(f"M{'L'.join(f'{x:g},{y:g}' for x, y in each)}Z" for each in polygons)
    spaced = "".join(f"M {' L '.join(f'{x} {y}' for x, y in each)} Z " for each in polygons)
    assert np.array_equal(parse_path(traced).lines, parse_path(spaced).lines)


# How numbers are written


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("M1-2", "M1,-2"),
        ("M.5.5L-.5-.5", "M0.5,0.5L-0.5,-0.5"),
        ("M1.5.5", "M1.5,0.5"),
        ("M1e1,2E-1L1e+0-1e0", "M10,0.2L1,-1"),
        ("M1.,2.", "M1,2"),
        ("M+1+2L-0,00.50", "M1,2L0,0.5"),
        (" \t\r\n\fM 1 , 2\nL\t3\f4 ,5  ,  6 z ", "M1,2L3,4L5,6Z"),
        ("M1 2 L3 4", "M1,2L3,4"),
        ("M1,2 3,4", "M1,2,3,4"),
        ("M1,2L1000000,-1e6", "M1,2L1e6,-1000000"),
        ("M1,2L1e-400,0", "M1,2L0,0"),
    ],
)
def test_numbers_and_separators_are_read_as_svg_has_them(path: str, same: str) -> None:
    drawing = parse_path(path + "L9,9")
    assert len(drawing.lines) >= 2
    assert_same(path + "L9,9", same + "L9,9")


def test_an_empty_path_draws_nothing() -> None:
    assert parse_path("").lines.shape == parse_path(" \n").lines.shape == (0, 2)
    assert parse_path("").curves.shape == (0, 4)


# What is refused


@pytest.mark.parametrize(
    ("path", "position"),
    [
        ("L1,1", 0),
        ("  l1,1", 2),
        ("1,1", 0),
        ("z", 0),
        ("none", 0),
        ("M", 0),
        ("M1", 0),
        ("M1,1,1", 0),
        ("M1,1L", 4),
        ("M1,1 L2,2,3", 5),
        ("M1,1C1,1 2,2", 4),
        ("M1,1Z1", 4),
        ("M1,1H", 4),
        ("M,1,1", 0),
        ("M1,1,", 4),
        ("M1,1,L2,2", 4),
        ("M1,,1", 0),
        ("M1,1L2,2;", 8),
        ("M1,1L--2,2", 4),
        ("M1,1L2,.", 4),
        ("M1,1L2,2e", 8),
        ("M1,1X2,2", 4),
        ("M1,1L\u0661,2", 4),
        ("M1,1L1\u00a02", 4),
        ("M1,1Lnan,2", 4),
        ("M1,1L1e7,2", 4),
        ("M1,1L1e999,2", 4),
        ("M1,1L-1e999,2", 4),
        ("M1,1L2,2ZM3,3L1e7,4Z", 13),
        ("M1,1A5,5 0 0 1 2,2", 4),
        ("M1,1a5,5 0 01 2,2", 4),
    ],
)
def test_a_malformed_path_is_refused_with_its_place(path: str, position: int) -> None:
    with pytest.raises(InputError, match=rf"at character {position}: ") as caught:
        parse_path(path)
    assert caught.value.field == "svg_path"


def test_the_message_for_an_arc_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"draw arcs as curves \(C\)"):
        parse_path("M0,0A1,1 0 0 1 1,1")


@given(st.text("MmLlHhVvCcSsQqTtZzAaeE0123456789+-., \n", max_size=60))
@settings(deadline=None)
def test_any_text_gives_a_drawing_of_finite_points_or_a_typed_error(text: str) -> None:
    try:
        drawing: Drawing = parse_path(text)
    except InputError:
        return
    assert np.isfinite(drawing.lines).all()
    assert np.isfinite(drawing.curves).all()


@pytest.mark.parametrize(
    "path",
    [
        "M0,0" + "1" * (MAX_CHARACTERS - 4),
        "M0,0" + "1," * (MAX_CHARACTERS // 2 - 2),
        "M0,0L" + "1.1" * 100_000 + "x",
        "M0,0" + " " * (MAX_CHARACTERS - 5) + ",",
        "M0,0L1" + "e" * 500_000,
        "M0,0" * (MAX_CHARACTERS // 4 + 1),
    ],
    ids=["one number", "commas", "numbers", "spaces", "letters", "too long"],
)
def test_long_nonsense_is_refused(path: str) -> None:
    with pytest.raises(InputError):
        parse_path(path)


# Curves as lines


@given(curves, st.sampled_from([0.05, 0.5, 5.0]))
@settings(deadline=None)
def test_lines_stay_near_their_curve_and_follow_each_other(drawn: Curves, tolerance: float) -> None:
    first = 0
    lines = flatten(drawn, tolerance)
    for curve in drawn:
        count = len(flatten(curve[None], tolerance))
        own = lines[first : first + count]
        first += count
        assert np.array_equal(own[1:, 0], own[:-1, 1])
        assert (own[0, 0], own[-1, 1]) == (curve[0], curve[3])
        assert distances(slow_points(curve.tolist(), 200), own).max() <= tolerance * (1 + 1e-9)
    assert first == len(lines)


def test_a_straight_curve_takes_one_line_and_a_bent_one_few() -> None:
    assert len(flatten(np.array([[0, 1, 2, 3]], np.complex128), 0.05)) == 1
    quarter = np.array([[100, 100 + 55.23j, 55.23 + 100j, 100j]])
    lines = flatten(quarter, 0.05)
    assert 10 <= len(lines) <= 40
    assert all(abs(abs(end) - 100) < 0.1 for end in lines[:, 1])


@pytest.mark.parametrize("size", [1e12, 1e300])
def test_curves_that_take_too_many_lines_are_refused(size: float) -> None:
    huge = np.array([[0, size, size * 1j, 0]] * 3)
    with pytest.raises(InputError, match="more than") as caught:
        flatten(huge, 0.05)
    assert caught.value.field == "svg_path"

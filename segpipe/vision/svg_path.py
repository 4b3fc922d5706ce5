"""SVG path data as straight lines and cubic curves.

The grammar is that of https://www.w3.org/TR/SVG2/paths.html#PathDataBNF, without arcs.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import PathError

Lines = NDArray[np.complex128]
"""Shape (n, 2), from and to, each as x + iy."""
Curves = NDArray[np.complex128]
"""Shape (n, 4), the control points of cubic Bézier curves, each as x + iy."""

MAX_CHARACTERS = 1_000_000
MAX_NUMBER = 1e6
MAX_PIECES = 1_000_000

_NUMBERS_OF = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0}
_NUMBERS_OF |= {letter.lower(): size for letter, size in _NUMBERS_OF.items()}
_SPACES = " \t\n\f\r"
_SPACE = rf"[{_SPACES}]*+"
_NUMBER = r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+"  # SVG 1.1 has "1." too
# Nothing is tried twice (++ and *+), so that a hostile path costs no more than its length.
_COMMAND = re.compile(
    rf"([A-Za-z]){_SPACE}((?:{_NUMBER}(?:{_SPACE},?{_SPACE}{_NUMBER})*+)?+){_SPACE}"
)
_EACH_NUMBER = re.compile(_NUMBER)
# As outlines are traced: closed polygons without spaces.
_POLYGONS = re.compile(rf"(?:M{_NUMBER},{_NUMBER}(?:L{_NUMBER},{_NUMBER})*+Z)++")
_BETWEEN_NUMBERS = str.maketrans("MLZ,", "    ")
_QUOTED_CHARACTERS = 16


class Drawing(NamedTuple):
    """What a path draws, in its own units; every subpath is closed."""

    lines: Lines
    curves: Curves


def parse_path(path: str) -> Drawing:
    """Read path data: M L H V C S Q T Z, absolute and relative.

    Args:
        path: At most a million characters, without numbers beyond a million; it may be empty.

    Returns:
        Its lines, with those that close open subpaths, and its curves, quadratic ones as cubic.

    Raises:
        PathError: The path is malformed, is beyond a limit, or has an arc; the message says where.
    """
    if len(path) > MAX_CHARACTERS:
        raise PathError(
            f"a path has at most {MAX_CHARACTERS} characters, got {len(path)}", field="svg_path"
        )
    if _POLYGONS.fullmatch(path):
        return Drawing(_polygons(path), np.zeros((0, 4), np.complex128))
    pen = _Pen()
    for letter, numbers in _commands(path):
        pen.draw(letter, numbers)
    pen.close()
    return Drawing(
        np.array(pen.lines, np.complex128).reshape(-1, 2),
        np.array(pen.curves, np.complex128).reshape(-1, 4),
    )


def flatten(curves: Curves, tolerance: float) -> Lines:
    """Lines that stay within a distance of cubic curves.

    The number of lines is Wang's: D. Wang, X. Cao, "An improved calculation formula of the depth of
    recursion of the Bézier curve"; see also R. Goldman, "Pyramid Algorithms", 2002, section 5.6.3.

    Args:
        curves: Shape (n, 4).
        tolerance: More than 0, in the units of the curves.

    Returns:
        Shape (m, 2), curve after curve.

    Raises:
        PathError: It takes more than a million lines.
    """
    bend = np.abs(np.diff(curves, n=2, axis=1)).max(axis=1, initial=0)
    counts = np.maximum(np.ceil(np.sqrt(0.75 * bend / tolerance)), 1)
    # Before they become integers, which huge ones would overflow.
    if not counts.sum() <= MAX_PIECES:
        raise PathError(
            f"the curves of the path are {counts.sum():.0f} lines long, more than {MAX_PIECES}",
            field="svg_path",
        )
    pieces = counts.astype(np.int64)
    total = int(pieces.sum())
    place = np.arange(total) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    controls, pieces = np.repeat(curves, pieces, axis=0), np.repeat(pieces, pieces)
    ends = [_point_at(controls, (place + end) / pieces) for end in (0, 1)]
    return np.column_stack(ends)


def _point_at(controls: Curves, t: NDArray[np.float64]) -> NDArray[np.complex128]:
    rest = 1 - t
    weights = np.column_stack([rest**3, 3 * rest**2 * t, 3 * rest * t**2, t**3])
    points: NDArray[np.complex128] = (controls * weights).sum(axis=1)
    return points


def _polygons(path: str) -> Lines:
    """The lines of closed polygons, all at once: what the pen would draw of them."""
    numbers = np.array(path.translate(_BETWEEN_NUMBERS).split(), np.float64)
    if np.abs(numbers).max() > MAX_NUMBER:
        list(_commands(path))  # refuses it with the place
    corners = numbers.view(np.complex128)
    lengths = np.array([subpath.count(",") for subpath in path.split("M")[1:]])
    ends = np.cumsum(lengths)
    following = np.arange(1, len(corners) + 1)
    following[ends - 1] = ends - lengths
    lines = np.column_stack([corners, corners[following]])
    is_drawn = np.ones(len(lines), np.bool_)
    is_drawn[ends - 1] = lines[ends - 1, 0] != lines[ends - 1, 1]  # back at its start already
    return lines[is_drawn]


class _Pen:
    """Draws commands, and keeps what they drew."""

    def __init__(self) -> None:
        self.lines: list[tuple[complex, complex]] = []
        self.curves: list[tuple[complex, complex, complex, complex]] = []
        self._at = 0j
        self._start = 0j  # of the subpath
        # The last control point, for a command that goes on smoothly, of S and of T.
        self._cubic_control = self._quadratic_control = 0j

    def draw(self, letter: str, numbers: Sequence[float]) -> None:
        """Draw a command, again for every further group of numbers."""
        kind, is_relative, size = letter.upper(), letter.islower(), _NUMBERS_OF[letter]
        if kind == "Z":
            self.close()
            return
        for first in range(0, len(numbers), size):
            origin = self._at if is_relative else 0j
            points = self._points(kind, numbers[first : first + size], origin)
            if kind == "M":
                self.close()
                self._start = self._at = self._cubic_control = self._quadratic_control = points[0]
                kind = "L"
            else:
                self._draw_to(kind, points)

    def close(self) -> None:
        """Go straight back to the start of the subpath."""
        if self._at != self._start:
            self._draw_to("L", (self._start,))
        self._cubic_control = self._quadratic_control = self._at

    def _points(self, kind: str, numbers: Sequence[float], origin: complex) -> Sequence[complex]:
        if kind == "H":
            return (complex(origin.real + numbers[0], self._at.imag),)
        if kind == "V":
            return (complex(self._at.real, origin.imag + numbers[0]),)
        return [origin + complex(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]

    def _draw_to(self, kind: str, points: Sequence[complex]) -> None:
        """Draw from here to the last of the points."""
        start, end = self._at, points[-1]
        cubic_control = quadratic_control = end
        if kind in "LHV":
            self.lines.append((start, end))
        elif kind in "CS":
            mirrored = 2 * start - self._cubic_control
            first, cubic_control = (mirrored, points[0]) if kind == "S" else points[:2]
            self.curves.append((start, first, cubic_control, end))
        else:
            mirrored = 2 * start - self._quadratic_control
            quadratic_control = mirrored if kind == "T" else points[0]
            first, second = (p + (quadratic_control - p) * 2 / 3 for p in (start, end))
            self.curves.append((start, first, second, end))
        self._at = end
        self._cubic_control, self._quadratic_control = cubic_control, quadratic_control


def _commands(path: str) -> Iterator[tuple[str, list[float]]]:
    """Each command's letter and its numbers, checked."""
    position = len(path) - len(path.lstrip(_SPACES))
    if position < len(path) and path[position] not in "Mm":
        _refuse(path, position, "a path starts with M")
    while position < len(path):
        found = _COMMAND.match(path, position)
        if not found:
            _refuse(path, position, "expected a command or a number")
        letter, text = found.groups()
        size = _NUMBERS_OF.get(letter)
        if size is None:
            arcs = "; draw arcs as curves (C)" if letter in "Aa" else ""
            _refuse(path, position, f"{letter} is none of the commands MLHVCSQTZ{arcs}")
        numbers = list(map(float, _EACH_NUMBER.findall(text)))
        if (len(numbers) % size or not numbers) if size else numbers:
            _refuse(path, position, f"{letter} takes groups of {size} numbers, got {len(numbers)}")
        if max(map(abs, numbers), default=0) > MAX_NUMBER:
            _refuse(path, position, f"a number is beyond {MAX_NUMBER:.0f}")
        yield letter, numbers
        position = found.end()


def _refuse(path: str, position: int, reason: str) -> NoReturn:
    near = path[position : position + _QUOTED_CHARACTERS]
    raise PathError(f"{reason}, at character {position}: {near!r}", field="svg_path")

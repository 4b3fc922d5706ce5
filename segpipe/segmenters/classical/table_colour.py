"""What the table looks like under uneven light."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.segmenters.classical.lab_planes import Flags, LabImage, filled

Samples = NDArray[np.float64]
"""Shape (n, 3), Lab."""

_GRID_SIDE_PX = 96  # light changes slowly: a coarse grid shows all of it
_BORDER_FRACTION = 0.06  # of the shorter side: the rim of a photo is mostly table
_ROUNDS = 6
_TUKEY_MADS = 2.5
_MAD_TO_DEVIATION = 1.4826
_TABLE_QUANTILE = 0.4  # items may cover a part of the samples: the middle of the better 80 %
_TOLERANCE_FLOOR = 5.0  # Delta E: a finer first fit would lock on to a part of the table
_REACH = 12.0  # Delta E from the border's surface within which a pixel can be table
_RIDGE = 1e-6
# A wall behind the table, or a second table:
_TWO_COLOURS = 9.0  # Delta E between them
_STEP_LENGTH = 3  # pixels of the coarse grid
_LASTING = 0.5  # of the step at the wall's edge
_UNLIKE_STEPS = 0.5  # of a step, by which that at the other side of the photo may differ
_WALL_REACH = 15.0  # Delta E from the wall's surface
_LENS_BLUR_PX = 1.1
_NOISE_FLOOR = np.array([0.8, 1.2, 1.2])  # Lab; JPEG leaves about that much even on plain colour


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """The bare table.

    Attributes:
        surface: Its colour at every pixel, (h, w, 3) float32, Lab.
        noise: Standard deviation of a pixel around it, (3,) float32, Lab.
    """

    surface: LabImage
    noise: NDArray[np.float32]


def fit_background(lab: LabImage) -> Background:
    """Fit the table's colour by a cubic surface, robustly, and measure its noise.

    The border of the photo comes first, since most of it is table; then every pixel that may be
    table by that surface corrects it. Items are outliers to Tukey's biweight in iteratively
    reweighted least squares (P. W. Holland, R. E. Welsch: "Robust regression using iteratively
    reweighted least-squares", 1977, https://doi.org/10.1080/03610927708827533).

    Args:
        lab: Shape (h, w, 3) float32, CIE Lab, a little smoothed.
    """
    height, width = lab.shape[:2]
    scale = min(1.0, _GRID_SIDE_PX / max(height, width))
    grid = (max(2, round(height * scale)), max(2, round(width * scale)))
    small = cv2.resize(lab, grid[::-1], interpolation=cv2.INTER_AREA)
    samples = small.reshape(-1, 3).astype(np.float64)

    surfaces = []
    for part in _parts_of_border(samples, grid):
        coarse = _surface(samples, part.ravel(), grid).reshape(*grid, 3).astype(np.float32)
        surfaces.append(np.asarray(cv2.resize(coarse, (width, height)), np.float32))
    surface = surfaces[0] if len(surfaces) == 1 else _side_by_side(lab, *surfaces)
    return Background(surface, _noise(lab, surface))


def _surface(samples: Samples, border: NDArray[np.bool_], grid: tuple[int, int]) -> Samples:
    """The colours of the table whose border pixels are given, (pixels, 3)."""
    fitted = np.broadcast_to(np.median(samples[border], axis=0), samples.shape)
    for degree in (1, 2):
        fitted = _fit(samples, border, _terms(grid, degree), fitted)
    for degree in (2, 3):
        may_be_table = (_distance(samples, fitted) < _REACH) | border
        fitted = _fit(samples, may_be_table, _terms(grid, degree), fitted)
    return fitted


def _parts_of_border(samples: Samples, grid: tuple[int, int]) -> list[Flags]:
    """The border, or its part on the table and its part on a wall of another colour, (h, w).

    A wall ends at a line from one side of the photo to the other, at both ends of which the colour
    changes by the same step, for good: at an item on the border it changes back again.
    """
    border = _border(grid)
    band = _band(grid)
    picture = samples.reshape(*grid, 3)
    for turned in (picture, picture.transpose(1, 0, 2)):
        left, right = (
            _lasting_step(np.median(side, axis=1)) for side in (turned[:, :band], turned[:, -band:])
        )
        if left is None or right is None:
            continue
        (begin, one), (end, other) = left, right
        if np.linalg.norm(one - other) > _UNLIKE_STEPS * np.linalg.norm(one):
            continue
        rows, columns = np.indices(turned.shape[:2])
        above = rows < begin + (end - begin) * columns / (turned.shape[1] - 1)
        is_above = above if turned is picture else above.T
        return sorted((border & is_above, border & ~is_above), key=np.count_nonzero, reverse=True)
    return [border]


def _lasting_step(profile: Samples) -> tuple[int, NDArray[np.float64]] | None:
    """Where the colours along a side, (n, 3), change most, and how; None where not for good."""
    steps = np.array(
        [
            profile[at : at + _STEP_LENGTH].mean(axis=0)
            - profile[at - _STEP_LENGTH : at].mean(axis=0)
            for at in range(_STEP_LENGTH, len(profile) - _STEP_LENGTH + 1)
        ]
    )
    if not len(steps):
        return None
    largest = int(np.argmax(np.linalg.norm(steps, axis=1)))
    at, step = largest + _STEP_LENGTH, steps[largest]
    lasting = np.median(profile[at:], axis=0) - np.median(profile[:at], axis=0)
    size = float(step @ step)
    if size < _TWO_COLOURS**2 or float(lasting @ step) < _LASTING * size:
        return None
    return at, step


def _side_by_side(lab: LabImage, table: LabImage, wall: LabImage) -> LabImage:
    """The table's surface, and the wall's where the wall is, as softly as a lens joins them."""
    to_table, to_wall = (np.sqrt(np.square(lab - surface).sum(axis=2)) for surface in (table, wall))
    may_be_wall = ((to_wall < to_table) & (to_wall < _WALL_REACH)).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(may_be_wall, connectivity=4)
    if count == 1:
        return table
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    is_wall = filled(np.asarray(pieces == largest, np.uint8)).astype(np.float32)
    weight = cv2.GaussianBlur(is_wall, (0, 0), _LENS_BLUR_PX)[..., None]
    surface: LabImage = (table + weight * (wall - table)).astype(np.float32)
    return surface


def _border(shape: tuple[int, int]) -> Flags:
    border = np.ones(shape, np.bool_)
    band = _band(shape)
    border[band:-band, band:-band] = False
    return border


def _rim(lab: LabImage) -> LabImage:
    """The border's pixels, (n, 3), those of the corners twice."""
    band = _band((lab.shape[0], lab.shape[1]))
    sides = (lab[:band], lab[-band:], lab[:, :band], lab[:, -band:])
    return np.concatenate([side.reshape(-1, 3) for side in sides])


def _band(shape: tuple[int, int]) -> int:
    return max(1, round(_BORDER_FRACTION * min(shape)))


def _terms(shape: tuple[int, int], degree: int) -> Samples:
    """The polynomials of x and y up to a degree, (pixels, terms)."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    return np.stack([(x**i * y**j).ravel() for i, j in powers], axis=1)


def _fit(
    samples: Samples, used: NDArray[np.bool_], terms: Samples, start: NDArray[np.float64]
) -> Samples:
    """Refit the surface to the used samples, leaving out those far from the last fit."""
    count = terms.shape[1]
    x, y = terms[used], samples[used]
    fitted: Samples = start[used]
    coefficients: Samples = np.zeros((count, 3))
    for _ in range(_ROUNDS):
        distance = _distance(y, fitted)
        deviation = _MAD_TO_DEVIATION * float(np.quantile(distance, _TABLE_QUANTILE))
        tolerance = max(_TOLERANCE_FLOOR, _TUKEY_MADS * deviation)
        weighted = x * (np.clip(1 - (distance / tolerance) ** 2, 0, None) ** 2)[:, None]
        # The ridge keeps a nearly empty sample from throwing the surface out of the world.
        solved = np.linalg.solve(weighted.T @ x + _RIDGE * np.eye(count), weighted.T @ y)
        coefficients = np.asarray(solved, np.float64)
        fitted = x @ coefficients
    return terms @ coefficients


def _distance(a: Samples, b: Samples) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = np.linalg.norm(a - b, axis=1)
    return distance


def _noise(lab: LabImage, surface: LabImage) -> NDArray[np.float32]:
    """Deviation of the border's pixels, the items on it left out."""
    residual = _rim(lab) - _rim(surface)
    distance = np.linalg.norm(residual, axis=1)
    near = distance <= max(_NOISE_FLOOR.max() * 3, 3 * float(np.median(distance)))
    deviation = _MAD_TO_DEVIATION * np.median(np.abs(residual[near]), axis=0)
    noise: NDArray[np.float32] = np.maximum(deviation, _NOISE_FLOOR).astype(np.float32)
    return noise

"""Goods laid on tables by arithmetic, so that alpha and both colours of every pixel are known."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap
from segpipe.vision.matte import DEFAULT_EDGE_PX, estimate_matte

HAIRY, SOME_HAIR, SMOOTH = 90, 30, 0
"""How many strands a thing has."""

_FINE = 4  # drawn so many times as large
_CORNERS = 200
_MIN_CONTRAST = 80
_CAMERA_NOISE = 2.0

_Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Composite:
    """A photo, and what it was made of.

    Attributes:
        photo: (h, w, 3) uint8.
        alpha: How much of each pixel is the item's, (h, w), 0 to 1.
        item: The colours of the item, (h, w, 3), 0 to 255; everywhere, also where it is not.
    """

    photo: RgbImage
    alpha: _Floats
    item: _Floats

    @property
    def mask(self) -> Bitmap:
        """What a perfect segmenter gives."""
        return (self.alpha >= 0.5).astype(np.uint8)


def make_composite(
    seed: int, *, strands: int, blur_px: float = 0.0, side_px: int = 220
) -> Composite:
    """A thing of a random shape, colour and texture on a table of others."""
    rng = np.random.default_rng(seed)
    shape = _outline(rng, strands, side_px * _FINE)
    reduced = cv2.resize(shape, (side_px, side_px), interpolation=cv2.INTER_AREA)
    alpha = np.asarray(reduced, np.float32) / np.float32(255)
    if blur_px:
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), blur_px), np.float32)
    colours = rng.uniform(20, 235, (2, 3))
    while np.linalg.norm(colours[0] - colours[1]) < _MIN_CONTRAST:
        colours = rng.uniform(20, 235, (2, 3))
    item, table = (_textured(rng, colour, side_px) for colour in colours)
    seen = alpha[..., None] * item + (1 - alpha[..., None]) * table
    noisy = seen + rng.normal(0, _CAMERA_NOISE, seen.shape)
    return Composite(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), alpha, item)


def band_of(mask: Bitmap, edge_px: int = DEFAULT_EDGE_PX) -> NDArray[np.bool_]:
    """Every pixel at most a distance away from the edge, told by distances to pixels."""
    to_item = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    to_table = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.where(mask > 0, to_table, to_item) <= edge_px + 1e-3


def alpha_errors(made: Composite, mask: Bitmap) -> tuple[float, float]:
    """Mean absolute error of alpha in the band: of the hard mask, and as estimated."""
    band = band_of(mask)
    alpha = estimate_matte(made.photo, mask, edge_px=DEFAULT_EDGE_PX).alpha / 255
    hard, soft = (float(np.abs(one - made.alpha)[band].mean()) for one in (mask, alpha))
    return hard, soft


def colour_errors(made: Composite, mask: Bitmap) -> tuple[float, float]:
    """Mean absolute error of the rim's colour where item and table are mixed: before and after.

    Pixels count as much as they can be seen.
    """
    rim = band_of(mask) & (made.alpha > 0.05) & (made.alpha < 0.95)
    rgb = estimate_matte(made.photo, mask, edge_px=DEFAULT_EDGE_PX).rgb
    weight = made.alpha[rim][:, None] * np.ones(3)
    before, after = (
        float(np.average(np.abs(one[rim] - made.item[rim]), weights=weight))
        for one in (made.photo.astype(float), rgb.astype(float))
    )
    return before, after


def _outline(rng: np.random.Generator, strands: int, side: int) -> NDArray[np.uint8]:
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    waves = 0.15 * np.sin(3 * angles + rng.uniform(0, 6)) + 0.08 * np.sin(7 * angles)
    radius = 0.28 * side * (1 + waves)
    corners = side / 2 + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shape = np.zeros((side, side), np.uint8)
    cv2.fillPoly(shape, [corners.astype(np.int32)], (255,))
    for _ in range(strands):
        root = rng.integers(_CORNERS)
        _draw_strand(rng, shape, corners[root], angles[root] + rng.normal(0, 0.4))
    return shape


def _draw_strand(
    rng: np.random.Generator, shape: NDArray[np.uint8], root: NDArray[np.float64], angle: float
) -> None:
    """A hair of one to three pixels of the photo at its root, which thins out."""
    steps = 20
    step = rng.uniform(14, 42) * _FINE / steps
    width, bend = rng.uniform(1, 3) * _FINE, rng.normal(0, 0.08)
    here = root
    for number in range(steps):
        there = here + step * np.array([np.cos(angle), np.sin(angle)])
        thickness = max(1, round(width * (1 - number / 26)))
        (x1, y1), (x2, y2) = here.astype(int), there.astype(int)
        cv2.line(shape, (int(x1), int(y1)), (int(x2), int(y2)), (255,), thickness, cv2.LINE_AA)
        here, angle = there, angle + bend


def _textured(rng: np.random.Generator, colour: NDArray[np.float64], side: int) -> _Floats:
    """A colour as it is, with clouds, with grain like wood, or with light from one side."""
    kind, strength = rng.integers(4), rng.uniform(4, 18)
    plane = np.zeros((side, side), np.float32)
    if kind == 1:
        for size in (2, 6, 20):
            cloud = cv2.GaussianBlur(rng.normal(0, 1, plane.shape), (0, 0), size)
            plane += (cloud / cloud.std()).astype(np.float32)
    elif kind == 2:
        wander = cv2.GaussianBlur(rng.normal(0, 8, plane.shape), (0, 0), 30)
        rings = np.linspace(0, rng.uniform(6, 20), side) + wander
        plane = np.sin(2 * np.pi * rings).astype(np.float32)
    elif kind == 3:
        plane += np.linspace(-2, 2, side, dtype=np.float32)
    textured = colour + strength * plane[..., None] * rng.uniform(0.5, 1, 3)
    return np.clip(textured, 0, 255).astype(np.float32)

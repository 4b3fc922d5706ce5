"""The table, the light over it and the camera."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from segpipe.scenes.painted_fields import (
    Colour,
    Field,
    FullMask,
    Picture,
    Rng,
    clouds,
    hsv,
    polar,
    stripes,
    unit_grid,
)
from segpipe.vision.image import RgbImage

_BAND_ROWS = 64


def choose_colour(rng: Rng) -> Colour:
    """White, grey and black boards, wood, and coloured cloth."""
    kind = rng.choice(["light", "grey", "dark", "wood", "cloth"], p=[0.35, 0.2, 0.1, 0.2, 0.15])
    if kind == "wood":
        return hsv(rng.uniform(15, 35), rng.uniform(0.2, 0.5), rng.uniform(0.45, 0.8))
    if kind == "cloth":
        return hsv(rng.uniform(0, 360), rng.uniform(0.15, 0.6), rng.uniform(0.3, 0.75))
    low, high = {"light": (0.75, 0.95), "grey": (0.35, 0.65), "dark": (0.1, 0.22)}[str(kind)]
    return hsv(rng.uniform(0, 360), rng.uniform(0.0, 0.06), rng.uniform(low, high))


def bare_table(rng: Rng, shape: tuple[int, int], colour: Colour, *, textured: bool) -> Picture:
    """A table of one colour with a fine grain, or of wood, cloth or stone."""
    grain = 0.004 * clouds(rng, shape, 1.0) + 0.006 * clouds(rng, shape, 40.0)
    if textured:
        kind = rng.choice(["wood", "weave", "stone"])
        if kind == "wood":
            streaks = clouds(rng, shape, 2.0, stretch=rng.uniform(20, 50))
            grain = grain + rng.uniform(0.04, 0.08) * streaks
        elif kind == "weave":
            period = rng.uniform(5, 10)
            grain = grain + rng.uniform(0.04, 0.1) * stripes(rng, shape, period)
            grain = grain + rng.uniform(0.04, 0.1) * stripes(rng, shape, period)
        else:
            for scale in (2.0, 6.0, 20.0):
                grain = grain + rng.uniform(0.02, 0.05) * clouds(rng, shape, scale)
    table: Picture = (colour * (1 + grain[..., None])).astype(np.float32)
    return table


def light(rng: Rng, shape: tuple[int, int]) -> Picture:
    """A lamp to one side, its fall-off, a vignette and a slight cast: factors around 1."""
    y, x = unit_grid(shape)
    slope_x, slope_y = polar(rng, rng.uniform(0.0, 0.3))
    lamp_x, lamp_y = (float(where) for where in rng.uniform(-1, 1, 2))
    strength, fall_off = float(rng.uniform(0.0, 0.25)), float(rng.uniform(0.0, 0.12))
    cast = rng.uniform(0.95, 1.05, 3).astype(np.float32)
    across = np.exp(-((x - lamp_x) ** 2))
    light: Picture = np.empty((*shape, 3), np.float32)
    for rows in _bands(shape[0]):
        down = y[rows]
        pool = strength * (across * np.exp(-((down - lamp_y) ** 2)))
        vignette = 1 - fall_off * (x**2 + down**2)
        lit = (0.95 + slope_x * x + slope_y * down + pool) * vignette
        np.multiply(lit[..., None], cast, out=light[rows])
    return light


def shadows(rng: Rng, shape: tuple[int, int], masks: Sequence[FullMask]) -> Field:
    """The light that reaches the table, 0 to 1: a cast shadow and the contact shadow."""
    covered = np.zeros(shape, np.float32)
    for mask in masks:
        covered[mask] = 1
    away_x, away_y = polar(rng, rng.uniform(3, 12))
    shift = np.array([[1, 0, away_x], [0, 1, away_y]])
    cast = cv2.warpAffine(covered, shift, (shape[1], shape[0]))
    cast = cv2.GaussianBlur(cast, (0, 0), rng.uniform(4, 9))
    contact = cv2.GaussianBlur(covered, (0, 0), 2.5)
    light: Field = (1 - rng.uniform(0.1, 0.35) * cast) * (1 - rng.uniform(0.05, 0.2) * contact)
    return light


def photograph(rng: Rng, picture: Picture) -> RgbImage:
    """Lens blur, sensor noise (more in the light) and JPEG."""
    blurred = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 1.1))
    noise = rng.standard_normal(picture.shape, np.float32)
    strength = np.float32(rng.uniform(0.004, 0.016))
    pixels = np.empty(picture.shape, np.uint8)
    for rows in _bands(len(picture)):
        exposed = np.clip(blurred[rows], 0, 1)
        grain = noise[rows] * strength * np.sqrt(0.3 + exposed)
        pixels[rows] = (np.clip(exposed + grain, 0, 1) * 255 + 0.5).astype(np.uint8)
    quality = int(rng.integers(75, 95))
    _, jpeg = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB), np.uint8)


def _bands(height: int) -> Iterator[slice]:
    """Rows that are worked on at once: what is in between is small enough for the cache."""
    return (slice(top, top + _BAND_ROWS) for top in range(0, height, _BAND_ROWS))

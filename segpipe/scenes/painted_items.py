"""What the surface of an item looks like."""

from collections.abc import Callable

import cv2
import numpy as np

from segpipe.scenes.item_layout import tight_box
from segpipe.scenes.painted_fields import (
    Colour,
    Field,
    FullMask,
    Picture,
    Rng,
    clouds,
    hsv,
    polar,
    sharpened,
    stripes,
    unit_grid,
)

_CAMOUFLAGED_CHANCE = 0.15
_TWO_SHADES_CHANCE = 0.6


def paint_item(rng: Rng, picture: Picture, mask: FullMask, table_colour: Colour) -> None:
    """Paint one item onto the picture, in place."""
    left, top, right, bottom = (int(edge) for edge in tight_box(mask))
    window = (slice(top, bottom), slice(left, right))
    inside = mask[window]
    colour = _item_colour(rng, table_colour)
    has_two_shades = rng.random() < _TWO_SHADES_CHANCE
    second = colour * rng.uniform(0.5, 0.85) if has_two_shades else _item_colour(rng, colour)
    amount = _pattern(rng, inside.shape)[..., None]
    surface = (colour * (1 - amount) + second * amount) * shading(rng, inside)[..., None]
    picture[window][inside] = surface[inside]


def _item_colour(rng: Rng, table_colour: Colour) -> Colour:
    """Any colour of goods; now and then one close to the table's."""
    if rng.random() < _CAMOUFLAGED_CHANCE:
        brightness = rng.choice([rng.uniform(0.72, 0.87), rng.uniform(1.1, 1.25)])
        tint = rng.uniform(0.94, 1.06, 3)
        close: Colour = np.clip(table_colour * brightness * tint, 0, 1).astype(np.float32)
        return close
    saturation = rng.choice([rng.uniform(0.0, 0.2), rng.uniform(0.3, 0.95)])
    return hsv(rng.uniform(0, 360), saturation, rng.uniform(0.12, 0.95))


def _pattern(rng: Rng, shape: tuple[int, int]) -> Field:
    """How much of the item's second colour shows, 0 to 1."""
    flat = np.zeros(shape, np.float32)
    draw: dict[str, Callable[[], Field]] = {
        "plain": lambda: flat,
        "stripes": lambda: sharpened(stripes(rng, shape, rng.uniform(8, 30))),
        "checker": lambda: sharpened(
            stripes(rng, shape, period := rng.uniform(12, 32)) * stripes(rng, shape, period)
        ),
        "mottled": lambda: np.clip(0.5 + 0.3 * clouds(rng, shape, rng.uniform(1.5, 5)), 0, 1),
        "label": lambda: _label(rng, shape),
    }
    kind = rng.choice(list(draw), p=[0.3, 0.15, 0.1, 0.25, 0.2])
    return draw[str(kind)]()


def _label(rng: Rng, shape: tuple[int, int]) -> Field:
    """A sticker with lines of print."""
    height, width = shape
    printed = np.zeros(shape, np.float32)
    top, left = int(height * rng.uniform(0.2, 0.4)), int(width * rng.uniform(0.2, 0.35))
    bottom, right = int(height * rng.uniform(0.6, 0.8)), int(width * rng.uniform(0.65, 0.8))
    printed[top:bottom, left:right] = 1
    for row in range(top + 3, bottom - 3, 6):
        printed[row : row + 2, left + 3 : left + int((right - left) * rng.uniform(0.5, 0.95))] = 0
    return printed


def shading(rng: Rng, inside: FullMask) -> Field:
    """Darker toward the rim, as round things are, and lit from one side."""
    depth = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rim = (1 - np.clip(depth / max(float(depth.max()), 1), 0, 1)) ** 2
    y, x = unit_grid((inside.shape[0], inside.shape[1]))
    lit_x, lit_y = polar(rng, rng.uniform(0.0, 0.12))
    lit: Field = 1 + lit_x * x + lit_y * y - float(rng.uniform(0.0, 0.3)) * rim
    return lit

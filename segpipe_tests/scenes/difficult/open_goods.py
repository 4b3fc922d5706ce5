"""Goods with holes through which the table is seen: rings, handles, scissors, spectacles."""

import numpy as np

from segpipe.scenes import Scene
from segpipe.scenes.painted_fields import FullMask, Rng
from segpipe_tests.scenes.difficult.drawing import (
    box,
    dark_or_bright,
    disc,
    ellipse,
    grid,
    line,
    outline_of,
    take_photo,
    turned,
)


def rings(seed: int) -> Scene:
    """Rings and tyres, from a hair's breadth to thick ones, each with the table in its middle."""
    rng = np.random.default_rng(seed)
    masks = []
    for (x, y), part in zip(grid(rng, 3, 2), (0.05, 0.08, 0.12, 0.2, 0.3, 0.5), strict=True):
        radius = rng.uniform(65, 95)
        mask = disc(x, y, radius)
        masks.append(mask & ~disc(x, y, radius * (1 - part)))
    return take_photo(rng, masks, [dark_or_bright(rng) for _ in masks])


def handles(seed: int) -> Scene:
    """A mug from the side, a cup from above, a bag and a frying pan with an eye in its handle."""
    rng = np.random.default_rng(seed)
    makers = (_mug, _cup, _bag, _pan)
    masks = [
        turned(make(rng, x, y), rng.uniform(0, 360), (x, y))
        for make, (x, y) in zip(makers, grid(rng, 2, 2), strict=True)
    ]
    return take_photo(rng, masks, [dark_or_bright(rng) for _ in masks])


def scissors(seed: int) -> Scene:
    """Two pairs of scissors, more or less open: two eyes, and blades that cross at a pivot."""
    rng = np.random.default_rng(seed)
    masks = []
    for x, y in grid(rng, 2, 1):
        size, half = rng.uniform(0.85, 1.1), rng.uniform(6, 24)
        one, other = (_blade_and_eye(rng, x, y, size, half, side) for side in (-1, 1))
        masks.append(turned(one | other, rng.uniform(0, 360), (x, y)))
    return take_photo(rng, masks, [dark_or_bright(rng) for _ in masks])


def spectacles(seed: int) -> Scene:
    """Two pairs of spectacles from the front, their rims 4 to 9 pixels wide."""
    rng = np.random.default_rng(seed)
    masks = []
    for y in (160 + rng.uniform(-15, 15), 440 + rng.uniform(-15, 15)):
        x = 400 + rng.uniform(-60, 60)
        wide, high = rng.uniform(70, 90), rng.uniform(48, 66)
        rim, gap = rng.uniform(4, 9), rng.uniform(12, 22)
        mask = line([(x - gap - 6, y - high / 3), (x + gap + 6, y - high / 3)], rim + 1)
        for side in (-1, 1):
            middle = x + side * (gap + wide)
            lens = ellipse(middle, y, wide, high)
            if seed % 2:
                lens |= box(middle - wide, y - high, middle + wide, y)
            mask = mask & ~lens | outline_of(lens, rim)
            mask |= line([(middle + side * wide, y - 8), (middle + side * (wide + 26), y - 2)], 6)
        masks.append(turned(mask, rng.uniform(-20, 20), (x, y)))
    return take_photo(rng, masks, [dark_or_bright(rng) for _ in masks])


def _mug(rng: Rng, x: float, y: float) -> FullMask:
    wide, high, bar = rng.uniform(44, 58), rng.uniform(56, 72), rng.uniform(9, 15)
    body = box(x - wide - 20, y - high, x + wide - 20, y + high)
    loop = outline_of(ellipse(x + wide - 20, y, rng.uniform(40, 54), high * 0.66), bar)
    return body | loop


def _cup(rng: Rng, x: float, y: float) -> FullMask:
    radius = rng.uniform(58, 70)
    loop = outline_of(ellipse(x + radius, y, rng.uniform(34, 44), 26), rng.uniform(8, 12))
    return disc(x, y, radius) | loop


def _bag(rng: Rng, x: float, y: float) -> FullMask:
    wide, high = rng.uniform(70, 86), rng.uniform(44, 58)
    body = box(x - wide, y - 10, x + wide, y - 10 + 2 * high)
    return body | outline_of(ellipse(x, y - 10, wide * 0.6, 80), rng.uniform(7, 12))


def _pan(rng: Rng, x: float, y: float) -> FullMask:
    radius, eye = rng.uniform(58, 68), rng.uniform(13, 17)
    end = x - 40 + radius + rng.uniform(80, 100)
    pan = disc(x - 40, y, radius) | line([(x - 40, y), (end, y)], rng.uniform(16, 24))
    return (pan | disc(end, y, eye)) & ~disc(end, y, eye - 6)


def _blade_and_eye(
    rng: Rng, x: float, y: float, size: float, half_angle: float, side: int
) -> FullMask:
    """Half of a pair of scissors, turned around the pivot (x, y)."""
    eye_x, eye_y = x - 120 * size, y + 16 * size
    eye = outline_of(ellipse(eye_x, eye_y, 40 * size, 26 * size), rng.uniform(8, 12))
    arm = line([(eye_x + 36 * size, eye_y - 8 * size), (x, y)], 16 * size)
    blade = line([(x, y), (x + 140 * size, y)], rng.uniform(10, 16) * size)
    mask = eye | arm | blade
    mirrored = mask if side > 0 else _mirrored(mask, y)
    return turned(mirrored, side * half_angle, (x, y))


def _mirrored(mask: FullMask, y: float) -> FullMask:
    """Upside down around a row."""
    rows = np.round(2 * y - np.arange(mask.shape[0])).astype(int)
    inside = (rows >= 0) & (rows < mask.shape[0])
    upside_down = np.zeros_like(mask)
    upside_down[inside] = mask[rows[inside]]
    return upside_down

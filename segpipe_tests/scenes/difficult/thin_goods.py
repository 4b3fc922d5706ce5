"""Thin and long goods: needles, wires, chains."""

import numpy as np
from numpy.typing import NDArray

from segpipe.scenes import Scene
from segpipe.scenes.painted_fields import FullMask, Rng
from segpipe_tests.scenes.difficult.drawing import (
    SHAPE,
    dark_or_bright,
    disc,
    gold,
    line,
    take_photo,
)


def thin_goods(seed: int) -> Scene:
    """A pen, a needle, a wire that winds and a stick: .4 to 1.1 % of the diagonal wide."""
    rng = np.random.default_rng(seed)
    masks = []
    for index, width_px in enumerate((4.0, 5.5, 7.5, 10.5)):
        y = 110 + 125 * index
        x = np.linspace(rng.uniform(110, 160), rng.uniform(600, 690), 300)
        slope, wave = rng.uniform(-0.05, 0.05), rng.uniform(10, 24) if index == 1 else 0
        path = np.stack([x, y + slope * (x - 400) + wave * np.sin(x / 40)], 1)
        masks.append(line(path, width_px))
    return take_photo(rng, masks, [dark_or_bright(rng) for _ in masks])


def necklace(seed: int) -> Scene:
    """A closed chain of small links around the bare table."""
    rng = np.random.default_rng(seed)
    path = _loop(rng, 400, 300, 230, 150)
    mask = _chain(path, link_px=rng.uniform(4.5, 7), is_open=bool(seed % 2))
    return take_photo(rng, [mask], [gold(rng)])


def bracelets(seed: int) -> Scene:
    """Two chains of beads that lie open, curved like a bow."""
    rng = np.random.default_rng(seed)
    masks = []
    for y in (170, 420):
        phase = rng.uniform(0, np.pi)
        x = np.linspace(130, 670, 2000)
        bow = y + rng.uniform(40, 70) * np.sin((x - 130) / 540 * np.pi + phase)
        masks.append(_chain(np.stack([x, bow], 1), link_px=rng.uniform(5, 8), is_open=False))
    return take_photo(rng, masks, [gold(rng), dark_or_bright(rng)])


def _loop(rng: Rng, x: float, y: float, wide: float, high: float) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, 3000)
    radius = 1 + 0.12 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.06 * np.cos(3 * angle)
    return np.stack([x + wide * radius * np.cos(angle), y + high * radius * np.sin(angle)], 1)


def _chain(path: NDArray[np.float64], *, link_px: float, is_open: bool) -> FullMask:
    """Links, or beads where they are not open, one beside the other along a path."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0], np.cumsum(steps)])
    mask = np.zeros(SHAPE, np.bool_)
    for at in np.arange(0, along[-1], 1.9 * link_px):
        x, y = (float(np.interp(at, along, path[:, axis])) for axis in (0, 1))
        link = disc(x, y, link_px)
        mask |= link & ~disc(x, y, link_px - 2.5) if is_open else link
    return mask

"""Goods of shapes that straggle: concave, with a waist, or cut off by the border."""

import numpy as np

from segpipe.scenes import Scene
from segpipe_tests.scenes.difficult.drawing import (
    SHAPE,
    box,
    dark_or_bright,
    disc,
    ellipse,
    grid,
    line,
    take_photo,
    turned,
    turned_box,
)


def chair(seed: int) -> Scene:
    """A chair from the side: a back, a seat, two legs, and much table between them."""
    rng = np.random.default_rng(seed)
    left, top = rng.uniform(230, 290), rng.uniform(60, 90)
    wide, high, bar = rng.uniform(240, 290), rng.uniform(400, 460), rng.uniform(26, 44)
    seat = top + high * rng.uniform(0.42, 0.55)
    mask = box(left, top, left + bar, top + high)
    mask |= box(left, seat, left + wide, seat + bar)
    mask |= box(left + wide - bar, seat, left + wide, top + high)
    return take_photo(rng, [turned(mask, rng.uniform(-12, 12))], [dark_or_bright(rng)])


def brackets(seed: int) -> Scene:
    """An L, a U, a cross and a hook, each apart."""
    rng = np.random.default_rng(seed)
    masks = []
    for (x, y), kind in zip(grid(rng, 2, 2), "LUXJ", strict=True):
        arm, bar = rng.uniform(85, 110), rng.uniform(16, 26)
        mask = np.zeros(SHAPE, np.bool_)
        if kind in "LU":
            mask |= box(x - arm, y - arm, x - arm + bar, y + arm)
            mask |= box(x - arm, y + arm - bar, x + arm, y + arm)
        if kind == "U":
            mask |= box(x + arm - bar, y - arm, x + arm, y + arm)
        if kind == "X":
            mask |= box(x - arm, y - bar / 2, x + arm, y + bar / 2)
            mask |= box(x - bar / 2, y - arm, x + bar / 2, y + arm)
        if kind == "J":
            mask |= line([(x, y - arm), (x, y + arm * 0.4)], bar)
            angles = np.linspace(0, np.pi, 40)
            hook = np.stack([x - 45 + 45 * np.cos(angles), y + arm * 0.4 + 45 * np.sin(angles)], 1)
            mask |= line(hook, bar)
        masks.append(turned(mask, rng.uniform(0, 360), (x, y)))
    return take_photo(rng, masks, [dark_or_bright(rng) for _ in masks])


def waists(seed: int) -> Scene:
    """A key, a fork, a bone and a little figure: one colour each, and narrow in the middle."""
    rng = np.random.default_rng(seed)
    masks = []
    for (x, y), kind in zip(grid(rng, 2, 2), ("key", "fork", "bone", "figure"), strict=True):
        half = rng.uniform(95, 115)
        if kind == "key":
            bow, shaft = rng.uniform(34, 42), rng.uniform(14, 20)
            mask = disc(x - half + bow, y, bow) | line([(x - half + bow, y), (x + half, y)], shaft)
            for tooth in (half - 12, half - 40):
                mask |= box(x + tooth - 9, y, x + tooth + 9, y + shaft * 1.6)
        elif kind == "fork":
            mask = line([(x - half, y), (x, y)], rng.uniform(12, 18))
            mask |= ellipse(x + 20, y, 34, 26)
            for prong in (-20, 0, 20):
                mask |= line([(x + 30, y + prong), (x + half, y + prong)], 9)
        elif kind == "bone":
            mask = line([(x - half + 25, y), (x + half - 25, y)], rng.uniform(18, 28))
            for end in (-1, 1):
                for side in (-1, 1):
                    mask |= disc(x + end * (half - 25), y + side * 20, 26)
        else:
            mask = disc(x, y - 70, rng.uniform(26, 32)) | ellipse(x, y + 15, 42, 65)
            mask |= line([(x - 65, y - 20), (x + 65, y - 20)], 18)
            mask |= line([(x - 20, y + 60), (x - 25, y + 110)], 24)
            mask |= line([(x + 20, y + 60), (x + 25, y + 110)], 24)
        masks.append(turned(mask, rng.uniform(0, 360), (x, y)))
    return take_photo(rng, masks, [dark_or_bright(rng) for _ in masks])


def corner_ball(seed: int) -> Scene:
    """A ball of which a corner of the photo shows a part, and one in the middle."""
    rng = np.random.default_rng(seed)
    radius, out = rng.uniform(90, 130), rng.uniform(-0.25, 0.3)
    x = -out * radius if seed % 2 else SHAPE[1] + out * radius
    y = -out * radius if seed % 4 < 2 else SHAPE[0] + out * radius
    masks = [disc(x, y, radius), disc(400, 300, 80)]
    return take_photo(rng, masks, [dark_or_bright(rng) for _ in masks])


def cut_off(seed: int) -> Scene:
    """A ball, a box or a rod over each border and in two corners, and a disc in the middle."""
    rng = np.random.default_rng(seed)
    masks = [disc(400, 300, 70)]
    along = rng.uniform(0.35, 0.65, 4)
    places = [
        *((along[0] * SHAPE[1], 0.0), (along[1] * SHAPE[1], float(SHAPE[0]))),
        *((0.0, along[2] * SHAPE[0]), (float(SHAPE[1]), along[3] * SHAPE[0])),
        *((0.0, 0.0), (float(SHAPE[1]), float(SHAPE[0]))),
    ]
    for index, place in enumerate(places):
        x, y = place + rng.uniform(-20, 20, 2)
        kind = rng.choice(["ball", "box", "rod"]) if index < 4 else "ball"
        if kind == "ball":
            masks.append(disc(x, y, rng.uniform(55, 80)))
        elif kind == "box":
            masks.append(turned_box(x, y, (120, 150), rng.uniform(0, 180)))
        else:
            towards = np.array([400 - x, 300 - y]) / np.hypot(400 - x, 300 - y)
            end = np.array([x, y]) + rng.uniform(80, 130) * towards
            masks.append(line([(x, y), (float(end[0]), float(end[1]))], rng.uniform(14, 30)))
    return take_photo(rng, masks, [dark_or_bright(rng) for _ in masks])

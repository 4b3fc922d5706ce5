"""Photos that mislead: hard shadows, a wall, stripes, frames, and cut-outs on transparency."""

import io

import cv2
import numpy as np
from PIL import Image

from segpipe.scenes import Scene
from segpipe.scenes.item_layout import tight_box
from segpipe.scenes.painted_fields import Colour, FullMask, Rng, hsv, polar
from segpipe.scenes.painted_items import paint_item
from segpipe.vision.backdrop import with_backdrop
from segpipe.vision.image import decode_image
from segpipe_tests.scenes.difficult.drawing import (
    LIGHT_TABLE,
    SHAPE,
    as_jpeg,
    box,
    dark_or_bright,
    disc_or_box,
    grid,
    line,
    take_photo,
)


def hard_shadows(seed: int) -> Scene:
    """Goods under one bare lamp: each throws a shadow with a sharp edge."""
    rng = np.random.default_rng(seed)
    masks = [disc_or_box(rng, x, y) for x, y in grid(rng, 3, 2)]
    dx, dy = polar(rng, rng.uniform(25, 60))
    shadow = np.zeros(SHAPE, np.float32)
    for mask in masks:
        shadow[mask] = 1
    shift = np.array([[1, 0, dx], [0, 1, dy]])
    shadow = np.asarray(cv2.warpAffine(shadow, shift, SHAPE[::-1]), np.float32)
    dimmed = 1 - rng.uniform(0.45, 0.6) * cv2.GaussianBlur(shadow, (0, 0), 1.0)
    colours = [
        hsv(rng.uniform(0, 360), rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.85)) for _ in masks
    ]
    return take_photo(rng, masks, colours, dimmed=np.asarray(dimmed, np.float32))


def table_and_wall(seed: int) -> Scene:
    """Goods on a table in front of a wall of another colour."""
    rng = np.random.default_rng(seed)
    table, wall = hsv(rng.uniform(20, 45), 0.25, 0.8), hsv(rng.uniform(180, 240), 0.15, 0.7)
    edge = int(rng.uniform(0.25, 0.5) * SHAPE[0])
    masks = [disc_or_box(rng, x, y) for x, y in ((190, 430), (420, 300), (620, 450))]
    colours = [hsv(rng.choice([0, 120, 290]), 0.85, rng.uniform(0.3, 0.6)) for _ in masks]
    return take_photo(rng, masks, colours, table=table, wall=(edge, wall))


def striped_shirt(seed: int) -> Scene:
    """A shirt whose light stripes have nearly the colour of the table."""
    rng = np.random.default_rng(seed)
    mask = box(250, 130, 550, 520)
    for side in (-1, 1):
        mask |= line([(400 + side * 130, 165), (400 + side * 215, 270)], 70)
    period = rng.uniform(36, 64)
    rows = np.arange(SHAPE[0])[:, None] % period < period * rng.uniform(0.4, 0.6)
    dark = hsv(rng.uniform(0, 360), 0.8, 0.35)
    light_stripe = LIGHT_TABLE * np.float32(1.04)
    surface = np.where(rows[..., None], dark, light_stripe) * np.ones((*SHAPE, 1), np.float32)
    return take_photo(rng, [mask], [surface.astype(np.float32)])


def framed(seed: int) -> Scene:
    """Two goods in a photo with a dark frame around it, as some scanners and apps add it."""
    rng = np.random.default_rng(seed)
    scene = _two_goods(rng)
    top, bottom, left, right = (int(side) for side in rng.uniform(6, 42, 4))
    return _covered(scene, (top, bottom, left, right), int(rng.uniform(0, 40)))


def light_frame(seed: int) -> Scene:
    """The same with a white or light grey frame, as an instant picture has one."""
    rng = np.random.default_rng(seed)
    scene = _two_goods(rng, table=hsv(rng.uniform(0, 360), 0.15, rng.uniform(0.35, 0.7)))
    side = int(rng.uniform(10, 40))
    below = side if seed % 2 else int(rng.uniform(40, 90))
    return _covered(scene, (side, below, side, side), int(rng.uniform(235, 256)))


def letterbox(seed: int) -> Scene:
    """Two goods between two bars, black or white, above and below or at both sides."""
    rng = np.random.default_rng(seed)
    scene = _two_goods(rng)
    bar = int(rng.uniform(0.04, 0.21) * SHAPE[seed % 2])
    sides = (bar, bar, 0, 0) if seed % 2 == 0 else (0, 0, bar, bar)
    return _covered(scene, sides, 0 if seed % 4 < 2 else 255)


def cut_outs(seed: int) -> Scene:
    """What is decoded of :func:`cut_outs_png`, as a segmenter gets it."""
    png, masks = cut_outs_png(seed)
    return Scene(with_backdrop(decode_image(png)), masks, tuple(tight_box(mask) for mask in masks))


def cut_outs_png(seed: int) -> tuple[bytes, tuple[FullMask, ...]]:
    """Goods that somebody cut out: white, grey, black, or of many colours, on transparency."""
    rng = np.random.default_rng(seed)
    masks = tuple(disc_or_box(rng, x, y) for x, y in grid(rng, 3, 2))
    rgb = np.zeros((*SHAPE, 3), np.float32)
    for mask in masks:
        kind = rng.choice(["white", "grey", "black", "colours"])
        if kind == "colours":
            paint_item(rng, rgb, mask, LIGHT_TABLE)
        else:
            rgb[mask] = {"white": 1.0, "grey": rng.uniform(0.3, 0.8), "black": 0.03}[str(kind)]
    rgba = np.dstack([rgb, np.any(masks, axis=0)])
    file = io.BytesIO()
    Image.fromarray((np.clip(rgba, 0, 1) * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue(), masks


def _two_goods(rng: Rng, table: Colour = LIGHT_TABLE) -> Scene:
    masks = [disc_or_box(rng, 260, 300), disc_or_box(rng, 540, 310)]
    return take_photo(rng, masks, [dark_or_bright(rng) for _ in masks], table=table)


def _covered(scene: Scene, sides: tuple[int, int, int, int], grey: int) -> Scene:
    """The scene under bars of one grey: so many pixels at the top, bottom, left and right."""
    top, bottom, left, right = sides
    image = np.full_like(scene.image, grey)
    inner = np.s_[top : SHAPE[0] - bottom, left : SHAPE[1] - right]
    image[inner] = scene.image[inner]
    return Scene(as_jpeg(image), scene.masks, scene.boxes)

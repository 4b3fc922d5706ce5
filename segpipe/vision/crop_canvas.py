"""The picture that a cut-out becomes: its size, and what is behind it."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from segpipe.errors import ConfigError
from segpipe.vision.image import RgbImage

Pixels = NDArray[np.uint8]
"""(h, w, 3) RGB or (h, w, 4) RGBA, alpha not premultiplied."""
Rgb = tuple[int, int, int]

TRANSPARENT = "transparent"
WHITE: Rgb = (255, 255, 255)

_OPAQUE = 255
_ALPHA = 3
_MAX_MARGIN_PERCENT = 49.0


def background_colour(text: str) -> Rgb | None:
    """The colour behind cut-outs by what settings call it; None for ``transparent``.

    Args:
        text: ``transparent``, a colour's name in CSS, or ``#rrggbb``.

    Raises:
        ConfigError: It is none of these.

    Examples:
        >>> [background_colour(text) for text in ("white", "#f0f0e8", "transparent")]
        [(255, 255, 255), (240, 240, 232), None]
    """
    if text == TRANSPARENT:
        return None
    try:
        found = ImageColor.getrgb(text)
    except ValueError:
        found = None
    if found is None or len(found) > len(WHITE):
        raise ConfigError(
            f"{text!r} is no colour: write {TRANSPARENT}, a name such as white, or #rrggbb",
            field="background",
        )
    return found[:3]


def on_colour(pixels: Pixels, colour: Rgb) -> RgbImage:
    """Pixels laid on a colour, (h, w, 3); what has no alpha stays as it is.

    >>> half = np.array([[[100, 0, 0, 255], [0, 0, 0, 0], [100, 0, 0, 51]]], np.uint8)
    >>> on_colour(half, (255, 255, 255)).tolist()
    [[[100, 0, 0], [255, 255, 255], [224, 204, 204]]]
    """
    if pixels.shape[2] == _ALPHA:
        return pixels
    rgb = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), np.uint8)
    alpha = pixels[..., _ALPHA]
    rgb[alpha == 0] = colour
    partly = (alpha > 0) & (alpha < _OPAQUE)
    if partly.any():
        share = alpha[partly][:, None] / _OPAQUE
        rgb[partly] = np.rint(share * rgb[partly] + (1 - share) * np.array(colour))
    return rgb


def limit_side(pixels: Pixels, max_side_px: int) -> Pixels:
    """Pixels of which no side is longer than that; those of a smaller picture as they are.

    Raises:
        ConfigError: The longest side is below 1.
    """
    if max_side_px < 1:
        raise ConfigError(f"must be at least 1, got {max_side_px}", field="max_side_px")
    height, width = pixels.shape[:2]
    scale = max_side_px / max(height, width)
    return pixels if scale >= 1 else _scaled(pixels, scale)


def fit_to_canvas(
    pixels: Pixels,
    *,
    width: int,
    height: int,
    margin_percent: float = 0.0,
    background: Rgb | None = None,
    enlarge: bool = True,
) -> Pixels:
    """The item, as large as a canvas of a given size allows, in its middle.

    What is measured and centred is what can be seen of the item: the box around its mask, without
    padding. Pixels without alpha are taken whole.

    Args:
        pixels: The cut-out.
        width: Of the canvas, pixels.
        height: Of the canvas, pixels.
        margin_percent: Kept free on each side, in percent of the canvas' shorter side.
        background: What is behind the item; None for nothing.
        enlarge: Whether an item that is smaller than its room is made larger.

    Returns:
        (height, width, 4), or (height, width, 3) where there is a background.

    Raises:
        ConfigError: The canvas has no room.

    Examples:
        >>> item = np.full((10, 30, 4), 255, np.uint8)
        >>> fitted = fit_to_canvas(item, width=100, height=80, margin_percent=12.5)
        >>> cv2.boundingRect(fitted[..., 3])
        (10, 26, 80, 27)
    """
    room = _room(width, height, margin_percent)
    item = _visible(pixels)
    item_height, item_width = item.shape[:2]
    scale = min(room[0] / item_width, room[1] / item_height)
    if scale < 1 or enlarge:
        item = _scaled(item, scale)
    if item.shape[2] == _ALPHA:
        item = np.asarray(cv2.cvtColor(item, cv2.COLOR_RGB2RGBA), np.uint8)
    item_height, item_width = item.shape[:2]
    canvas = np.zeros((height, width, _ALPHA + 1), np.uint8)
    top, left = (height - item_height) // 2, (width - item_width) // 2
    canvas[top : top + item_height, left : left + item_width] = item
    return canvas if background is None else on_colour(canvas, background)


def _room(width: int, height: int, margin_percent: float) -> tuple[float, float]:
    """What is left of a canvas between its margins, pixels."""
    if min(width, height) < 1:
        raise ConfigError(f"must be at least 1 x 1, got {width} x {height}", field="canvas")
    if not 0 <= margin_percent <= _MAX_MARGIN_PERCENT:
        raise ConfigError(
            f"must be 0 to {_MAX_MARGIN_PERCENT:g}, got {margin_percent:g}", field="margin_percent"
        )
    margin = margin_percent / 100 * min(width, height)
    return max(1.0, width - 2 * margin), max(1.0, height - 2 * margin)


def _visible(pixels: Pixels) -> Pixels:
    """The box around what can be seen; everything where nothing can."""
    if pixels.shape[2] == _ALPHA:
        return pixels
    left, top, width, height = cv2.boundingRect(pixels[..., _ALPHA])
    return pixels[top : top + height, left : left + width] if width else pixels


def _scaled(pixels: Pixels, scale: float) -> Pixels:
    """Pixels at another size; what cannot be seen gives its neighbours no colour."""
    height, width = pixels.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    if pixels.shape[2] == _ALPHA:
        return np.asarray(cv2.resize(pixels, size, interpolation=way), np.uint8)
    weighted = pixels.astype(np.float32)
    weighted[..., :_ALPHA] *= weighted[..., _ALPHA:] / _OPAQUE
    resized = np.asarray(cv2.resize(weighted, size, interpolation=way), np.float32)
    resized[..., :_ALPHA] *= _OPAQUE / np.maximum(resized[..., _ALPHA:], 1)
    both = np.asarray(np.rint(np.clip(resized, 0, _OPAQUE)), np.uint8)
    both[both[..., _ALPHA] == 0] = 0
    return both

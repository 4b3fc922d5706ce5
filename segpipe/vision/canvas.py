"""What every drawing needs: a reduced copy to draw on, and text that any name can be set in."""

from bisect import bisect_left
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segpipe.errors import ConfigError
from segpipe.vision.image import RgbImage

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

INK: Colour = (32, 32, 36)
PAPER: Colour = (250, 250, 248)
MIN_FONT_PX = 11
_NEAR = 1.5  # up to this ratio a bilinear reduction shows no aliasing
_ODD_LINE_SHOWS_PX = 128  # in a smaller picture, a row or column left out by halving would


def reduce_to(image: RgbImage, max_side_px: int) -> RgbImage:
    """A copy of which no side is longer than that; a smaller image keeps its size.

    Raises:
        ConfigError: When the longest side is below 1.
    """
    if max_side_px < 1:
        raise ConfigError(f"must be at least 1, got {max_side_px}", field="max_side_px")
    height, width = image.shape[:2]
    factor = max_side_px / max(height, width)
    if factor >= 1:
        return image.copy()
    return shrink(image, max(1, round(width * factor)), max(1, round(height * factor)))


def shrink(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Pixels, (h, w) or (h, w, c) uint8, averaged down to another size.

    What lies where moves by at most half a pixel of the result.
    """
    # OpenCV averages blocks of 2 x 2 many times as fast as any others: halve as often as can be,
    # then go the rest of the way, where that is short without averaging.
    rows, columns = pixels.shape[:2]
    while min(rows // height, columns // width) > 1 and min(rows, columns) >= _ODD_LINE_SHOWS_PX:
        rows, columns = rows // 2, columns // 2
        pixels = _resized(pixels[: 2 * rows, : 2 * columns], columns, rows, cv2.INTER_AREA)
    is_near = max(rows / height, columns / width) <= _NEAR
    return _resized(pixels, width, height, cv2.INTER_LINEAR if is_near else cv2.INTER_AREA)


def _resized(
    pixels: NDArray[np.uint8], width: int, height: int, interpolation: int
) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=interpolation), np.uint8)


def blank(height: int, width: int) -> RgbImage:
    """Paper without anything on it, (h, w, 3) uint8."""
    return np.full((height, width, 3), PAPER, np.uint8)


def fitted(text: str, font: Font, room_px: int) -> str:
    """The text, cut with an ellipsis when it is too wide."""
    if font.getlength(text) <= room_px:
        return text

    def is_too_long(letters: int) -> bool:
        return font.getlength(text[:letters].rstrip() + "…") > room_px

    letters = bisect_left(range(len(text)), True, key=is_too_long) - 1
    return text[: max(0, letters)].rstrip() + "…"


def text_line(text: str, width: int, size: int, *, margin: int = 0) -> RgbImage:
    """One line of text on paper, (2 * size, width, 3), cut with an ellipsis where room ends."""
    font = font_of(size)
    picture = Image.fromarray(blank(2 * size, width))
    line = fitted(printable(text), font, width - 2 * margin)
    ImageDraw.Draw(picture).text((margin, size), line, fill=INK, font=font, anchor="lm")
    return np.array(picture, np.uint8)


def printable(text: str) -> str:
    """One line without control characters and lone surrogates, which no font can set."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


@lru_cache(maxsize=16)
def font_of(size: int) -> Font:
    """Pillow's own font, so that every machine draws the same; other letters show as boxes."""
    font = ImageFont.load_default(size)
    if isinstance(font, ImageFont.FreeTypeFont):
        # The complex layout would set this font's digits tight against a following space, and is
        # not on every machine.
        return font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return font

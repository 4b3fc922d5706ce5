"""What every drawing needs: a reduced copy to draw on, and text that any name can be set in."""

from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

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
_WHITE: Colour = (255, 255, 255)
_FULL = 255
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_DARK_TEXT_FROM_LUMA = 140
_KEPT_PLATES = 1024
_NEAR = 1.5  # up to this ratio a bilinear reduction shows no aliasing
_LARGE_BYTES = 150_000_000  # from here on memory counts
_BAND_ROWS = 64
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
    if pixels.size >= _LARGE_BYTES and min(rows // 2 // height, columns // 2 // width) > 1:
        pixels = _halved_twice(pixels)
        rows, columns = pixels.shape[:2]
    while min(rows // height, columns // width) > 1 and min(rows, columns) >= _ODD_LINE_SHOWS_PX:
        rows, columns = rows // 2, columns // 2
        pixels = _resized(pixels[: 2 * rows, : 2 * columns], columns, rows, cv2.INTER_AREA)
    is_near = max(rows / height, columns / width) <= _NEAR
    return _resized(pixels, width, height, cv2.INTER_LINEAR if is_near else cv2.INTER_AREA)


def _halved_twice(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A quarter of each side, band by band, so that half of each side is never there whole."""
    rows, half_columns = pixels.shape[0] // 2 // 2, pixels.shape[1] // 2
    columns = half_columns // 2
    quarter = np.empty((rows, columns, *pixels.shape[2:]), np.uint8)
    for top in range(0, rows, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, rows)
        band = pixels[4 * top : 4 * bottom, : 2 * half_columns]
        half = _resized(band, half_columns, 2 * (bottom - top), cv2.INTER_AREA)
        quarter[top:bottom] = _resized(
            half[:, : 2 * columns], columns, bottom - top, cv2.INTER_AREA
        )
    return quarter


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


class TextPlate(NamedTuple):
    """A line of text on a plate with round corners.

    Attributes:
        size: Its height and width; its edges are drawn on both sides, so pixels have one more.
        pixels: Shape (height + 1, width + 1, 3).
        plate: Which of them are the plate's, the same without channels.
    """

    size: tuple[int, int]
    pixels: RgbImage
    plate: NDArray[np.uint8]


@lru_cache(maxsize=_KEPT_PLATES)
def text_plate(text: str, colour: Colour, size: int, padding: int, room_px: int) -> TextPlate:
    """A line of text on a plate; it is kept, as the numbers of one photo are those of the next."""
    font = font_of(size)
    text = fitted(printable(text), font, room_px - 2 * padding)
    width, height = round(font.getlength(text)) + 2 * padding, size + 2 * padding
    plate = Image.new("L", (width + 1, height + 1))
    ImageDraw.Draw(plate).rounded_rectangle((0, 0, width, height), padding, fill=_FULL)
    picture = Image.new("RGB", plate.size, colour)
    is_light = float(_LUMA @ np.array(colour)) >= _DARK_TEXT_FROM_LUMA
    ink = INK if is_light else _WHITE
    middle = (width / 2, height / 2)
    ImageDraw.Draw(picture).text(middle, text, fill=ink, font=font, anchor="mm")
    return TextPlate((height, width), np.array(picture, np.uint8), np.array(plate, np.uint8))

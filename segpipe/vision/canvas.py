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
    # OpenCV averages whole blocks of pixels ten times as fast as any other ratio: come as near as
    # blocks can, then go the rest of the way, where that is short without averaging.
    block = _largest_block(pixels.shape[0], pixels.shape[1], width, height)
    down, across = pixels.shape[0] // block, pixels.shape[1] // block
    if block > 1:
        whole_blocks = pixels[: down * block, : across * block]
        pixels = _resized(whole_blocks, across, down, cv2.INTER_AREA)
    is_near = max(across / width, down / height) <= _NEAR
    return _resized(pixels, width, height, cv2.INTER_LINEAR if is_near else cv2.INTER_AREA)


def _largest_block(rows: int, columns: int, width: int, height: int) -> int:
    """The side of a block of which too few remain at the edges to matter; 1 is none."""
    for block in range(min(rows // height, columns // width), 1, -1):
        if 2 * (rows % block) * height < rows and 2 * (columns % block) * width < columns:
            return block
    return 1


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

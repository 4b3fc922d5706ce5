"""Pictures for people: an image with its items drawn in, a contact sheet, a small preview."""

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ConfigError
from segpipe.vision.boxes import Box, PixelWindow, pixel_window
from segpipe.vision.canvas import (
    INK,
    MIN_FONT_PX,
    Colour,
    blank,
    reduce_to,
    shrink,
    text_line,
    text_plate,
)
from segpipe.vision.encode import encode_webp
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

Outline = NDArray[np.int32]
"""Shape (n, 2), the corners of a closed line as x, y."""

_CELL: Colour = (236, 236, 232)
_REJECTED_LINE: Colour = (225, 225, 225)
_REJECTED_PLATE: Colour = (70, 70, 74)

_FULL = 255
_GOLDEN_RATIO = 0.618034

_FILL_OPACITY = 0.35
_REJECTED_OPACITY = 0.7
_STROKE_PER_SIDE = 1 / 600
_MIN_STROKE_PX = 2
_DASH_STROKES = 4
_DASH_CORNERS = 5  # of each, so that it bends with its outline
_SOLID_REDUCTION = 3
_SOLID = 0.9  # a thin item loses more of its area
_FONT_PER_SIDE = 1 / 75
_SMOOTHING_PX = 0.8
_KEPT_LABELS = 1024
_PLATE_SHARE = 4  # an item is at least so many times as large as its plate

_PREVIEW_SIDES_PX = (960, 800, 640, 480, 360, 270, 200, 150, 100, 64, 32)
_PREVIEW_QUALITIES = (80, 65, 50)
_PREVIEW_MAX_SLIMNESS = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class OverlayItem:
    """A detection as it is drawn.

    Attributes:
        box: Pixels of the upright image.
        mask: Drawn in place of the box where there is one.
        number: What its label says, and what chooses its colour.
        caption: Added to the label.
    """

    box: Box
    mask: Mask | None
    number: int
    caption: str | None = None

    @property
    def label(self) -> str:
        """The text of its plate."""
        return f"{self.number} · {self.caption}" if self.caption else str(self.number)


@dataclass(frozen=True, slots=True, eq=False)
class _Figure:
    """An item in pixels of the canvas: its bitmap (0 or 1), where it lies, and its edges."""

    x: int
    y: int
    bits: NDArray[np.uint8]
    outlines: tuple[Outline, ...]
    label: str
    colour: Colour


def item_colour(number: int) -> Colour:
    """The colour of an item: neighbouring numbers lie far apart on the colour wheel."""
    hue = number * _GOLDEN_RATIO % 1.0
    saturation, value = ((0.85, 1.0), (0.6, 1.0), (0.9, 0.8))[number % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_overlay(
    image: RgbImage,
    survivors: Sequence[OverlayItem],
    rejected: Sequence[OverlayItem],
    *,
    max_side_px: int = 1600,
) -> RgbImage:
    """Draw the items of an image into a reduced copy of it.

    Survivors are tinted and outlined in colours of their own; rejected ones have a dashed, faded
    outline. All carry their numbers.

    Args:
        image: Shape (h, w, 3) RGB uint8; read, never written.
        survivors: Drawn in this order, later ones on top.
        rejected: Drawn beneath the survivors.
        max_side_px: The longest side of the drawing; a smaller image keeps its size.

    Raises:
        ConfigError: When the longest side is below 1.
    """
    canvas = reduce_to(image, max_side_px)
    scale = canvas.shape[1] / image.shape[1], canvas.shape[0] / image.shape[0]
    kept = [_figure(item, scale, canvas, item_colour(item.number)) for item in survivors]
    dropped = [_figure(item, scale, canvas, _REJECTED_LINE) for item in rejected]
    side = max(canvas.shape[:2])
    stroke = max(_MIN_STROKE_PX, round(side * _STROKE_PER_SIDE))

    for figure in kept:
        _tint(canvas, figure)

    if dropped:
        layer = canvas.copy()
        dash_px = _DASH_STROKES * stroke
        for figure in dropped:
            lines = [dash for line in figure.outlines for dash in _dashes(line, dash_px)]
            _draw_lines(layer, lines, figure.colour, stroke, closed=False)
        _put_labels(layer, dropped, plate=_REJECTED_PLATE, corner="bottom right")
        cv2.addWeighted(layer, _REJECTED_OPACITY, canvas, 1 - _REJECTED_OPACITY, 0, dst=canvas)

    for figure in kept:
        _draw_lines(canvas, figure.outlines, figure.colour, stroke, closed=True)
    _put_labels(canvas, kept)
    return canvas


def contact_sheet(
    pictures: Iterable[tuple[RgbImage, str]],
    *,
    columns: int = 4,
    tile_px: int = 320,
    title: str = "",
) -> RgbImage:
    """Lay pictures out in rows, each with a line of caption beneath.

    The pictures are taken one at a time and only their tiles are kept. Letters that Pillow's
    own font lacks show as boxes.

    Args:
        pictures: Pairs of a picture, (h, w, 3) RGB uint8, and its caption.
        columns: Tiles in a row.
        tile_px: Side of the square that a picture is fitted into.
        title: A line across the top.

    Returns:
        Shape (h, w, 3) RGB uint8; its height grows with the number of pictures.

    Raises:
        ConfigError: When columns or tile size are below 1.
    """
    for field, value in (("columns", columns), ("tile_px", tile_px)):
        if value < 1:
            raise ConfigError(f"must be at least 1, got {value}", field=field)
    gap = max(2, tile_px // 20)
    caption_px = max(MIN_FONT_PX, tile_px // 20)
    width = columns * (tile_px + gap) + gap

    strips = [text_line(title, width, 2 * caption_px, margin=gap)] if title else []
    tiles = (_tile(picture, caption, tile_px, caption_px) for picture, caption in pictures)
    while row := list(islice(tiles, columns)):
        strip = blank(gap + row[0].shape[0], width)
        for column, tile in enumerate(row):
            left = gap + column * (tile_px + gap)
            strip[gap:, left : left + tile_px] = tile
        strips.append(strip)
    return np.vstack([*strips, blank(gap, width)])


def inline_preview(image: RgbImage, *, max_bytes: int = 20_000) -> bytes:
    """Encode the largest WebP of an image that is at most so many bytes long.

    Of an image that is much higher than wide, such as a sheet of many photos, the upper part.

    Args:
        image: Shape (h, w, 3) RGB uint8.
        max_bytes: The limit; base64 in a data URI takes a third more.

    Raises:
        ConfigError: When not even a thumbnail fits.
    """
    reduced = image[: max(1, round(image.shape[1] * _PREVIEW_MAX_SLIMNESS))]
    for side in _PREVIEW_SIDES_PX:
        reduced = reduce_to(reduced, side)
        for quality in _PREVIEW_QUALITIES:
            encoded = encode_webp(reduced, quality=quality)
            if len(encoded) <= max_bytes:
                return encoded
    raise ConfigError(
        f"must leave room for a thumbnail ({len(encoded)} bytes), got {max_bytes}",
        field="max_bytes",
    )


# Figures


def _figure(
    item: OverlayItem, scale: tuple[float, float], canvas: RgbImage, colour: Colour
) -> _Figure:
    """Bring an item to the canvas."""
    tight = None if item.mask is None else item.mask.tight()
    box = item.box if tight is None or tight.is_empty else Box(*map(float, tight.window))
    across, down = scale
    scaled = Box(box.x1 * across, box.y1 * down, box.x2 * across, box.y2 * down)
    window = pixel_window(scaled, image_width=canvas.shape[1], image_height=canvas.shape[0])
    shape = (window.height, window.width)
    if tight is None or tight.is_empty or window.is_empty:
        bits = np.zeros(shape, np.uint8)
        outlines: tuple[Outline, ...] = (_rectangle(window),)
    else:
        bits = _reduced_bits(tight.bits, shape)
        found, _ = cv2.findContours(
            bits, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(window.x1, window.y1)
        )
        smooth = (cv2.approxPolyDP(line, _SMOOTHING_PX, closed=True) for line in found)
        outlines = tuple(np.asarray(line, np.int32)[:, 0] for line in smooth)
    return _Figure(window.x1, window.y1, bits, outlines, item.label, colour)


def _reduced_bits(bits: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = shape
    if max(bits.shape[0] / height, bits.shape[1] / width) <= _SOLID_REDUCTION:
        # Of a solid item a quarter of the time gives the same but for a pixel of the edge.
        quick = cv2.resize(bits, (width, height), interpolation=cv2.INTER_LINEAR)
        if cv2.countNonZero(quick) * bits.size >= _SOLID * cv2.countNonZero(bits) * quick.size:
            return np.asarray(quick, np.uint8)
    cover = shrink(bits * np.uint8(_FULL), width, height)
    # What is thinner than half a pixel of the canvas still shows, where it is thickest.
    return (cover >= min(_FULL // 2, int(cover.max()))).astype(np.uint8)


def _rectangle(window: PixelWindow) -> Outline:
    right, bottom = max(window.x1, window.x2 - 1), max(window.y1, window.y2 - 1)
    corners = [(window.x1, window.y1), (right, window.y1), (right, bottom), (window.x1, bottom)]
    return np.array(corners, np.int32)


def _tint(canvas: RgbImage, figure: _Figure) -> None:
    height, width = figure.bits.shape
    if figure.bits.size == 0:
        return
    under = canvas[figure.y : figure.y + height, figure.x : figure.x + width]
    cv2.copyTo(cv2.LUT(under, _tints(figure.colour)), figure.bits, under)


@lru_cache(maxsize=_KEPT_LABELS)
def _tints(colour: Colour) -> NDArray[np.uint8]:
    """What becomes of each level of each channel under the colour, shape (1, 256, 3)."""
    levels = np.repeat(np.arange(_FULL + 1, dtype=np.uint8)[:, None], 3, axis=1)[None]
    paint = np.full_like(levels, colour)
    tinted = cv2.addWeighted(paint, _FILL_OPACITY, levels, 1 - _FILL_OPACITY, 0)
    return np.asarray(tinted, np.uint8)


def _dashes(outline: Outline, dash_px: int) -> list[Outline]:
    """The closed line as dashes, with gaps as long between them."""
    closed = np.vstack([outline, outline[:1]])
    steps = np.hypot(*np.diff(closed, axis=0).T)
    walked = np.concatenate([[0.0], np.cumsum(steps)])
    length = walked[-1]
    starts = np.linspace(0, length, max(1, round(length / (2 * dash_px))), endpoint=False)
    at = starts[:, None] + np.linspace(0, dash_px, _DASH_CORNERS)
    points = np.stack([np.interp(at, walked, closed[:, axis]) for axis in (0, 1)], axis=-1)
    return list(np.rint(points).astype(np.int32))


def _draw_lines(
    canvas: RgbImage, lines: Sequence[Outline], colour: Colour, stroke: int, *, closed: bool
) -> None:
    # A dark rim keeps every colour legible on every photo.
    cv2.polylines(canvas, lines, closed, INK, stroke + 1, cv2.LINE_AA)
    cv2.polylines(canvas, lines, closed, colour, stroke, cv2.LINE_AA)


# Text


def _put_labels(
    canvas: RgbImage,
    figures: Sequence[_Figure],
    *,
    corner: Literal["top left", "bottom right"] = "top left",
    plate: Colour | None = None,
) -> None:
    """Put the label of each figure on a plate in a corner of the figure.

    A figure that a plate would hide has none.
    """
    size = max(MIN_FONT_PX, round(max(canvas.shape[:2]) * _FONT_PER_SIDE))
    padding = size // 4
    plate_area = (size + 2 * padding) ** 2  # of the shortest label
    labelled = [figure for figure in figures if figure.bits.size >= _PLATE_SHARE * plate_area]
    for figure in labelled:
        label = text_plate(figure.label, plate or figure.colour, size, padding, canvas.shape[1])
        height, width = label.size
        x, y = figure.x, figure.y
        if corner == "bottom right":
            x, y = x + figure.bits.shape[1] - width, y + figure.bits.shape[0] - height
        # A plate that would reach over the edge is moved inside.
        x = max(0, min(x, canvas.shape[1] - width))
        y = max(0, min(y, canvas.shape[0] - height))
        under = canvas[y : y + height + 1, x : x + width + 1]
        rows, columns = under.shape[:2]  # at the edge the last of them has no room
        cv2.copyTo(label.pixels[:rows, :columns], label.plate[:rows, :columns], under)


def _tile(picture: RgbImage, caption: str, tile_px: int, caption_px: int) -> RgbImage:
    """The picture in the middle of a square, above its caption."""
    reduced = reduce_to(picture, tile_px)
    height, width = reduced.shape[:2]
    top, left = (tile_px - height) // 2, (tile_px - width) // 2
    cell = np.full((tile_px, tile_px, 3), _CELL, np.uint8)
    cell[top : top + height, left : left + width] = reduced
    return np.vstack([cell, text_line(caption, tile_px, caption_px)])

"""The cut-out of one item."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ConfigError, InputError
from segpipe.vision.boxes import Box, PixelWindow, pixel_window
from segpipe.vision.crop_canvas import WHITE, on_colour
from segpipe.vision.encode import (
    DEFAULT_AVIF_QUALITY,
    DEFAULT_JPEG_QUALITY,
    DEFAULT_WEBP_QUALITY,
    FAST_WEBP_METHOD,
    encode_avif,
    encode_jpeg,
    encode_png,
    encode_webp,
)
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe.vision.matte import CONTEXT_PX, DEFAULT_EDGE_PX, estimate_matte


class CropFormat(StrEnum):
    """The file format of a crop; the value is the file's suffix, without the dot."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    AVIF = "avif"


class MaskArea(StrEnum):
    """What the file of a mask shows."""

    PHOTO = "photo"
    """The upright photo, so that the masks of a photo lie on each other."""
    BOX = "box"
    """The item alone."""


class CropEdge(StrEnum):
    """How an item ends."""

    HARD = "hard"
    """Where its mask ends: a pixel is the item's or it is not."""
    SOFT = "soft"
    """As the photo shows it: alpha in a band along the edge of the mask."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """The cut-out of one item, in memory of its own.

    Attributes:
        pixels: Shape (h, w, 3) RGB or (h, w, 4) RGBA, uint8. Where alpha is 0 so is RGB: nothing of
            the background is left. With a hard edge alpha is 0 or 255.
        x: Left column of the cut-out in the image.
        y: Top row of the cut-out in the image.
        kind: What it was cut along: the item's mask or its box.
    """

    pixels: NDArray[np.uint8]
    x: int
    y: int
    kind: Literal["mask", "box"]


def crop_item(
    image: RgbImage,
    box: Box,
    mask: Mask | None,
    *,
    use_mask: bool = True,
    padding_px: int = 0,
    edge: CropEdge = CropEdge.HARD,
    edge_px: int = DEFAULT_EDGE_PX,
    decontaminate: bool = False,
) -> Crop:
    """Cut one item out of its image.

    A mask crop covers the mask's tight box and shows the mask's pixels alone, transparent around
    them and in the mask's holes. A soft edge may reach ``edge_px`` further. Without a mask, or with
    an empty one, it is a box crop: everything in the detection's box, rounded outward to whole
    pixels.

    Args:
        image: Shape (h, w, 3) RGB uint8; read, never written.
        box: The detection's box.
        mask: The detection's mask.
        use_mask: Whether to cut along the mask.
        padding_px: Pixels added on each side, as far as the image goes.
        edge: How the item ends.
        edge_px: How far from the mask's edge a pixel may be partly the item's, pixels.
        decontaminate: Whether the colour of the background is taken out of these pixels.

    Raises:
        InputError: When the box is needed and covers no pixel of the image, or the mask is
            one of an image of another size.
        ConfigError: When the padding is negative, or the edge has no width.

    Examples:
        >>> image = np.full((6, 8, 3), 200, np.uint8)
        >>> mask = Mask.from_box(Box(2, 1, 5, 4), image_width=8, image_height=6)
        >>> crop = crop_item(image, Box(2, 1, 5, 4), mask, padding_px=1)
        >>> crop.pixels.shape, crop.x, crop.y, crop.kind
        ((5, 5, 4), 1, 0, 'mask')
        >>> crop.pixels[0, 0].tolist(), crop.pixels[1, 1].tolist()
        ([0, 0, 0, 0], [200, 200, 200, 255])
    """
    if padding_px < 0:
        raise ConfigError(f"must be at least 0, got {padding_px}", field="padding_px")
    if edge_px < 1:
        raise ConfigError(f"must be at least 1, got {edge_px}", field="edge_px")
    height, width = image.shape[:2]
    whole = PixelWindow(0, 0, width, height)
    if not use_mask or mask is None or mask.is_empty:
        window = _covered(box, whole).grown(padding_px).intersect(whole)
        return Crop(_view(image, window).copy(), window.x1, window.y1, "box")

    _require_same_size(mask, whole)
    tight = mask.tight().window
    reach_px = edge_px if edge is CropEdge.SOFT else 0
    window = tight.grown(max(padding_px, reach_px)).intersect(whole)
    if edge is CropEdge.HARD and not decontaminate:
        return Crop(_cut(_view(image, window), mask.shown_in(window)), *window[:2], "mask")

    looked_at = tight.grown(max(padding_px, edge_px + CONTEXT_PX)).intersect(whole)
    matte = estimate_matte(_view(image, looked_at), mask.crop_to(*looked_at), edge_px=edge_px)
    shown = window.seen_from(looked_at)
    rgb = _view(matte.rgb, shown) if decontaminate else _view(image, window)
    if edge is CropEdge.HARD:
        return Crop(_cut(rgb, mask.shown_in(window)), *window[:2], "mask")
    alpha = _view(matte.alpha, shown)
    pixels = _cut(rgb, alpha)
    pixels[..., 3] = alpha
    return Crop(pixels, *window[:2], "mask")


def encode_crop(
    crop: Crop,
    format: CropFormat,  # noqa: A002 - the word of the settings
    *,
    jpeg_quality: int = DEFAULT_JPEG_QUALITY,
    webp_quality: int = DEFAULT_WEBP_QUALITY,
    avif_quality: int = DEFAULT_AVIF_QUALITY,
) -> bytes:
    """Encode a cut-out as the bytes of a file; a transparent one lands on white in a JPEG.

    Args:
        crop: The cut-out.
        format: The file format.
        jpeg_quality: 1 to 100; PNG is lossless and has none.
        webp_quality: 0 to 100.
        avif_quality: 0 to 100.

    Raises:
        InputError: When the cut-out is too large for the format.
        ConfigError: When the quality is out of range.

    Examples:
        >>> image = np.zeros((6, 8, 3), np.uint8)
        >>> crop = crop_item(image, Box(0, 0, 4, 3), None)
        >>> encode_crop(crop, CropFormat.PNG)[1:4], encode_crop(crop, CropFormat.JPG)[6:10]
        (b'PNG', b'JFIF')
    """
    match format:
        case CropFormat.PNG:
            return encode_png(crop.pixels)
        case CropFormat.JPG:
            return encode_jpeg(on_colour(crop.pixels, WHITE), quality=jpeg_quality)
        case CropFormat.WEBP:
            return encode_webp(crop.pixels, quality=webp_quality, method=FAST_WEBP_METHOD)
        case CropFormat.AVIF:
            return encode_avif(crop.pixels, quality=avif_quality)


def _cut(rgb: RgbImage, shown: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As RGBA, opaque where anything is shown and with nothing elsewhere."""
    # A part of a photo lies in rows far apart: to lay them together first takes OpenCV three
    # fifths of the time. It leaves zeros outside the mask of a copy into a new array.
    together = np.ascontiguousarray(rgb)
    rgba = cv2.copyTo(cv2.cvtColor(together, cv2.COLOR_RGB2RGBA), shown)
    return np.asarray(rgba, np.uint8)


def _covered(box: Box, whole: PixelWindow) -> PixelWindow:
    """The pixels of the image that the box touches."""
    window = pixel_window(box, image_width=whole.width, image_height=whole.height)
    if window.is_empty:
        raise InputError(
            f"{tuple(box)} covers no pixel of the {whole.width} x {whole.height} image: it must "
            "be (x1, y1, x2, y2) in pixels with x1 < x2 and y1 < y2, at least partly inside",
            field="box",
        )
    return window


def _view(pixels: NDArray[np.uint8], window: PixelWindow) -> NDArray[np.uint8]:
    return pixels[window.y1 : window.y2, window.x1 : window.x2]


def _require_same_size(mask: Mask, whole: PixelWindow) -> None:
    if (mask.image_width, mask.image_height) != (whole.width, whole.height):
        raise InputError(
            f"it belongs to an image of {mask.image_width} x {mask.image_height}, but was given "
            f"with one of {whole.width} x {whole.height}",
            field="mask",
        )

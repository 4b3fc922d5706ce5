"""The cut-out of one item."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ConfigError, InputError
from segpipe.vision.boxes import Box, PixelWindow, pixel_window
from segpipe.vision.encode import DEFAULT_JPEG_QUALITY, encode_jpeg, encode_png
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

_WHITE = 255
_RGBA_CHANNELS = 4


class CropFormat(StrEnum):
    """The file format of a crop; the value is the file's suffix, without the dot."""

    PNG = "png"
    JPG = "jpg"


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """The cut-out of one item, in memory of its own.

    Attributes:
        pixels: Shape (h, w, 3) RGB or (h, w, 4) RGBA, uint8. Alpha is 0 or 255, and where it
            is 0 so is RGB: nothing of the background is left.
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
    format: CropFormat = CropFormat.PNG,  # noqa: A002 - the word of the settings
) -> Crop:
    """Cut one item out of its image.

    A mask crop covers the mask's tight box and shows the mask's pixels alone: transparent
    around them, or white for JPEG, which has no transparency. Without a mask, or with an empty
    one, it is a box crop: everything in the detection's box, rounded outward to whole pixels.

    Args:
        image: Shape (h, w, 3) RGB uint8; read, never written.
        box: The detection's box.
        mask: The detection's mask.
        use_mask: Whether to cut along the mask.
        padding_px: Pixels added on each side, as far as the image goes.
        format: The file format that the crop is for.

    Raises:
        InputError: When the box is needed and covers no pixel of the image, or the mask is
            one of an image of another size.
        ConfigError: When the padding is negative.

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
    height, width = image.shape[:2]
    whole = PixelWindow(0, 0, width, height)
    if not use_mask or mask is None or mask.is_empty:
        window = _padded(_covered(box, whole), padding_px).intersect(whole)
        return Crop(_view(image, window).copy(), window.x1, window.y1, "box")

    _require_same_size(mask, whole)
    window = _padded(mask.tight().window, padding_px).intersect(whole)
    # OpenCV leaves zeros outside the mask of a copy into a new array.
    rgba = cv2.copyTo(cv2.cvtColor(_view(image, window), cv2.COLOR_RGB2RGBA), mask.crop_to(*window))
    pixels = np.asarray(rgba, np.uint8)
    if format is CropFormat.JPG:
        pixels = _on_white(pixels)
    return Crop(pixels, window.x1, window.y1, "mask")


def encode_crop(
    crop: Crop,
    format: CropFormat,  # noqa: A002 - as above
    *,
    jpeg_quality: int = DEFAULT_JPEG_QUALITY,
) -> bytes:
    """Encode a crop as the bytes of a file; a transparent one lands on white in a JPEG.

    Args:
        crop: The crop.
        format: The file format.
        jpeg_quality: 1 to 100; PNG is lossless and has none.

    Raises:
        InputError: When the crop is too large for the format.
        ConfigError: When the quality is out of range.

    Examples:
        >>> image = np.zeros((6, 8, 3), np.uint8)
        >>> crop = crop_item(image, Box(0, 0, 4, 3), None)
        >>> encode_crop(crop, CropFormat.PNG)[1:4], encode_crop(crop, CropFormat.JPG)[6:10]
        (b'PNG', b'JFIF')
    """
    if format is CropFormat.PNG:
        return encode_png(crop.pixels)
    is_transparent = crop.pixels.shape[2] == _RGBA_CHANNELS
    rgb = _on_white(crop.pixels) if is_transparent else crop.pixels
    return encode_jpeg(rgb, quality=jpeg_quality)


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


def _padded(window: PixelWindow, padding_px: int) -> PixelWindow:
    return PixelWindow(
        window.x1 - padding_px,
        window.y1 - padding_px,
        window.x2 + padding_px,
        window.y2 + padding_px,
    )


def _view(image: RgbImage, window: PixelWindow) -> RgbImage:
    return image[window.y1 : window.y2, window.x1 : window.x2]


def _on_white(rgba: NDArray[np.uint8]) -> RgbImage:
    rgb = np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), np.uint8)
    rgb[rgba[..., 3] == 0] = _WHITE
    return rgb


def _require_same_size(mask: Mask, whole: PixelWindow) -> None:
    if (mask.image_width, mask.image_height) != (whole.width, whole.height):
        raise InputError(
            f"it belongs to an image of {mask.image_width} x {mask.image_height}, but was given "
            f"with one of {whole.width} x {whole.height}",
            field="mask",
        )

"""From a mask to a clean background: the one way in which holes are filled."""

import numpy as np
from pydantic import Field

from segpipe.errors import InpainterError, InputError
from segpipe.inpainters.inpainter import NO_WISH, Inpainter, Wish
from segpipe.settings import Settings
from segpipe.threads import finish_in_thread
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.holes import grown, hole_windows, pasted
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap

_MIN_CONTEXT_PX = 24


class EraseSettings(Settings):
    """How much of a photo is replaced around what is erased."""

    dilate_px: int = Field(
        default=6,
        ge=0,
        le=500,
        description="Pixels around an item that are filled too: its blurred edge, its shadow.",
    )
    feather_px: int = Field(
        default=2,
        ge=0,
        le=100,
        description="Width of the rim around that in which the filling fades into the photo, "
        "pixels. Nothing outside of it changes.",
    )


async def erase(
    image: RgbImage,
    mask: Bitmap,
    inpainter: Inpainter,
    settings: EraseSettings | None = None,
    wish: Wish = NO_WISH,
) -> RgbImage:
    """A picture without what a mask covers.

    The mask is grown by ``dilate_px``. Each part of the hole is filled by itself, from a window
    around it, so a large photo costs no more than what is erased in it. Pixels that are further
    than ``feather_px`` from the hole are those of the photo, bit for bit.

    >>> import asyncio
    >>> from segpipe.inpainters.build_inpainter import OpenCvConfig, build_inpainter
    >>> photo = np.full((40, 60, 3), 200, np.uint8)
    >>> photo[10:20, 10:20] = 0
    >>> mask = (photo[..., 0] == 0).astype(np.uint8)
    >>> clean = asyncio.run(erase(photo, mask, build_inpainter(OpenCvConfig())))
    >>> bool(clean.min() > 190)
    True

    Args:
        image: The upright photo, (h, w, 3) uint8.
        mask: What goes, (h, w), 0 or 1.
        inpainter: Fills the holes.
        settings: How much is replaced around it.
        wish: What is to be in the hole.

    Raises:
        InputError: The mask has another size than the photo, or covers nothing.
        InpainterError: The inpainter failed.
    """
    settings = settings or EraseSettings()
    if mask.shape != image.shape[:2]:
        height, width = image.shape[:2]
        raise InputError(
            f"the mask has {mask.shape[1]} x {mask.shape[0]} pixels, the photo {width} x {height}",
            field="mask",
        )
    if not mask.any():
        raise InputError("the mask covers nothing: there is nothing to erase", field="mask")
    hole = await finish_in_thread(grown, mask, settings.dilate_px)
    windows = await finish_in_thread(
        hole_windows,
        hole,
        context_ratio=inpainter.context_ratio,
        min_context_px=max(_MIN_CONTEXT_PX, settings.feather_px),
    )
    clean = image.copy()
    for window in windows:
        await _fill(clean, hole, window, inpainter, settings, wish)
    return clean


async def _fill(
    clean: RgbImage,
    hole: Bitmap,
    window: PixelWindow,
    inpainter: Inpainter,
    settings: EraseSettings,
    wish: Wish,
) -> None:
    """Fill the part of the hole in a window, in place."""
    place = slice(window.y1, window.y2), slice(window.x1, window.x2)
    pixels = np.ascontiguousarray(clean[place])
    part = np.ascontiguousarray(hole[place])
    filled = await inpainter.inpaint(pixels, part, wish)
    if filled.shape != pixels.shape or filled.dtype != np.uint8:
        raise InpainterError(
            f"{inpainter.id} gave a picture of shape {filled.shape} {filled.dtype} for one of "
            f"{pixels.shape}"
        )
    clean[place] = await finish_in_thread(
        lambda: pasted(pixels, filled, part, feather_px=settings.feather_px)
    )

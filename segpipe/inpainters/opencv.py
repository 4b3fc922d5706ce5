"""Fill holes from their rims, by OpenCV: no weights."""

from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from segpipe.errors import InpainterError
from segpipe.inpainters.inpainter import NO_WISH, Wish
from segpipe.settings import Settings
from segpipe.threads import finish_in_thread
from segpipe.vision.canvas import shrink
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap

_METHODS = {"telea": cv2.INPAINT_TELEA, "ns": cv2.INPAINT_NS}


class OpenCvConfig(Settings):
    """Fill from the rim of the hole inwards: even backgrounds, no weights."""

    kind: Literal["opencv"] = "opencv"
    method: Literal["telea", "ns"] = Field(
        default="telea",
        description="telea goes inwards by the fast marching method, ns by the equations of a "
        "flowing liquid.",
    )
    radius_px: float = Field(
        default=5, gt=0, le=50, description="How far a pixel looks for its colour."
    )
    max_side_px: int = Field(
        default=512,
        ge=32,
        description="A hole that with its surroundings is longer than this, in pixels, is filled "
        "at a reduced scale: what comes out is smooth anyway.",
    )


class OpenCvInpainter:
    """Carries the colours of the rim into the hole.

    A. Telea: "An Image Inpainting Technique Based on the Fast Marching Method", Journal of
    Graphics Tools 9(1), 2004, https://doi.org/10.1080/10867651.2004.10487596. M. Bertalmio,
    A. L. Bertozzi, G. Sapiro: "Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting",
    CVPR 2001, https://doi.org/10.1109/CVPR.2001.990497
    """

    context_ratio = 0.1

    def __init__(self, config: OpenCvConfig) -> None:
        self._config = config
        self.id = f"opencv-{config.method}"

    async def inpaint(self, image: RgbImage, hole: Bitmap, wish: Wish = NO_WISH) -> RgbImage:
        """Fill the hole of one upright RGB image, (h, w, 3) uint8; words are not heard.

        Raises:
            InpainterError: There is nothing around the hole to fill it from.
        """
        if hole.all():
            raise InpainterError("nothing is left of the photo to fill the hole from")
        return await finish_in_thread(self._fill, image, hole)

    def _fill(self, image: RgbImage, hole: Bitmap) -> RgbImage:
        height, width = hole.shape
        scale = min(1.0, self._config.max_side_px / max(height, width))
        small, small_hole = image, hole
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            # Without the hole's own colours, which would run into the pixels beside it.
            small_hole = (shrink(hole * np.uint8(255), *size) > 0).astype(np.uint8)
            small = shrink(image, *size)
        method = _METHODS[self._config.method]
        filled = cv2.inpaint(
            np.ascontiguousarray(small), small_hole, self._config.radius_px, method
        )
        if scale < 1:
            filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(filled, np.uint8)

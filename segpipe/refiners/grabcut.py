"""Sharpen coarse masks by GrabCut around their edges."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from segpipe.errors import InputError, RefinerError
from segpipe.progress import StepDone, Tell, tell_nobody
from segpipe.refiners.refiner import STAGE, Refinement
from segpipe.settings import Settings
from segpipe.threads import IsWanted, stoppable_in_thread
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.canvas import shrink
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask, iou

Trimap = NDArray[np.uint8]
"""Shape (h, w), OpenCV's GrabCut classes: sure or probable, foreground or background."""
Vectors = NDArray[np.float32]
"""Shape (h, w, 3), a derivative of each Lab channel, per pixel."""

_RNG_SEED = 1
_CONTEXT_BANDS = 3  # how far round the mask the colour models look, in widths of the band
_EDGE_BLUR_PX = 1.0  # quiets sensor noise and JPEG blocks
_NORMAL_BLUR_PX = 2.0  # so that the direction of an edge is not that of its staircase
_DERIVATIVE_SCALE = 1 / 32  # the weights of a Scharr kernel
_COVERED = np.uint8(255)
_HALF_COVERED = np.uint8(127)
_NEIGHBOURS = np.ones((3, 3), np.uint8)


class GrabCutConfig(Settings):
    """Refine each mask by a few GrabCut iterations in a band around its edge."""

    kind: Literal["grabcut"] = "grabcut"
    iterations: int = Field(default=3, ge=1, le=20, description="GrabCut iterations for a mask.")
    band_ratio: float = Field(
        default=0.06,
        gt=0,
        le=0.5,
        description="How far the edge may move, as a part of the square root of the mask's area.",
    )
    min_band_px: int = Field(
        default=4, ge=1, description="How far the edge of a small mask may move, in pixels."
    )
    max_side_px: int = Field(
        default=400,
        ge=32,
        description="An item that with its surroundings is longer than this, in pixels, is refined "
        "at a reduced scale.",
    )
    min_edge_ratio: float = Field(
        default=1.3,
        ge=1,
        description="How many times as strong as at the coarse edge the change of colour must be "
        "at a new stretch of edge; other stretches stay coarse.",
    )
    min_edge_gain: float = Field(
        default=5.0,
        ge=0,
        description="By how much it must be stronger, in units of 8-bit Lab per pixel.",
    )
    min_iou: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="IoU with the coarse mask, 0 to 1, below which the coarse mask stays.",
    )
    max_area_change: float = Field(
        default=0.5,
        gt=0,
        description="Change of area, as a part of the coarse area, above which the coarse mask "
        "stays.",
    )


class GrabCutRefiner:
    """Moves the edge of a mask to where the picture has one, by GrabCut.

    The inside of a mask stays foreground and the outside background; only a band around the edge
    is decided anew. Of the new edge those stretches are kept across which the colours change
    clearly more than across the coarse edge, so a mask that fits already is left alone. The
    same input gives the same masks.

    C. Rother, V. Kolmogorov, A. Blake: "GrabCut", ACM Transactions on Graphics 23(3), 2004,
    https://doi.org/10.1145/1015706.1015720
    """

    id = "grabcut"

    def __init__(self, config: GrabCutConfig) -> None:
        self._config = config

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell = tell_nobody
    ) -> tuple[Refinement, ...]:
        """Refine the coarse masks of one upright RGB image, (h, w, 3) uint8; a step is a mask.

        Raises:
            InputError: A mask belongs to an image of another size.
            RefinerError: OpenCV failed.
        """
        return await stoppable_in_thread(partial(self._refine_all, image, masks, tell))

    def _refine_all(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell, is_wanted: IsWanted
    ) -> tuple[Refinement, ...]:
        refined = []
        for number, mask in enumerate(masks):
            if not is_wanted():
                break
            refined.append(self._refine_one(image, mask, number))
            tell(StepDone(STAGE, number + 1, len(masks)))
        return tuple(refined)

    def _refine_one(self, image: RgbImage, coarse: Mask, number: int) -> Refinement:
        if (coarse.image_height, coarse.image_width) != image.shape[:2]:
            raise InputError(
                f"mask {number} belongs to an image of {coarse.image_width} x "
                f"{coarse.image_height}, but was given with one of shape {image.shape}",
                field="masks",
            )
        area = coarse.area
        if area == 0:
            return Refinement(coarse, accepted=False, reason="the mask is empty")

        # Everything happens in a window around the item, reduced when it is large.
        band_px = max(self._config.min_band_px, round(self._config.band_ratio * math.sqrt(area)))
        window = _surroundings(coarse, _CONTEXT_BANDS * band_px)
        scale = min(1.0, self._config.max_side_px / max(window.width, window.height))
        coarse_bits = coarse.crop_to(*window)
        bits = _scaled_bits(coarse_bits, scale)
        trimap = _trimap(bits, max(1.0, band_px * scale))
        if not np.any(trimap == cv2.GC_FGD):
            return Refinement(coarse, accepted=False, reason="the mask is too thin to refine")
        if not np.any(trimap == cv2.GC_BGD):
            return Refinement(coarse, accepted=False, reason="no background around the mask")

        try:
            pixels = _scaled(image[window.y1 : window.y2, window.x1 : window.x2], scale)
            proposed = _connected(self._grab_cut(pixels, trimap), trimap)
            better = self._better_stretches(pixels, bits, proposed)
        except cv2.error as error:
            raise RefinerError(f"GrabCut failed on mask {number}: {error}") from error

        refined_bits = _pasted(proposed, better, coarse_bits)
        refined = Mask(window.x1, window.y1, refined_bits, coarse.image_width, coarse.image_height)
        reason = self._objection(coarse, refined) if better.any() else "no clearer edge near by"
        return Refinement(
            mask=coarse if reason else refined.tight(),
            accepted=reason is None,
            reason=reason,
            iterations=self._config.iterations,
        )

    def _grab_cut(self, pixels: RgbImage, trimap: Trimap) -> Bitmap:
        labels = trimap.copy()
        background, foreground = np.zeros((1, 65)), np.zeros((1, 65))  # 5 Gaussians of 13 numbers
        # OpenCV keeps one generator a thread, and k-means draws from it.
        cv2.setRNGSeed(_RNG_SEED)
        cv2.grabCut(
            pixels,
            labels,
            (0, 0, 0, 0),  # the rectangle is for another mode
            background,
            foreground,
            self._config.iterations,
            cv2.GC_INIT_WITH_MASK,
        )
        return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)

    def _better_stretches(
        self, pixels: RgbImage, coarse: Bitmap, proposed: Bitmap
    ) -> NDArray[np.bool_]:
        """Where the proposed edge follows the picture clearly better than the coarse one.

        What differs between the two falls into connected stretches. The coarse and the proposed
        edge of each are compared by the mean change of colour across them.
        """
        differs = (coarse != proposed).astype(np.uint8)
        count, stretch = cv2.connectedComponents(cv2.dilate(differs, _NEIGHBOURS))
        blurred = cv2.GaussianBlur(pixels, (0, 0), _EDGE_BLUR_PX)
        lab = cv2.cvtColor(blurred, cv2.COLOR_RGB2LAB)
        across_x, across_y = (
            np.asarray(cv2.Scharr(lab, cv2.CV_32F, dx, 1 - dx, scale=_DERIVATIVE_SCALE), np.float32)
            for dx in (1, 0)
        )
        coarse_edge, proposed_edge = _edge(coarse), _edge(proposed)

        def mean_change(mask: Bitmap, edge: NDArray[np.bool_]) -> NDArray[np.float64]:
            change = _change_across(mask, edge, across_x, across_y)
            pixels_of = np.bincount(stretch[edge], minlength=count)
            return np.bincount(stretch[edge], change, count) / np.maximum(pixels_of, 1)

        old = mean_change(coarse, coarse_edge & ~proposed_edge)
        new = mean_change(proposed, proposed_edge & ~coarse_edge)
        is_better = (new >= self._config.min_edge_ratio * old) & (
            new - old >= self._config.min_edge_gain
        )
        is_better[0] = False  # label 0 is what does not differ
        better: NDArray[np.bool_] = is_better[stretch]
        return better

    def _objection(self, coarse: Mask, refined: Mask) -> str | None:
        """Why a refined mask is not to be trusted."""
        agreement = iou(coarse, refined)
        if agreement < self._config.min_iou:
            return f"IoU with the coarse mask is {agreement:.2f}, below {self._config.min_iou}"
        change = abs(refined.area - coarse.area) / coarse.area
        if change > self._config.max_area_change:
            return f"the area changed by {change:.0%}, above {self._config.max_area_change:.0%}"
        return None


def _surroundings(mask: Mask, margin_px: int) -> PixelWindow:
    tight = mask.tight().window
    return PixelWindow(
        tight.x1 - margin_px, tight.y1 - margin_px, tight.x2 + margin_px, tight.y2 + margin_px
    ).intersect(PixelWindow(0, 0, mask.image_width, mask.image_height))


def _trimap(bits: Bitmap, band_px: float) -> Trimap:
    """Sure on either side of a band around the edge; the edge of the image is none."""
    padded = np.pad(bits, 1, mode="edge")
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    distance = cv2.distanceTransform(1 - padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    trimap = np.where(bits == 1, np.uint8(cv2.GC_PR_FGD), np.uint8(cv2.GC_PR_BGD))
    trimap[depth > band_px] = cv2.GC_FGD
    trimap[distance > band_px] = cv2.GC_BGD
    return trimap


def _connected(bits: Bitmap, trimap: Trimap) -> Bitmap:
    """Without islands that no sure foreground joins, and holes that no sure background joins."""
    without_islands = _reached_from(trimap == cv2.GC_FGD, bits)
    return 1 - _reached_from(trimap == cv2.GC_BGD, 1 - without_islands)


def _reached_from(seeds: NDArray[np.bool_], bits: Bitmap) -> Bitmap:
    """The connected components of the bitmap that hold a seed."""
    count, component = cv2.connectedComponents(bits, connectivity=4)
    has_seed = np.zeros(count, np.uint8)
    has_seed[component[seeds]] = 1
    reached: Bitmap = has_seed[component]
    return reached & bits


def _edge(bits: Bitmap) -> NDArray[np.bool_]:
    """The pixels on either side of the edge of the mask."""
    return cv2.morphologyEx(bits, cv2.MORPH_GRADIENT, _NEIGHBOURS) > 0


def _change_across(
    mask: Bitmap, edge: NDArray[np.bool_], across_x: Vectors, across_y: Vectors
) -> NDArray[np.float32]:
    """Change of colour at right angles to the mask's edge, for each pixel of the edge.

    Stripes of an item that run up against its edge change colour along the edge, and do not count.
    """
    smooth = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _NORMAL_BLUR_PX)
    normal_x = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)[edge]
    normal_y = cv2.Scharr(smooth, cv2.CV_32F, 0, 1)[edge]
    length = np.maximum(np.hypot(normal_x, normal_y), np.finfo(np.float32).tiny)
    x_part, y_part = (normal_x / length)[:, None], (normal_y / length)[:, None]
    change: NDArray[np.float32] = np.linalg.norm(
        across_x[edge] * x_part + across_y[edge] * y_part, axis=1
    )
    return change


def _scaled(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1:
        return pixels
    height, width = pixels.shape[:2]
    return shrink(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def _scaled_bits(bits: Bitmap, scale: float) -> Bitmap:
    return _at_least_half(_scaled(bits * _COVERED, scale))


def _pasted(proposed: Bitmap, better: NDArray[np.bool_], coarse: Bitmap) -> Bitmap:
    """The coarse bitmap with the proposed one, enlarged again, in the better stretches."""
    if proposed.shape != coarse.shape:
        size = coarse.shape[1], coarse.shape[0]
        proposed = _at_least_half(
            np.asarray(
                cv2.resize(proposed * _COVERED, size, interpolation=cv2.INTER_LINEAR), np.uint8
            )
        )
        enlarged = cv2.resize(better.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        better = np.asarray(enlarged, np.bool_)
    pasted: Bitmap = np.where(better, proposed, coarse)
    return pasted


def _at_least_half(cover: NDArray[np.uint8]) -> Bitmap:
    return (cover > _HALF_COVERED).astype(np.uint8)

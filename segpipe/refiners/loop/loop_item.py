"""One mask on its way through the refining loop: what is asked, what is kept, what is trusted."""

from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.refiners.loop.loop_settings import LoopSettings
from segpipe.refiners.loop.mask_decoder import Candidates
from segpipe.refiners.loop.mask_prompts import Logits, mask_prompts
from segpipe.refiners.loop.square_view import Site, Square, SquarePrompt, View, surroundings, whole
from segpipe.refiners.refiner import Refinement
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.mask import Bitmap, Mask, iou

_EMPTY = "the answer is empty"


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """A mask of the model that stayed with its item.

    Attributes:
        logits: Over the model's square.
        predicted_iou: What the model expects of it, 0 to 1.
        agreement: IoU with the coarse mask, 0 to 1.
    """

    logits: Logits
    predicted_iou: float
    agreement: float


class LoopItem:
    """A coarse mask, the mask that the next prompts come from, and the best answer so far.

    The loop works on a small grid over the item's surroundings; only the best answer is ever
    scaled up to pixels of the image.
    """

    def __init__(self, coarse: Mask, site: Site, settings: LoopSettings) -> None:
        self.site = site
        self.is_open = True
        self._coarse = coarse
        self._settings = settings
        self._coarse_cells = site.to_grid(coarse.crop_to(*site.window))
        self._cells = self._coarse_cells
        self._best: _Answer | None = None
        self._iterations = 0
        self._end = ""

    @classmethod
    def start(cls, coarse: Mask, settings: LoopSettings, square: Square) -> Self | Refinement:
        """Prepare a coarse mask for a model's square; or say at once why it has to stay."""
        if coarse.is_empty:
            return Refinement(coarse, accepted=False, reason="the mask is empty")
        window = surroundings(coarse, settings.margin_ratio)
        view = View(_seen(window, whole(coarse), settings, square), square)
        item = cls(coarse, Site.around(window, view), settings)
        if not item._cells.any():
            return Refinement(coarse, accepted=False, reason="the mask is too thin to refine")
        return item

    def next_prompt(self) -> SquarePrompt:
        """What to ask the model next."""
        prompts = mask_prompts(
            self._cells, gamma=self._settings.gamma, strength=self._settings.strength
        )
        return self.site.to_square(prompts)

    def accept(self, candidates: Candidates) -> None:
        """Go on from the model's answer, or end with the best so far."""
        self._iterations += 1
        best = candidates.best
        if best is None:
            self._close("the answer is not made of numbers; try dtype bfloat16 or float32")
            return
        logits, predicted_iou = best
        cells = (self.site.grid_logits(logits) > 0).astype(np.uint8)
        if not cells.any():
            self._close(_EMPTY)
            return
        agreement = _cells_iou(cells, self._coarse_cells)
        if agreement < self._settings.min_iou:
            self._close(self._left(agreement))
            return
        # A copy, since a view would keep the answers of the whole batch alive.
        answer = _Answer(logits.copy(), predicted_iou, agreement)
        if self._best is None or self._value(answer) > self._value(self._best):
            self._best = answer
        if np.array_equal(cells, self._cells):
            self._close("")  # the same question would have the same answer
        self._cells = cells

    def refinement(self) -> Refinement:
        """What became of the mask."""
        best = self._best
        if best is None:
            return self._kept_coarse(self._end)
        if best.predicted_iou < self._settings.min_predicted_iou:
            return self._kept_coarse(
                f"the model expects an IoU of {best.predicted_iou:.2f}, below "
                f"{self._settings.min_predicted_iou:g}"
            )
        refined = self._in_image(best.logits)
        if refined.is_empty:
            return self._kept_coarse(_EMPTY)  # it had cells, but only between the pixels
        agreement = iou(refined, self._coarse)
        if agreement < self._settings.min_iou:
            return self._kept_coarse(self._left(agreement))
        return Refinement(
            mask=refined,
            accepted=True,
            iterations=self._iterations,
            predicted_iou=best.predicted_iou,
        )

    def _in_image(self, logits: Logits) -> Mask:
        bits = (self.site.window_logits(logits) > 0).astype(np.uint8)
        (x, y), image = self.site.window[:2], whole(self._coarse)
        found = Mask(x, y, bits, image.width, image.height).tight()
        return replace(found, bits=clean(found.bits, self._settings.max_flaw_ratio)).tight()

    def _value(self, answer: _Answer) -> float:
        return answer.predicted_iou + self._settings.agreement_weight * answer.agreement

    def _close(self, reason: str) -> None:
        self.is_open = False
        self._end = reason

    def _left(self, agreement: float) -> str:
        return (
            f"the answer's IoU with the coarse mask is {agreement:.2f}, below "
            f"{self._settings.min_iou:g}"
        )

    def _kept_coarse(self, reason: str) -> Refinement:
        return Refinement(
            mask=self._coarse,
            accepted=False,
            reason=reason,
            iterations=self._iterations,
            predicted_iou=self._best.predicted_iou if self._best else None,
        )


def _seen(
    window: PixelWindow, image: PixelWindow, settings: LoopSettings, square: Square
) -> PixelWindow:
    """What the model is shown for an item with these surroundings."""
    ratio = max(window.width, window.height) / max(image.width, image.height)
    is_small = ratio < settings.small_item_ratio
    if settings.embed == "crop" or (settings.embed == "auto" and is_small):
        return square.window_for(window, image)
    return image


def _cells_iou(a: Bitmap, b: Bitmap) -> float:
    return int(np.count_nonzero(a & b)) / int(np.count_nonzero(a | b))


_NEIGHBOURS = np.ones((3, 3), np.uint8)
_INSIDE_CONNECTIVITY = 8
_OUTSIDE_CONNECTIVITY = 4  # the usual complement, so that a diagonal line still bounds a hole


def clean(bits: Bitmap, max_flaw_ratio: float) -> Bitmap:
    """A bitmap without its small islands, cracks and holes, (h, w), a new array.

    What is small is measured by the object, not by the image: at 12 MP a thousandth of the image
    is the handle of a mug. Cracks are what a 3 x 3 closing fills.

    Args:
        bits: The object; what lies beyond its edges counts as outside.
        max_flaw_ratio: Islands and holes with fewer pixels than this part of the object go. The
            largest island always stays.
    """
    limit_px = max_flaw_ratio * int(np.count_nonzero(bits))
    closed = _closed(_without_islands(bits, limit_px))
    # Last, because a closing may bridge a crack into a hole.
    return _without_holes(closed, limit_px)


def _closed(bits: Bitmap) -> Bitmap:
    # Framed, because OpenCV would join the object to an edge that it nearly reaches.
    framed = cv2.morphologyEx(np.pad(bits, 1), cv2.MORPH_CLOSE, _NEIGHBOURS)
    return np.asarray(framed[1:-1, 1:-1], np.uint8)


def _without_islands(bits: Bitmap, limit_px: float) -> Bitmap:
    if _is_simple(bits):
        return bits
    component, area = _components(bits, _INSIDE_CONNECTIVITY)
    stays = area >= limit_px
    stays[0] = False  # label 0 is the background
    if len(area) > 1:
        stays[1 + np.argmax(area[1:])] = True
    kept: Bitmap = stays.astype(np.uint8)[component]
    return kept


def _without_holes(bits: Bitmap, limit_px: float) -> Bitmap:
    if _is_simple(bits):
        return bits
    # A frame joins all that reaches the edge, which is no hole.
    outside = np.pad(1 - bits, 1, constant_values=1)
    component, area = _components(outside, _OUTSIDE_CONNECTIVITY)
    is_filled = area < limit_px
    is_filled[0] = True  # label 0 is the object itself
    is_filled[component[0, 0]] = False
    filled: Bitmap = is_filled.astype(np.uint8)[component[1:-1, 1:-1]]
    return filled


def _is_simple(bits: Bitmap) -> bool:
    """Whether it is one island without a hole, as most are; this is soon seen from its outlines."""
    outlines, _ = cv2.findContours(bits, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return len(outlines) <= 1


def _components(bits: Bitmap, connectivity: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The component that each pixel belongs to, (h, w), and the pixels of each component."""
    _, component, stats, _ = cv2.connectedComponentsWithStats(bits, connectivity=connectivity)
    return np.asarray(component, np.int32), np.asarray(stats[:, cv2.CC_STAT_AREA], np.int32)

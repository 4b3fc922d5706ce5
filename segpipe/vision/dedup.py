"""Leave out the detections that show what a better one shows already."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segpipe.errors import ConfigError, InputError
from segpipe.vision.boxes import Box, BoxArray, Columns, Indices, at_places, meeting_pairs
from segpipe.vision.mask import Mask, intersection_area

DEFAULT_IOU_THRESHOLD = 0.5
DEFAULT_CONTAINMENT_THRESHOLD = 0.8

# Each round compares a block of the best undecided items with all undecided ones. Blocks start
# small: where much overlaps, the first leave little to compare. The last size repeats; it bounds
# the pairs in memory.
_BLOCKS = (128, 256, 512, 1024)

_Floats = NDArray[np.float64]


class Compare(StrEnum):
    """What dedup measures overlap on."""

    MASKS = "masks"
    BOXES = "boxes"


class Criterion(StrEnum):
    """How an overlap is measured."""

    IOU = "iou"
    """Intersection over union."""
    CONTAINMENT = "containment"
    """Intersection over the smaller of the two areas."""
    TRACE = "trace"
    """It shows the paint over the survivor and no item: :func:`dedup` itself knows no paint."""


class Rejection(NamedTuple):
    """Why an item was left out: ``index`` and ``survivor`` are positions in the input."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    survivor: int
    criterion: Criterion
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class DedupResult:
    """What stays and what goes.

    Attributes:
        kept_indices: Positions of the survivors, (k,) intp, in input order.
        rejections: One for each of the others, in input order.
    """

    kept_indices: NDArray[np.intp]
    rejections: tuple[Rejection, ...]


# Without area there is no ratio: NaN exceeds nothing.
@np.errstate(divide="ignore", invalid="ignore")
def dedup(
    boxes: BoxArray,
    scores: NDArray[np.float64],
    masks: Sequence[Mask | None] | None = None,
    *,
    iou_threshold: float = DEFAULT_IOU_THRESHOLD,
    containment_threshold: float = DEFAULT_CONTAINMENT_THRESHOLD,
) -> DedupResult:
    """Keep the best of the items that overlap too much: greedy non-maximum suppression.

    From the best score down (equal scores: in input order), an item survives unless it overlaps
    an earlier survivor by more than a threshold. The best-scored such survivor is named in its
    rejection, and IoU as the criterion where that exceeds, else containment. Two items that
    both have a mask are measured on their masks, others on their boxes. An empty box or mask
    overlaps nothing.

    Args:
        boxes: (n, 4) ``xyxy``.
        scores: (n,); only their order counts.
        masks: n masks of one image, None for an item without one.
        iou_threshold: 0 to 1; 1 turns the criterion off.
        containment_threshold: 0 to 1; 1 turns the criterion off.

    Raises:
        InputError: Lengths differ, a number is NaN or infinite, a box has x2 < x1 or y2 < y1,
            or the masks belong to images of different sizes.
        ConfigError: A threshold is not between 0 and 1.

    Examples:
        >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], np.float64)
        >>> result = dedup(boxes, np.array([0.8, 0.9, 0.7]))
        >>> result.kept_indices.tolist()
        [1, 2]
        >>> (rejection,) = result.rejections
        >>> rejection.index, rejection.survivor, str(rejection.criterion)
        (0, 1, 'iou')
        >>> round(rejection.value, 2)
        0.82
    """
    limits = _Limits(iou_threshold, containment_threshold)
    boxes, scores = np.asarray(boxes, np.float64), np.asarray(scores, np.float64)
    _check(boxes, scores, masks, limits)

    # From here on an item goes by its rank: 0 has the best score.
    order = np.argsort(-scores, kind="stable")
    items = _Items.of(boxes[order], [masks[i] for i in order] if masks is not None else ())
    survives = np.ones(order.size, np.bool_)
    rejections: list[Rejection] = []
    undecided = np.arange(order.size)
    for block in chain(_BLOCKS, repeat(_BLOCKS[-1])):
        if undecided.size == 0:
            break
        pairs = _close_pairs(items, undecided, block, limits)
        decisive = _settle(pairs, items, limits)
        rejections += _rejections(decisive, order, limits)
        survives[decisive.worse] = False
        rest = undecided[block:]
        undecided = rest[survives[rest]]
    return DedupResult(np.sort(order[survives]), tuple(sorted(rejections)))


class _Limits(NamedTuple):
    """The thresholds of both criteria."""

    iou: float
    containment: float


class _Pairs(NamedTuple):
    """Pairs of ranks and how they overlap, each (p,)."""

    better: Indices
    worse: Indices
    iou: _Floats
    containment: _Floats

    def take(self, chosen: Indices) -> "_Pairs":
        return _Pairs(
            self.better[chosen], self.worse[chosen], self.iou[chosen], self.containment[chosen]
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Items:
    """Boxes and masks by rank.

    Attributes:
        boxes: As they were given.
        box_areas: (n,).
        masks: n, or empty when no item has one.
        mask_areas: (n,); meaningless where there is no mask.
        reach: Each box stretched over its mask's bitmap: whether measured on boxes or on
            masks, two items share no more than these do.
        least_areas: (n,), the smaller of box and mask.
    """

    boxes: Columns
    box_areas: _Floats
    masks: Sequence[Mask | None]
    mask_areas: _Floats
    reach: Columns
    least_areas: _Floats

    @classmethod
    def of(cls, boxes: BoxArray, masks: Sequence[Mask | None]) -> "_Items":
        columns = tuple(np.ascontiguousarray(boxes.T))
        areas = (columns[2] - columns[0]) * (columns[3] - columns[1])
        if all(mask is None for mask in masks):
            return cls(columns, areas, (), areas, columns, areas)
        reach, least_areas, mask_areas = boxes.copy(), areas.copy(), np.zeros_like(areas)
        for rank, mask in enumerate(masks):
            if mask is not None:
                mask_areas[rank] = mask.area
                least_areas[rank] = min(areas[rank], mask_areas[rank])
                reach[rank, :2] = np.minimum(boxes[rank, :2], mask.window[:2])
                reach[rank, 2:] = np.maximum(boxes[rank, 2:], mask.window[2:])
        reach_columns = tuple(np.ascontiguousarray(reach.T))
        return cls(columns, areas, masks, mask_areas, reach_columns, least_areas)

    def measure(self, pairs: _Pairs, pair: int, limits: _Limits) -> bool:
        """Replace a pair's bounds by its exact overlap, and say whether it exceeds a limit."""
        two = np.array([pairs.better[pair], pairs.worse[pair]])
        mask_a, mask_b = (self.masks[rank] for rank in two)
        if mask_a is None or mask_b is None:
            areas = self.box_areas[two]
            shared = _shared_area(*(at_places(self.boxes, rank) for rank in two))
        else:
            areas = self.mask_areas[two]
            shared = np.asarray(intersection_area(mask_a, mask_b))
        pairs.iou[pair] = iou = shared / (areas.sum() - shared)
        pairs.containment[pair] = containment = shared / areas.min()
        return bool(iou > limits.iou or containment > limits.containment)


def _close_pairs(items: _Items, undecided: Indices, block: int, limits: _Limits) -> _Pairs:
    """Pairs of one of the first ``block`` undecided items and a worse one, in this order.

    Without masks, those that exceed a limit. With masks, those that may, and the most they may
    overlap by: masks are measured only when it comes to that.
    """
    is_all = undecided.size == items.least_areas.size  # as it is in the first round
    reach = items.reach if is_all else at_places(items.reach, undecided)
    areas = items.least_areas if is_all else items.least_areas[undecided]
    better, worse = meeting_pairs(reach, block)
    shared = _shared_area(at_places(reach, better), at_places(reach, worse))
    containment = shared / np.minimum(areas[better], areas[worse])
    # IoU is never above containment: most pairs end here.
    close = np.flatnonzero(containment > min(limits))
    better, worse = better[close], worse[close]
    shared, containment = shared[close], containment[close]
    iou = shared / (areas[better] + areas[worse] - shared)
    exceed = (iou > limits.iou) | (containment > limits.containment) | bool(items.masks)
    chosen = np.flatnonzero(exceed)
    # Places in a block fit 16 bits, which numpy sorts in linear time.
    chosen = chosen[np.argsort(better[chosen].astype(np.int16), kind="stable")]
    return _Pairs(
        undecided[better[chosen]], undecided[worse[chosen]], iou[chosen], containment[chosen]
    )


def _settle(pairs: _Pairs, items: _Items, limits: _Limits) -> _Pairs:
    """The pairs, measured, in which a survivor is the first to beat an item."""
    decisive: list[int] = []
    beaten: set[int] = set()
    ranks = zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True)
    for pair, (better, worse) in enumerate(ranks):
        if better in beaten or worse in beaten:
            continue
        if not items.masks or items.measure(pairs, pair, limits):
            beaten.add(worse)
            decisive.append(pair)
    return pairs.take(np.array(decisive, np.intp))


def _rejections(decisive: _Pairs, order: Indices, limits: _Limits) -> Iterator[Rejection]:
    by_iou = decisive.iou > limits.iou
    criteria = (Criterion.CONTAINMENT, Criterion.IOU)
    columns = zip(
        order[decisive.worse].tolist(),
        order[decisive.better].tolist(),
        [criteria[is_iou] for is_iou in by_iou.tolist()],
        np.where(by_iou, decisive.iou, decisive.containment).tolist(),
        strict=True,
    )
    return map(Rejection._make, columns)


def _shared_area(a: Columns, b: Columns) -> _Floats:
    """Areas of the intersections."""
    width: _Floats = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    height: _Floats = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def _check(
    boxes: BoxArray,
    scores: _Floats,
    masks: Sequence[Mask | None] | None,
    limits: _Limits,
) -> None:
    for name, limit in zip(("iou_threshold", "containment_threshold"), limits, strict=True):
        if not 0 <= limit <= 1:
            raise ConfigError(f"a threshold must be between 0 and 1, got {limit}", field=name)
    if boxes.shape[1:] != (len(Box._fields),):
        raise InputError(f"boxes must be (n, 4), got {boxes.shape}", field="boxes")
    if scores.shape != boxes.shape[:1]:
        raise InputError(
            f"{len(boxes)} boxes need as many scores, got {scores.shape}", field="scores"
        )
    if masks is not None and len(masks) != len(boxes):
        raise InputError(f"{len(boxes)} boxes need as many masks, got {len(masks)}", field="masks")
    if not np.isfinite(boxes).all() or (boxes[:, :2] > boxes[:, 2:]).any():
        raise InputError("boxes must be finite, with x1 <= x2 and y1 <= y2", field="boxes")
    if not np.isfinite(scores).all():
        raise InputError("scores must be finite", field="scores")
    sizes = {(mask.image_width, mask.image_height) for mask in masks or () if mask is not None}
    if len(sizes) > 1:
        raise InputError(f"masks must be of one image, got sizes {sorted(sizes)}", field="masks")

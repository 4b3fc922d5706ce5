"""Every item of an image, with no prompt: the model is asked at each point of a grid.

The filters are those of SAM's automatic mask generator (A. Kirillov and others: "Segment
Anything", 2023, https://arxiv.org/abs/2304.02643, appendix B), without its crops. Stability and
boxes are measured on the model's own planes: what is left out is never scaled up.
"""

import numpy as np
from numpy.typing import NDArray

from segpipe.detection import Thresholds
from segpipe.prompt import Point
from segpipe.segmenters.sam3.local.local_settings import EverythingSettings
from segpipe.segmenters.sam3.local.mask_planes import rough_boxes
from segpipe.segmenters.sam3.local.sam3_runtime import FeaturesT, PixelsT, RawMasks, Runtime
from segpipe.vision.dedup import dedup

_CONTAINMENT_OFF = 1.0
"""A part of an item lies in the whole of it: what to make of that is left to the deal's dedup."""


def find_everything(
    runtime: Runtime[PixelsT, FeaturesT],
    features: FeaturesT,
    *,
    width: int,
    height: int,
    settings: EverythingSettings,
    thresholds: Thresholds,
) -> RawMasks:
    """What the model sees at the points of a grid, the best score first.

    Args:
        runtime: The model; this runs in its thread.
        features: Of the image.
        width: Pixels of the image.
        height: Pixels of the image.
        settings: The grid and its filters.
        thresholds: Scores have to reach this threshold and the one of the settings.
    """
    grid = _grid(settings.points_per_side, width=width, height=height)
    min_score = max(settings.pred_iou_thresh, thresholds.score)
    stable: list[RawMasks] = []
    for start in range(0, len(grid), settings.points_per_batch):
        points = grid[start : start + settings.points_per_batch]
        raw = runtime.at_each_point(features, points, thresholds.mask, min_score)
        stability = stability_scores(raw, settings.stability_offset)
        stable.append(raw.take(np.flatnonzero(stability >= settings.stability_score_thresh)))
    found = RawMasks(
        np.concatenate([raw.planes for raw in stable]),
        np.concatenate([raw.scores for raw in stable]),
        stable[0].level,
    )
    boxes = rough_boxes(found, width=width, height=height)
    seen = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    found, boxes = found.take(seen), boxes[seen]
    kept = dedup(
        boxes,
        found.scores.astype(np.float64),
        iou_threshold=settings.box_nms_thresh,
        containment_threshold=_CONTAINMENT_OFF,
    ).kept_indices
    best_first = kept[np.argsort(-found.scores[kept], kind="stable")]
    return found.take(best_first[: thresholds.max_masks])


def stability_scores(raw: RawMasks, offset: float) -> NDArray[np.float64]:
    """The IoU of each mask at a higher and at a lower threshold, (n,), 0 to 1.

    Args:
        raw: Masks as logits.
        offset: How far the thresholds lie from the level, in logits.
    """
    # The smaller mask lies within the larger one.
    smaller = np.count_nonzero(raw.planes > raw.level + offset, axis=(1, 2))
    larger = np.count_nonzero(raw.planes > raw.level - offset, axis=(1, 2))
    return np.asarray(smaller / np.maximum(larger, 1), np.float64)


def _grid(points_per_side: int, *, width: int, height: int) -> list[Point]:
    """Points in the middles of equal cells, row after row."""
    middles = (np.arange(points_per_side) + 0.5) / points_per_side
    return [Point(x, y) for y in (middles * height).tolist() for x in (middles * width).tolist()]

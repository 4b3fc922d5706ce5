"""How well predicted masks agree with the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Matching:
    """How well predicted masks agree with the truth; every number is 0 to 1.

    Attributes:
        mean_iou: Mean IoU of the matched pairs; 0 when there are none.
        precision: Matched pairs over predicted masks; 1 when nothing was predicted.
        recall: Matched pairs over true masks; 1 when there are none.
        f1: Harmonic mean of the two.
    """

    mean_iou: float
    precision: float
    recall: float
    f1: float


def iou(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Intersection over union of two full-image masks; 0 when both are empty."""
    inside_a, inside_b = a.astype(bool), b.astype(bool)
    union = int(np.count_nonzero(inside_a | inside_b))
    return int(np.count_nonzero(inside_a & inside_b)) / union if union else 0.0


def match(
    predicted: Sequence[NDArray[np.generic]], truth: Sequence[NDArray[np.generic]]
) -> Matching:
    """Pair predicted with true full-image masks, the best IoU first, each at most once.

    A pair counts from an IoU of :data:`MATCH_IOU`.
    """
    ious = _ious(predicted, truth)
    candidates = [(ious[p, t], p, t) for p, t in np.argwhere(ious >= MATCH_IOU).tolist()]
    matched: list[float] = []
    used_predicted: set[int] = set()
    used_truth: set[int] = set()
    for value, p, t in sorted(candidates, key=lambda pair: (-pair[0], *pair[1:])):
        if p not in used_predicted and t not in used_truth:
            used_predicted.add(p)
            used_truth.add(t)
            matched.append(value)

    pairs = len(matched)
    precision = pairs / len(predicted) if predicted else 1.0
    recall = pairs / len(truth) if truth else 1.0
    f1 = 2 * precision * recall / (precision + recall) if pairs or not (predicted or truth) else 0.0
    return Matching(float(np.mean(matched)) if matched else 0.0, precision, recall, f1)


def _ious(
    predicted: Sequence[NDArray[np.generic]], truth: Sequence[NDArray[np.generic]]
) -> NDArray[np.float64]:
    """IoU of each predicted with each true mask, (p, t)."""
    if not predicted or not truth:
        return np.zeros((len(predicted), len(truth)))
    # float32 counts exactly up to 16 million pixels.
    a, b = (
        np.stack([mask.astype(np.bool_).ravel() for mask in masks]).astype(np.float32)
        for masks in (predicted, truth)
    )
    shared = (a @ b.T).astype(np.float64)
    union = a.sum(1)[:, None] + b.sum(1)[None] - shared
    ious: NDArray[np.float64] = shared / np.maximum(union, 1)
    return ious

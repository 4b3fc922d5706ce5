"""A slow and plain dedup to compare with, and random items for both."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segpipe.vision.boxes import BoxArray
from segpipe.vision.dedup import Criterion, Rejection, dedup
from segpipe.vision.mask import Mask

SIDE = 16
Fulls = Sequence[NDArray[np.uint8] | None]


def areas_of_boxes(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = width * height if width > 0 and height > 0 else 0.0
    return shared, (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])


def oracle(
    boxes: Sequence[Sequence[float]],
    scores: Sequence[float],
    fulls: Fulls,
    iou_threshold: float,
    containment_threshold: float,
) -> tuple[list[int], list[Rejection]]:
    """The definition in plain loops over full-image arrays."""
    kept: list[int] = []
    rejections = []
    for item in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        for survivor in kept:
            mine, other = fulls[item], fulls[survivor]
            if mine is not None and other is not None:
                shared, mine_area, other_area = (
                    float((mine & other).sum()),
                    float(mine.sum()),
                    float(other.sum()),
                )
            else:
                shared, mine_area, other_area = areas_of_boxes(boxes[item], boxes[survivor])
            union, smaller = mine_area + other_area - shared, min(mine_area, other_area)
            overlap = shared / union if union else 0.0
            containment = shared / smaller if smaller else 0.0
            if overlap > iou_threshold:
                rejections.append(Rejection(item, survivor, Criterion.IOU, overlap))
                break
            if containment > containment_threshold:
                rejections.append(Rejection(item, survivor, Criterion.CONTAINMENT, containment))
                break
        else:
            kept.append(item)
    return sorted(kept), sorted(rejections)


def assert_as_the_oracle(
    boxes: BoxArray,
    scores: NDArray[np.float64],
    fulls: Fulls | None = None,
    iou_threshold: float = 0.5,
    containment_threshold: float = 0.8,
) -> None:
    masks = None
    if fulls is not None:
        masks = [None if full is None else Mask.from_full(full) for full in fulls]
    result = dedup(
        boxes,
        scores,
        masks,
        iou_threshold=iou_threshold,
        containment_threshold=containment_threshold,
    )
    kept, rejections = oracle(
        boxes.tolist(),
        scores.tolist(),
        fulls or [None] * len(boxes),
        iou_threshold,
        containment_threshold,
    )
    assert result.kept_indices.tolist() == kept
    assert list(result.rejections) == rejections


def random_boxes(rng: np.random.Generator, count: int, *, grid: int | None) -> BoxArray:
    """Boxes of a busy scene; on a grid many touch, nest or are the same."""
    corners = np.sort(rng.uniform(0, SIDE, (count, 2, 2)), axis=1)
    if grid is not None:
        corners = np.round(corners / SIDE * grid) / grid * SIDE
    return corners.reshape(count, 4)


def random_fulls(rng: np.random.Generator, boxes: BoxArray) -> list[NDArray[np.uint8] | None]:
    """For some boxes no mask, for some one that reaches out of its box, for some none inside."""
    fulls: list[NDArray[np.uint8] | None] = []
    for x1, y1, x2, y2 in np.round(boxes).astype(int):
        full = np.zeros((SIDE, SIDE), np.uint8)
        full[y1:y2, x1:x2] = 1
        kind = rng.integers(5)
        if kind == 0:
            fulls.append(None)
            continue
        if kind == 1:
            full = np.roll(full, rng.integers(-3, 4), axis=1)
        elif kind == 2:
            full &= rng.integers(0, 2, full.shape, dtype=np.uint8)
        fulls.append(full)
    return fulls

"""Dedup beside supervision and sahi: ``python -m benchmarks.dedup``.

segpipe applies both criteria in one call and names the survivor that beat each item. The others
apply one criterion a call and give the indices to keep; each of their calls is timed by itself.
All take turns, round after round, so that a busy machine slows them alike. sahi compares boxes
only, so it has no part in the masks.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import supervision as sv
from rich.console import Console
from rich.table import Table
from sahi.postprocess.combine import greedy_nmm, nms
from supervision.detection.compact_mask import CompactMask

from benchmarks.timing import median_seconds
from segpipe.vision.boxes import BoxArray
from segpipe.vision.dedup import dedup
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import to_coco_rle

IMAGE_WIDTH, IMAGE_HEIGHT = 4000, 3000
# Boxes over one pixel of the image, on average.
DENSITIES = (0.2, 1, 5)
# Boxes: calls a round, rounds.
SIZES = {100: (20, 25), 1000: (2, 15), 5000: (1, 9)}
MASKS = 100
MASK_DENSITIES = (0.2, 1, 3)
MASK_CALLS, MASK_ROUNDS = 1, 15

IOU, CONTAINMENT = 0.5, 0.8
SEGPIPE = "segpipe, both"

Tasks = Mapping[str, Callable[[], object]]


def random_boxes(rng: np.random.Generator, count: int, density: float) -> BoxArray:
    """Boxes strewn evenly; the largest is 2.3 times as wide as the smallest."""
    side = np.sqrt(density * IMAGE_WIDTH * IMAGE_HEIGHT / count)
    size = rng.uniform(0.6, 1.4, (count, 2)) * side
    start = rng.uniform(0, 1, (count, 2)) * ((IMAGE_WIDTH, IMAGE_HEIGHT) - size)
    return np.hstack([start, start + size])


def ellipse_in(box: list[float]) -> Mask:
    """An ellipse that fills a box."""
    x1, y1, x2, y2 = map(int, box)
    bits = np.zeros((y2 - y1, x2 - x1), np.uint8)
    middle, axes = ((x2 - x1) / 2, (y2 - y1) / 2), (x2 - x1, y2 - y1)
    cv2.ellipse(bits, (middle, axes, 0), (1,), cv2.FILLED)
    return Mask(x1, y1, bits, IMAGE_WIDTH, IMAGE_HEIGHT).tight()


def compact(masks: list[Mask]) -> CompactMask:
    """The masks as supervision keeps them small; its boxes include their last pixel."""
    corners = [mask.window for mask in masks]
    return CompactMask.from_coco_rle(
        [to_coco_rle(mask) for mask in masks],
        np.array(corners) - (0, 0, 1, 1),
        (IMAGE_HEIGHT, IMAGE_WIDTH),
    )


def box_tasks(rng: np.random.Generator, count: int, density: float) -> Tasks:
    boxes, scores = random_boxes(rng, count, density), rng.permutation(count) / count
    scored = np.column_stack([boxes, scores])
    of_one_class = np.column_stack([scored, np.zeros(count)])
    ios = sv.OverlapMetric.IOS
    return {
        SEGPIPE: lambda: dedup(boxes, scores),
        "supervision IoU": lambda: sv.box_non_max_suppression(scored, IOU),
        "supervision IoS": lambda: sv.box_non_max_suppression(scored, CONTAINMENT, ios),
        "sahi NMS IoU": lambda: nms(of_one_class, "IOU", IOU),
        "sahi NMS IoS": lambda: nms(of_one_class, "IOS", CONTAINMENT),
        "sahi GREEDYNMM IoS": lambda: greedy_nmm(of_one_class, "IOS", CONTAINMENT),
    }


def mask_tasks(rng: np.random.Generator, density: float) -> Tasks:
    masks = [ellipse_in(box) for box in random_boxes(rng, MASKS, density).tolist()]
    boxes, scores = np.array([mask.window for mask in masks], float), rng.permutation(MASKS) / MASKS
    scored, compacted = np.column_stack([boxes, scores]), compact(masks)
    ios = sv.OverlapMetric.IOS
    return {
        SEGPIPE: lambda: dedup(boxes, scores, masks),
        "supervision IoU": lambda: sv.mask_non_max_suppression(scored, compacted, IOU),
        "supervision IoS": lambda: sv.mask_non_max_suppression(scored, compacted, CONTAINMENT, ios),
    }


def milliseconds(tasks: Tasks, *, calls: int, rounds: int) -> dict[str, float]:
    """Median time of one call, after a first one that is not counted."""
    for task in tasks.values():
        task()

    def repeated(task: Callable[[], object]) -> Callable[[], object]:
        return lambda: [task() for _ in range(calls)]

    seconds = median_seconds({name: repeated(task) for name, task in tasks.items()}, rounds=rounds)
    return {name: 1000 * taken / calls for name, taken in seconds.items()}


def table(title: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    """Times of segpipe, and how many times as long the others take."""
    others = [name for name in next(iter(rows.values())) if name != SEGPIPE]
    made = Table("", title=title, title_justify="left")
    for heading in (f"{SEGPIPE}, ms", *others):
        made.add_column(heading, justify="right")
    for name, taken in rows.items():
        ratios = [f"{taken[other] / taken[SEGPIPE]:.1f} x" for other in others]
        made.add_row(name, f"{taken[SEGPIPE]:.2f}", *ratios)
    return made


def main() -> None:
    console = Console()
    rng = np.random.default_rng(0)
    rows = {
        f"{count} boxes, density {density}": milliseconds(
            box_tasks(rng, count, density), calls=calls, rounds=rounds
        )
        for count, (calls, rounds) in SIZES.items()
        for density in DENSITIES
    }
    console.print(table("Boxes: how many times as long as segpipe", rows))
    rows = {
        f"{MASKS} masks, density {density}": milliseconds(
            mask_tasks(rng, density), calls=MASK_CALLS, rounds=MASK_ROUNDS
        )
        for density in MASK_DENSITIES
    }
    console.print(table("Masks at 12 MP: how many times as long as segpipe", rows))


if __name__ == "__main__":
    main()

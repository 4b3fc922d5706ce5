"""Tiles beside sahi's sliced prediction: ``python -m benchmarks.tiled``.

Both ask the same segmenter, an oracle that scales large pictures down as models do, about the same
31 pictures of a synthetic photo of 21 MP: 30 tiles, and the whole. What is timed is what they do
themselves: cutting tiles, moving masks, joining. sahi has masks as polygons, made as its own
models make them; each of its ways of joining is asked.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from sahi.models.base import DetectionModel
from sahi.predict import get_sliced_prediction
from sahi.prediction import ObjectPrediction
from sahi.utils.cv import get_coco_segmentation_from_bool_mask

from segpipe.detection import Detection, SegmentationResult, Thresholds
from segpipe.prompt import Prompt
from segpipe.segmenters.segmenter import Segmenter
from segpipe.segmenters.tiled import TiledSegmenter
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe_tests.scenes.crowd import TILE_PX, Agreement, Crowd, Oracle, compare, make_crowd

OVERLAP = 0.2
SCENES, ROUNDS = 3, 3
SEGPIPE = "segpipe, tiled"
WAYS = {
    "sahi GREEDYNMM IoS": ("GREEDYNMM", "IOS"),
    "sahi NMM IoS": ("NMM", "IOS"),
    "sahi NMS IoU": ("NMS", "IOU"),
}


class Remembered(Segmenter):
    """The oracle's answers, each found once; its time is none of those who ask."""

    id = "remembered"
    concurrency = 1

    def __init__(self) -> None:
        self._oracle = Oracle(TILE_PX)
        self._answers: dict[bytes, list[Detection]] = {}
        self.cpu = 0.0
        self.pictures = 0

    def find(self, image: RgbImage) -> list[Detection]:
        began = time.process_time()
        key = image.shape[0].to_bytes(4, "big") + image[::50, ::50].tobytes()
        if key not in self._answers:
            self._answers[key] = self._oracle.find(image)
        self.pictures += 1
        self.cpu += time.process_time() - began
        return self._answers[key]

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        return SegmentationResult.of_one_pass(self.find(image), image, self.id, 0.0)

    async def aclose(self) -> None:
        pass


class OverRemembered(DetectionModel):  # type: ignore[misc, unused-ignore]
    """The same answers as sahi wants them."""

    remembered: Remembered

    def load_model(self) -> None:
        self.model = None

    def perform_inference(self, image: RgbImage) -> None:
        self._original_predictions = self.remembered.find(image)

    def _create_object_prediction_list_from_original_predictions(
        self,
        shift_amount_list: Any = None,
        full_shape_list: Any = None,
    ) -> None:
        shift, full = shift_amount_list[0], full_shape_list[0]
        if isinstance(shift, int):  # of one picture alone
            shift, full = shift_amount_list, full_shape_list
        found = [
            ObjectPrediction(
                bbox=list(map(float, one.box)),
                category_id=0,
                category_name="item",
                segmentation=polygons,
                score=one.score,
                shift_amount=list(shift),
                full_shape=list(full),
            )
            for one in self._original_predictions
            if one.mask and (polygons := outline_of(one.mask))
        ]
        self._object_prediction_list_per_image = [found]


def outline_of(mask: Mask) -> list[list[float]]:
    """The polygons of a mask, made of its bitmap alone: of the full picture sahi takes longer."""
    polygons = get_coco_segmentation_from_bool_mask(np.pad(mask.bits, 1).astype(np.bool_))
    offset = np.array([mask.x - 1, mask.y - 1])
    moved = [(np.reshape(one, (-1, 2)) + offset).clip(0).ravel().tolist() for one in polygons]
    return [one for one in moved if len(one) >= 6]


def by_segpipe(crowd: Crowd, remembered: Remembered) -> list[Mask]:
    segmenter = TiledSegmenter(remembered, tile_px=TILE_PX, overlap_ratio=OVERLAP)
    result = asyncio.run(segmenter.segment(crowd.image, Prompt()))
    return [one.mask for one in result.detections if one.mask]


def by_sahi(crowd: Crowd, remembered: Remembered, way: tuple[str, str]) -> list[Any]:
    model = OverRemembered(confidence_threshold=0.3, load_at_init=False, device="cpu")
    model.remembered = remembered
    kind, metric = way
    found = get_sliced_prediction(
        crowd.image,
        model,
        slice_height=TILE_PX,
        slice_width=TILE_PX,
        overlap_height_ratio=OVERLAP,
        overlap_width_ratio=OVERLAP,
        postprocess_type=kind,
        postprocess_match_metric=metric,
        verbose=0,
    )
    return list(found.object_prediction_list)


def masks_of(found: Sequence[Any], crowd: Crowd) -> list[Mask]:
    """Masks of sahi's polygons."""
    height, width = crowd.image.shape[:2]
    masks = []
    for one in found:
        plane = np.zeros((height, width), np.uint8)
        shapes = [
            np.round(np.reshape(shape, (-1, 2))).astype(np.int32) for shape in one.mask.segmentation
        ]
        cv2.fillPoly(plane, shapes, (1,))
        masks.append(Mask.from_full(plane))
    return masks


@dataclass
class Row:
    """What one way gave over all scenes."""

    agreements: list[Agreement]
    own_cpu: list[float]

    def of(self, least_iou: float) -> str:
        hits = [sum(iou >= least_iou for iou in one.ious) for one in self.agreements]
        counts = [len(one.ious) for one in self.agreements]
        found = [round(one.recall * len(one.ious) / one.precision) for one in self.agreements]
        return f"{2 * sum(hits) / (sum(counts) + sum(found)):.3f}"


def measure(
    name: str, task: Callable[[], list[Any]], remembered: Remembered, row: Row
) -> list[Any]:
    """Do a task, and keep the processors' time that was its own."""
    remembered.cpu, began = 0.0, time.process_time()
    found = task()
    row.own_cpu.append(time.process_time() - began - remembered.cpu)
    return found


def main() -> None:
    rows = {name: Row([], []) for name in (SEGPIPE, *WAYS)}
    for seed in range(SCENES):
        crowd, remembered = make_crowd(100 + seed), Remembered()
        tasks: dict[str, Callable[[], list[Any]]] = {
            SEGPIPE: partial(by_segpipe, crowd, remembered),
            **{name: partial(by_sahi, crowd, remembered, way) for name, way in WAYS.items()},
        }
        found = {}
        for _ in range(ROUNDS):
            for name, task in tasks.items():
                found[name] = measure(name, task, remembered, rows[name])
        for name, answer in found.items():
            masks = answer if name == SEGPIPE else masks_of(answer, crowd)
            rows[name].agreements.append(compare(masks, crowd, least_iou=0.5))
    table = Table("", title="600 small items and ten long ones in 21 MP", title_justify="left")
    for heading in ("F1 at IoU .5", "F1 at .8", "least IoU of a long item", "own ms of CPU", "x"):
        table.add_column(heading, justify="right")
    own = min(rows[SEGPIPE].own_cpu)
    for name, row in rows.items():
        long = min(min(one.ious[: crowd.long]) for one in row.agreements)
        cpu = min(row.own_cpu)
        numbers = (row.of(0.5), row.of(0.8), f"{long:.2f}", f"{1000 * cpu:.0f}", f"{cpu / own:.1f}")
        table.add_row(name, *numbers)
    Console().print(table)


if __name__ == "__main__":
    main()

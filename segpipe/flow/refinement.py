"""The third stage: sharper masks for the survivors."""

from dataclasses import dataclass

import pyarrow as pa

from segpipe.errors import RefinerError
from segpipe.flow.dedup import DedupedImage
from segpipe.flow.segmentation import SegmentedImage
from segpipe.refiners.base import Refinement, Refiner
from segpipe.store.tables import REFINEMENT_SCHEMA, masks_from_arrow, masks_to_arrow
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

REFINEMENT_FILE = "refinement.parquet"

NO_MASK = "the detection has no mask"


@dataclass(frozen=True, slots=True, eq=False)
class RefinedItem:
    """One survivor before and after refinement.

    Attributes:
        detection: Its index among the raw detections.
        box: The tight box of the mask to use; the detection's box when that is empty or absent.
        coarse: The segmenter's mask.
        refined: The refiner's mask when it was accepted.
        reason: Why the coarse mask stays; None when the refined one was accepted.
        iterations: Refining steps.
        predicted_iou: The model's own estimate, 0 to 1, when it gives one.
    """

    detection: int
    box: Box
    coarse: Mask | None
    refined: Mask | None
    reason: str | None
    iterations: int
    predicted_iou: float | None

    @property
    def mask(self) -> Mask | None:
        """The mask to use."""
        return self.refined if self.refined is not None else self.coarse


@dataclass(frozen=True, slots=True, eq=False)
class RefinedImage:
    """The survivors of one photo, in the order of their detections."""

    image: str
    items: tuple[RefinedItem, ...]


async def refine_image(
    rgb: RgbImage, segmented: SegmentedImage, deduped: DedupedImage, refiner: Refiner
) -> RefinedImage:
    """Refine the masks of the survivors of one photo; those without a mask stay as they are."""
    found = segmented.result.detections
    with_mask = {index: mask for index in deduped.kept if (mask := found[index].mask)}
    refinements = await refiner.refine(rgb, list(with_mask.values()))
    if len(refinements) != len(with_mask):
        raise RefinerError(
            f"{refiner.id} answered {len(refinements)} masks for {len(with_mask)} of them"
        )
    by_index = dict(zip(with_mask, refinements, strict=True))
    items = [
        _refined_item(index, found[index].box, found[index].mask, by_index.get(index))
        for index in deduped.kept
    ]
    return RefinedImage(segmented.image, tuple(items))


def _refined_item(
    index: int, box: Box, coarse: Mask | None, refinement: Refinement | None
) -> RefinedItem:
    if refinement is None:
        return RefinedItem(index, box, coarse, None, NO_MASK, 0, None)
    return RefinedItem(
        detection=index,
        box=refinement.mask.box or box,
        coarse=coarse,
        refined=refinement.mask if refinement.accepted else None,
        reason=refinement.reason,
        iterations=refinement.iterations,
        predicted_iou=refinement.predicted_iou,
    )


def refinement_table(refined: RefinedImage) -> pa.Table:
    """One row for each survivor."""
    items = refined.items
    columns = {
        "image": [refined.image] * len(items),
        "detection": [item.detection for item in items],
        "x1": [item.box.x1 for item in items],
        "y1": [item.box.y1 for item in items],
        "x2": [item.box.x2 for item in items],
        "y2": [item.box.y2 for item in items],
        "coarse_mask": masks_to_arrow([item.coarse for item in items]),
        "refined_mask": masks_to_arrow([item.refined for item in items]),
        "accepted": [item.refined is not None for item in items],
        "reason": [item.reason for item in items],
        "iterations": [item.iterations for item in items],
        "predicted_iou": [item.predicted_iou for item in items],
    }
    return pa.table(columns, schema=REFINEMENT_SCHEMA)


def refined_from_table(segmented: SegmentedImage, table: pa.Table) -> RefinedImage:
    """Read one photo's coarse and refined masks back."""
    size = (segmented.result.image_width, segmented.result.image_height)
    coarse = masks_from_arrow(table["coarse_mask"], *size)
    refined = masks_from_arrow(table["refined_mask"], *size)
    rows = table.drop_columns(["coarse_mask", "refined_mask"]).to_pylist()
    items = tuple(
        RefinedItem(
            detection=row["detection"],
            box=Box(row["x1"], row["y1"], row["x2"], row["y2"]),
            coarse=before,
            refined=after,
            reason=row["reason"],
            iterations=row["iterations"],
            predicted_iou=row["predicted_iou"],
        )
        for row, before, after in zip(rows, coarse, refined, strict=True)
    )
    return RefinedImage(segmented.image, items)

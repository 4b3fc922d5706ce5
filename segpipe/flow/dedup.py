"""The second stage: which detections are one and the same item."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from segpipe.flow.segmentation import SegmentedImage
from segpipe.flow.settings import DedupSettings
from segpipe.prompt import Mode
from segpipe.store.schemas import DEDUP_SCHEMA
from segpipe.vision.dedup import Compare, Criterion, Rejection, dedup

DEDUP_FILE = "dedup.parquet"


@dataclass(frozen=True, slots=True)
class DedupedImage:
    """Which of a photo's raw detections survive.

    Attributes:
        image: The photo's id.
        kept: Indices of the survivors.
        rejections: Why each other one is none.
        repeats: Survivors that show the same item as a better one: somebody drew them, so they
            stay.
    """

    image: str
    kept: tuple[int, ...]
    rejections: tuple[Rejection, ...]
    repeats: tuple[Rejection, ...] = ()


def dedup_image(segmented: SegmentedImage, settings: DedupSettings) -> DedupedImage:
    """Keep the best-scored detection of each item of one photo, or all where boxes were drawn."""
    found = segmented.result.detections
    on_masks = settings.compare is Compare.MASKS
    result = dedup(
        np.array([detection.box for detection in found], dtype=np.float64).reshape(-1, 4),
        np.array([detection.score for detection in found], dtype=np.float64),
        [detection.mask for detection in found] if on_masks else None,
        iou_threshold=settings.iou_threshold,
        containment_threshold=settings.containment_threshold,
    )
    if segmented.prompt and segmented.prompt.mode is Mode.INSIDE_BOX:
        return DedupedImage(segmented.image, tuple(range(len(found))), (), result.rejections)
    return DedupedImage(segmented.image, tuple(result.kept_indices.tolist()), result.rejections)


def dedup_table(deduped: DedupedImage) -> pa.Table:
    """One row for each raw detection."""
    rejections = {rejection.index: rejection for rejection in deduped.rejections}
    overlaps = rejections | {repeat.index: repeat for repeat in deduped.repeats}
    rows: list[dict[str, object]] = []
    for index in sorted((*deduped.kept, *rejections)):
        overlap = overlaps.get(index)
        rows.append(
            {
                "image": deduped.image,
                "detection": index,
                "kept": index not in rejections,
                "survivor": overlap and overlap.survivor,
                "criterion": overlap and overlap.criterion.value,
                "value": overlap and overlap.value,
            }
        )
    return pa.Table.from_pylist(rows, schema=DEDUP_SCHEMA)


def deduped_from_table(image: str, table: pa.Table) -> DedupedImage:
    """Read one photo's survivors and rejections back."""
    rows = table.to_pylist()
    overlaps = {
        row["detection"]: Rejection(
            index=row["detection"],
            survivor=row["survivor"],
            criterion=Criterion(row["criterion"]),
            value=row["value"],
        )
        for row in rows
        if row["survivor"] is not None
    }
    kept = tuple(row["detection"] for row in rows if row["kept"])
    return DedupedImage(
        image=image,
        kept=kept,
        rejections=tuple(overlaps[index] for index in overlaps if index not in kept),
        repeats=tuple(overlaps[index] for index in overlaps if index in kept),
    )

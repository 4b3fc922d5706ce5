"""The second stage: which detections are one and the same item."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from segpipe.flow.segmentation import SegmentedImage
from segpipe.flow.settings import Compare, DedupSettings
from segpipe.store.tables import DEDUP_SCHEMA
from segpipe.vision.dedup import Criterion, Rejection, dedup

DEDUP_FILE = "dedup.parquet"


@dataclass(frozen=True, slots=True)
class DedupedImage:
    """Indices into the raw detections: those kept, and why each other one was not."""

    image: str
    kept: tuple[int, ...]
    rejections: tuple[Rejection, ...]


def dedup_image(segmented: SegmentedImage, settings: DedupSettings) -> DedupedImage:
    """Keep the best-scored detection of each item of one photo."""
    found = segmented.result.detections
    on_masks = settings.compare is Compare.MASKS
    result = dedup(
        np.array([detection.box for detection in found], dtype=np.float64).reshape(-1, 4),
        np.array([detection.score for detection in found], dtype=np.float64),
        [detection.mask for detection in found] if on_masks else None,
        iou_threshold=settings.iou_threshold,
        containment_threshold=settings.containment_threshold,
    )
    return DedupedImage(segmented.image, tuple(result.kept_indices.tolist()), result.rejections)


def dedup_table(deduped: DedupedImage) -> pa.Table:
    """One row for each raw detection."""
    rejections = {rejection.index: rejection for rejection in deduped.rejections}
    rows: list[dict[str, object]] = []
    for index in sorted((*deduped.kept, *rejections)):
        rejection = rejections.get(index)
        rows.append(
            {
                "image": deduped.image,
                "detection": index,
                "kept": rejection is None,
                "survivor": rejection and rejection.survivor,
                "criterion": rejection and rejection.criterion.value,
                "value": rejection and rejection.value,
            }
        )
    return pa.Table.from_pylist(rows, schema=DEDUP_SCHEMA)


def deduped_from_table(image: str, table: pa.Table) -> DedupedImage:
    """Read one photo's survivors and rejections back."""
    rows = table.to_pylist()
    return DedupedImage(
        image=image,
        kept=tuple(row["detection"] for row in rows if row["kept"]),
        rejections=tuple(
            Rejection(
                index=row["detection"],
                survivor=row["survivor"],
                criterion=Criterion(row["criterion"]),
                value=row["value"],
            )
            for row in rows
            if not row["kept"]
        ),
    )

"""Dedup: which detections are one and the same item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from segpipe.detection import Detection
from segpipe.flow.checks import Check, CheckSettings, Finding
from segpipe.flow.photo import PhotoInfo
from segpipe.flow.stages.segmentation import SEGMENTATION, SegmentedImage
from segpipe.flow.stages.stage import ITEM_TEXTS, PhotoResults, PhotoWork, Stage, each_photo
from segpipe.progress import Counts
from segpipe.prompt import Mode
from segpipe.settings import Settings
from segpipe.store.snapshot import Snapshot
from segpipe.store.tables import ITEM_COLUMNS
from segpipe.threads import finish_in_thread
from segpipe.vision.boxes import to_array
from segpipe.vision.dedup import Compare, Criterion, Rejection, dedup
from segpipe.vision.mask import intersection_area

DEDUP_FILE = "dedup.parquet"
DEDUP_SCHEMA = pa.schema(
    [
        *ITEM_COLUMNS,
        ("kept", pa.bool_()),
        ("survivor", pa.int32()),
        ("criterion", pa.string()),
        ("value", pa.float64()),
    ]
)
"""One row a raw detection; for a rejected one the survivor that beat it, by what and how much.

A kept one that names a survivor answers a drawn box: it shows the same item, and stays.
"""


class DedupSettings(Settings):
    """Which detections count as the same item."""

    iou_threshold: float = Field(
        default=0.5, ge=0, le=1, description="Overlap (IoU) above which the lower score goes."
    )
    containment_threshold: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Intersection over the smaller one above which the lower score goes.",
    )
    compare: Compare = Field(
        default=Compare.MASKS,
        description="Measure on masks (boxes where a mask is missing), or on boxes only.",
    )


@dataclass(frozen=True, slots=True)
class DedupedImage:
    """Which of an image's raw detections survive.

    Attributes:
        kept: Indices of the survivors.
        rejections: Why each other one is none.
        repeats: Survivors that show the same item as a better one: they answer drawn boxes, so
            they stay.
    """

    kept: tuple[int, ...]
    rejections: tuple[Rejection, ...]
    repeats: tuple[Rejection, ...] = ()


def dedup_image(segmented: SegmentedImage, settings: DedupSettings) -> DedupedImage:
    """Keep the best-scored detection of each item of one image, or all where boxes were drawn.

    What an earlier pass found stays, whatever a later one gives: that saw a picture with paint in
    it. A trace of the paint is no item, so it neither stays nor beats one.
    """
    found = segmented.result.detections
    items = [index for index, one in enumerate(found) if one.trace_of is None]
    on_masks = settings.compare is Compare.MASKS
    result = dedup(
        to_array([found[index].box for index in items]),
        _precedence([found[index] for index in items]),
        [found[index].mask for index in items] if on_masks else None,
        iou_threshold=settings.iou_threshold,
        containment_threshold=settings.containment_threshold,
    )
    if segmented.prompt and segmented.prompt.mode is Mode.INSIDE_BOX:
        return DedupedImage(tuple(range(len(found))), (), result.rejections)
    rejected = {
        items[one.index]: one._replace(index=items[one.index], survivor=items[one.survivor])
        for one in result.rejections
    }
    traces = [_rejected_trace(index, found, rejected) for index in _traces(found)]
    return DedupedImage(
        kept=tuple(items[index] for index in result.kept_indices.tolist()),
        rejections=tuple(sorted([*rejected.values(), *traces])),
    )


def _precedence(items: Sequence[Detection]) -> NDArray[np.float64]:
    """Scores that only tell which one stays: the earlier pass, then the better score."""
    order = sorted(range(len(items)), key=lambda at: (items[at].pass_index, -items[at].score))
    precedence = np.empty(len(items), np.float64)
    precedence[order] = -np.arange(len(items))
    return precedence


def _traces(found: Sequence[Detection]) -> list[int]:
    return [index for index, one in enumerate(found) if one.trace_of is not None]


def _rejected_trace(
    index: int, found: Sequence[Detection], rejected: Mapping[int, Rejection]
) -> Rejection:
    """The rejection of a trace, by the survivor that shows what was painted out."""
    survivor = index
    while (painted := found[survivor].trace_of) is not None:
        survivor = painted
    if survivor in rejected:
        survivor = rejected[survivor].survivor
    trace, item = found[index].mask, found[survivor].mask
    value = 0.0
    if trace and item and trace.area and item.area:
        value = intersection_area(trace, item) / min(trace.area, item.area)
    return Rejection(index, survivor, Criterion.TRACE, value)


def _dedup_table(image: str, deduped: DedupedImage) -> pa.Table:
    """One row for each raw detection."""
    rejections = {rejection.index: rejection for rejection in deduped.rejections}
    overlaps = rejections | {repeat.index: repeat for repeat in deduped.repeats}
    rows: list[dict[str, object]] = []
    for index in sorted((*deduped.kept, *rejections)):
        overlap = overlaps.get(index)
        rows.append(
            {
                "image": image,
                "detection": index,
                "kept": index not in rejections,
                "survivor": overlap and overlap.survivor,
                "criterion": overlap and overlap.criterion.value,
                "value": overlap and overlap.value,
            }
        )
    return pa.Table.from_pylist(rows, schema=DEDUP_SCHEMA)


def _from_table(table: pa.Table) -> DedupedImage:
    """Read one image's survivors and rejections back."""
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
        kept=kept,
        rejections=tuple(overlaps[index] for index in overlaps if index not in kept),
        repeats=tuple(overlaps[index] for index in overlaps if index in kept),
    )


def _few_rejected(snapshot: Snapshot, settings: CheckSettings) -> Finding:
    detections = kept = 0
    for table in each_photo(snapshot, DEDUP, DEDUP_FILE):
        detections += table.num_rows
        kept += sum(table["kept"].to_pylist())
    percent = 100 * (detections - kept) / detections if detections else 0.0
    return Finding(
        passed=percent <= settings.max_rejected_percent,
        text=f"{detections - kept} of {detections} detections were rejected ({percent:.0f} %, "
        f"the limit is {settings.max_rejected_percent:g} %)",
        numbers={"rejected": detections - kept, "percent": percent},
    )


class Dedup(Stage[DedupedImage, DedupSettings]):
    """Keeps one detection of each item."""

    name = "dedup"
    description = (
        "Each item once: which detections are kept (survivors), and of each rejected one why, and "
        "which kept one shows the same. Of drawn boxes, which show the same item; all are kept."
    )
    code_version = "2"
    upstream = (SEGMENTATION,)
    settings = DedupSettings
    settings_name = "dedup"
    tables: ClassVar = {DEDUP_FILE: DEDUP_SCHEMA}
    columns: ClassVar = {
        **ITEM_TEXTS,
        "kept": "Whether it survives.",
        "survivor": "The detection that beat it, or that shows the same item.",
        "criterion": "The measure of overlap by which it was beaten; trace: it shows paint alone.",
        "value": "How much they overlap, 0 to 1.",
    }
    counts = ("survivors", "rejected")
    checks = (
        Check(
            name="few_rejected",
            description="Dedup rejected no more than the percentage in the settings.",
            is_warning=True,
            find=_few_rejected,
        ),
    )

    @override
    async def make(self, work: PhotoWork, settings: DedupSettings) -> DedupedImage:
        return await finish_in_thread(dedup_image, work.results.of(SEGMENTATION), settings)

    @override
    def rows(self, photo: PhotoInfo, result: DedupedImage) -> dict[str, pa.Table]:
        return {DEDUP_FILE: _dedup_table(photo.image, result)}

    @override
    def read(self, photo: PhotoResults) -> DedupedImage:
        return _from_table(photo.rows(self, DEDUP_FILE))

    @override
    def count(self, result: DedupedImage) -> Counts:
        return Counts(survivors=len(result.kept))


DEDUP = Dedup()

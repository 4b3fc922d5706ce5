"""Segmentation: everything that the segmenter finds in a photo."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import pyarrow as pa
from typing_extensions import override

from segpipe.detection import (
    NO_EVIDENCE,
    Detection,
    PassStats,
    SegmentationResult,
    Thresholds,
    Usage,
)
from segpipe.flow.checks import Check, CheckSettings, Finding, some_of
from segpipe.flow.mode_prompts import PhotoPrompt, prompt_from_row, prompt_to_row
from segpipe.flow.photo import PhotoInfo
from segpipe.flow.stages.stage import (
    BOX_TEXTS,
    ITEM_TEXTS,
    PhotoResults,
    PhotoWork,
    Stage,
    each_photo,
)
from segpipe.progress import Counts
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.segmenter import Segmenter, call_context
from segpipe.settings import Settings
from segpipe.store.snapshot import Snapshot
from segpipe.store.tables import (
    BOX_COLUMNS,
    ITEM_COLUMNS,
    MASK_TYPE,
    masks_from_arrow,
    masks_to_arrow,
)
from segpipe.threads import finish_in_thread
from segpipe.vision.backdrop import with_backdrop
from segpipe.vision.boxes import Box
from segpipe.vision.image import DecodedImage

IMAGES_FILE = "images.parquet"
DETECTIONS_FILE = "detections.parquet"

_INT, _REAL, _TEXT = pa.int32(), pa.float64(), pa.string()
_PASS = [("found", _INT), ("new", _INT), ("elapsed_ms", _REAL), ("stopped", _TEXT)]
_USAGE = [("calls", _INT), ("cached", _INT), ("cost", _REAL), ("remaining_credits", _REAL)]
IMAGES_SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        ("file_name", pa.string()),
        ("digest", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("segmenter_id", pa.string()),
        ("elapsed_ms", pa.float64()),
        ("pass_stats", pa.list_(pa.struct(_PASS))),
        ("warnings", pa.list_(pa.string())),
        ("usage", pa.struct(_USAGE)),
        ("prompt", pa.string()),
    ]
)
DETECTIONS_SCHEMA = pa.schema(
    [
        *ITEM_COLUMNS,
        *BOX_COLUMNS,
        ("score", pa.float64()),
        ("label", pa.string()),
        ("pass_index", pa.int16()),
        ("annotation", pa.string()),
        ("reason", pa.string()),
        ("mask", MASK_TYPE),
    ]
)

NOTHING_FOUND = "nothing was found"
NOTHING_IN_BOX = "nothing was found in the box"
TRACE = "a trace of the paint over detection "  # and the index of what was painted out


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedImage:
    """The raw detections of an image.

    Attributes:
        warnings: What is to be known of the photo or the answer.
        prompt: What the segmenter was asked; None when it was not. With ``inside_box`` there is a
            detection for each drawn box, in their order.
        missing: For each detection that stands for a box in which nothing was found, the reason.
        result: The segmenter's answer.
        box_ids: The ids of the annotations that the boxes are; none for boxes of a client.
    """

    warnings: tuple[str, ...]
    prompt: Prompt | None
    missing: Mapping[int, str]
    result: SegmentationResult
    box_ids: tuple[str, ...] = ()


async def segment_image(
    decoded: DecodedImage,
    segmenter: Segmenter,
    asked: PhotoPrompt,
    thresholds: Thresholds | None = None,
) -> SegmentedImage:
    """Segment one image, by thresholds or those of the segmenter's settings.

    Raises:
        SegmenterError: The segmenter failed, or its answer does not fit the image or the prompt.
        PromptError: The segmenter cannot follow the prompt.
    """
    height, width = decoded.rgb.shape[:2]
    prompt = asked.prompt
    if prompt is None:
        result = SegmentationResult((), width, height, segmenter.id, 0.0, (), notes=asked.notes)
    else:
        picture = await finish_in_thread(with_backdrop, decoded)
        result = await segmenter.segment(picture, prompt, thresholds)
    result.require_fit(width, height)
    missing: dict[int, str] = {}
    if prompt and prompt.mode is Mode.INSIDE_BOX:
        result.require_one_for_each(len(prompt.boxes))
        missing = {
            index: NOTHING_IN_BOX
            for index, found in enumerate(result.detections)
            if found.score == NO_EVIDENCE or found.mask is None or found.mask.is_empty
        }
    categories = asked.categories or (asked.category,) * len(result.detections)
    result = replace(
        result,
        detections=tuple(
            replace(
                found,
                mask=None if index in missing else found.mask,
                label=category or found.label,
            )
            for index, (found, category) in enumerate(
                zip(result.detections, categories, strict=True)
            )
        ),
    )
    warnings = (*decoded.warnings, *result.notes)
    return SegmentedImage(warnings, prompt, missing, result, asked.box_ids)


def _images_table(photo: PhotoInfo, segmented: SegmentedImage) -> pa.Table:
    """The row of the photo in the images table."""
    result = segmented.result
    row = {
        "image": photo.image,
        "file_name": photo.file_name,
        "digest": photo.digest,
        "format": photo.format,
        "width": result.image_width,
        "height": result.image_height,
        "segmenter_id": result.segmenter_id,
        "elapsed_ms": result.elapsed_ms,
        "pass_stats": [asdict(stats) for stats in result.pass_stats],
        "warnings": list(segmented.warnings),
        "usage": asdict(result.usage),
        "prompt": prompt_to_row(segmented.prompt),
    }
    return pa.Table.from_pylist([row], schema=IMAGES_SCHEMA)


def _detections_table(image: str, segmented: SegmentedImage) -> pa.Table:
    """One row for each raw detection."""
    found = segmented.result.detections
    columns = {
        "image": [image] * len(found),
        "detection": range(len(found)),
        **{side: [getattr(one.box, side) for one in found] for side in ("x1", "y1", "x2", "y2")},
        "score": [detection.score for detection in found],
        "label": [detection.label for detection in found],
        "pass_index": [detection.pass_index for detection in found],
        "annotation": segmented.box_ids or [None] * len(found),
        "reason": [
            segmented.missing.get(at) if one.trace_of is None else f"{TRACE}{one.trace_of}"
            for at, one in enumerate(found)
        ],
        "mask": masks_to_arrow([detection.mask for detection in found]),
    }
    return pa.table(columns, schema=DETECTIONS_SCHEMA)


def _from_tables(images: pa.Table, detections: pa.Table) -> SegmentedImage:
    """Read one photo back from its row and the rows of its detections."""
    row = images.to_pylist()[0]
    width, height = row["width"], row["height"]
    masks = masks_from_arrow(detections["mask"], width, height)
    rows = detections.drop_columns(["mask"]).to_pylist()
    found = tuple(
        Detection(
            box=Box(item["x1"], item["y1"], item["x2"], item["y2"]),
            score=item["score"],
            label=item["label"],
            mask=mask,
            pass_index=item["pass_index"],
            trace_of=_trace_of(item["reason"]),
        )
        for item, mask in zip(rows, masks, strict=True)
    )
    return SegmentedImage(
        warnings=tuple(row["warnings"]),
        prompt=prompt_from_row(row["prompt"]),
        box_ids=tuple(item["annotation"] for item in rows if item["annotation"] is not None),
        missing={
            item["detection"]: item["reason"]
            for item, one in zip(rows, found, strict=True)
            if item["reason"] and one.trace_of is None
        },
        result=SegmentationResult(
            detections=found,
            image_width=width,
            image_height=height,
            segmenter_id=row["segmenter_id"],
            elapsed_ms=row["elapsed_ms"],
            pass_stats=tuple(PassStats(**stats) for stats in row["pass_stats"]),
            usage=Usage(**row["usage"]) if row.get("usage") else Usage(),
        ),
    )


def _trace_of(reason: str | None) -> int | None:
    return int(reason.removeprefix(TRACE)) if reason and reason.startswith(TRACE) else None


def _masks_inside(snapshot: Snapshot, _: CheckSettings) -> Finding:
    sizes: dict[str, tuple[int, int]] = {}
    for table in each_photo(snapshot, SEGMENTATION, IMAGES_FILE):
        for row in table.select(["image", "width", "height"]).to_pylist():
            sizes[row["image"]] = (row["width"], row["height"])
    masks, outside = 0, []
    for table in each_photo(snapshot, SEGMENTATION, DETECTIONS_FILE):
        for row in table.select(["image", "detection", "mask"]).to_pylist():
            if (mask := row["mask"]) is None:
                continue
            masks += 1
            width, height = sizes[row["image"]]
            fits = 0 <= mask["x"] <= width - mask["w"] and 0 <= mask["y"] <= height - mask["h"]
            if not fits:
                outside.append(f"{row['image']} {row['detection']}")
    if outside:
        return Finding(False, some_of("outside their image", outside), {"masks": masks})
    return Finding(True, f"{masks} masks lie inside their images", {"masks": masks})


def _has_detections(snapshot: Snapshot, _: CheckSettings) -> Finding:
    found: dict[str, int] = {}
    for table in each_photo(snapshot, SEGMENTATION, IMAGES_FILE):
        for row in table.select(["image", "prompt"]).to_pylist():
            if prompt_from_row(row["prompt"]):
                found[row["image"]] = 0
    for table in each_photo(snapshot, SEGMENTATION, DETECTIONS_FILE):
        for row in table.select(["image", "reason"]).to_pylist():
            found[row["image"]] += row["reason"] is None
    empty = [image for image, count in found.items() if not count]
    numbers = {"detections": sum(found.values()), "images_without": len(empty)}
    if empty:
        return Finding(False, some_of("nothing was found in", empty), numbers)
    return Finding(True, "something was found in every photo that was asked about", numbers)


class Segmentation(Stage[SegmentedImage, Settings]):
    """Asks the segmenter."""

    name = "segmentation"
    description = (
        "Everything that the segmenter found in each photo: raw detections with their masks, and "
        "how many each pass found. Later assets choose among them and throw nothing away."
    )
    code_version = "2"
    tool = "segmenter"
    reads_prompts = True
    tables: ClassVar = {IMAGES_FILE: IMAGES_SCHEMA, DETECTIONS_FILE: DETECTIONS_SCHEMA}
    columns: ClassVar = {
        **ITEM_TEXTS,
        **BOX_TEXTS,
        "file_name": "The photo's file name.",
        "digest": "The sha256 of the photo's bytes.",
        "format": "The photo's file format.",
        "width": "Pixels of the upright photo.",
        "height": "Pixels of the upright photo.",
        "segmenter_id": "The segmenter.",
        "elapsed_ms": "How long its answer took, milliseconds.",
        "pass_stats": "What each look at the photo found.",
        "warnings": "What is to be known of the photo or the answer.",
        "usage": "What the answer took from a service that is paid for.",
        "prompt": "What the segmenter was asked, JSON.",
        "score": "The segmenter's confidence, 0 to 1.",
        "label": "What it is, where somebody or the segmenter says so.",
        "pass_index": "The look at the photo that found it, from 0.",
        "annotation": "The id of the drawn box that it answers.",
        "reason": "Why it shows no item: nothing came of a drawn box, or it is a trace of paint.",
        "mask": "Its pixels: a bitmap of w x h at (x, y), bits row after row.",
    }
    counts = ("detections",)
    checks = (
        Check(
            name="masks_inside_image",
            description="Every mask lies inside its photo.",
            is_warning=False,
            find=_masks_inside,
        ),
        Check(
            name="has_detections",
            description="Something was found in every photo that was asked about.",
            is_warning=True,
            find=_has_detections,
        ),
    )

    @override
    async def make(self, work: PhotoWork, settings: Settings) -> SegmentedImage:
        if work.asked is None:
            raise ValueError("a photo is segmented by a prompt, and none was read")
        with call_context(work.run_id, work.deal, work.loaded.info.file_name, work.request):
            return await segment_image(work.loaded.decoded, work.segmenter, work.asked)

    @override
    def rows(self, photo: PhotoInfo, result: SegmentedImage) -> dict[str, pa.Table]:
        return {
            IMAGES_FILE: _images_table(photo, result),
            DETECTIONS_FILE: _detections_table(photo.image, result),
        }

    @override
    def read(self, photo: PhotoResults) -> SegmentedImage:
        return _from_tables(photo.rows(self, IMAGES_FILE), photo.rows(self, DETECTIONS_FILE))

    @override
    def count(self, result: SegmentedImage) -> Counts:
        return Counts(detections=len(result.result.detections))

    @override
    def warnings(self, result: SegmentedImage) -> tuple[str, ...]:
        is_empty = len(result.missing) == len(result.result.detections)
        return (*result.warnings, NOTHING_FOUND) if result.prompt and is_empty else result.warnings


SEGMENTATION = Segmentation()

"""The first stage: everything that the segmenter finds in a photo."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from segpipe.detection import (
    NO_EVIDENCE,
    Detection,
    PassStats,
    SegmentationResult,
    Thresholds,
    Usage,
)
from segpipe.errors import SegmenterError
from segpipe.flow.photo import LoadedPhoto
from segpipe.flow.prompts import PhotoPrompt, prompt_from_row, prompt_to_row
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.segmenter import Segmenter
from segpipe.store.schemas import DETECTIONS_SCHEMA, IMAGES_SCHEMA
from segpipe.store.tables import masks_from_arrow, masks_to_arrow
from segpipe.vision.boxes import Box

IMAGES_FILE = "images.parquet"
DETECTIONS_FILE = "detections.parquet"

NOTHING_IN_BOX = "nothing was found in the box"


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedImage:
    """A photo and its raw detections.

    Attributes:
        image: The photo's id.
        file_name: Its name.
        digest: The sha256 of its bytes.
        format: Its file format.
        warnings: What is to be known of the photo or the answer.
        prompt: What the segmenter was asked; None when it was not. With ``inside_box`` there is a
            detection for each drawn box, in their order.
        missing: For each detection that stands for a box in which nothing was found, the reason.
        result: The segmenter's answer.
        box_ids: The ids of the annotations that the boxes are; none for boxes of a client.
    """

    image: str
    file_name: str
    digest: str
    format: str
    warnings: tuple[str, ...]
    prompt: Prompt | None
    missing: Mapping[int, str]
    result: SegmentationResult
    box_ids: tuple[str, ...] = ()


async def segment_photo(
    loaded: LoadedPhoto,
    segmenter: Segmenter,
    asked: PhotoPrompt,
    thresholds: Thresholds | None = None,
) -> SegmentedImage:
    """Segment one photo, by thresholds or those of the segmenter's settings.

    Raises:
        SegmenterError: The segmenter failed, or its answer does not fit the photo or the prompt.
        PromptError: The segmenter cannot follow the prompt.
    """
    height, width = loaded.decoded.rgb.shape[:2]
    prompt = asked.prompt
    if prompt is None:
        result = SegmentationResult((), width, height, segmenter.id, 0.0, (), notes=asked.notes)
    else:
        result = await segmenter.segment(loaded.decoded.rgb, prompt, thresholds)
    _check_result(result, width, height)
    missing: dict[int, str] = {}
    if prompt and prompt.mode is Mode.INSIDE_BOX:
        _check_one_a_box(result, len(prompt.boxes))
        missing = {
            index: NOTHING_IN_BOX
            for index, found in enumerate(result.detections)
            if found.score == NO_EVIDENCE or found.mask is None or found.mask.is_empty
        }
        categories = asked.categories or (None,) * len(prompt.boxes)
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
    return SegmentedImage(
        image=loaded.photo.image,
        file_name=loaded.photo.name,
        digest=loaded.digest,
        format=loaded.decoded.format,
        warnings=(*loaded.decoded.warnings, *result.notes),
        prompt=prompt,
        box_ids=asked.box_ids,
        missing=missing,
        result=result,
    )


def _check_one_a_box(result: SegmentationResult, boxes: int) -> None:
    if len(result.detections) != boxes:
        raise SegmenterError(
            f"{result.segmenter_id} gave {len(result.detections)} detections for {boxes} boxes"
        )


def _check_result(result: SegmentationResult, width: int, height: int) -> None:
    """Hold a segmenter to its contract before anything is stored."""
    size = (width, height)
    if (result.image_width, result.image_height) != size:
        raise SegmenterError(
            f"{result.segmenter_id} answered for an image of "
            f"{result.image_width}x{result.image_height}, the photo is {width}x{height}"
        )
    for index, found in enumerate(result.detections):
        box = found.box
        if not (0 <= box.x1 < box.x2 <= width and 0 <= box.y1 < box.y2 <= height):
            raise SegmenterError(
                f"{result.segmenter_id} gave detection {index} the box {tuple(box)}, "
                f"which is not inside the {width}x{height} photo"
            )
        if found.mask and (found.mask.image_width, found.mask.image_height) != size:
            raise SegmenterError(
                f"{result.segmenter_id} gave detection {index} a mask of another image size"
            )


def images_table(segmented: SegmentedImage) -> pa.Table:
    """The row of the photo in the images table."""
    result = segmented.result
    row = {
        "image": segmented.image,
        "file_name": segmented.file_name,
        "digest": segmented.digest,
        "format": segmented.format,
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


def detections_table(segmented: SegmentedImage) -> pa.Table:
    """One row for each raw detection."""
    found = segmented.result.detections
    columns = {
        "image": [segmented.image] * len(found),
        "detection": range(len(found)),
        "x1": [detection.box.x1 for detection in found],
        "y1": [detection.box.y1 for detection in found],
        "x2": [detection.box.x2 for detection in found],
        "y2": [detection.box.y2 for detection in found],
        "score": [detection.score for detection in found],
        "label": [detection.label for detection in found],
        "pass_index": [detection.pass_index for detection in found],
        "annotation": segmented.box_ids or [None] * len(found),
        "reason": [segmented.missing.get(index) for index in range(len(found))],
        "mask": masks_to_arrow([detection.mask for detection in found]),
    }
    return pa.table(columns, schema=DETECTIONS_SCHEMA)


def segmented_from_tables(images: pa.Table, detections: pa.Table) -> SegmentedImage:
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
        )
        for item, mask in zip(rows, masks, strict=True)
    )
    return SegmentedImage(
        image=row["image"],
        file_name=row["file_name"],
        digest=row["digest"],
        format=row["format"],
        warnings=tuple(row["warnings"]),
        prompt=prompt_from_row(row["prompt"]),
        box_ids=tuple(item["annotation"] for item in rows if item["annotation"] is not None),
        missing={item["detection"]: item["reason"] for item in rows if item["reason"]},
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

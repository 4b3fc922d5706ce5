"""What was found, as the JSON that ``POST /v1/segment`` answers."""

from collections.abc import Mapping

from segpipe.flow.stages.refinement import RefinedImage, RefinedItem
from segpipe.flow.stages.segmentation import SegmentedImage
from segpipe.progress import StageStarted, StepDone, Tell
from segpipe.threads import finish_in_thread
from segpipe.vision.boxes import Box
from segpipe.vision.mask_codecs import to_base64
from segpipe.wire.inference import WireSize
from segpipe.wire.outlines import BoundingBox, Segment, SegmentAnswer

_MASKS = "masks"  # what events call the encoding of masks

EncodedMasks = Mapping[str, str]
"""The fields of an object's masks: those that it has, none when none were asked for."""


async def answer_json(
    segmented: SegmentedImage,
    refined: RefinedImage,
    *,
    model: str,
    refiner: str,
    with_masks: bool,
    tell: Tell,
) -> bytes:
    """The answer; masks are encoded only when they are asked for, in threads, one at a time.

    Args:
        segmented: All that was found.
        refined: The survivors.
        model: The model's name.
        refiner: The id of the refiner that was asked, or ``none``.
        with_masks: Whether to encode the masks.
        tell: Told of each object whose masks are encoded.
    """
    found = segmented.result.detections
    items = sorted(refined.items, key=lambda item: found[item.detection].score, reverse=True)
    if with_masks:
        tell(StageStarted(_MASKS, len(items)))
    segments = []
    for number, item in enumerate(items):
        masks: EncodedMasks = {}
        if with_masks:
            masks = await finish_in_thread(_encode, item)
            tell(StepDone(_MASKS, number + 1, len(items)))
        segments.append(_segment(item, segmented, masks))
    return await finish_in_thread(_to_json, segmented, segments, model, refiner)


def _encode(item: RefinedItem) -> EncodedMasks:
    """A mask that is empty is there all the same, and so is one whose outline was not traced."""
    masks = {"coarse_mask_base64": item.coarse, "refined_mask_base64": item.refined}
    return {field: to_base64(mask) for field, mask in masks.items() if mask is not None}


def _segment(item: RefinedItem, segmented: SegmentedImage, masks: EncodedMasks) -> Segment:
    result = segmented.result
    detection = result.detections[item.detection]
    return Segment(
        path=item.svg_path,
        bbox=_normalised(item.box, result.image_width, result.image_height),
        score=float(detection.score),
        label=detection.label,
        detection=item.detection,
        iterations=item.iterations,
        reason=item.reason,
        **masks,
    )


def _normalised(box: Box, width: int, height: int) -> BoundingBox:
    return BoundingBox(
        x_min=float(box.x1 / width),
        y_min=float(box.y1 / height),
        x_max=float(box.x2 / width),
        y_max=float(box.y2 / height),
    )


def _to_json(segmented: SegmentedImage, segments: list[Segment], model: str, refiner: str) -> bytes:
    best = segments[0] if segments else None
    masks = ("coarse_mask_base64", "refined_mask_base64")
    shown = best.model_dump(include=set(masks), exclude_unset=True) if best else {}
    answer = SegmentAnswer(
        path=best.path if best else "",
        bbox=best.bbox if best else None,
        segments=segments,
        image=WireSize(width=segmented.result.image_width, height=segmented.result.image_height),
        model=model,
        refiner=refiner,
        notes=list(segmented.warnings),
        **shown,
    )
    # What was not set is left out, so that there is no mask field that is null.
    return answer.model_dump_json(exclude_unset=True).encode()

"""One photo through the stages of a deal, with a service's model and refiner."""

from segpipe.detection import Thresholds
from segpipe.flow.prompts import PhotoPrompt
from segpipe.flow.stages.dedup import DedupSettings, dedup_image
from segpipe.flow.stages.refinement import RefinedImage, refine_image
from segpipe.flow.stages.segmentation import SegmentedImage, segment_image
from segpipe.progress import StageStarted, Tell
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.segmenter import Segmenter
from segpipe.server.prompts import require_something
from segpipe.server.service import Service
from segpipe.server.v1.question import prompt_for
from segpipe.threads import finish_in_thread
from segpipe.web.photo_uploads import UploadedPhoto
from segpipe.wire.outlines import Question, SegmentSettings


async def find_objects(
    service: Service,
    photo: UploadedPhoto,
    question: Question,
    refiner: Refiner,
    tell: Tell,
) -> tuple[SegmentedImage, RefinedImage]:
    """Segment a photo, leave out doubles, and refine.

    Args:
        service: Its model is asked.
        photo: The photo, decoded.
        question: What to look for.
        refiner: What to refine with.
        tell: Told when a stage begins, and of the refiner's steps.

    Raises:
        InputError: The prompt cannot be used.
        RefusedError: The model failed (500), or is gone (503).
    """
    rgb, settings = photo.decoded.rgb, question.settings
    asked = PhotoPrompt(prompt_for(question, rgb))

    # Everything that the model finds.
    async def segment(model: Segmenter) -> SegmentedImage:
        if asked.prompt:
            require_something(asked.prompt, model, everything=service.settings.everything)
        tell(StageStarted("segmentation"))
        return await segment_image(photo.decoded, model, asked, _thresholds(settings))

    segmented = await service.in_model(segment)

    # One detection for each object.
    tell(StageStarted("dedup", len(segmented.result.detections)))
    deduped = await finish_in_thread(dedup_image, segmented, _dedup_settings(settings))

    # Sharper masks, and outlines.
    refined = await refine_image(rgb, segmented, deduped, refiner, tell)
    return segmented, refined


def _thresholds(settings: SegmentSettings) -> Thresholds:
    return Thresholds(
        score=settings.threshold, mask=settings.mask_threshold, max_masks=settings.max_masks
    )


def _dedup_settings(settings: SegmentSettings) -> DedupSettings:
    return DedupSettings(
        iou_threshold=settings.iou_threshold,
        containment_threshold=settings.containment_threshold,
        compare=settings.compare,
    )

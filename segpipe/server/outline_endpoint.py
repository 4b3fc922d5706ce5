"""``POST /v1/segment``: a photo and what to look for, to outlines; also as a stream."""

import asyncio
from contextlib import nullcontext
from functools import partial
from os import SEEK_END
from typing import Any, BinaryIO

from fastapi import APIRouter, Request, Response

from segpipe.detection import Thresholds
from segpipe.flow.mode_prompts import PhotoPrompt
from segpipe.flow.stages.dedup import DedupSettings, dedup_image
from segpipe.flow.stages.refinement import RefinedImage, refine_image
from segpipe.flow.stages.segmentation import SegmentedImage, segment_image
from segpipe.progress import Event, StageStarted, StepDone, Tell, tell_nobody
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.segmenter import Segmenter
from segpipe.server.metrics import Metrics
from segpipe.server.openapi import events, json_body, problems
from segpipe.server.outline_answers import answer_json
from segpipe.server.outline_requests import outlined, own_fields, prompt_for, read_photo, unpack
from segpipe.server.prompt_requests import require_few, require_something
from segpipe.server.server_settings import ServerSettings
from segpipe.server.service import Service
from segpipe.threads import finish_in_thread
from segpipe.vision.backdrop import with_backdrop
from segpipe.web.bounded_requests import JsonRoute, body_of
from segpipe.web.event_stream import EventStream
from segpipe.web.photo_uploads import UploadedPhoto
from segpipe.wire.outlines import Progress, Question, SegmentAnswer, SegmentRequest, SegmentSettings

PATH = "/v1/segment"

_JSON = "application/json"
_LARGE_BODY_BYTES = 4_000_000
_DESCRIPTION = """\
Finds what is meant, leaves out doubles, refines the masks where the service has a refiner that is
loaded, and traces outlines. The answer has the object with the best score, and in `segments` all of
them.

An outline that is known already, such as the `path` and `bbox` of an answer, is refined by itself:
the model is not asked.

With `stream` the answer is `text/event-stream`. A `progress` event comes when a stage begins and
after each of its steps; then one `final` event with the same JSON as without `stream`, or one
`error` event with a `Problem`: what goes wrong once the stream has begun has no other status."""


def build_router(service: Service, settings: ServerSettings, metrics: Metrics) -> APIRouter:
    """The route of ``POST /v1/segment``."""
    router = APIRouter(route_class=JsonRoute)
    large_bodies = asyncio.Lock()  # each takes several times its size while it is read

    @router.post(
        PATH,
        operation_id="segment_v1",
        summary="The outlines of what is meant, best first; also as a stream",
        description=_DESCRIPTION,
        response_model=SegmentAnswer,
        responses={
            200: {
                "description": "The best object and all of them",
                "content": events("progress, then final or error; the data is a line of JSON"),
            },
            **problems(),
        },
        openapi_extra=json_body(SegmentRequest),
    )
    async def segment(request: Request) -> Response:
        body = body_of(request)
        is_large = body.seek(0, SEEK_END) > _LARGE_BODY_BYTES
        async with large_bodies if is_large else nullcontext():
            question = await asyncio.to_thread(unpack, body)
        require_few(len(question.points), settings.max_points)
        work = partial(_answer, service, question, body)
        if question.stream:
            return EventStream(
                work,
                _progress_json,
                lambda end: metrics.streams.labels(end).inc(),
                timeout_s=settings.request_timeout_s,
                heartbeat_s=settings.heartbeat_s,
            )
        return Response(await work(tell_nobody), media_type=_JSON)

    return router


async def _answer(service: Service, question: Question, body: BinaryIO, tell: Tell) -> bytes:
    with own_fields():
        async with service.photo(partial(asyncio.to_thread, read_photo, body), tell) as photo:
            # Once: a refiner that is loaded in the middle comes too late for this photo.
            has_refiner = service.refining.is_ready
            refiner = service.refining.for_request(is_wanted=question.settings.refine)
            segmented, refined = await _find_objects(service, photo, question, refiner, tell)
            return await answer_json(
                segmented,
                refined,
                model=service.name,
                refiner=refiner.id,
                with_masks=question.return_base64 and has_refiner,
                tell=tell,
            )


async def _find_objects(
    service: Service,
    photo: UploadedPhoto,
    question: Question,
    refiner: Refiner,
    tell: Tell,
) -> tuple[SegmentedImage, RefinedImage]:
    """Segment a photo, leave out doubles, and refine; of an outline, only refine it.

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
    if question.path is not None:
        segmented = await finish_in_thread(outlined, question, rgb)
    else:
        segmented = await _ask_model(service, photo, question, tell)

    # One detection for each object.
    tell(StageStarted("dedup", len(segmented.result.detections)))
    deduped = await finish_in_thread(dedup_image, segmented, _dedup_settings(settings))

    # Sharper masks, and outlines.
    picture = await finish_in_thread(with_backdrop, photo.decoded)
    refined = await refine_image(picture, segmented, deduped, refiner, tell)
    return segmented, refined


async def _ask_model(
    service: Service, photo: UploadedPhoto, question: Question, tell: Tell
) -> SegmentedImage:
    """Everything that the model finds."""
    asked = PhotoPrompt(prompt_for(question, photo.decoded.rgb))

    async def segment(model: Segmenter) -> SegmentedImage:
        if asked.prompt:
            require_something(asked.prompt, model, everything=service.settings.everything)
        tell(StageStarted("segmentation"))
        thresholds = _thresholds(question.settings)
        return await segment_image(photo.decoded, model, asked, thresholds)

    return await service.in_model(segment)


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


def _progress_json(event: Event) -> bytes | None:
    """What clients are told of an event; None for those that are none of a photo's."""
    match event:
        case StageStarted(stage, objects):
            values: dict[str, Any] = {"stage": stage, "objects": objects}
        case StepDone(stage, step, steps):
            values = {"stage": stage, "step": step, "steps": steps}
        case _:
            return None
    return Progress.model_validate(values).model_dump_json(exclude_none=True).encode()

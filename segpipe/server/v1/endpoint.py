"""The endpoint itself."""

import asyncio
from functools import partial
from typing import Any, BinaryIO

from fastapi import APIRouter, Request, Response

from segpipe.progress import Event, StageStarted, StepDone, Tell, tell_nobody
from segpipe.server.metrics import Metrics
from segpipe.server.openapi import events, json_body, problems
from segpipe.server.prompts import require_few
from segpipe.server.service import Service
from segpipe.server.settings import ServerSettings
from segpipe.server.v1.answer import answer_json
from segpipe.server.v1.question import own_fields, read_photo, unpack
from segpipe.server.v1.road import find_objects
from segpipe.web.bounded_requests import JsonRoute, body_of
from segpipe.web.event_stream import EventStream
from segpipe.wire.outlines import Progress, Question, SegmentAnswer, SegmentRequest

PATH = "/v1/segment"

_JSON = "application/json"
_DESCRIPTION = """\
Finds what is meant, leaves out doubles, refines the masks where the service has a refiner that is
loaded, and traces outlines. The answer has the object with the best score, and in `segments` all of
them.

With `stream` the answer is `text/event-stream`. A `progress` event comes when a stage begins and
after each of its steps; then one `final` event with the same JSON as without `stream`, or one
`error` event with a `Problem`: what goes wrong once the stream has begun has no other status."""


def build_router(service: Service, settings: ServerSettings, metrics: Metrics) -> APIRouter:
    """The route of ``POST /v1/segment``."""
    router = APIRouter(route_class=JsonRoute)

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
            segmented, refined = await find_objects(service, photo, question, refiner, tell)
            return await answer_json(
                segmented,
                refined,
                model=service.name,
                refiner=refiner.id,
                with_masks=question.return_base64 and has_refiner,
                tell=tell,
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

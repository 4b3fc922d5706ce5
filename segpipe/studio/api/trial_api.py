"""Tries settings on one photo: nothing is kept but the account of paid calls."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field, ValidationError

from segpipe.errors import PromptError
from segpipe.flow.saved_settings import SavedSettings
from segpipe.flow.setting_fields import SettingFault, find_faults, parse
from segpipe.flow.try_photo import TracedOutline
from segpipe.prompt import Mode, Point, Prompt
from segpipe.studio.api.trial_wire import (
    Beaten,
    DealImage,
    TrialAnswer,
    TrialDetection,
    TrialOutline,
    TrialParams,
    TrialPass,
    TrialRequest,
    TrialUsage,
    UploadedImage,
)
from segpipe.studio.roles import Role, needs
from segpipe.studio.studio_state import Serving
from segpipe.studio.trials import (
    MAX_UPLOAD_BYTES,
    TOO_LARGE,
    UNUSABLE,
    DealPhoto,
    Question,
    TrialOfPhoto,
)
from segpipe.threads import finish_in_thread
from segpipe.vision.boxes import Box
from segpipe.vision.mask_codecs import to_base64
from segpipe.web.photo_uploads import read_data_url
from segpipe.web.problems import RefusedError
from segpipe.wire.inference import Problem, Wire, WireSize
from segpipe.wire.outlines import DATA_URL
from segpipe.wire.wire_prompts import with_signed_boxes

PATH = "/admin/api/test/segmentation"
MAX_BODY_BYTES = MAX_UPLOAD_BYTES // 3 * 4 + 1_000_000
"""The photo in base64, and the settings beside it."""

router = APIRouter(tags=["trials"], dependencies=[Depends(needs(Role.ADMIN))])


class FaultyField(Wire):
    """A field that cannot be used."""

    field: str
    message: str


class FaultyRequest(Wire):
    """The answer to a request that cannot be used: the first fault, and all of them."""

    error: str
    detail: str
    field: str | None
    fields: list[FaultyField] = Field(default=[])


class UnusableError(Exception):
    """Fields of the request cannot be used."""

    def __init__(self, faults: Sequence[SettingFault]) -> None:
        super().__init__(faults[0].message)
        self.faults = faults


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request is malformed."},
    404: {"model": Problem, "description": "There is no such deal or photo."},
    409: {"model": Problem, "description": "A key is missing, or may not be sent there."},
    413: {"model": Problem, "description": "The photo is too large."},
    422: {"model": FaultyRequest, "description": "Fields cannot be used."},
    502: {"model": Problem, "description": "The backend failed."},
    503: {"model": Problem, "description": "Too many trials wait."},
}


def _inlined(schema: Any, models: Mapping[str, Any]) -> Any:
    """A JSON schema without references, which OpenAPI would look for elsewhere."""
    if isinstance(schema, list):
        return [_inlined(each, models) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(models[schema["$ref"].rpartition("/")[2]], models)
    left_out = {"$defs", "discriminator"}
    return {key: _inlined(one, models) for key, one in schema.items() if key not in left_out}


_SCHEMA = TrialRequest.model_json_schema()
_BODY = {"content": {"application/json": {"schema": _inlined(_SCHEMA, _SCHEMA["$defs"])}}}


@router.post(
    PATH,
    response_model=TrialAnswer,
    responses=_PROBLEMS,
    openapi_extra={"requestBody": {**_BODY, "required": True}},
)
async def try_segmentation(
    request: Request, studio: Serving, return_masks: bool = False
) -> Response:
    """Find the items of one photo with settings that need not be saved."""
    body = await request.body()
    try:
        question = await finish_in_thread(read_question, body)
    except UnusableError as error:
        return unusable(error.faults)
    found = await studio.trials.ask(question)
    return Response(
        await finish_in_thread(to_json, found, return_masks), media_type="application/json"
    )


def read_question(body: bytes) -> Question:
    """What a request asks.

    Raises:
        UnusableError: Fields of it cannot be used.
        RefusedError: The photo has too many bytes (413); it was not decoded.
    """
    try:
        asked = TrialRequest.model_validate_json(body)
    except ValidationError as error:
        raise UnusableError(
            [
                SettingFault(_place(fault["loc"]), fault["msg"])
                for fault in error.errors(include_url=False, include_input=False)
            ]
        ) from None
    segmenter = _settings("segmenter", asked.segmenter_config, "segmenter_config")
    dedup = _settings("dedup", asked.combined_config, "combined_config")
    return Question(
        photo=_photo(asked.image),
        segmenter=segmenter,
        dedup=dedup,
        prompt=_prompt(asked.params),
        mode=asked.params.mode if asked.params else Mode.FIND_ALL,
    )


def unusable(faults: Sequence[SettingFault]) -> JSONResponse:
    """The answer to a request with such faults (422)."""
    first = faults[0]
    answer = FaultyRequest(
        error="InvalidRequest",
        detail=first.message,
        field=first.field or None,
        fields=[FaultyField(field=fault.field, message=fault.message) for fault in faults],
    )
    return JSONResponse(answer.model_dump(), UNUSABLE)


def to_json(found: TrialOfPhoto, with_masks: bool) -> bytes:
    """The answer."""
    trial, result = found.trial, found.trial.segmented.result
    beaten = trial.rejections
    detections = [
        TrialDetection(
            bbox=_numbers(one.box),
            score=float(one.score),
            label=one.label,
            mask_b64=to_base64(one.mask) if with_masks and one.mask else None,
            pass_index=one.pass_index,
            outline=_outline(trial.outlines[index]),
            beaten_by=Beaten(
                detection=beaten[index].survivor,
                criterion=str(beaten[index].criterion),
                value=float(beaten[index].value),
            )
            if index in beaten
            else None,
        )
        for index, one in enumerate(trial.detections)
    ]
    answer = TrialAnswer(
        segmenter_id=result.segmenter_id,
        image=WireSize(width=result.image_width, height=result.image_height),
        detections=detections,
        kept_indices=list(trial.kept) if trial.deduped else None,
        pass_stats=[
            TrialPass(
                found=each.found, new=each.new, elapsed_ms=each.elapsed_ms, stopped=each.stopped
            )
            for each in result.pass_stats
        ],
        elapsed_ms=result.elapsed_ms,
        usage=TrialUsage(
            calls=result.usage.calls,
            cached=result.usage.cached,
            cost=result.usage.cost,
            remaining_credits=result.usage.remaining_credits,
        ),
        notes=list(trial.segmented.warnings),
    )
    return answer.model_dump_json().encode()


def _photo(image: DealImage | UploadedImage) -> DealPhoto | bytes:
    if isinstance(image, DealImage):
        return DealPhoto(image.deal_id, image.image_id)
    prefix = DATA_URL.match(image.data_url)
    start = prefix.end() if prefix else 0
    padding = len(image.data_url) - len(image.data_url.rstrip("="))
    size = (len(image.data_url) - start) // 4 * 3 - padding
    if size > MAX_UPLOAD_BYTES:
        raise RefusedError(
            TOO_LARGE,
            "TooLarge",
            f"the photo has {size:,} bytes, more than the {MAX_UPLOAD_BYTES:,} of a trial: put it "
            "into a deal, or send a smaller one",
            field="image.data_url",
        )
    try:
        return b"".join(read_data_url(image.data_url))
    except RefusedError as error:
        raise UnusableError([SettingFault("image.data_url", str(error))]) from None


def _settings(part: str, values: Mapping[str, Any] | None, field: str) -> Any:
    if values is None:
        return None
    whole = {part: dict(values)}
    if faults := find_faults(SavedSettings, whole):
        raise UnusableError(
            [
                SettingFault(field + fault.field.removeprefix(part), fault.message)
                for fault in faults
            ]
        )
    return getattr(parse(SavedSettings, whole), part)


def _prompt(params: TrialParams | None) -> Prompt | None:
    if params is None:
        return None
    try:
        return with_signed_boxes(
            params.mode,
            [(Box(one.x1, one.y1, one.x2, one.y2), one.positive) for one in params.boxes],
            texts=params.texts,
            points=[Point(one.x, one.y, one.positive) for one in params.points],
        )
    except PromptError as error:
        field = (error.field or "").replace("exemplars", "boxes")
        raise UnusableError([SettingFault(f"params.{field}", error.message)]) from None


def _place(location: Sequence[int | str]) -> str:
    kinds = {"deal_image", "upload"}
    return ".".join(str(part) for part in location if part not in kinds)


def _outline(outline: TracedOutline | None) -> TrialOutline | None:
    return TrialOutline(bbox=_numbers(outline.box), path=outline.path) if outline else None


def _numbers(box: Box) -> list[float]:
    return [float(value) for value in box]

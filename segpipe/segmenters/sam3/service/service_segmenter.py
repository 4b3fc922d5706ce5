"""The client of our inference service."""

import asyncio
import json
import time
from collections.abc import Sequence

import httpx
from pydantic import ValidationError

from segpipe.detection import (
    Candidate,
    Detection,
    SegmentationResult,
    Thresholds,
    Usage,
)
from segpipe.errors import (
    BackendProtocolError,
    BackendRefusedError,
    BackendUnavailableError,
    InputError,
    PromptError,
    UnsupportedPromptError,
)
from segpipe.prompt import Mode, Point, Prompt, require_points
from segpipe.secret_names import read_secret, require_secret_origin
from segpipe.segmenters.http import Attempt, BackendClient
from segpipe.segmenters.sam3.service.service_settings import DEFAULT_URL, InternalConfig
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_jpeg, encode_png
from segpipe.vision.image import RgbImage
from segpipe.wire.inference import (
    PROBLEM_FIELD_HEADER,
    PROBLEM_HEADER,
    Health,
    Readings,
    Segments,
    WirePrompt,
    decode_mask,
)
from segpipe.wire.wire_prompts import own_field, to_wire

_NAME = "the inference service"
_READINGS = 3
_PROMPT_ERRORS = {kind.__name__: kind for kind in (PromptError, UnsupportedPromptError)}


class InternalSegmenter(Segmenter):
    """Asks an inference service, many images at once.

    A prompt is answered the same however often it is sent, so a request that failed half way is
    sent again.

    Args:
        config: Where the service is and what counts as found.
        transport: Replaces the network, for tests.

    Raises:
        ConfigError: No header can carry the token, or it may not be sent to the URL.
    """

    id = "sam3-internal"

    def __init__(
        self,
        config: InternalConfig | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._config = config or InternalConfig()
        token = read_secret(self._config.token_env, what="token", field="token_env")
        if token:
            require_secret_origin(
                self._config.token_env, self._config.url, default=DEFAULT_URL, field="url"
            )
        self._client = BackendClient(
            _NAME,
            self._config.url,
            self._config.http,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            secrets=(token,) if token else (),
            resend_uncertain=True,
            transport=transport,
        )
        self._revision: str | None = None

    @property
    def concurrency(self) -> int:
        """As many as may be under way."""
        return self._config.http.in_flight

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8.

        Raises:
            PromptError: The prompt makes no sense, here or to the service.
            BackendError: The service failed, its answer makes no sense, or its model is another
                one than it was.
        """
        started = time.perf_counter()
        wire = to_wire(prompt, thresholds or self._config.thresholds)
        calls = _Calls()
        expected = self._revision  # now: by the time of the answer another task may have reset it
        body = await self._ask(
            "/segment", image, {"prompt": wire.model_dump_json()}, calls, mode=wire.mode
        )
        model, detections = await asyncio.to_thread(_read, body, image, wire)
        self._require_same(expected, model)
        return SegmentationResult.of_one_pass(
            detections,
            image,
            self.id,
            started,
            usage=Usage(calls=calls.sent),
        )

    async def candidates(
        self, image: RgbImage, points: Sequence[Point]
    ) -> tuple[Candidate, Candidate, Candidate]:
        """Three readings of what the points mean, the best score first.

        Raises:
            PromptError: No point is positive, or one lies outside the image.
            BackendError: As of segment.
        """
        height, width = image.shape[:2]
        require_points(points, width, height)
        data = {
            "points": json.dumps([[float(one.x), float(one.y)] for one in points]),
            "labels": json.dumps([int(one.positive) for one in points]),
            "multimask": "true",
        }
        expected = self._revision
        body = await self._ask("/predict/mask", image, data, _Calls(), mode=Mode.FIND_ALL)
        model, (first, second, third) = await asyncio.to_thread(
            _read_candidates, body, width, height
        )
        self._require_same(expected, model)
        return first, second, third

    async def revision(self) -> str:
        """The model that the service holds; another one may mean other answers.

        It is asked once, and again after an answer of another model.

        Raises:
            BackendError: The service cannot say.
        """
        if self._revision is None:
            answer = await self._client.request("GET", "/health")
            try:
                health = Health.model_validate_json(answer.body)
            except ValidationError as error:
                raise _protocol_error("of its health", error) from None
            if health.model is None:
                raise BackendUnavailableError(f"{_NAME} has no model: its state is {health.status}")
            self._revision = health.model
        return self._revision

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(
        self, path: str, image: RgbImage, data: dict[str, str], calls: "_Calls", *, mode: Mode
    ) -> bytes:
        kind = self._config.upload
        upload = await asyncio.to_thread(self._encode, image)
        try:
            answer = await self._client.request(
                "POST",
                path,
                files={"image": (f"image.{kind}", upload, f"image/{kind}")},
                data=data,
                on_attempt=calls.note,
            )
        except BackendRefusedError as error:
            if prompt_error := _PROMPT_ERRORS.get(calls.problem):
                field = own_field(calls.field, mode) or None
                raise prompt_error(error.message, field=field) from None
            raise
        return answer.body

    def _encode(self, image: RgbImage) -> bytes:
        if self._config.upload == "jpeg":
            return encode_jpeg(image, quality=self._config.jpeg_quality)
        return encode_png(image)

    def _require_same(self, expected: str | None, model: str) -> None:
        """Refuse the answer of another model than the one that was there when it was asked."""
        if expected is None:
            expected = self._revision = self._revision or model  # the first answer tells
        if model != expected:
            if self._revision == expected:
                self._revision = None
            raise BackendUnavailableError(
                f"{_NAME} changed its model from {expected} to {model} in the middle: run again"
            )


class _Calls:
    """What became of the attempts of one call."""

    def __init__(self) -> None:
        self.sent = 0
        self.problem = ""
        self.field = ""

    def note(self, attempt: Attempt) -> None:
        """Note an attempt, before and after it."""
        self.sent = attempt.number
        self.problem = attempt.headers.get(PROBLEM_HEADER, "")
        self.field = attempt.headers.get(PROBLEM_FIELD_HEADER, "")


def _read(body: bytes, image: RgbImage, wire: WirePrompt) -> tuple[str, tuple[Detection, ...]]:
    """The model that answered, and what it found."""
    try:
        answer = Segments.model_validate_json(body)
        return answer.model, to_detections(answer, image, wire)
    except (ValidationError, InputError) as error:
        raise _protocol_error("to a prompt", error) from None


def _read_candidates(body: bytes, width: int, height: int) -> tuple[str, list[Candidate]]:
    """The model that answered, and its three readings."""
    try:
        answer = Readings.model_validate_json(body)
        return answer.model, _to_candidates(answer, width, height)
    except (ValidationError, InputError) as error:
        raise _protocol_error("to points", error) from None


def _to_candidates(answer: Readings, width: int, height: int) -> list[Candidate]:
    if not len(answer.masks) == len(answer.scores) == _READINGS:
        raise InputError(f"{len(answer.masks)} masks, asked were {_READINGS}", field="masks")
    size = {"image_width": width, "image_height": height}
    masks = [decode_mask(sent, **size) for sent in answer.masks]
    return [Candidate(*pair) for pair in zip(masks, answer.scores, strict=True)]


def _protocol_error(about: str, error: ValidationError | InputError) -> BackendProtocolError:
    if isinstance(error, InputError):
        return BackendProtocolError(f"{_NAME}'s answer {about} makes no sense: {error}")
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return BackendProtocolError(
        f"{_NAME}'s answer {about} makes no sense: {place or 'the body'}: {first['msg']}"
    )


def to_detections(answer: Segments, image: RgbImage, question: WirePrompt) -> tuple[Detection, ...]:
    """The detections of an upright image, (h, w, 3); those of ``find_all`` the best score first.

    Raises:
        InputError: The answer is about an image of another size, a box or mask is none of this
            image, or there are more detections than were asked for (or not one a box).
    """
    height, width = image.shape[:2]
    if (answer.image.width, answer.image.height) != (width, height):
        raise InputError(
            f"it is about an image of {answer.image.width} x {answer.image.height} pixels, not "
            f"{width} x {height}",
            field="image",
        )
    _check_count(len(answer.boxes), question)
    detections = tuple(_detection(answer, index) for index in range(len(answer.boxes)))
    if question.mode is Mode.INSIDE_BOX:
        return detections
    return tuple(sorted(detections, key=lambda detection: -detection.score))


def _check_count(count: int, question: WirePrompt) -> None:
    if question.mode is Mode.INSIDE_BOX and count != len(question.boxes):
        raise InputError(f"{len(question.boxes)} boxes got {count} detections", field="boxes")
    if question.mode is Mode.FIND_ALL and count > question.max_masks:
        raise InputError(f"{count} detections, asked were {question.max_masks}", field="boxes")


def _detection(answer: Segments, index: int) -> Detection:
    width, height = answer.image.width, answer.image.height
    box, sent = Box(*answer.boxes[index]), answer.masks[index]
    if not (0 <= box.x1 < box.x2 <= width and 0 <= box.y1 < box.y2 <= height):
        raise InputError(
            f"{tuple(box)} is no box in an image of {width} x {height} pixels",
            field=f"boxes[{index}]",
        )
    mask = None
    if sent is not None:
        try:
            mask = decode_mask(sent, image_width=width, image_height=height)
        except InputError as error:
            raise InputError(error.message, field=f"masks[{index}]") from error
    tight = mask.box if mask else None
    return Detection(tight or box, answer.scores[index], label=answer.labels[index], mask=mask)

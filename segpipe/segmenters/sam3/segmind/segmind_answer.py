"""What Segmind answers, in all its shapes, to detections.

The endpoint's answers are not specified, and differ: JSON of parallel arrays, of a list of
detections, or of a list of masks with scores; or a picture of one combined mask.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from segpipe.detection import Detection
from segpipe.errors import BackendProtocolError
from segpipe.segmenters.http import Answer
from segpipe.segmenters.http.http_answers import redact, snippet
from segpipe.segmenters.sam3.segmind.answer_finds import (
    NO_SCORE,
    Find,
    has_finds,
    read_finds,
    refuse_claims,
)
from segpipe.segmenters.sam3.segmind.answer_masks import (
    NotUnderstoodError,
    SentPhoto,
    decode_base64,
    read_mask,
    read_parts,
)
from segpipe.vision.mask import Mask

JSON_TYPES = frozenset({"application/json"})
_PICTURE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
_WRAPPERS = ("output", "outputs", "result", "results", "data", "response")
_ERRORS = ("error", "errors")
_SUCCESSES = frozenset(
    {"complete", "completed", "done", "finished", "ok", "ready", "succeeded", "success"}
)
_DEEPEST = 6
_MOST_MASKS = 1_000  # that are read when no limit is set
_MOST_PIXELS = 2_000_000_000  # of all bitmaps of an answer together
_SNIPPET_CHARS = 2_000  # that are looked at, and no secret is as long


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says.

    Attributes:
        detections: At full size, the best score first.
        notes: What a reader has to know, in sentences.
    """

    detections: tuple[Detection, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What an answer is read for."""

    photo: SentPhoto
    label: str | None
    max_masks: int
    secrets: Sequence[str]


def read_answer(
    answer: Answer, photo: SentPhoto, *, label: str | None, max_masks: int, secrets: Sequence[str]
) -> Reading:
    """Read the masks of an answer; boxes are always made from them, whatever the answer says.

    Args:
        answer: A successful one.
        photo: What was asked about.
        label: What was asked for, which is then every detection's label.
        max_masks: The most masks that are read, the best; 0 leaves it at 1,000.
        secrets: Taken out of messages.

    Raises:
        BackendProtocolError: The answer is not understood, or says that the work failed. An empty
            list is understood, where nothing beside it tells of a failure or of finds: it is no
            detections.
    """
    try:
        return _read(answer, _Wanted(photo, label, max_masks or _MOST_MASKS, secrets))
    except NotUnderstoodError as error:
        reason = str(error)
    raise misfit(reason, answer, secrets)


def misfit(reason: str, answer: Answer, secrets: Sequence[str]) -> BackendProtocolError:
    """The error for an answer that makes no sense: why not, and how it begins; no secrets."""
    start = beginning(answer, secrets)
    return BackendProtocolError(
        f"segmind's answer is not understood: {snippet(reason, secrets)}; it begins with {start!r}"
    ).with_answer(answer.status, start)


def beginning(answer: Answer, secrets: Sequence[str]) -> str:
    """How an answer begins: one short line without secrets."""
    text = answer.body[: 2 * _SNIPPET_CHARS].decode(errors="replace")
    # Cut where a whole secret is still seen: half of one would not be recognised.
    return snippet(redact(text, secrets)[:_SNIPPET_CHARS], secrets)


def _read(answer: Answer, wanted: _Wanted) -> Reading:
    if not answer.body:
        raise NotUnderstoodError("it is empty")
    if answer.content_type in _PICTURE_TYPES:
        return _of_picture(answer.body, wanted)
    if answer.content_type in JSON_TYPES:
        return _of_value(_parse(answer.body), wanted)
    kind = answer.content_type or "of no type"
    raise NotUnderstoodError(f"it is {kind}, neither JSON nor a picture")


def parse_object(body: bytes) -> dict[str, Any]:
    """A JSON object; raises NotUnderstoodError when it is none."""
    value = _parse(body)
    if not isinstance(value, dict):
        raise NotUnderstoodError("it is no JSON object")
    return value


def _parse(body: bytes | str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotUnderstoodError(f"it is no JSON ({error})") from error


def _of_value(value: object, wanted: _Wanted) -> Reading:
    around = list[dict[str, object]]()
    for _ in range(_DEEPEST):
        if isinstance(value, str):
            value = _of_text(value)
            if isinstance(value, bytes):
                return _judged(_of_picture(value, wanted), around, wanted)
        if isinstance(value, dict):
            _refuse_error(value)
            around.append(value)
        inner = _unwrap(value)
        if inner is value:
            finds = read_finds(value)
            if not finds:
                refuse_claims(around)
            return _judged(_of_finds(finds, wanted), around, wanted)
        value = inner
    raise NotUnderstoodError("it is nested too deeply")


def _refuse_error(value: dict[str, object]) -> None:
    for name in _ERRORS:
        if error := value.get(name):
            said = f": {error}" if isinstance(error, str) else ""
            raise NotUnderstoodError(f"it tells of an error{said}")
    if value.get("success") is False:
        raise NotUnderstoodError("it tells that it is no success")


def _judged(reading: Reading, around: list[dict[str, object]], wanted: _Wanted) -> Reading:
    """The reading in the light of the status that the objects around it tell."""
    for status in (value.get("status") for value in around):
        if status is None or _is_success(status):
            continue
        said = snippet(str(status), wanted.secrets) if isinstance(status, str | int) else "unclear"
        if not reading.detections:
            raise NotUnderstoodError(f"it finds nothing, and its status is {said}")
        note = f"The service gave its masks with the status {said}."
        reading = replace(reading, notes=(*reading.notes, note))
    return reading


def _is_success(status: object) -> bool:
    match status:
        case str():
            return status.strip().casefold() in _SUCCESSES
        case bool():
            return status
        case int():
            return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    return False


def _of_text(text: str) -> object:
    """JSON inside of JSON, or the bytes of a picture in base64."""
    if text.lstrip()[:1] in {"{", "["}:
        return _parse(text)
    return decode_base64(text)


def _unwrap(value: object) -> object:
    """What an object holds that only wraps something else."""
    if isinstance(value, dict) and not has_finds(value):
        held = [value[name] for name in _WRAPPERS if value.get(name) is not None]
        if held:
            return held[0]
    return value


def _of_finds(finds: list[Find], wanted: _Wanted) -> Reading:
    notes, most = [], wanted.max_masks
    if any(find.score is None for find in finds):
        notes.append("The service gave no scores for some masks: they have score 1.")
    if len(finds) > most:
        notes.append(f"The service gave {len(finds)} masks: only the {most} best are kept.")
    ranked = sorted(finds, key=lambda find: -find.rank)[:most]
    detections, pixels = list[Detection](), 0
    for find in ranked:
        mask = read_mask(find.mask, wanted.photo)
        pixels += mask.bits.size
        if pixels > _MOST_PIXELS:
            raise NotUnderstoodError(f"its masks take more than {_MOST_PIXELS:,} pixels")
        # The service may echo anything in a label, the key or half a character.
        told = snippet(find.label or "", wanted.secrets).strip() or None
        detections += _detection(mask, find.rank, wanted.label or told)
    if len(detections) < len(ranked):
        empty = len(ranked) - len(detections)
        notes.append(f"The service gave {empty} masks without a pixel: they are left out.")
    return Reading(tuple(detections), tuple(notes))


def _of_picture(data: bytes, wanted: _Wanted) -> Reading:
    masks, parts = read_parts(data, wanted.photo, wanted.max_masks)
    notes = [
        "The service gave one combined mask: each of its connected parts is a detection, with "
        "score 1."
    ]
    if parts > wanted.max_masks:
        notes.append(f"It has {parts} parts: only the {wanted.max_masks} largest are kept.")
    detections = [one for mask in masks for one in _detection(mask, NO_SCORE, wanted.label)]
    return Reading(tuple(detections), tuple(notes))


def _detection(mask: Mask, score: float, label: str | None) -> list[Detection]:
    """A list, since a mask without a pixel is none."""
    return [Detection(mask.box, score, label, mask)] if mask.box else []

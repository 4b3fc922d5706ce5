"""What Segmind answers, in all its shapes, to detections.

The endpoint's answers are not specified, and differ: JSON of parallel arrays, of a list of
detections, or of a list of masks with scores; or a picture of one combined mask.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segpipe.errors import BackendProtocolError
from segpipe.segmenters.base import Detection
from segpipe.segmenters.http import Answer
from segpipe.segmenters.http.redaction import redact, snippet
from segpipe.segmenters.sam3.segmind.masks import read_mask, read_parts
from segpipe.segmenters.sam3.segmind.pictures import NotUnderstoodError, Photo, decode_base64
from segpipe.vision.mask import Mask

JSON_TYPES = frozenset({"application/json"})
_PICTURE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
_WRAPPERS = ("output", "outputs", "result", "results", "data", "response")
_LISTS = ("detections", "predictions", "objects", "instances", "annotations", "segments")
_MASKS = ("mask", "segmentation", "rle", "polygon", "polygons", "counts")
_SCORES = ("score", "confidence")
_LABELS = ("label", "class", "class_name", "name")
_DEEPEST = 6
_MOST_MASKS = 1_000  # that are read when no limit is set
_MOST_PIXELS = 2_000_000_000  # of all bitmaps of an answer together
_SCORE_SLACK = 0.05  # predicted IoUs reach a little over 1
_SNIPPET_BYTES = 2_000
_NO_SCORE = 1.0


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
class _Find:
    """One mask of the answer, not yet read."""

    mask: object
    score: float | None
    label: str | None


def read_answer(
    answer: Answer, photo: Photo, *, label: str | None, max_masks: int, secrets: Sequence[str]
) -> Reading:
    """Read the masks of an answer; boxes are always made from them, whatever the answer says.

    Args:
        answer: A successful one.
        photo: What was asked about.
        label: What was asked for, which is then every detection's label.
        max_masks: The most masks that are read, the best; 0 leaves it at 1,000.
        secrets: Taken out of messages.

    Raises:
        BackendProtocolError: The answer is not understood. An empty list is: it is no detections.
    """
    try:
        return _read(answer, photo, label, max_masks or _MOST_MASKS)
    except NotUnderstoodError as error:
        reason = str(error)
    text = snippet(answer.body[:_SNIPPET_BYTES].decode(errors="replace"), secrets)
    raise BackendProtocolError(
        f"segmind's answer is not understood: {redact(reason, secrets)}; it begins with {text!r}"
    )


def _read(answer: Answer, photo: Photo, label: str | None, most: int) -> Reading:
    if not answer.body:
        raise NotUnderstoodError("it is empty")
    if answer.content_type in _PICTURE_TYPES:
        return _of_picture(answer.body, photo, label, most)
    if answer.content_type in JSON_TYPES:
        return _of_value(_parse(answer.body), photo, label, most)
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


def _of_value(value: object, photo: Photo, label: str | None, most: int) -> Reading:
    for _ in range(_DEEPEST):
        if isinstance(value, str):
            value = _of_text(value)
            if isinstance(value, bytes):
                return _of_picture(value, photo, label, most)
        inner = _unwrap(value)
        if inner is value:
            return _of_finds(_finds(value), photo, label, most)
        value = inner
    raise NotUnderstoodError("it is nested too deeply")


def _of_text(text: str) -> object:
    """JSON inside of JSON, or the bytes of a picture in base64."""
    if text.lstrip()[:1] in {"{", "["}:
        return _parse(text)
    return decode_base64(text)


def _unwrap(value: object) -> object:
    """What an object holds that only wraps something else."""
    if isinstance(value, dict) and not _has_finds(value):
        held = [value[name] for name in _WRAPPERS if value.get(name) is not None]
        if held:
            return held[0]
    return value


def _has_finds(value: dict[str, object]) -> bool:
    return any(name in value for name in ("masks", *_LISTS, *_MASKS))


def _finds(value: object) -> list[_Find]:
    if isinstance(value, dict):
        for name in _LISTS:
            if isinstance(value.get(name), list):
                return _finds(value[name])
        masks = value.get("masks")
        if isinstance(masks, list):
            return _finds(masks) if _are_detections(masks) else _of_parallel(value, masks)
        if any(name in value for name in _MASKS):
            return [_of_detection(value)]
    if isinstance(value, list):
        return [_of_detection(one) for one in value]
    raise NotUnderstoodError("it has no masks")


def _are_detections(masks: list[object]) -> bool:
    return bool(masks) and all(
        isinstance(one, dict) and "counts" not in one and any(name in one for name in _MASKS)
        for one in masks
    )


def _of_parallel(arrays: dict[str, object], masks: list[object]) -> list[_Find]:
    columns = [_column(arrays, names, len(masks)) for names in (_SCORES, _LABELS)]
    return [
        _Find(mask, _score(score), _label(label))
        for mask, score, label in zip(masks, *columns, strict=True)
    ]


def _column(arrays: dict[str, object], names: Sequence[str], rows: int) -> list[object]:
    for name in names:
        column = arrays.get(f"{name}s", arrays.get(f"{name}es"))
        if column is not None:
            if not isinstance(column, list) or len(column) != rows:
                raise NotUnderstoodError(f"it has {rows} masks and not as many {name}s")
            return column
    return [None] * rows


def _of_detection(value: object) -> _Find:
    if isinstance(value, str):
        return _Find(value, None, None)
    if not isinstance(value, dict) or not any(name in value for name in _MASKS):
        raise NotUnderstoodError("a detection has no mask")
    mask = value if "counts" in value else next(value[name] for name in _MASKS if name in value)
    return _Find(mask, _score(_first(value, _SCORES)), _label(_first(value, _LABELS)))


def _first(value: dict[str, object], names: Sequence[str]) -> object:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _score(value: object) -> float | None:
    match value:
        case None:
            return None
        case int() | float() if not isinstance(value, bool) and math.isfinite(value):
            if -_SCORE_SLACK <= value <= 1 + _SCORE_SLACK:
                return min(max(float(value), 0.0), 1.0)
    raise NotUnderstoodError(f"a score is {str(value)[:20]}, which is not from 0 to 1")


def _label(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _of_finds(finds: list[_Find], photo: Photo, label: str | None, most: int) -> Reading:
    notes = []
    if any(find.score is None for find in finds):
        notes.append("The service gave no scores for some masks: they have score 1.")
    if len(finds) > most:
        notes.append(f"The service gave {len(finds)} masks: only the {most} best are kept.")
    ranked = sorted(finds, key=lambda find: -_score_of(find))[:most]
    detections, pixels = list[Detection](), 0
    for find in ranked:
        mask = read_mask(find.mask, photo)
        pixels += mask.bits.size
        if pixels > _MOST_PIXELS:
            raise NotUnderstoodError(f"its masks take more than {_MOST_PIXELS:,} pixels")
        detections += _detection(mask, _score_of(find), label or find.label)
    if len(detections) < len(ranked):
        empty = len(ranked) - len(detections)
        notes.append(f"The service gave {empty} masks without a pixel: they are left out.")
    return Reading(tuple(detections), tuple(notes))


def _of_picture(data: bytes, photo: Photo, label: str | None, most: int) -> Reading:
    masks, parts = read_parts(data, photo, most)
    notes = [
        "The service gave one combined mask: each of its connected parts is a detection, with "
        "score 1."
    ]
    if parts > most:
        notes.append(f"It has {parts} parts: only the {most} largest are kept.")
    detections = [one for mask in masks for one in _detection(mask, _NO_SCORE, label)]
    return Reading(tuple(detections), tuple(notes))


def _score_of(find: _Find) -> float:
    return _NO_SCORE if find.score is None else find.score


def _detection(mask: Mask, score: float, label: str | None) -> list[Detection]:
    """A list, since a mask without a pixel is none."""
    return [Detection(mask.box, score, label, mask)] if mask.box else []

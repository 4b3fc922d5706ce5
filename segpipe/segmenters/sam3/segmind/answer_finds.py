"""JSON in which masks may stand, in all its shapes, to one find for each mask."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segpipe.segmenters.sam3.segmind.answer_masks import NotUnderstoodError

_LISTS = ("detections", "predictions", "objects", "instances", "annotations", "segments")
_MASKS = ("mask", "segmentation", "rle", "polygon", "polygons", "counts")
_SCORES = ("score", "confidence")
_LABELS = ("label", "class", "class_name", "name")
_CLAIMS = ("masks", "boxes", "bboxes", "scores", "count", *_LISTS, *_MASKS)
_SCORE_SLACK = 0.05  # predicted IoUs reach a little over 1
NO_SCORE = 1.0
"""What stands for a score that the service did not give."""


@dataclass(frozen=True, slots=True)
class Find:
    """One mask of the answer, not yet read."""

    mask: object
    score: float | None
    label: str | None

    @property
    def rank(self) -> float:
        """Its score, or what stands for one."""
        return NO_SCORE if self.score is None else self.score


def has_finds(value: dict[str, object]) -> bool:
    """Whether masks stand in the object itself, not in what it wraps."""
    return any(name in value for name in ("masks", *_LISTS, *_MASKS))


def read_finds(value: object) -> list[Find]:
    """The finds of parallel arrays, of a list of detections or masks, or of a single detection.

    An empty object is no finds, like an empty list.

    Raises:
        NotUnderstoodError: It is none of these, or a score is no number from 0 to 1.
    """
    if value == {}:
        return []
    if isinstance(value, dict):
        for name in _LISTS:
            if isinstance(value.get(name), list):
                return read_finds(value[name])
        masks = value.get("masks")
        if isinstance(masks, list):
            return read_finds(masks) if _are_detections(masks) else _of_parallel(value, masks)
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


def _of_parallel(arrays: dict[str, object], masks: list[object]) -> list[Find]:
    columns = [_column(arrays, names, len(masks)) for names in (_SCORES, _LABELS)]
    return [
        Find(mask, _score(score), _label(label))
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


def _of_detection(value: object) -> Find:
    if isinstance(value, str):
        return Find(value, None, None)
    if not isinstance(value, dict) or not any(name in value for name in _MASKS):
        raise NotUnderstoodError("a detection has no mask")
    mask = value if "counts" in value else next(value[name] for name in _MASKS if name in value)
    return Find(mask, _score(_first(value, _SCORES)), _label(_first(value, _LABELS)))


def _first(value: dict[str, object], names: Sequence[str]) -> object:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _score(value: object) -> float | None:
    match value:
        case None:
            return None
        case int() | float() if not isinstance(value, bool):
            # NaN and integers that no float can hold fail here, too.
            if -_SCORE_SLACK <= value <= 1 + _SCORE_SLACK:
                return min(max(float(value), 0.0), 1.0)
    raise NotUnderstoodError("a score is no number from 0 to 1")


def _label(value: object) -> str | None:
    return value if isinstance(value, str) else None


def refuse_claims(around: Iterable[dict[str, object]]) -> None:
    """Refuse an empty list of finds beside one that is not empty."""
    for value in around:
        for name in _CLAIMS:
            if value.get(name):
                raise NotUnderstoodError(f"its {name} is not empty, and it has no masks")

"""What travels over ``POST /v1/segment``. Every coordinate is a share of the upright image."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from segpipe.prompt import Mode
from segpipe.vision.dedup import DEFAULT_CONTAINMENT_THRESHOLD, DEFAULT_IOU_THRESHOLD, Compare
from segpipe.vision.svg_path import MAX_CHARACTERS as MAX_PATH_LENGTH
from segpipe.wire.inference import (
    DEFAULT_MASK_THRESHOLD,
    DEFAULT_MAX_MASKS,
    DEFAULT_THRESHOLD,
    MAX_BOXES,
    MAX_MASKS,
    MAX_POINTS,
    MAX_TEXT_LENGTH,
    Share,
    Wire,
    WireSize,
)

DATA_URL = re.compile(
    r"data:(image/[\w.+-]{1,99}|application/octet-stream)"
    r"(;[\w.+-]{1,99}=[\w.+-]{1,99}){0,9};base64,",
    re.IGNORECASE,
)
"""How a data URL of a picture begins (RFC 2397), before the base64. Browsers and libraries that
know no type of a file write application/octet-stream; the bytes say what it is."""
_DOCUMENTED_PATTERN = "^data:image/[A-Za-z0-9.+-]+;base64,"
"""What clients are told; parameters between, and capitals before the data, are accepted too."""
_WEB = re.compile(r"https?:", re.IGNORECASE)
_DATA_URL_ERROR = "data_url"

_MASK = "A PNG in base64, without a data URL's prefix: one channel, 0 and 255, the size of `image`."
_COARSE = f"The segmenter's mask. {_MASK} Only with `return_base64`, and while there is a refiner."
_REFINED = (
    f"The refiner's mask. {_MASK} Only with `return_base64`, and where a refined mask was accepted."
)


def _without_default(schema: JsonDict) -> None:
    """A field that is left out is never null."""
    del schema["default"]


def _require_data_url(url: str) -> str:
    if DATA_URL.match(url):
        return url
    if _WEB.match(url):
        raise PydanticCustomError(
            _DATA_URL_ERROR,
            "the service fetches no photos from elsewhere; send the photo itself, as "
            "data:image/jpeg;base64,…",
        )
    raise PydanticCustomError(
        _DATA_URL_ERROR, "a photo is sent as a data URL: data:image/jpeg;base64,…"
    )


DataUrl = Annotated[
    str,
    AfterValidator(_require_data_url),
    Field(json_schema_extra={"pattern": _DOCUMENTED_PATTERN}),
]
PathData = Annotated[str, Field(min_length=1, max_length=MAX_PATH_LENGTH)]
Count = Annotated[int, Field(ge=0)]
Step = Annotated[int, Field(ge=1)]
MaskField = str | SkipJsonSchema[None]
"""Left out, never null."""


class PointPrompt(Wire):
    """A point on an item, or (negative) off it."""

    x: Share = Field(description="0 is the left edge of the upright image, 1 the right one.")
    y: Share = Field(description="0 is the upper edge of the upright image, 1 the lower one.")
    positive: bool = True


def _require_area(x_min: float, y_min: float, x_max: float, y_max: float) -> None:
    if not (x_min < x_max and y_min < y_max):
        raise PydanticCustomError("box", "a box needs x_min < x_max and y_min < y_max")


class BoxPrompt(Wire):
    """A box: what to cut out, or an example of what to find or (negative) to leave out."""

    x_min: Share
    y_min: Share
    x_max: Share
    y_max: Share
    positive: bool = True

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        _require_area(self.x_min, self.y_min, self.x_max, self.y_max)
        return self


class BoundingBox(Wire):
    """The tight box of an object."""

    x_min: Share
    y_min: Share
    x_max: Share
    y_max: Share


class OutlineBox(BoundingBox):
    """The box that the 0 to 1 of an outline stand for."""

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        _require_area(self.x_min, self.y_min, self.x_max, self.y_max)
        return self


class SegmentSettings(Wire):
    """What counts as found, and as found twice."""

    threshold: Share = Field(
        default=DEFAULT_THRESHOLD, description="Objects that score less are left out."
    )
    mask_threshold: Share = Field(
        default=DEFAULT_MASK_THRESHOLD, description="Pixels more probable than this are in a mask."
    )
    max_masks: int = Field(
        default=DEFAULT_MAX_MASKS,
        ge=1,
        le=MAX_MASKS,
        description="Objects at most, those with the best scores.",
    )
    iou_threshold: Share = Field(
        default=DEFAULT_IOU_THRESHOLD,
        description="Overlap (IoU) above which the object that scores less goes; 1 keeps all.",
    )
    containment_threshold: Share = Field(
        default=DEFAULT_CONTAINMENT_THRESHOLD,
        description="Intersection over the smaller one above which the object that scores less "
        "goes; 1 keeps all.",
    )
    compare: Compare = Field(
        default=Compare.MASKS,
        description="Measure overlap on masks (boxes where a mask is missing), or on boxes only.",
    )
    refine: bool = Field(
        default=True, description="Refine the masks, if the service has a refiner that is loaded."
    )


class Question(Wire):
    """What to look for and how to answer: a request without its photo."""

    object: str | None = Field(
        default=None, max_length=MAX_TEXT_LENGTH, description="What to find, in words."
    )
    boxes: list[BoxPrompt] = Field(
        default=[],
        max_length=MAX_BOXES,
        description="With the mode `find_all` examples; with `inside_box` what to cut out.",
    )
    points: list[PointPrompt] = Field(
        default=[], max_length=MAX_POINTS, description="On what is meant, or off it."
    )
    mode: Mode | None = Field(
        default=None,
        description="`find_all`: everything that `object` and the examples mean, every item when "
        "there are none. `inside_box`: one object for each box. Left out, it is `inside_box` when "
        "there are boxes and no `object`, else `find_all`.",
    )
    path: PathData | None = Field(
        default=None,
        description="The outline of one object, to be refined: SVG path data relative to `bbox`, 0 "
        "to 1, as an answer has it (M L H V C S Q T Z; filled by the rule `nonzero`). It stands "
        "for the segmenter's mask; nothing else is looked for, so it comes without `object`, "
        "`boxes`, `points` and `mode`.",
    )
    bbox: OutlineBox | None = Field(
        default=None,
        description="What the 0 to 1 of `path` stand for, in shares of the upright image.",
    )
    settings: SegmentSettings = SegmentSettings()
    return_base64: bool = Field(default=False, description="Answer with masks, too.")
    stream: bool = Field(default=False, description="Answer with server-sent events.")

    @model_validator(mode="after")
    def _is_one_question(self) -> Self:
        if (self.path is None) != (self.bbox is None):
            raise PydanticCustomError("outline", "an outline needs both path and bbox")
        if self.bbox and not (
            self.bbox.x_min < self.bbox.x_max and self.bbox.y_min < self.bbox.y_max
        ):
            raise PydanticCustomError("outline", "bbox needs x_min < x_max and y_min < y_max")
        asks_more = self.object or self.boxes or self.points or self.mode
        if self.path is not None and asks_more:
            raise PydanticCustomError(
                "outline",
                "an outline is refined by itself: leave out object, boxes, points and mode",
            )
        return self


class SegmentRequest(Question):
    """The body of ``POST /v1/segment``."""

    image_url: DataUrl = Field(
        description="The photo as a data URL: data:image/jpeg;base64,… in standard base64 with "
        "its padding. JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIC; it is turned upright. URLs "
        "of other kinds are refused: the service fetches nothing."
    )

    def question(self) -> Question:
        """All but the photo, which need not stay in memory."""
        rest = {name: getattr(self, name) for name in Question.model_fields}
        return Question.model_construct(**rest)


class Segment(Wire):
    """One object."""

    path: str = Field(
        description="The outline as SVG path data, relative to `bbox`: 0 to 1, 4 decimals. Empty "
        "where there is no mask, or its outline could not be traced."
    )
    bbox: BoundingBox
    score: Share
    label: str | None
    detection: int = Field(
        ge=0,
        description="Its number among all that was found, from 0; with the mode `inside_box` that "
        "of its box.",
    )
    iterations: int = Field(ge=0, description="Refining steps.")
    reason: str | None = Field(description="Why the coarse mask stays; null when it was refined.")
    coarse_mask_base64: MaskField = Field(default=None, description=_COARSE)
    refined_mask_base64: MaskField = Field(default=None, description=_REFINED)


class SegmentAnswer(Wire):
    """The answer of ``POST /v1/segment``: the best object, and all of them.

    Where nothing was found, ``path`` is empty, ``bbox`` null and ``segments`` empty.
    """

    path: str
    bbox: BoundingBox | None
    coarse_mask_base64: MaskField = Field(default=None, description=_COARSE)
    refined_mask_base64: MaskField = Field(default=None, description=_REFINED)
    segments: list[Segment] = Field(description="The best score first.")
    image: WireSize
    model: str = Field(description="The model and its weights.")
    refiner: str = Field(description="Who was asked to refine; `none` when nobody was.")
    notes: list[str] = Field(description="What to know of the photo and the answer, in sentences.")


class Progress(Wire):
    """The data of a ``progress`` event: a stage begins, or a step of it is done."""

    stage: Literal["decode", "segmentation", "dedup", "refinement", "outlines", "masks"]
    objects: Count | SkipJsonSchema[None] = Field(
        default=None,
        description="How many objects the stage is about, when it begins.",
        json_schema_extra=_without_default,
    )
    step: Step | SkipJsonSchema[None] = Field(
        default=None, description="The step that was done.", json_schema_extra=_without_default
    )
    steps: Step | SkipJsonSchema[None] = Field(
        default=None, description="How many there are at most.", json_schema_extra=_without_default
    )

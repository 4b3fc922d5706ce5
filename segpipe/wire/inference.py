"""What travels between the inference service and its client."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from segpipe.errors import InputError
from segpipe.prompt import Mode
from segpipe.vision import mask_codecs
from segpipe.vision.mask import Mask

PROBLEM_HEADER, PROBLEM_FIELD_HEADER = "x-problem", "x-problem-field"
"""``Problem.error`` and ``field`` again, for a client that reads no bodies of errors."""

MAX_TEXT_LENGTH = 10_000
MAX_POINTS = 1_000
MAX_BOXES = 1_000
MAX_MASKS = 10_000
DEFAULT_THRESHOLD = DEFAULT_MASK_THRESHOLD = 0.5
DEFAULT_MAX_MASKS = 100

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Encoding = Literal["rle", "png"]
Status = Literal["loading", "ready", "failed", "stopping"]


class Wire(BaseModel):
    """Base of what is sent: immutable, no surplus fields, no guessing of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class WirePoint(Wire):
    """A point in pixels of the upright image, on an item or (negative) off it."""

    x: FiniteFloat
    y: FiniteFloat
    positive: bool = True


class WireBox(Wire):
    """A box in pixels of the upright image: an example, or with inside_box what to cut out."""

    x1: FiniteFloat
    y1: FiniteFloat
    x2: FiniteFloat
    y2: FiniteFloat
    positive: bool = True


class WirePrompt(Wire):
    """The ``prompt`` part of ``POST /segment``."""

    mode: Mode = Mode.FIND_ALL
    text: str | None = Field(default=None, max_length=MAX_TEXT_LENGTH)
    points: list[WirePoint] = Field(default=[], max_length=MAX_POINTS)
    boxes: list[WireBox] = Field(default=[], max_length=MAX_BOXES)
    threshold: Share = DEFAULT_THRESHOLD
    mask_threshold: Share = DEFAULT_MASK_THRESHOLD
    max_masks: int = Field(default=DEFAULT_MAX_MASKS, ge=1, le=MAX_MASKS)
    encoding: Encoding = "rle"


class WireSize(Wire):
    """Pixels of the upright image."""

    width: int = Field(ge=1)
    height: int = Field(ge=1)


class WireRle(Wire):
    """A mask of the whole image as COCO's compressed run-length encoding."""

    size: list[int] = Field(min_length=2, max_length=2, description="[height, width]")
    counts: str


class Segments(Wire):
    """The answer of ``POST /segment``; the lists are parallel.

    ``boxes`` are xyxy pixels of the upright image. A mask is a COCO RLE or a PNG in base64, as
    the prompt asked; null where the model gives boxes only.
    """

    image: WireSize
    boxes: list[Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]]
    scores: list[Share]
    labels: list[str | None]
    masks: list[WireRle | str | None]
    model: str
    elapsed_ms: float = Field(ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_parallel(self) -> Self:
        lengths = {len(self.boxes), len(self.scores), len(self.labels), len(self.masks)}
        if len(lengths) > 1:
            raise ValueError("boxes, scores, labels and masks must have one entry a detection")
        return self


class Readings(Wire):
    """The answer of ``POST /predict/mask`` with ``multimask``: three masks, the best first."""

    image: WireSize
    scores: list[Share]
    masks: list[str] = Field(description="PNG in base64: one channel, 0 and 255.")
    model: str


class Health(Wire):
    """The answer of ``GET /health``; ``model`` names the weights too."""

    status: Status
    model_loaded: bool
    model: str | None
    device: str | None
    refiner: str | None = None
    refiner_loaded: bool = False


class Problem(Wire):
    """The body of every answer that is an error."""

    error: str = Field(description="The kind of error.")
    detail: str = Field(description="What was wrong and what to do about it.")
    field: str | None = Field(default=None, description="The field concerned, when there is one.")


def encode_mask(mask: Mask, encoding: Encoding) -> WireRle | str:
    """A mask as it is sent."""
    if encoding == "png":
        return mask_codecs.to_base64(mask)
    rle = mask_codecs.to_coco_rle(mask)
    return WireRle(size=rle["size"], counts=rle["counts"].decode("ascii"))


def decode_mask(sent: WireRle | str, *, image_width: int, image_height: int) -> Mask:
    """The tight mask of what :func:`encode_mask` gave.

    Raises:
        InputError: It is malformed, or a mask of another image size.
    """
    pixels = image_width * image_height
    if isinstance(sent, str):
        mask = mask_codecs.from_base64(sent, max_pixels=pixels)
    else:
        counts = sent.counts.encode("ascii", errors="replace")
        mask = mask_codecs.from_coco_rle({"size": sent.size, "counts": counts}, max_pixels=pixels)
    if (mask.image_width, mask.image_height) != (image_width, image_height):
        raise InputError(
            f"it is a mask of {mask.image_width} x {mask.image_height} pixels, the image has "
            f"{image_width} x {image_height}",
            field="masks",
        )
    return mask

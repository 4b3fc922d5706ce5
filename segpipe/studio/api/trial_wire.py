"""What a trial is asked and answers, over the studio's API."""

from typing import Annotated, Any, Literal

from pydantic import Field

from segpipe.prompt import Mode
from segpipe.studio.trials import MAX_UPLOAD_BYTES
from segpipe.wire.inference import (
    MAX_BOXES,
    MAX_POINTS,
    MAX_TEXT_LENGTH,
    Wire,
    WireBox,
    WirePoint,
    WireSize,
)
from segpipe.wire.outlines import DataUrl

_MAX_TEXTS = 100


class DealImage(Wire):
    """A photo of a deal."""

    kind: Literal["deal_image"]
    deal_id: str
    image_id: str


class UploadedImage(Wire):
    """A photo in the request."""

    kind: Literal["upload"]
    data_url: DataUrl = Field(
        description=f"data:image/jpeg;base64,… of at most {MAX_UPLOAD_BYTES:,} bytes."
    )


class TrialParams(Wire):
    """What to look for; coordinates are pixels of the upright photo."""

    mode: Mode = Mode.FIND_ALL
    texts: list[Annotated[str, Field(max_length=MAX_TEXT_LENGTH)]] = Field(
        default=[], max_length=_MAX_TEXTS
    )
    points: list[WirePoint] = Field(default=[], max_length=MAX_POINTS)
    boxes: list[WireBox] = Field(
        default=[],
        max_length=MAX_BOXES,
        description="Examples; with the mode inside_box what to cut out.",
    )


class TrialRequest(Wire):
    """The body of the request."""

    image: Annotated[DealImage | UploadedImage, Field(discriminator="kind")]
    segmenter_config: dict[str, Any] | None = Field(
        default=None,
        description="Settings of the segmenter, told apart by `kind`; the saved ones when left "
        "out.",
    )
    combined_config: dict[str, Any] | None = Field(
        default=None, description="Settings of dedup; no dedup when left out."
    )
    params: TrialParams | None = Field(
        default=None,
        description="What to look for; when left out what a run of the deal would ask, and "
        "everything in an upload.",
    )


class TrialOutline(Wire):
    """An outline as SVG path data relative to its box (xyxy pixels): 0 to 1."""

    bbox: list[float]
    path: str


class Beaten(Wire):
    """The detection that beat a rejected one, and by what."""

    detection: int
    criterion: str
    value: float


class TrialDetection(Wire):
    """One thing that was found; its box is xyxy pixels of the upright photo."""

    bbox: list[float]
    score: float
    label: str | None
    mask_b64: str | None = Field(
        description="A PNG in base64, the size of the photo; null unless masks are asked for."
    )
    pass_index: int
    outline: TrialOutline | None
    beaten_by: Beaten | None = Field(description="Null for what is kept.")


class TrialPass(Wire):
    """One look at the photo."""

    found: int
    new: int
    elapsed_ms: float
    stopped: str | None


class TrialUsage(Wire):
    """What it took of a service."""

    calls: int
    cached: int
    cost: float
    remaining_credits: float | None


class TrialAnswer(Wire):
    """What the settings find."""

    segmenter_id: str
    image: WireSize
    detections: list[TrialDetection]
    kept_indices: list[int] | None = Field(description="Null without dedup.")
    pass_stats: list[TrialPass]
    elapsed_ms: float
    usage: TrialUsage
    notes: list[str]

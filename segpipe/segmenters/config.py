"""Segmenters by configuration: the only place that maps a kind to a class."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from segpipe.segmenters.base import Segmenter
from segpipe.segmenters.classical import ClassicalConfig, ClassicalSegmenter
from segpipe.segmenters.recursive import RecursiveSegmenter

InnerSegmenterConfig = ClassicalConfig
"""What a recursive segmenter can wrap."""


class RecursiveConfig(BaseModel):
    """Look again after painting out what was found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["recursive"] = "recursive"
    inner: InnerSegmenterConfig = Field(
        default=ClassicalConfig(), description="The segmenter that looks at each picture."
    )
    max_passes: int = Field(default=2, ge=1, description="Passes over an image at most.")
    min_new_detections: int = Field(
        default=1, ge=1, description="New detections that a pass needs to earn another one."
    )
    fill_color: list[Annotated[int, Field(ge=0, le=255)]] = Field(
        default=[128, 128, 128],
        min_length=3,
        max_length=3,
        description="The RGB colour that paints out what was found.",
    )
    fill_dilate_px: int = Field(
        default=3, ge=0, description="How far the paint reaches over an item's edge, in pixels."
    )


SegmenterConfig = Annotated[ClassicalConfig | RecursiveConfig, Field(discriminator="kind")]
"""Every segmenter that can be configured, told apart by ``kind``."""


def build_segmenter(config: ClassicalConfig | RecursiveConfig) -> Segmenter:
    """Build the segmenter that a configuration describes."""
    match config:
        case ClassicalConfig():
            return ClassicalSegmenter(config)
        case RecursiveConfig():
            red, green, blue = config.fill_color
            return RecursiveSegmenter(
                build_segmenter(config.inner),
                max_passes=config.max_passes,
                min_new_detections=config.min_new_detections,
                fill_color=(red, green, blue),
                fill_dilate_px=config.fill_dilate_px,
            )

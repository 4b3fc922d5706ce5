"""How survivors are cut out: the settings of edge, canvas, file format, names and masks."""

from enum import StrEnum
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from segpipe.errors import ConfigError
from segpipe.formats.item_names import DEFAULT_ITEM_NAME, check_item_names
from segpipe.settings import Settings
from segpipe.vision.crop import CropEdge, CropFormat, MaskArea
from segpipe.vision.crop_canvas import TRANSPARENT, background_colour
from segpipe.vision.encode import DEFAULT_AVIF_QUALITY, DEFAULT_WEBP_QUALITY
from segpipe.vision.matte import DEFAULT_EDGE_PX


class CropsLayout(StrEnum):
    """How the crops of a deal are kept."""

    FILES = "files"
    TAR = "tar"


class CropMasks(StrEnum):
    """Whether masks are files, too."""

    NONE = "none"
    PNG = "png"


class CanvasSettings(Settings):
    """A picture of a given size with the item in its middle."""

    width: int = Field(ge=1, le=16_383, description="Pixels.")
    height: int = Field(ge=1, le=16_383, description="Pixels.")
    margin_percent: float = Field(
        default=5.0,
        ge=0,
        le=49,
        description="Kept free on each side, in percent of the shorter side.",
    )
    background: str = Field(
        default=TRANSPARENT,
        description="What is behind the item: transparent, a colour's name such as white, or "
        "#rrggbb.",
    )
    enlarge: bool = Field(
        default=True, description="Whether an item smaller than its room is made larger."
    )

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, text: str) -> str:
        background_colour(text)
        return text


class CropSettings(Settings):
    """How survivors are cut out."""

    later: ClassVar[frozenset[str]] = frozenset(
        {
            "edge",
            "edge_px",
            "decontaminate",
            "canvas",
            "max_side_px",
            "webp_quality",
            "avif_quality",
            "file_name",
            "masks",
            "mask_area",
            "layout",
        }
    )

    use_mask_crops: bool = Field(
        default=True, description="Cut along the mask; off: cut the box, background and all."
    )
    format: CropFormat = Field(
        default=CropFormat.PNG,
        description="png, webp and avif keep transparency; jpg puts white behind.",
    )
    padding_px: int = Field(default=0, ge=0, description="Pixels left around the item.")
    jpeg_quality: int = Field(default=92, ge=1, le=100, description="For the format jpg.")
    edge: CropEdge = Field(
        default=CropEdge.HARD,
        description="hard: a pixel is the item's, or it is not. soft: alpha in a band along the "
        "edge, estimated from the photo.",
    )
    edge_px: int = Field(
        default=DEFAULT_EDGE_PX,
        ge=1,
        le=20,
        description="How far from the mask's edge, on either side, a pixel may be partly the "
        "item's.",
    )
    decontaminate: bool = Field(
        default=False,
        description="Take the colour of the old background out of the pixels along the edge.",
    )
    canvas: CanvasSettings | None = Field(
        default=None, description="Lay the item on a picture of a given size."
    )
    max_side_px: int | None = Field(
        default=None, ge=1, description="Make larger pictures smaller, to so many pixels a side."
    )
    webp_quality: int = Field(
        default=DEFAULT_WEBP_QUALITY, ge=0, le=100, description="For the format webp."
    )
    avif_quality: int = Field(
        default=DEFAULT_AVIF_QUALITY, ge=0, le=100, description="For the format avif."
    )
    file_name: str = Field(
        default=DEFAULT_ITEM_NAME,
        description="How files are called, without suffix: text with {deal}, {image}, {n} (from "
        "1), {detection} (from 0), {label}; {n:03} has three digits, a slash makes a folder. In a "
        "tar the names are always {image}/{detection:04}.",
    )
    masks: CropMasks = Field(
        default=CropMasks.NONE,
        description="png: the mask of each item is a file, too, of one channel: 255 is the item.",
    )
    mask_area: MaskArea = Field(
        default=MaskArea.BOX,
        description="What these files show: the box of the crop, before it is laid on a canvas or "
        "made smaller, or the whole upright photo.",
    )
    layout: CropsLayout | None = Field(
        default=None,
        description="files: each crop is a file. tar: those of a deal are one tar, for WebDataset. "
        "By default files in a local folder, and tar on an object store, where each file costs a "
        "request.",
    )

    @field_validator("file_name")
    @classmethod
    def _gives_each_item_a_name(cls, template: str) -> str:
        return check_item_names(template)

    @model_validator(mode="after")
    def _has_room_for_the_canvas(self) -> Self:
        if self.canvas and self.max_side_px is not None:
            longest = max(self.canvas.width, self.canvas.height)
            if longest > self.max_side_px:
                raise ConfigError(
                    f"a canvas of {self.canvas.width} x {self.canvas.height} is larger than "
                    f"max_side_px {self.max_side_px}: leave one of them out",
                    field="max_side_px",
                )
        return self

"""Cutting: the picture of each survivor, and the settings of how it is cut and encoded."""

import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import cv2
from pydantic import Field

from segpipe.errors import SegpipeError
from segpipe.flow.stages.refinement import RefinedImage, RefinedItem
from segpipe.settings import Settings
from segpipe.store.archives import Member
from segpipe.vision.crop import CropFormat, crop_item, encode_crop
from segpipe.vision.image import RgbImage

# Encoding releases the GIL: one on each core.
_THREADS = os.cpu_count()

_log = logging.getLogger(__name__)


class CropsLayout(StrEnum):
    """How the crops of a deal are kept."""

    FILES = "files"
    TAR = "tar"


class CropSettings(Settings):
    """How survivors are cut out."""

    later = frozenset({"layout"})

    use_mask_crops: bool = Field(
        default=True, description="Cut along the mask; off: cut the box, background and all."
    )
    format: CropFormat = Field(
        default=CropFormat.PNG, description="png keeps transparency; jpg puts white behind."
    )
    padding_px: int = Field(default=0, ge=0, description="Pixels left around the item.")
    jpeg_quality: int = Field(default=92, ge=1, le=100, description="For the format jpg.")
    layout: CropsLayout | None = Field(
        default=None,
        description="files: each crop is a file. tar: those of a deal are one tar, for WebDataset. "
        "By default files in a local folder, and tar on an object store, where each file costs a "
        "request.",
    )


@dataclass(frozen=True, slots=True)
class ItemCrop:
    """What became of one survivor's crop.

    Attributes:
        detection: The index of the survivor among the raw detections.
        format: "png" or "jpg".
        file: Its name in the version; None when it failed.
        kind: "mask" or "box"; None when it failed.
        window: Left, top, width and height in the photo, pixels; None when it failed.
        data: The encoded picture; empty when it failed, or when read back.
        reason: Why it failed.
        member: Where its picture lies in the tar of the deal; None where it is a file.
    """

    detection: int
    format: str
    file: str | None = None
    kind: str | None = None
    window: tuple[int, int, int, int] | None = None
    data: bytes = b""
    reason: str | None = None
    member: Member | None = None


@dataclass(frozen=True, slots=True)
class CroppedImage:
    """The crops of one photo, in the order of their detections."""

    crops: tuple[ItemCrop, ...]


def crop_image(
    image: str,
    rgb: RgbImage,
    refined: RefinedImage,
    settings: CropSettings,
    missing: Mapping[int, str] | None = None,
) -> CroppedImage:
    """Cut out every survivor; one that fails is logged and skipped, the others go on.

    Args:
        image: The photo's id, which the files are called after.
        rgb: The photo.
        refined: Its survivors.
        settings: How they are cut out.
        missing: The detections that stand for nothing, with the reason: they get no crop.
    """

    def crop(item: RefinedItem) -> ItemCrop:
        if missing and item.detection in missing:
            reason = missing[item.detection]
            return ItemCrop(item.detection, settings.format.value, reason=reason)
        return _crop_or_reason(rgb, image, item, settings)

    with ThreadPoolExecutor(_THREADS) as threads:
        return CroppedImage(tuple(threads.map(crop, refined.items)))


def _crop_or_reason(
    rgb: RgbImage, image: str, item: RefinedItem, settings: CropSettings
) -> ItemCrop:
    file_format = settings.format.value
    try:
        crop = crop_item(
            rgb,
            item.box,
            item.mask,
            use_mask=settings.use_mask_crops,
            padding_px=settings.padding_px,
        )
        data = encode_crop(crop, settings.format, jpeg_quality=settings.jpeg_quality)
    except (SegpipeError, cv2.error) as error:
        _log.warning("image %r: no crop of detection %d: %s", image, item.detection, error)
        return ItemCrop(item.detection, file_format, reason=str(error))
    height, width = crop.pixels.shape[:2]
    return ItemCrop(
        detection=item.detection,
        format=file_format,
        file=f"crops/{image}/{item.detection:04d}.{file_format}",
        kind=crop.kind,
        window=(crop.x, crop.y, width, height),
        data=data,
    )

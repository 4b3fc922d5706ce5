"""The fourth stage: the cut-out of every survivor."""

import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import pyarrow as pa

from segpipe.errors import SegpipeError
from segpipe.flow.refinement import RefinedImage, RefinedItem
from segpipe.flow.settings import CropSettings
from segpipe.store.schemas import CROPS_SCHEMA
from segpipe.vision.crop import crop_item, encode_crop
from segpipe.vision.image import RgbImage

CROPS_FILE = "crops.parquet"

# Encoding releases the GIL: one on each core.
_THREADS = os.cpu_count()

_log = logging.getLogger(__name__)


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
    """

    detection: int
    format: str
    file: str | None = None
    kind: str | None = None
    window: tuple[int, int, int, int] | None = None
    data: bytes = b""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CroppedImage:
    """The crops of one photo, in the order of their detections."""

    image: str
    crops: tuple[ItemCrop, ...]


def crop_image(
    rgb: RgbImage,
    refined: RefinedImage,
    settings: CropSettings,
    missing: Mapping[int, str] | None = None,
) -> CroppedImage:
    """Cut out every survivor; one that fails is logged and skipped, the others go on.

    Args:
        rgb: The photo.
        refined: Its survivors.
        settings: How they are cut out.
        missing: The detections that stand for nothing, with the reason: they get no crop.
    """

    def crop(item: RefinedItem) -> ItemCrop:
        if missing and item.detection in missing:
            reason = missing[item.detection]
            return ItemCrop(item.detection, settings.format.value, reason=reason)
        return _crop_or_reason(rgb, refined.image, item, settings)

    with ThreadPoolExecutor(_THREADS) as threads:
        return CroppedImage(refined.image, tuple(threads.map(crop, refined.items)))


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
            format=settings.format,
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


def crops_table(cropped: CroppedImage) -> pa.Table:
    """One row for each survivor."""
    rows = []
    for crop in cropped.crops:
        x, y, width, height = crop.window or (None, None, None, None)
        rows.append(
            {
                "image": cropped.image,
                "detection": crop.detection,
                "file": crop.file,
                "format": crop.format,
                "kind": crop.kind,
                "x": x,
                "y": y,
                "width": width,
                "height": height,
                "reason": crop.reason,
            }
        )
    return pa.Table.from_pylist(rows, schema=CROPS_SCHEMA)


def cropped_from_table(image: str, table: pa.Table) -> CroppedImage:
    """Read one photo's crops back, without their pictures."""
    crops = tuple(
        ItemCrop(
            detection=row["detection"],
            format=row["format"],
            file=row["file"],
            kind=row["kind"],
            window=(row["x"], row["y"], row["width"], row["height"]) if row["file"] else None,
            reason=row["reason"],
        )
        for row in table.to_pylist()
    )
    return CroppedImage(image, crops)

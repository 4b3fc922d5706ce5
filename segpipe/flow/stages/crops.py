"""Crops: the cut-out of every survivor."""

import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import cv2
import pyarrow as pa
from pydantic import Field
from typing_extensions import override

from segpipe.errors import SegpipeError
from segpipe.flow.checks import Check, CheckSettings, Finding, some_of
from segpipe.flow.photo import PhotoInfo
from segpipe.flow.stages.dedup import DEDUP
from segpipe.flow.stages.refinement import REFINEMENT, REFINEMENT_FILE, RefinedImage, RefinedItem
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage import (
    ITEM_TEXTS,
    PhotoResults,
    PhotoWork,
    Stage,
    StageOutput,
    each_photo,
)
from segpipe.progress import Counts
from segpipe.settings import Settings
from segpipe.store.snapshot import Snapshot
from segpipe.store.staging import Staging
from segpipe.store.tables import ITEM_COLUMNS
from segpipe.threads import finish_in_thread
from segpipe.vision.crop import CropFormat, crop_item, encode_crop
from segpipe.vision.image import RgbImage

CROPS_FILE = "crops.parquet"
CROPS_SCHEMA = pa.schema(
    [
        *ITEM_COLUMNS,
        ("file", pa.string()),
        ("format", pa.string()),
        ("kind", pa.string()),
        ("x", pa.int32()),
        ("y", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("reason", pa.string()),
    ]
)
"""One row a survivor; no file, and a reason, where the crop failed."""

# Encoding releases the GIL: one on each core.
_THREADS = os.cpu_count()

_log = logging.getLogger(__name__)


class CropSettings(Settings):
    """How survivors are cut out."""

    use_mask_crops: bool = Field(
        default=True, description="Cut along the mask; off: cut the box, background and all."
    )
    format: CropFormat = Field(
        default=CropFormat.PNG, description="png keeps transparency; jpg puts white behind."
    )
    padding_px: int = Field(default=0, ge=0, description="Pixels left around the item.")
    jpeg_quality: int = Field(default=92, ge=1, le=100, description="For the format jpg.")


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


def _crops_table(image: str, cropped: CroppedImage) -> pa.Table:
    """One row for each survivor."""
    rows = []
    for crop in cropped.crops:
        x, y, width, height = crop.window or (None, None, None, None)
        rows.append(
            {
                "image": image,
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


def _from_table(table: pa.Table) -> CroppedImage:
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
    return CroppedImage(crops)


def _survivors_have_crops(snapshot: Snapshot, _: CheckSettings) -> Finding:
    files = {entry.path for entry in snapshot.files(CROPS.name)}
    crops: dict[tuple[str, int], bool] = {}
    for table in each_photo(snapshot, CROPS, CROPS_FILE):
        for row in table.to_pylist():
            explained = row["file"] in files if row["file"] else bool(row["reason"])
            crops[row["image"], row["detection"]] = explained
    missing, survivors = [], 0
    for table in each_photo(snapshot, REFINEMENT, REFINEMENT_FILE):
        for row in table.select(["image", "detection"]).to_pylist():
            survivors += 1
            if not crops.get((row["image"], row["detection"]), False):
                missing.append(f"{row['image']} {row['detection']}")
    numbers = {"survivors": survivors, "crops": len(crops), "missing": len(missing)}
    if missing:
        return Finding(False, some_of("no crop and no reason for", missing), numbers)
    return Finding(True, f"{survivors} survivors have a crop or a logged reason", numbers)


class Crops(Stage[CroppedImage, CropSettings]):
    """Cuts the survivors out."""

    name = "crops"
    description = (
        "The picture of each item, cut out of its photo (PNG with a see-through background, or "
        "JPEG), and a table of them. This is what the next stage reads."
    )
    code_version = "2"
    upstream = (SEGMENTATION, DEDUP, REFINEMENT)
    settings = CropSettings
    settings_name = "crops"
    tables: ClassVar = {CROPS_FILE: CROPS_SCHEMA}
    columns: ClassVar = {
        **ITEM_TEXTS,
        "file": "The picture, a file beside this table; null where there is none.",
        "format": "png or jpg.",
        "kind": "Whether it is cut along the mask or the box.",
        "x": "Left edge of the picture in the photo, pixels.",
        "y": "Top edge.",
        "width": "Its width, pixels.",
        "height": "Its height, pixels.",
        "reason": "Why there is no picture.",
    }
    counts = ("crops", "failed_crops")
    checks = (
        Check(
            name="survivors_have_crops",
            description="Every survivor has a crop, or a reason why it has none.",
            is_warning=False,
            find=_survivors_have_crops,
        ),
    )

    @override
    async def make(self, work: PhotoWork, settings: CropSettings) -> CroppedImage:
        refined, missing = work.results.of(REFINEMENT), work.results.of(SEGMENTATION).missing
        image = work.loaded.info.image
        return await finish_in_thread(crop_image, image, work.rgb, refined, settings, missing)

    @override
    def rows(self, photo: PhotoInfo, result: CroppedImage) -> dict[str, pa.Table]:
        return {CROPS_FILE: _crops_table(photo.image, result)}

    @override
    def read(self, photo: PhotoResults) -> CroppedImage:
        return _from_table(photo.rows(self, CROPS_FILE))

    @override
    def count(self, result: CroppedImage) -> Counts:
        written = sum(crop.file is not None for crop in result.crops)
        return Counts(crops=written, failed_crops=len(result.crops) - written)

    @override
    def output(self, staging: Staging, settings: CropSettings) -> StageOutput:
        return _CropsOutput(self, staging)


class _CropsOutput(StageOutput):
    """Writes the pictures, too."""

    @override
    def add(self, results: PhotoResults) -> None:
        super().add(results)
        for crop in results.of(CROPS).crops:
            if crop.file:
                self.staging.write(self.stage.name, crop.file, crop.data)


CROPS = Crops()

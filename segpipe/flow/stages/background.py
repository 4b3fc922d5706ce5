"""Backgrounds: each photo without its survivors."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar, Literal

import pyarrow as pa
from pydantic import Field
from typing_extensions import override

from segpipe.errors import InpainterError
from segpipe.flow.checks import Check, CheckSettings, Finding, some_of
from segpipe.flow.photo import PhotoInfo
from segpipe.flow.stages.dedup import DEDUP
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.review import REVIEW
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage import (
    ITEM_TEXTS,
    PhotoResults,
    PhotoWork,
    Stage,
    StageOutput,
    each_photo,
)
from segpipe.inpainters.build_inpainter import InpainterConfig, build_inpainter
from segpipe.inpainters.erase import EraseSettings, erase
from segpipe.inpainters.opencv import OpenCvConfig
from segpipe.store.snapshot import Snapshot
from segpipe.store.staging import Staging
from segpipe.threads import finish_in_thread
from segpipe.vision.encode import encode_jpeg, encode_png
from segpipe.vision.holes import union_of
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

BACKGROUND_FILE = "background.parquet"
BACKGROUND_SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        ("file", pa.string()),
        ("items", pa.int32()),
        ("erased_px", pa.int64()),
        ("inpainter", pa.string()),
        ("reason", pa.string()),
    ]
)
"""One row a photo; no file, and a reason, where its holes could not be filled."""
_FOLDER = "backgrounds"


class BackgroundSettings(EraseSettings):
    """The photo without its items."""

    inpainter: InpainterConfig = Field(
        default=OpenCvConfig(), discriminator="kind", description="What fills the holes."
    )
    format: Literal["png", "jpg"] = Field(
        default="png",
        description="png keeps every pixel that was not erased as it is; jpg is smaller.",
    )
    jpeg_quality: int = Field(default=95, ge=1, le=100, description="For the format jpg.")


@dataclass(frozen=True, slots=True)
class Background:
    """A photo without its survivors.

    Attributes:
        file: Its name in the version; None when the holes could not be filled.
        items: The survivors that went.
        erased_px: Pixels of their masks.
        inpainter: What filled the holes.
        data: The encoded picture; empty when there is none.
        reason: Why there is none.
    """

    file: str | None
    items: int
    erased_px: int
    inpainter: str
    data: bytes
    reason: str | None = None


def _encoded(picture: RgbImage, settings: BackgroundSettings) -> bytes:
    if settings.format == "png":
        return encode_png(picture)
    return encode_jpeg(picture, quality=settings.jpeg_quality)


def _photos_have_backgrounds(snapshot: Snapshot, _: CheckSettings) -> Finding:
    files = {entry.path for entry in snapshot.files(BACKGROUND.name)}
    rows = [
        row
        for table in each_photo(snapshot, BACKGROUND, BACKGROUND_FILE)
        for row in table.to_pylist()
    ]
    missing = [
        row["image"] for row in rows if not (row["file"] in files if row["file"] else row["reason"])
    ]
    numbers = {"photos": len(rows), "missing": len(missing)}
    if missing:
        return Finding(False, some_of("no background and no reason for", missing), numbers)
    return Finding(True, f"{len(rows)} photos have a background or a reason", numbers)


class BackgroundStage(Stage[Background, BackgroundSettings]):
    """Erases the survivors."""

    name = "background"
    description = (
        "Each photo without its items: the kept ones are painted over from what is around them. "
        "The photo itself stays as it is. It is made only when it is asked for."
    )
    code_version = "1"
    upstream = (SEGMENTATION, DEDUP, REFINEMENT, REVIEW)
    settings = BackgroundSettings
    settings_name = "background"
    is_optional = True
    tables: ClassVar = {BACKGROUND_FILE: BACKGROUND_SCHEMA}
    columns: ClassVar = {
        "deal": ITEM_TEXTS["deal"],
        "image": ITEM_TEXTS["image"],
        "file": "The clean picture, a file beside this table; null where there is none.",
        "items": "How many items went.",
        "erased_px": "Pixels of their masks.",
        "inpainter": "What filled the holes.",
        "reason": "Why there is no picture.",
    }
    checks = (
        Check(
            name="photos_have_backgrounds",
            description="Every photo has a clean picture, or a reason why it has none.",
            is_warning=False,
            find=_photos_have_backgrounds,
        ),
    )

    @override
    async def make(self, work: PhotoWork, settings: BackgroundSettings) -> Background:
        rgb = work.rgb
        height, width = rgb.shape[:2]
        items = work.results.of(REVIEW).found
        masks = [
            item.mask or Mask.from_box(item.box, image_width=width, image_height=height)
            for item in items
        ]
        hole = await finish_in_thread(
            lambda: union_of(masks, image_width=width, image_height=height)
        )
        inpainter = build_inpainter(settings.inpainter)
        erased_px = int(hole.sum(dtype=int))
        try:
            clean = await erase(rgb, hole, inpainter, settings) if hole.any() else rgb
        except InpainterError as error:  # of this photo; the others go on
            return Background(None, len(items), erased_px, inpainter.id, b"", str(error))
        return Background(
            file=f"{_FOLDER}/{work.loaded.info.image}.{settings.format}",
            items=len(items),
            erased_px=erased_px,
            inpainter=inpainter.id,
            data=await asyncio.to_thread(_encoded, clean, settings),
        )

    @override
    def rows(self, photo: PhotoInfo, result: Background) -> dict[str, pa.Table]:
        row = {
            "image": photo.image,
            "file": result.file,
            "items": result.items,
            "erased_px": result.erased_px,
            "inpainter": result.inpainter,
            "reason": result.reason,
        }
        return {BACKGROUND_FILE: pa.Table.from_pylist([row], schema=BACKGROUND_SCHEMA)}

    @override
    def warnings(self, result: Background) -> tuple[str, ...]:
        return (f"it has no background: {result.reason}",) if result.reason else ()

    @override
    def output(self, staging: Staging, settings: BackgroundSettings) -> StageOutput:
        return _BackgroundOutput(self, staging)


class _BackgroundOutput(StageOutput):
    """Writes the pictures, too."""

    @override
    def add(self, results: PhotoResults) -> None:
        super().add(results)
        made = results.of(BACKGROUND)
        if made.file:
            self.staging.write(self.stage.name, made.file, made.data)


BACKGROUND = BackgroundStage()

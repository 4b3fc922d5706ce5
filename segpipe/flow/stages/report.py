"""The report: what people look at, and a summary for machines."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from pydantic import Field
from typing_extensions import override

from segpipe.errors import CorruptVersionError, VersionNotFoundError
from segpipe.flow.checks import MANIFEST_VERIFIES
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.dedup import DEDUP, DedupedImage
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.review import REVIEW
from segpipe.flow.stages.reviewed_items import ReviewedImage
from segpipe.flow.stages.segmentation import NOTHING_FOUND, SEGMENTATION, SegmentedImage
from segpipe.flow.stages.stage import PhotoResults, PhotoWork, Stage, StageOutput
from segpipe.settings import Settings
from segpipe.store.snapshot import Snapshot
from segpipe.store.staging import Staging
from segpipe.store.version_info import DealSummary
from segpipe.threads import finish_in_thread
from segpipe.vision.canvas import reduce_to
from segpipe.vision.encode import encode_jpeg
from segpipe.vision.image import RgbImage, decode_image
from segpipe.vision.overlay import OverlayItem, contact_sheet, draw_overlay

REPORT_FILE = "report.json"
SHEET_FILE = "contact_sheet.jpg"
PREVIEWS_FOLDER = "previews"
PREVIEWS_ARCHIVE = "previews.zip"
"""In place of the folder where each file would cost a request: a zip knows where its members lie,
so that one of them is read alone, and people can open it."""

_PREVIEW_JPEG_QUALITY = 85
_SHEET_JPEG_QUALITY = 88
_SHEET_MAX_TILES = 60


class ReportSettings(Settings):
    """The report."""

    preview_side_px: int = Field(
        default=1600, ge=64, description="Longest side of the preview of a photo."
    )
    tile_px: int = Field(default=320, ge=64, description="Side of a tile of the contact sheet.")
    columns: int = Field(default=4, ge=1, description="Tiles in a row of the contact sheet.")


@dataclass(frozen=True, slots=True, eq=False)
class ImagePreview:
    """The pictures of one photo, JPEG: its preview, and its tile of the contact sheet."""

    caption: str
    preview: bytes
    tile: bytes


def preview_image(
    file_name: str,
    rgb: RgbImage,
    segmented: SegmentedImage,
    deduped: DedupedImage,
    reviewed: ReviewedImage,
    settings: ReportSettings,
) -> ImagePreview:
    """Draw what became of one photo: what goes on solid, rejected detections and items dashed.

    Args:
        file_name: What it is called.
        rgb: The photo.
        segmented: Its raw detections.
        deduped: Which of them survive.
        reviewed: Its items.
        settings: How large the pictures are.
    """
    found = segmented.result.detections
    survivors = [OverlayItem(item.box, item.mask, item.detection) for item in reviewed.kept]
    kept = frozenset(deduped.kept)
    rejected = [
        OverlayItem(detection.box, detection.mask, index)
        for index, detection in enumerate(found)
        if index not in kept
    ]
    rejected += [
        OverlayItem(item.box, item.mask, item.detection)
        for item in reviewed.items
        if not item.is_kept
    ]
    picture = draw_overlay(rgb, survivors, rejected, max_side_px=settings.preview_side_px)
    return ImagePreview(
        caption=f"{file_name}: {_what_was_found(segmented, len(survivors))}",
        preview=encode_jpeg(picture, quality=_PREVIEW_JPEG_QUALITY),
        tile=encode_jpeg(reduce_to(picture, settings.tile_px), quality=_PREVIEW_JPEG_QUALITY),
    )


def _what_was_found(segmented: SegmentedImage, survivors: int) -> str:
    if not survivors and NOTHING_FOUND in SEGMENTATION.warnings(segmented):
        return NOTHING_FOUND
    return f"{survivors} of {len(segmented.result.detections)}"


def draw_contact_sheet(
    deal: str, tiles: Sequence[tuple[bytes, str]], photos: int, settings: ReportSettings
) -> RgbImage:
    """Lay out the first tiles of a deal, (JPEG, caption) each, and say of how many photos."""
    shown = tiles[:_SHEET_MAX_TILES]
    title = deal if len(shown) == photos else f"{deal}: {len(shown)} of {photos} photos"
    return contact_sheet(
        _decoded(shown),
        columns=min(settings.columns, len(shown)),
        tile_px=settings.tile_px,
        title=title,
    )


def _decoded(tiles: Sequence[tuple[bytes, str]]) -> Iterator[tuple[RgbImage, str]]:
    for data, caption in tiles:
        yield decode_image(data, max_pixels=None).rgb, caption


class Report(Stage[ImagePreview, ReportSettings]):
    """Draws the deal."""

    name = "deal_report"
    description = (
        "What people look at: a contact sheet of the deal, a preview of each photo with its items "
        "drawn in (rejected ones dashed), and report.json with the counts and warnings."
    )
    code_version = "2"
    upstream = (SEGMENTATION, DEDUP, REFINEMENT, REVIEW, CROPS)
    waits_for = (SEGMENTATION, DEDUP, REFINEMENT, REVIEW)
    settings = ReportSettings
    settings_name = "report"
    checks = (MANIFEST_VERIFIES,)
    kinds = frozenset({"jpeg", "json"})

    @override
    async def make(self, work: PhotoWork, settings: ReportSettings) -> ImagePreview:
        results = work.results
        return await finish_in_thread(
            preview_image,
            work.loaded.info.file_name,
            work.rgb,
            results.of(SEGMENTATION),
            results.of(DEDUP),
            results.of(REVIEW),
            settings,
        )

    @override
    def output(self, staging: Staging, settings: ReportSettings) -> StageOutput:
        return _ReportOutput(self, staging, settings)


class _ReportOutput(StageOutput):
    """Writes the pictures and the summary."""

    def __init__(self, stage: Report, staging: Staging, settings: ReportSettings) -> None:
        super().__init__(stage, staging)
        self._settings = settings
        self._tiles: list[tuple[bytes, str]] = []
        self._archive: zipfile.ZipFile | None = None

    @override
    def open_files(self, opened: ExitStack) -> None:
        super().open_files(opened)
        if self.staging.prefers_few_files:
            file = opened.enter_context(self.staging.open(self.stage.name, PREVIEWS_ARCHIVE))
            self._archive = opened.enter_context(zipfile.ZipFile(file, "w"))

    @override
    def add(self, results: PhotoResults) -> None:
        preview = results.of(REPORT)
        name = f"{PREVIEWS_FOLDER}/{results.photo.image}.jpg"
        if self._archive:
            self._archive.writestr(zipfile.ZipInfo(name), preview.preview)
        else:
            self.staging.write(self.stage.name, name, preview.preview)
        if len(self._tiles) < _SHEET_MAX_TILES:  # a deal may have 100,000 photos
            self._tiles.append((preview.tile, preview.caption))

    @override
    def finish(self, summary: DealSummary) -> None:
        sheet = draw_contact_sheet(summary.deal, self._tiles, summary.counts.images, self._settings)
        data = encode_jpeg(sheet, quality=_SHEET_JPEG_QUALITY)
        self.staging.write(self.stage.name, SHEET_FILE, data)
        report = summary.model_dump_json(indent=2).encode()
        self.staging.write(self.stage.name, REPORT_FILE, report)


def read_preview(snapshot: Snapshot, image: str) -> bytes:
    """The preview of a photo, JPEG, a file or in the zip of its deal.

    Args:
        snapshot: The generation that is read.
        image: The photo's id.

    Raises:
        NotPromotedError: There is no report.
        VersionNotFoundError: The photo has no preview; or a sweep removed it.
        CorruptVersionError: The picture is not what was promoted.
    """
    name = f"{PREVIEWS_FOLDER}/{image}.jpg"
    if not _packs_previews(snapshot):
        return snapshot.read(REPORT.name, name)
    try:
        with (
            snapshot.open(REPORT.name, PREVIEWS_ARCHIVE) as file,
            zipfile.ZipFile(file) as archive,
        ):
            return archive.read(name)
    except KeyError as error:
        raise VersionNotFoundError(
            f"the report has no preview of {image!r}", deal=snapshot.deal
        ) from error
    except zipfile.BadZipFile as error:
        raise CorruptVersionError(
            f"{PREVIEWS_ARCHIVE!r} is not what was promoted ({error}); run it again or roll back",
            deal=snapshot.deal,
        ) from error


def previews_place(snapshot: Snapshot) -> str:
    """The path or URL of the previews of a deal: a folder, or the zip."""
    place = PREVIEWS_ARCHIVE if _packs_previews(snapshot) else PREVIEWS_FOLDER
    return f"{snapshot.folder(REPORT.name)}/{place}"


def _packs_previews(snapshot: Snapshot) -> bool:
    return any(entry.path == PREVIEWS_ARCHIVE for entry in snapshot.files(REPORT.name))


REPORT = Report()

"""The last stage: what people look at, and a summary for machines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segpipe.flow.dedup import DedupedImage
from segpipe.flow.refinement import RefinedImage
from segpipe.flow.segmentation import SegmentedImage
from segpipe.flow.settings import ReportSettings
from segpipe.store.version_info import ImageSummary, PassSummary
from segpipe.vision.encode import encode_jpeg
from segpipe.vision.image import RgbImage, decode_image
from segpipe.vision.overlay import OverlayItem, contact_sheet, draw_overlay

REPORT_FILE = "report.json"
SHEET_FILE = "contact_sheet.jpg"

_PREVIEW_JPEG_QUALITY = 85
SHEET_MAX_TILES = 60


@dataclass(frozen=True, slots=True, eq=False)
class ImagePreview:
    """The pictures of one photo, JPEG: its preview, and its tile of the contact sheet."""

    image: str
    caption: str
    preview: bytes
    tile: bytes


def sum_passes(summed: Sequence[PassSummary], segmented: SegmentedImage) -> list[PassSummary]:
    """Add the passes over one photo to those of the photos before it."""
    total = list(summed)
    for index, stats in enumerate(segmented.result.pass_stats):
        if index == len(total):
            total.append(PassSummary(found=0, new=0, elapsed_ms=0.0))
        before = total[index]
        total[index] = PassSummary(
            found=before.found + stats.found,
            new=before.new + stats.new,
            elapsed_ms=before.elapsed_ms + stats.elapsed_ms,
        )
    return total


def preview_image(
    rgb: RgbImage,
    segmented: SegmentedImage,
    deduped: DedupedImage | None,
    refined: RefinedImage | None,
    *,
    side_px: int,
    tile_px: int,
) -> ImagePreview:
    """Draw what became of one photo: survivors solid, rejected detections dashed.

    Args:
        rgb: The photo.
        segmented: Its raw detections.
        deduped: Which of them survive; None: all of them.
        refined: The survivors' masks; None: the raw ones.
        side_px: Longest side of the preview.
        tile_px: Longest side of the tile.
    """
    found = segmented.result.detections
    kept = frozenset(deduped.kept if deduped else range(len(found)))
    refined_items = {item.detection: item for item in refined.items} if refined else {}
    survivors, rejected = [], []
    for index, detection in enumerate(found):
        if index not in kept:
            rejected.append(OverlayItem(detection.box, detection.mask, index))
        elif item := refined_items.get(index):
            survivors.append(OverlayItem(item.box, item.mask, index))
        else:
            survivors.append(OverlayItem(detection.box, detection.mask, index))
    picture = draw_overlay(rgb, survivors, rejected, max_side_px=side_px)
    return ImagePreview(
        image=segmented.image,
        caption=f"{segmented.file_name}: {len(survivors)} of {len(found)}",
        preview=encode_jpeg(picture, quality=_PREVIEW_JPEG_QUALITY),
        tile=encode_jpeg(_fit(picture, tile_px), quality=_PREVIEW_JPEG_QUALITY),
    )


def draw_contact_sheet(
    deal: str, tiles: Sequence[tuple[bytes, str]], photos: int, settings: ReportSettings
) -> RgbImage:
    """Lay out the first tiles of a deal, (JPEG, caption) each, and say of how many photos."""
    shown = tiles[:SHEET_MAX_TILES]
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


def _fit(picture: RgbImage, side_px: int) -> RgbImage:
    height, width = picture.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def same_bytes_warnings(images: Sequence[ImageSummary]) -> list[str]:
    """Say which photos of a deal have the very same bytes."""
    first_of: dict[str, str] = {}
    warnings = []
    for image in images:
        first = first_of.setdefault(image.digest, image.file_name)
        if first != image.file_name:
            warnings.append(f"{image.file_name} has the same bytes as {first}")
    return warnings

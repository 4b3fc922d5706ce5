"""Cutting: the picture of each survivor, and its mask, as the bytes of files."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2

from segpipe.errors import SegpipeError
from segpipe.flow.stages.crop_settings import CropMasks, CropSettings
from segpipe.flow.stages.reviewed_items import ReviewedImage, ReviewedItem
from segpipe.formats.item_names import ItemName, ItemNameTemplate
from segpipe.store.archives import Member
from segpipe.threads import share_range
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.crop import Crop, MaskArea, crop_item, encode_crop
from segpipe.vision.crop_canvas import background_colour, fit_to_canvas, limit_side
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import window_to_png

_LEAST_CROPS = 2  # of a thread

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ItemCrop:
    """What became of one survivor's crop.

    Attributes:
        detection: The index of the survivor among the raw detections.
        format: "png", "jpg", "webp" or "avif".
        file: Its name in the version; None when it failed.
        kind: "mask" or "box"; None when it failed.
        window: Left, top, width and height in the photo, pixels; None when it failed.
        data: The encoded picture; empty when it failed, or when read back.
        reason: Why it failed.
        member: Where its picture lies in the tar of the deal; None where it is a file.
        mask_file: The name of its mask in the version; None when there is no such file, or when
            read back.
        mask: The encoded mask.
    """

    detection: int
    format: str
    file: str | None = None
    kind: str | None = None
    window: tuple[int, int, int, int] | None = None
    data: bytes = b""
    reason: str | None = None
    member: Member | None = None
    mask_file: str | None = None
    mask: bytes = b""


@dataclass(frozen=True, slots=True)
class CroppedImage:
    """The crops of one photo, in the order of their detections."""

    crops: tuple[ItemCrop, ...]


def crop_names(
    deal: str,
    image: str,
    reviewed: ReviewedImage,
    settings: CropSettings,
) -> dict[int, str]:
    """What the files of each item that goes on are called, without suffix, by its detection."""
    template = ItemNameTemplate(settings.file_name)
    return {
        item.detection: template.name(
            ItemName(deal, image, number, item.detection, item.label or "")
        )
        for number, item in enumerate(reviewed.found, start=1)
    }


def crop_image(
    image: str,
    rgb: RgbImage,
    reviewed: ReviewedImage,
    settings: CropSettings,
    names: Mapping[int, str],
) -> CroppedImage:
    """Cut out every item that goes on; one that fails is logged and skipped, the others go on.

    A drawn box in which nothing was found gets no crop.

    Args:
        image: The photo's id.
        rgb: The photo.
        reviewed: Its items.
        settings: How they are cut out.
        names: What their files are called: see :func:`crop_names`.
    """

    def crop(item: ReviewedItem) -> ItemCrop:
        if item.missing is not None:
            return ItemCrop(item.detection, settings.format.value, reason=item.missing)
        return _crop_or_reason(rgb, image, item, names[item.detection], settings)

    items = reviewed.kept
    crops: dict[int, ItemCrop] = {}

    def crop_part(start: int, stop: int) -> None:
        crops.update({item.detection: crop(item) for item in items[start:stop]})

    # Encoding releases the GIL.
    share_range(crop_part, len(items), least=_LEAST_CROPS)
    return CroppedImage(tuple(crops[item.detection] for item in items))


def _crop_or_reason(
    rgb: RgbImage, image: str, item: ReviewedItem, name: str, settings: CropSettings
) -> ItemCrop:
    file_format = settings.format.value
    try:
        crop = crop_item(
            rgb,
            item.box,
            item.mask,
            use_mask=settings.use_mask_crops,
            padding_px=settings.padding_px,
            edge=settings.edge,
            edge_px=settings.edge_px,
            decontaminate=settings.decontaminate,
        )
        data = encode_crop(
            _placed(crop, settings),
            settings.format,
            jpeg_quality=settings.jpeg_quality,
            webp_quality=settings.webp_quality,
            avif_quality=settings.avif_quality,
        )
        mask = _mask_file(rgb, item, crop, settings)
    except (SegpipeError, cv2.error) as error:
        _log.warning("image %r: no crop of detection %d: %s", image, item.detection, error)
        return ItemCrop(item.detection, file_format, reason=str(error))
    height, width = crop.pixels.shape[:2]
    return ItemCrop(
        detection=item.detection,
        format=file_format,
        file=f"crops/{name}.{file_format}",
        kind=crop.kind,
        window=(crop.x, crop.y, width, height),
        data=data,
        mask_file=f"masks/{name}.png" if mask else None,
        mask=mask,
    )


def _placed(crop: Crop, settings: CropSettings) -> Crop:
    """The crop on its canvas, or made smaller, where the settings say so."""
    if settings.canvas is None and settings.max_side_px is None:
        return crop
    pixels = crop.pixels
    if canvas := settings.canvas:
        pixels = fit_to_canvas(
            pixels,
            width=canvas.width,
            height=canvas.height,
            margin_percent=canvas.margin_percent,
            background=background_colour(canvas.background),
            enlarge=canvas.enlarge,
        )
    if settings.max_side_px is not None:
        pixels = limit_side(pixels, settings.max_side_px)
    return replace(crop, pixels=pixels)


def _mask_file(rgb: RgbImage, item: ReviewedItem, crop: Crop, settings: CropSettings) -> bytes:
    """The mask as the bytes of a file; without one, the box; empty when nobody wants it."""
    if settings.masks is CropMasks.NONE:
        return b""
    height, width = rgb.shape[:2]
    mask = item.mask
    if mask is None or mask.is_empty:
        mask = Mask.from_box(item.box, image_width=width, image_height=height)
    shown = PixelWindow(0, 0, width, height)
    if settings.mask_area is MaskArea.BOX:
        rows, columns = crop.pixels.shape[:2]
        shown = PixelWindow(crop.x, crop.y, crop.x + columns, crop.y + rows)
    return window_to_png(mask, shown)

"""Exports the current results of many deals, one photo in memory at a time."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from segpipe.digests import bytes_digest
from segpipe.errors import (
    NotPromotedError,
    SegpipeError,
    StaleUpstreamError,
    describe,
)
from segpipe.flow.export_task import ExportTask, Images, Reviewed, check_task
from segpipe.flow.results import DealResults
from segpipe.flow.stages.coco import labelled_photo
from segpipe.flow.stages.crop_files import read_crop
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.report import REPORT, SHEET_FILE
from segpipe.flow.stages.review import REVIEW
from segpipe.flow.stages.reviewed_items import (
    GOOD,
    ReviewedItem,
    ReviewSettings,
    review_image,
)
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage import PhotoResults
from segpipe.flow.stages.stage_registry import AnyStage
from segpipe.formats.destination import EXPORT_FILE, ExportFolder, new_file, new_folder
from segpipe.formats.format_registry import export_format
from segpipe.formats.label_format import (
    OPENED_EVERYWHERE,
    ExportFormat,
    LabelWriter,
    WriteOptions,
)
from segpipe.formats.labels import CutOut, LabelledPhoto
from segpipe.progress import DealDone, DealFailed, DealStarted, PhotoDone, Tell, tell_nobody
from segpipe.store import layout
from segpipe.store.inputs import Photo
from segpipe.store.snapshot import Snapshot
from segpipe.store.store import DealStore
from segpipe.vision.encode import encode_jpeg
from segpipe.vision.image import decode_image
from segpipe.vision.image_formats import open_photo

_FILE_SUFFIX = ".json"  # nobody calls a folder so
_CONVERTED_FORMAT, _CONVERTED_SUFFIX = "JPEG", ".jpg"
_CONVERTED_QUALITY = 95
_PAGED_FORMAT = "TIFF"


@dataclass(frozen=True, slots=True)
class ExportedDeal:
    """What of a deal was exported.

    Attributes:
        generation: The generation that was current.
        versions: The version of each asset that was read.
        photos: How many photos are in the export.
        items: How many items.
        converted: The photos that are in it as JPEG, as its readers do not open their format.
    """

    generation: int
    versions: Mapping[str, str]
    photos: int
    items: int
    converted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export holds, deal by deal, and why other deals are not in it."""

    deals: Mapping[str, ExportedDeal]
    left_out: Mapping[str, SegpipeError]


def export_deals(
    store: DealStore, deals: Sequence[str], task: ExportTask, tell: Tell = tell_nobody
) -> ExportReport:
    """Export deals; each is in the export whole or not at all, and one that cannot be is told.

    Nothing is at ``task.out`` until all of it is.

    Raises:
        ConfigError: The place is taken, or does not suit the format.
        NotPromotedError: None of the deals can be exported.
        OSError: What is exported cannot be written; nothing is left of it.
    """
    chosen = export_format(task.format)
    if task.images is None:
        bare = chosen.is_of_items or _is_file(task, chosen)
        task = replace(task, images=Images.NONE if bare else Images.COPY)
    options = WriteOptions(task.mode, task.masks, task.mask_area, task.file_names)
    check_task(store, task, chosen)
    export = _Export(store, task, chosen, tell)
    if chosen.write_file and _is_file(task, chosen):
        with (
            new_file(task.out, overwrite=task.overwrite) as file,
            chosen.write_file(file, options) as writer,
        ):
            return export.all(deals, writer, None)
    with new_folder(task.out, overwrite=task.overwrite) as folder:
        with chosen.write_folder(folder, options) as writer:
            report = export.all(deals, writer, folder)
        folder.write(EXPORT_FILE, _lineage(task, report))
    return report


def _is_file(task: ExportTask, chosen: ExportFormat) -> bool:
    return bool(chosen.write_file) and task.out.suffix == chosen.file_suffix


@dataclass(frozen=True, slots=True)
class _Export:
    """One export: what was asked for, and who is told."""

    store: DealStore
    task: ExportTask
    format: ExportFormat
    tell: Tell

    def all(
        self, deals: Sequence[str], writer: LabelWriter, folder: ExportFolder | None
    ) -> ExportReport:
        """Write every deal, each whole or not at all."""
        exported: dict[str, ExportedDeal] = {}
        left_out: dict[str, SegpipeError] = {}
        for deal in deals:
            try:
                with writer.all_or_nothing():
                    exported[deal] = self._deal(deal, writer, folder)
            except SegpipeError as error:
                left_out[deal] = error.at(deal=deal)
                self.tell(DealFailed(deal, describe(error)))
            else:
                self.tell(DealDone(deal))
        if not exported:
            raise NotPromotedError(f"none of the {len(deals)} deals can be exported")
        return ExportReport(exported, left_out)

    def _deal(self, deal: str, writer: LabelWriter, folder: ExportFolder | None) -> ExportedDeal:
        items = 0
        converted: list[str] = []
        has_cutouts = self.format.has_cutouts
        stages: list[AnyStage] = [SEGMENTATION, REFINEMENT, *self._reviewed_stages()]
        stages += [CROPS] if has_cutouts else []
        with DealResults.current(self.store, deal, self.task.mode, stages) as results:
            listed = {photo.name: photo for photo in self.store.photos(deal)}
            self.tell(DealStarted(deal, len(results)))
            for each in results:
                cutouts = _cutouts(results.snapshot, each) if has_cutouts else {}
                photo = labelled_photo(deal, each.photo, self._items(each), cutouts)
                data = self._read_photo(photo, listed.get(photo.file_name))
                is_converted = self._images is not Images.NONE and not _opens_everywhere(
                    data, each.photo.format
                )
                file = _File(self.store, photo, each.photo.format, data, self._images, is_converted)
                writer.add(photo, file)
                items += len(photo.items)
                converted += [photo.file_name] if file.is_converted else []
                self.tell(PhotoDone(deal, photo.file_name))
            if folder and self.format.contact_sheet and (sheet := _contact_sheet(results)):
                folder.write(f"{deal}/{self.format.contact_sheet}", sheet)
            return ExportedDeal(
                results.generation, results.versions, len(results), items, tuple(converted)
            )

    def _reviewed_stages(self) -> list[AnyStage]:
        return [] if self.task.reviewed is Reviewed.IGNORE else [REVIEW]

    def _items(self, photo: PhotoResults) -> list[ReviewedItem]:
        """The items of a photo that are wanted."""
        if self.task.reviewed is Reviewed.IGNORE:
            segmented, refined = photo.of(SEGMENTATION), photo.of(REFINEMENT)
            return review_image(segmented, refined, None, ReviewSettings()).kept
        kept = photo.of(REVIEW).kept
        if self.task.reviewed is Reviewed.ONLY:
            return [item for item in kept if item.state in GOOD]
        return kept

    @property
    def _images(self) -> Images:
        return self.task.images or Images.NONE

    def _read_photo(self, photo: LabelledPhoto, listed: Photo | None) -> bytes:
        """The bytes of a photo, which must be those that were segmented.

        They are looked at even if they stay where they are: labels of another photo are wrong.
        """
        data = self.store.read_photo(photo.deal, listed) if listed else b""
        if bytes_digest(data) != photo.sha256:
            raise StaleUpstreamError(
                "the photo was changed or removed since its segmentation: run the deal again",
                deal=photo.deal,
                image=photo.file_name,
            )
        return data


def _cutouts(snapshot: Snapshot, photo: PhotoResults) -> dict[int, CutOut]:
    """The cut-outs of a photo by detection; one that failed has none."""
    return {
        crop.detection: CutOut(
            suffix=f".{crop.format}", read=partial(read_crop, snapshot, CROPS.name, crop)
        )
        for crop in photo.of(CROPS).crops
        if crop.file
    }


def _contact_sheet(results: DealResults) -> bytes | None:
    """The contact sheet, JPEG; None when there is none of these cut-outs."""
    snapshot = results.snapshot
    if not snapshot.has(REPORT.name):
        return None
    made_from = snapshot.version(REPORT.name).made_from
    if made_from.get(CROPS.name) != results.versions.get(CROPS.name):
        return None
    return snapshot.read(REPORT.name, SHEET_FILE)


@dataclass(frozen=True, slots=True)
class _File:
    """The file of a photo, and what becomes of it: a :class:`PhotoFile`.

    Attributes:
        store: The deals.
        photo: What was made of it.
        source_format: Its format in the deal.
        data: Its bytes in the deal.
        images: What becomes of it.
        is_converted: Whether it goes along as JPEG.
    """

    store: DealStore
    photo: LabelledPhoto
    source_format: str
    data: bytes
    images: Images
    is_converted: bool

    @property
    def goes_along(self) -> bool:
        return self.images is not Images.NONE

    @property
    def format(self) -> str:
        return _CONVERTED_FORMAT if self.is_converted else self.source_format

    @property
    def name(self) -> str:
        if self.is_converted:
            return PurePosixPath(self.photo.file_name).stem + _CONVERTED_SUFFIX
        return self.photo.file_name

    @property
    def path(self) -> Path:
        key = f"{layout.images_key(self.photo.deal)}/{self.photo.file_name}"
        return Path(self.store.root.at(key))

    def place(self, folder: ExportFolder, name: str) -> None:
        if self.is_converted:
            folder.write(name, self._to_jpeg())
        elif self.images is Images.COPY:
            folder.write(name, self.data)
        elif self.images is Images.LINK:
            folder.link(name, self.path)

    def _to_jpeg(self) -> bytes:
        try:
            rgb = decode_image(self.data, max_pixels=None).rgb  # of the size that a run allowed
        except SegpipeError as error:
            raise error.at(deal=self.photo.deal, image=self.photo.file_name) from error.__cause__
        return encode_jpeg(rgb, quality=_CONVERTED_QUALITY)


def _opens_everywhere(data: bytes, file_format: str) -> bool:
    """Whether every reader sees the picture that was segmented; of pages they take the first."""
    if file_format == _PAGED_FORMAT:
        return open_photo(data, file_format).frames == 1
    return file_format in OPENED_EVERYWHERE


def _lineage(task: ExportTask, report: ExportReport) -> bytes:
    deals = {deal: asdict(exported) for deal, exported in report.deals.items()}
    for of_deal in deals.values():
        if not of_deal["converted"]:
            del of_deal["converted"]
    document = {
        "format": task.format,
        "mode": task.mode.value,
        **({} if task.reviewed is Reviewed.PREFER else {"reviewed": task.reviewed.value}),
        "deals": deals,
        "left_out": {deal: error.message for deal, error in report.left_out.items()},
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()

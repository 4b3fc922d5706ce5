"""Exports the current results of many deals, one photo in memory at a time."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from segpipe.digests import bytes_digest
from segpipe.errors import (
    ConfigError,
    NotPromotedError,
    SegpipeError,
    StaleUpstreamError,
    describe,
)
from segpipe.flow.coco import labelled_photo
from segpipe.flow.export_results import DealResults
from segpipe.formats.destination import EXPORT_FILE, ExportFolder, new_file, new_folder
from segpipe.formats.label_format import (
    CocoMasks,
    ExportFormat,
    LabelWriter,
    WriteOptions,
)
from segpipe.formats.labels import LabelledPhoto
from segpipe.formats.registry import export_format
from segpipe.progress import DealDone, DealFailed, DealStarted, PhotoDone, Tell, tell_nobody
from segpipe.prompt import Mode
from segpipe.store import layout
from segpipe.store.inputs import Photo
from segpipe.store.store import DealStore

_FILE_SUFFIX = ".json"  # nobody calls a folder so


class Images(StrEnum):
    """What becomes of the photos."""

    COPY = "copy"
    LINK = "link"
    """A symbolic link to the photo in the data root."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ExportTask:
    """What to export, and where to.

    Attributes:
        format: The name of the format: see :data:`segpipe.formats.registry.EXPORTS`.
        out: The folder to make; or the file, where the format can be one and the name ends so.
        mode: Whose results.
        images: Whether the photos go along.
        masks: How COCO says which pixels are an item's.
        overwrite: Whether to put it in place of an earlier export.
    """

    format: str
    out: Path
    mode: Mode = Mode.FIND_ALL
    images: Images = Images.NONE
    masks: CocoMasks = CocoMasks.RLE
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ExportedDeal:
    """What of a deal was exported: the generation, the version of each asset, and how much."""

    generation: int
    versions: Mapping[str, str]
    photos: int
    items: int


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
    options = WriteOptions(mode=task.mode, masks=task.masks)
    _check_task(store, task, chosen)
    if chosen.write_file and task.out.suffix == chosen.file_suffix:
        with (
            new_file(task.out, overwrite=task.overwrite) as file,
            chosen.write_file(file, options) as writer,
        ):
            return _export_all(store, deals, task, writer, tell)
    with new_folder(task.out, overwrite=task.overwrite) as folder:
        with chosen.write_folder(folder, options) as writer:
            report = _export_all(store, deals, task, writer, tell)
        folder.write(EXPORT_FILE, _lineage(task, report))
    return report


def _export_all(
    store: DealStore, deals: Sequence[str], task: ExportTask, writer: LabelWriter, tell: Tell
) -> ExportReport:
    exported: dict[str, ExportedDeal] = {}
    left_out: dict[str, SegpipeError] = {}
    for deal in deals:
        try:
            with writer.all_or_nothing():
                exported[deal] = _export_deal(store, deal, task, writer, tell)
        except SegpipeError as error:
            left_out[deal] = error.at(deal=deal)
            tell(DealFailed(deal, describe(error)))
        else:
            tell(DealDone(deal))
    if not exported:
        raise NotPromotedError(f"none of the {len(deals)} deals can be exported")
    return ExportReport(exported, left_out)


def _export_deal(
    store: DealStore, deal: str, task: ExportTask, writer: LabelWriter, tell: Tell
) -> ExportedDeal:
    items = 0
    with DealResults(store, deal, task.mode) as results:
        listed = {}
        if task.images is not Images.NONE:
            listed = {photo.name: photo for photo in store.photos(deal)}
        tell(DealStarted(deal, len(results)))
        for segmented, refined in results:
            photo = labelled_photo(deal, segmented, refined)
            writer.add(photo, _File(store, photo, listed.get(photo.file_name), task.images))
            items += len(refined.items)  # with drawn boxes in which there is nothing
            tell(PhotoDone(deal, photo.file_name))
        return ExportedDeal(results.generation, results.versions, len(results), items)


@dataclass(frozen=True, slots=True)
class _File:
    """The file of a photo, and what becomes of it: a :class:`PhotoFile`.

    Attributes:
        store: The deals.
        photo: What was made of it.
        listed: The file as it is now; None when it is gone, or not looked for.
        images: What becomes of it.
    """

    store: DealStore
    photo: LabelledPhoto
    listed: Photo | None
    images: Images

    @property
    def goes_along(self) -> bool:
        return self.images is not Images.NONE

    @property
    def path(self) -> Path:
        key = f"{layout.images_key(self.photo.deal)}/{self.photo.file_name}"
        return Path(self.store.root.at(key))

    def place(self, folder: ExportFolder, name: str) -> None:
        if not self.goes_along:
            return
        data = self.store.read_photo(self.photo.deal, self.listed) if self.listed else b""
        if bytes_digest(data) != self.photo.sha256:
            raise StaleUpstreamError(
                "the photo was changed or removed since its segmentation: run the deal again",
                deal=self.photo.deal,
                image=self.photo.file_name,
            )
        if self.images is Images.LINK:
            folder.link(name, self.path)
        else:
            folder.write(name, data)


def _check_task(store: DealStore, task: ExportTask, chosen: ExportFormat) -> None:
    if task.out.suffix == _FILE_SUFFIX:
        if chosen.file_suffix != task.out.suffix:
            raise ConfigError(f"{task.format} is a folder of files; name a folder", field="out")
        if task.images is not Images.NONE:
            raise ConfigError(
                "beside a single file there is no place for photos: name a folder, or take none",
                field="images",
            )
    points_to_photos = chosen.points_to_photos and task.images is Images.NONE
    if not store.root.is_local:
        if task.images is Images.LINK or points_to_photos:
            raise ConfigError(
                "photos on an object store can only be copied, or left out where the format does "
                "not say where they lie",
                field="images",
            )
        return
    deals = Path(store.root.at(layout.DEALS)).resolve()
    out = task.out.resolve()
    if deals.is_relative_to(out):
        raise ConfigError(
            f"{task.out} holds the deals, which an export must not replace: name another place",
            field="out",
        )
    if out.is_relative_to(deals):
        raise ConfigError(
            f"{task.out} is among the deals, where only the store writes: name another place",
            field="out",
        )


def _lineage(task: ExportTask, report: ExportReport) -> bytes:
    document = {
        "format": task.format,
        "mode": task.mode.value,
        "deals": {deal: asdict(exported) for deal, exported in report.deals.items()},
        "left_out": {deal: error.message for deal, error in report.left_out.items()},
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()

"""Exports the current results of many deals, one photo in memory at a time."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from segpipe.errors import ConfigError, NotPromotedError, SegpipeError
from segpipe.flow.coco import CocoWriter
from segpipe.flow.export.coco import ANNOTATIONS_FILE, CocoFormat
from segpipe.flow.export.format import Format
from segpipe.flow.export.labelme import LabelmeFormat
from segpipe.flow.export.photos import DealPhotos
from segpipe.flow.export.results import DealResults
from segpipe.flow.export.target import EXPORT_FILE, ExportFolder, new_file, new_folder
from segpipe.flow.export.task import (
    ExportedDeal,
    ExportFormat,
    ExportProgress,
    ExportReport,
    ExportTask,
    Images,
)
from segpipe.flow.export.yolo import YoloFormat
from segpipe.flow.settings import CocoSettings
from segpipe.flow.spool import Spool
from segpipe.store import layout
from segpipe.store.store import DealStore, is_local

_JSON = ".json"


def export_deals(
    store: DealStore, deals: Sequence[str], task: ExportTask, progress: ExportProgress
) -> ExportReport:
    """Export deals; each is in the export whole or not at all, and one that cannot be is told.

    Nothing is at ``task.out`` until all of it is.

    Raises:
        ConfigError: The place is taken, or does not suit the format.
        NotPromotedError: None of the deals can be exported.
        OSError: What is exported cannot be written; nothing is left of it.
    """
    _check_task(store, task)
    if task.out.suffix == _JSON:
        with (
            new_file(task.out, overwrite=task.overwrite) as file,
            CocoWriter(file, info=_info(task), spool_folder=task.out.resolve().parent) as writer,
        ):
            return _walk(store, deals, task, _coco(writer, task, None), progress)
    with new_folder(task.out, overwrite=task.overwrite) as folder:
        with _format_of(task, folder) as written:
            report = _walk(store, deals, task, written, progress)
            written.finish()
        folder.write(EXPORT_FILE, _lineage(task, report))
    return report


def _walk(
    store: DealStore,
    deals: Sequence[str],
    task: ExportTask,
    written: Format,
    progress: ExportProgress,
) -> ExportReport:
    exported: dict[str, ExportedDeal] = {}
    left_out: dict[str, SegpipeError] = {}
    for deal in deals:
        try:
            with written.all_or_nothing():
                exported[deal] = _export_deal(store, deal, task, written, progress)
        except SegpipeError as error:
            left_out[deal] = error.at(deal=deal)
            progress.deal_left_out(deal, error)
        else:
            progress.deal_done(deal)
    if not exported:
        raise NotPromotedError(f"none of the {len(deals)} deals can be exported")
    return ExportReport(exported, left_out)


def _export_deal(
    store: DealStore, deal: str, task: ExportTask, written: Format, progress: ExportProgress
) -> ExportedDeal:
    items = 0
    with DealResults(store, deal, task.mode) as results:
        photos = DealPhotos(store, deal, task.images)
        progress.deal_started(deal, len(results))
        for segmented, refined in results:
            written.add(deal, segmented, refined, photos)
            items += len(refined.items)
            progress.photo_done(deal, segmented.file_name)
        return ExportedDeal(results.generation, results.versions, len(results), items)


@contextmanager
def _format_of(task: ExportTask, folder: ExportFolder) -> Iterator[Format]:
    # What waits on disk does so where there has to be space for the export anyway.
    with ExitStack() as open_files:
        match task.format:
            case ExportFormat.COCO:
                file = open_files.enter_context((folder.path / ANNOTATIONS_FILE).open("xb"))
                writer = open_files.enter_context(
                    CocoWriter(file, info=_info(task), spool_folder=folder.path)
                )
                yield _coco(writer, task, folder)
            case ExportFormat.YOLO_SEG:
                yield YoloFormat(folder, open_files.enter_context(Spool(folder.path)))
            case ExportFormat.LABELME:
                yield LabelmeFormat(folder)


def _coco(writer: CocoWriter, task: ExportTask, folder: ExportFolder | None) -> CocoFormat:
    return CocoFormat(writer, CocoSettings(masks=task.masks), folder)


def _check_task(store: DealStore, task: ExportTask) -> None:
    if task.out.suffix == _JSON:
        if task.format is not ExportFormat.COCO:
            raise ConfigError(f"{task.format} is a folder of files; name a folder", field="out")
        if task.images is not Images.NONE:
            raise ConfigError(
                "beside a single file there is no place for photos: name a folder, or take none",
                field="images",
            )
    is_bare_labelme = task.format is ExportFormat.LABELME and task.images is Images.NONE
    if not is_local(store.root):
        if task.images is Images.LINK or is_bare_labelme:
            raise ConfigError(
                "photos on an object store can only be copied, or left out of COCO and YOLO",
                field="images",
            )
        return
    deals = Path((store.root / layout.DEALS).path).resolve()
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


def _info(task: ExportTask) -> dict[str, str]:
    return {"description": "exported by segpipe", "mode": task.mode.value}


def _lineage(task: ExportTask, report: ExportReport) -> bytes:
    document = {
        "format": task.format.value,
        "mode": task.mode.value,
        "deals": {deal: asdict(exported) for deal, exported in report.deals.items()},
        "left_out": {deal: error.message for deal, error in report.left_out.items()},
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode()

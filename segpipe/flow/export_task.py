"""What to export, and where to; and whether that can be."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from segpipe.errors import ConfigError
from segpipe.formats.item_names import check_item_names
from segpipe.formats.label_format import CocoMasks, ExportFormat
from segpipe.prompt import Mode
from segpipe.store import layout
from segpipe.store.store import DealStore
from segpipe.vision.crop import MaskArea

_FILE_SUFFIX = ".json"  # nobody calls a folder so


class Images(StrEnum):
    """What becomes of the photos."""

    COPY = "copy"
    LINK = "link"
    """A symbolic link to the photo in the data root."""
    NONE = "none"


class Reviewed(StrEnum):
    """Which items go into an export, by what people decided."""

    ONLY = "only"
    """Those that somebody accepted, edited or added."""
    PREFER = "prefer"
    """Those that the run let go on: its settings say whether unreviewed items do."""
    IGNORE = "ignore"
    """Those that the run found, whatever people decided."""


@dataclass(frozen=True, slots=True)
class ExportTask:
    """What to export, and where to.

    Attributes:
        format: The name of the format: see :data:`segpipe.formats.format_registry.EXPORTS`.
        out: The folder to make; or the file, where the format can be one and the name ends so.
        mode: Whose results.
        images: Whether the photos go along; None for what suits the format: copies in a folder of
            labels, none beside a single file or in a folder of items.
        masks: How COCO says which pixels are an item's.
        mask_area: What the files of the format masks show.
        file_names: What the files of items are called; None for what the format calls them.
        overwrite: Whether to put it in place of an earlier export.
        reviewed: Which items go into it, by what people decided.
    """

    format: str
    out: Path
    mode: Mode = Mode.FIND_ALL
    images: Images | None = None
    masks: CocoMasks = CocoMasks.RLE
    mask_area: MaskArea = MaskArea.PHOTO
    file_names: str | None = None
    overwrite: bool = False
    reviewed: Reviewed = Reviewed.PREFER


def check_task(store: DealStore, task: ExportTask, chosen: ExportFormat) -> None:
    """Raise ConfigError for what does not go together, or cannot be written where it shall be."""
    _check_items(task, chosen)
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


def _check_items(task: ExportTask, chosen: ExportFormat) -> None:
    if task.file_names is not None:
        if not chosen.is_of_items:
            raise ConfigError(
                f"{task.format} has no file of each item, whose name could be chosen",
                field="file_names",
            )
        check_item_names(task.file_names)
    if chosen.has_cutouts and task.reviewed is Reviewed.IGNORE:
        raise ConfigError(
            f"{task.format} is of cut-outs, and those are of what people decided: take only or "
            "prefer",
            field="reviewed",
        )
    if chosen.is_of_items and task.images is not Images.NONE:
        raise ConfigError(f"whole photos have no place in {task.format}: take none", field="images")

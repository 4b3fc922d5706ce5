"""Exports, and what they tell of their progress."""

from pathlib import Path

from segpipe.flow.export import ExportReport, export_deals
from segpipe.flow.export_task import ExportTask, Images
from segpipe.formats.label_format import CocoMasks
from segpipe.progress import DealDone, DealFailed, DealStarted, Event, PhotoDone
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe.vision.crop import MaskArea


class Told:
    """What an export told of its progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: Event) -> None:
        match event:
            case DealStarted(deal, photos):
                self.lines.append(f"{deal}: {photos} photos")
            case PhotoDone(deal, file_name):
                self.photo_done(deal, file_name)
            case DealDone(deal):
                self.lines.append(f"{deal} done")
            case DealFailed(deal, reason):
                self.lines.append(f"{deal} left out: {reason}")

    def photo_done(self, deal: str, file_name: str) -> None:
        self.lines.append(f"{deal}/{file_name}")


def export(
    store: DealStore,
    file_format: str,
    out: Path,
    *,
    deals: tuple[str, ...] | None = None,
    mode: Mode = Mode.FIND_ALL,
    images: Images | None = None,
    masks: CocoMasks = CocoMasks.RLE,
    mask_area: MaskArea = MaskArea.PHOTO,
    file_names: str | None = None,
    overwrite: bool = False,
    told: Told | None = None,
) -> ExportReport:
    task = ExportTask(
        file_format,
        out,
        mode,
        images=images,
        masks=masks,
        mask_area=mask_area,
        file_names=file_names,
        overwrite=overwrite,
    )
    return export_deals(store, deals or store.deals(), task, told or Told())


def tree(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())

"""Exports, and what they tell of their progress."""

from pathlib import Path

from segpipe.errors import SegpipeError
from segpipe.flow.export.deals import export_deals
from segpipe.flow.export.task import ExportFormat, ExportReport, ExportTask, Images
from segpipe.flow.settings import CocoMasks
from segpipe.store.store import DealStore


class Told:
    """What an export told of its progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def deal_started(self, deal: str, photos: int) -> None:
        self.lines.append(f"{deal}: {photos} photos")

    def photo_done(self, deal: str, file_name: str) -> None:
        self.lines.append(f"{deal}/{file_name}")

    def deal_done(self, deal: str) -> None:
        self.lines.append(f"{deal} done")

    def deal_left_out(self, deal: str, reason: SegpipeError) -> None:
        self.lines.append(f"{deal} left out: {reason}")


def export(
    store: DealStore,
    file_format: ExportFormat,
    out: Path,
    *,
    deals: tuple[str, ...] | None = None,
    images: Images = Images.COPY,
    masks: CocoMasks = CocoMasks.RLE,
    overwrite: bool = False,
    told: Told | None = None,
) -> ExportReport:
    task = ExportTask(file_format, out, images=images, masks=masks, overwrite=overwrite)
    return export_deals(store, deals or store.deals(), task, told or Told())


def tree(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())

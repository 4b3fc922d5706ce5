"""Exports from the command line."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from segpipe.cli.console import counted, err, print_json, progress_bars, say, visible, warn
from segpipe.cli.options import ROOT, Json, Root, existing, one_of
from segpipe.cli.outcomes import DealExport, Exported, LeftOut
from segpipe.errors import DealNotFoundError, NotPromotedError, SegpipeError, describe
from segpipe.flow.export import ExportReport, export_deals
from segpipe.flow.export_task import ExportTask, Images, Reviewed
from segpipe.formats.format_registry import EXPORTS
from segpipe.formats.label_format import CocoMasks
from segpipe.progress import DealDone, DealFailed, DealStarted, Event, PhotoDone
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe.vision.crop import MaskArea

_ALL = "all"
_SHOWN_PHOTOS = 10


class ExportBars:
    """Draws a bar for the deals, and one for the photos of the deal under way."""

    def __init__(self, console: Console, deals: int) -> None:
        self.bars = progress_bars(console)
        self._deals = self.bars.add_task("deals", total=deals, note="")
        self._photos = self.bars.add_task("photos", total=None, visible=False, note="")

    def tell(self, event: Event) -> None:
        """Draw what happened; why a deal is left out is said at once: an export may take long."""
        match event:
            case DealStarted(deal, photos):
                self.bars.reset(self._photos, description=deal, total=photos, visible=True, note="")
            case PhotoDone(_, file_name):
                self.bars.update(self._photos, advance=1, note=file_name)
            case DealDone(deal):
                self.bars.update(self._deals, advance=1, note=deal)
            case DealFailed(deal, reason):
                self.bars.update(self._deals, advance=1, note=f"{deal} left out")
                self.bars.console.print(
                    visible(f"left out: {reason}"), style="yellow", soft_wrap=True
                )


def export(
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            parser=one_of(EXPORTS),
            metavar="|".join(EXPORTS),
            help="COCO JSON, YOLO segments, a labelme JSON a photo; or a file of each item, named "
            "like its photo and label, and a CSV: cutouts, its picture, or masks, PNGs of 0 and "
            "255.",
        ),
    ],
    target: Annotated[
        Path,
        typer.Option("--out", help="The folder to make; for coco also a file, *.json."),
    ],
    deals: Annotated[
        list[str] | None,
        typer.Option(help="A deal, and may be repeated; all that have results by default."),
    ] = None,
    root: Root = ROOT,
    mode: Annotated[
        Mode, typer.Option(case_sensitive=False, help="Whose results.")
    ] = Mode.FIND_ALL,
    images: Annotated[
        Images | None,
        typer.Option(
            case_sensitive=False,
            help="What becomes of the photos; by default copy, and none beside a single file and "
            "for cutouts and masks.",
        ),
    ] = None,
    masks: Annotated[
        CocoMasks,
        typer.Option(case_sensitive=False, help="For coco; both decode to every pixel."),
    ] = CocoMasks.RLE,
    mask_area: Annotated[
        MaskArea,
        typer.Option(
            case_sensitive=False,
            help="For masks: the whole upright photo, or the box of the item alone.",
        ),
    ] = MaskArea.PHOTO,
    file_names: Annotated[
        str | None,
        typer.Option(
            help="For cutouts and masks: what files are called, such as {deal}_{image}_{n}; the "
            "fields are those of the setting crops.file_name."
        ),
    ] = None,
    reviewed: Annotated[
        Reviewed,
        typer.Option(
            case_sensitive=False,
            help="Which items: only those that people accepted, edited or added; prefer takes what "
            "the run let go on, ignore what it found, whatever people decided.",
        ),
    ] = Reviewed.PREFER,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Put it in place of an earlier export.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Export what is current for many deals as labels or cut-outs, whole or not at all.

    A deal that cannot be exported is named and left out. The exit code is then 1, unless all deals
    were asked for and it only has no results yet.
    """
    store = DealStore(root)
    named = [] if deals in (None, [], [_ALL]) else list(dict.fromkeys(deals or []))
    wanted = [existing(store, deal) for deal in named] or _all_deals(store)
    task = ExportTask(
        format=file_format,
        out=target,
        mode=mode,
        images=images,
        masks=masks,
        mask_area=mask_area,
        file_names=file_names,
        overwrite=overwrite,
        reviewed=reviewed,
    )
    drawn = ExportBars(err, len(wanted))
    with drawn.bars:
        report = export_deals(store, wanted, task, drawn.tell)
    if converted := [name for deal in report.deals.values() for name in deal.converted]:
        names = ", ".join(converted[:_SHOWN_PHOTOS]) + (", …" if converted[_SHOWN_PHOTOS:] else "")
        warn(
            f"as JPEG, as most tools do not open their format: {counted(len(converted), 'photo')} "
            f"({names})"
        )
    if as_json:
        print_json(_facts(report, task))
    else:
        say(_said(report, target))
    # All that have results are exported; a deal that was named has to have some.
    is_fault = [named or not _has_no_results(error) for error in report.left_out.values()]
    if any(is_fault):
        raise typer.Exit(1)


def _all_deals(store: DealStore) -> list[str]:
    for name, fault in store.invalid_deals().items():
        warn(f"left out: {name!r}: {describe(fault)}")
    deals = store.deals()
    if not deals:
        raise DealNotFoundError(f"there are no deals under {store.root}: use 'segpipe add' first")
    return deals


def _has_no_results(error: SegpipeError) -> bool:
    return isinstance(error, NotPromotedError)


def _facts(report: ExportReport, task: ExportTask) -> Exported:
    return Exported(
        out=str(task.out),
        format=task.format,
        mode=task.mode.value,
        deals=tuple(
            DealExport(name, deal.photos, deal.items, tuple(deal.converted))
            for name, deal in report.deals.items()
        ),
        left_out=tuple(
            LeftOut(name, type(error).__name__, error.message)
            for name, error in report.left_out.items()
        ),
    )


def _said(report: ExportReport, target: Path) -> str:
    exported = report.deals.values()
    photos, items = sum(deal.photos for deal in exported), sum(deal.items for deal in exported)
    counts = f"{counted(len(exported), 'deal')}, {counted(photos, 'photo')}, "
    said = f"{counts}{counted(items, 'item')} are in {target}"
    return f"{said}; left out: {len(report.left_out)}" if report.left_out else said

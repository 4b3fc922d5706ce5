"""The command that shows what is current for a deal."""

from rich.table import Table

from segpipe.cli.console import err, out
from segpipe.cli.options import ROOT, ModeOption, Root, existing
from segpipe.errors import InputError, describe
from segpipe.flow.report import REPORT_FILE
from segpipe.flow.stages import Stage
from segpipe.prompt import Mode
from segpipe.store.failures import Failure
from segpipe.store.store import DealStore, Snapshot
from segpipe.store.version_info import DealSummary

_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def show(deal: str, root: Root = ROOT, mode: ModeOption = Mode.FIND_ALL) -> None:
    """Show what is current for a deal, photo by photo, and why its last run failed if it did."""
    store = DealStore(root)
    deal = existing(store, deal)
    snapshot = store.current(deal, mode)
    summary = read_summary(snapshot)
    if snapshot and summary:
        out.print(deal_table(snapshot, summary))
        for warning in summary.warnings:
            err.print(f"warning: {warning}", style="yellow")
    else:
        out.print(f"{deal}: nothing is promoted yet in mode {mode.value}")
    if failure := store.last_failure(deal, mode):
        out.print(failure_table(failure))
    try:
        store.photos(deal)
    except InputError as error:
        err.print(f"its photos cannot be used now: {describe(error)}", style="red")


def read_summary(snapshot: Snapshot | None) -> DealSummary | None:
    """The summary of a deal's current report; None when it has none."""
    if snapshot is None or not snapshot.has(Stage.DEAL_REPORT):
        return None
    return DealSummary.model_validate_json(snapshot.read(Stage.DEAL_REPORT, REPORT_FILE))


def deal_table(snapshot: Snapshot, summary: DealSummary) -> Table:
    """The photos of a deal."""
    table = Table(
        title=f"{summary.deal}, mode {summary.mode}, generation {snapshot.generation}",
        caption=f"segmenter {summary.segmenter}, refiner {summary.refiner}",
    )
    table.add_column("photo", overflow="fold")
    for name in ("pixels", "detections", "survivors", "refined", "crops"):
        table.add_column(name, justify="right")
    table.add_column("warnings")
    for image in summary.images:
        counts = image.counts
        table.add_row(
            image.file_name,
            f"{image.width} x {image.height}",
            *(str(n) for n in (counts.detections, counts.survivors, counts.refined, counts.crops)),
            "\n".join(image.warnings),
        )
    return table


def failure_table(failure: Failure) -> Table:
    """Why the last run promoted nothing."""
    again = "may succeed again" if failure.retryable else "needs its input changed"
    title = f"last run {failure.run_id} failed at {failure.created_at:{_TIME_FORMAT}}; it {again}"
    table = Table(title=title, style="red")
    for name in ("image", "error", "message"):
        table.add_column(name, overflow="fold")
    for item in failure.errors:
        table.add_row(item.image or "", item.error, item.message)
    return table

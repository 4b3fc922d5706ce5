"""What the command line prints about deals."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from segpipe.cli.console import err
from segpipe.cli.run import RunResult
from segpipe.flow.report import REPORT_FILE, SHEET_FILE
from segpipe.flow.stages import Stage
from segpipe.flow.todo import State, Todo
from segpipe.prompt import Mode
from segpipe.segmenters.sam3.segmind.costs import DealCost
from segpipe.store.documents import Commit, Failure
from segpipe.store.store import DealStore, Snapshot
from segpipe.store.version_info import DealSummary

_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_SECOND_ENDS = len("2026-01-01T00:00:00")


def read_summary(snapshot: Snapshot | None) -> DealSummary | None:
    """The summary of a deal's current report; None when it has none."""
    if snapshot is None or not snapshot.has(Stage.DEAL_REPORT):
        return None
    return DealSummary.model_validate_json(snapshot.read(Stage.DEAL_REPORT, REPORT_FILE))


def print_todos(todos: Mapping[str, Todo]) -> None:
    """Tell of what is left alone though it is not up to date, and of what a run changes."""
    for deal, todo in todos.items():
        if todo.state is State.KNOWN_BAD:
            err.print(f"{deal}: {todo.reason}", style="red", soft_wrap=True)
        elif todo.state is State.OTHER_SETTINGS:
            how = "run it with --force or --config to replace that"
            err.print(f"{deal}: {todo.reason}; {how}", style="yellow", soft_wrap=True)
        elif todo.state is State.ROLLED_BACK:
            how = "run it with --force to make it anew"
            err.print(f"{deal}: {todo.reason}; {how}", style="yellow", soft_wrap=True)
        elif todo.needs_run:
            err.print(f"{deal}: {todo.reason}", soft_wrap=True)


def run_table(
    store: DealStore,
    deals: Sequence[str],
    mode: Mode,
    result: RunResult,
    todos: Mapping[str, Todo],
) -> Table:
    """What a run made of its deals, and why there was none for the others."""
    table = Table(title=f"Deals, mode {mode.value}")
    for name in ("deal", "images", "detections", "survivors", "crops", "seconds"):
        table.add_column(name, justify="left" if name == "deal" else "right")
    for deal in deals:
        state = todos[deal].state if deal in todos else State.UP_TO_DATE
        failed = deal in result.failures or state is State.KNOWN_BAD
        if failed or deal in result.not_done:
            said = "failed" if failed else "not done"
            table.add_row(deal, "", "", "", "", said, style="red")
            continue
        summary = read_summary(store.current(deal, mode))
        seconds = result.seconds.get(deal)
        elapsed = f"{seconds:.1f}" if seconds is not None else result.skipped.get(deal, str(state))
        table.add_row(deal, *(_counts(summary) if summary else [""] * 4), elapsed)
    return table


def places(store: DealStore, deals: Sequence[str], mode: Mode) -> list[str]:
    """Where the crops and the preview of each deal lie."""
    lines = []
    for deal in deals:
        snapshot = store.current(deal, mode)
        if snapshot and snapshot.has(Stage.CROPS) and snapshot.has(Stage.DEAL_REPORT):
            sheet = snapshot.path(Stage.DEAL_REPORT, SHEET_FILE)
            lines.append(f"{deal}: crops    {_short(f'{snapshot.folder(Stage.CROPS)}/crops')}")
            lines.append(f"{deal}: preview  {_short(sheet)}")
    return lines


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


def versions_table(deal: str, mode: str, commits: Sequence[Commit]) -> Table:
    """The kept generations of a deal, newest first, and what each changed."""
    table = Table(title=f"{deal}, mode {mode}", caption="the first one is current")
    for name in ("generation", "made", "kind", "asset"):
        table.add_column(name, overflow="fold")
    table.add_column("version", no_wrap=True, min_width=len(commits[-1].run_id) + 2)
    older = [*commits[:-1][::-1], None]
    for commit, before in zip(commits[::-1], older, strict=True):
        changed = [
            asset
            for asset, held in commit.assets.items()
            if before is None or before.assets.get(asset) != held
        ]
        for index, asset in enumerate(changed):
            first = index == 0
            table.add_row(
                str(commit.generation) if first else "",
                f"{commit.created_at:{_TIME_FORMAT}}" if first else "",
                commit.kind.value if first else "",
                asset,
                commit.assets[asset].version,
                end_section=index == len(changed) - 1,
            )
    return table


def costs_table(costs: Sequence[DealCost]) -> Table:
    """What runs have spent on deals, and all of it together."""
    table = Table(title="Paid calls", show_footer=True)
    unknown = sum(cost.unknown for cost in costs)
    columns = {
        "started": "",
        "run": "",
        "deal": "all",
        "calls": str(sum(cost.calls for cost in costs)),
        "credits": f"{sum(cost.cost for cost in costs):.4f}",
        "of unknown cost": str(unknown),
        "credits left": "",
    }
    for name, footer in columns.items():
        is_number = name in {"calls", "credits", "of unknown cost", "credits left"}
        table.add_column(name, footer, justify="right" if is_number else "left", overflow="fold")
    for cost in costs:
        left = cost.remaining_credits
        table.add_row(
            cost.started[:_SECOND_ENDS].replace("T", " "),
            cost.run_id,
            cost.deal,
            str(cost.calls),
            f"{cost.cost:.4f}",
            str(cost.unknown),
            "" if left is None else f"{left:.4f}",
        )
    return table


def _short(path: str) -> str:
    """A path as people would type it: relative to where they are, when it is below."""
    here = f"{Path.cwd()}/"
    return path.removeprefix(here)


def _counts(summary: DealSummary) -> list[str]:
    counts = summary.counts
    return [str(n) for n in (counts.images, counts.detections, counts.survivors, counts.crops)]

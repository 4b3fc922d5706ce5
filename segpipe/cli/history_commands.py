"""The commands about what was promoted and paid: verify, versions, rollback, sweep, costs."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from segpipe.cli.console import err, out
from segpipe.cli.options import ROOT, ModeOption, Root, existing
from segpipe.errors import ConfigError
from segpipe.prompt import Mode
from segpipe.segmenters.sam3.segmind.config import LEDGER_FOLDER
from segpipe.segmenters.sam3.segmind.costs import DealCost, read_costs
from segpipe.store.manifests import Commit
from segpipe.store.store import DealStore

_SECONDS_PER_HOUR = 3600.0
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_SECOND_ENDS = len("2026-01-01T00:00:00")


def verify(
    deal: Annotated[str | None, typer.Argument(help="The deal; all when none is named.")] = None,
    root: Root = ROOT,
) -> None:
    """Compare every promoted file with the size and sha256 that were recorded for it."""
    store = DealStore(root)
    problems = list(store.verify(None if deal is None else existing(store, deal)))
    for problem in problems:
        place = f"{problem.asset} {problem.file}" if problem.asset else "its commit"
        err.print(
            f"deal {problem.deal!r}, mode {problem.mode}, generation {problem.generation}, "
            f"{place}: {problem.what}",
            style="red",
            soft_wrap=True,
        )
    if problems:
        raise typer.Exit(1)
    out.print("every promoted file is what was written")


def versions(deal: str, root: Root = ROOT) -> None:
    """List the kept generations of a deal, to roll back to."""
    store = DealStore(root)
    deal = existing(store, deal)
    kept = {mode: store.commits(deal, mode) for mode in store.modes(deal)}
    for mode, commits in kept.items():
        if commits:
            out.print(versions_table(deal, mode, commits))
        else:
            err.print(f"{deal}, mode {mode}: no commit can be read, see 'segpipe verify'")
    if not kept:
        out.print(f"{deal}: nothing is promoted yet")


def rollback(
    deal: str,
    to: Annotated[
        str,
        typer.Argument(
            metavar="GENERATION|ASSET",
            help="A generation, which comes back whole; or an asset, with what was made from it.",
        ),
    ],
    run_id: Annotated[
        str | None,
        typer.Argument(help="Of the asset: as in 'segpipe versions', or how it begins."),
    ] = None,
    root: Root = ROOT,
    mode: ModeOption = Mode.FIND_ALL,
) -> None:
    """The newer ones stay available."""
    store = DealStore(root)
    if run_id is not None:
        commit = store.rollback_asset(deal, mode, to, run_id).commit
        said = f"{to} is {commit.assets[to].version} again, with what was made from it"
    elif to.isdecimal():
        commit = store.rollback(deal, mode, int(to)).commit
        said = f"generation {int(to)} is current again"
    else:
        raise ConfigError(
            f"{to!r} is no generation; name one, or the run id of the asset's version",
            field="GENERATION",
        )
    out.print(f"{deal}: {said}, as generation {commit.generation}")


def sweep(
    root: Root = ROOT,
    min_age_hours: Annotated[
        float, typer.Option(min=0, help="Keep what is younger; longer than any run takes.")
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, only tell.")] = False,
) -> None:
    """Remove what killed runs left behind, and generations beyond the kept ones."""
    report = DealStore(root).sweep(min_age_s=min_age_hours * _SECONDS_PER_HOUR, dry_run=dry_run)
    out.print(
        f"{'would remove' if dry_run else 'removed'} {report.versions} versions, "
        f"{report.commits} commits and {report.files} other files: {report.bytes:,} bytes"
    )
    for place in report.skipped:
        err.print(f"left alone, as it cannot be read: {place}", style="red", soft_wrap=True)
    if report.skipped:
        raise typer.Exit(1)


def costs(
    deal: Annotated[str | None, typer.Argument(help="The deal; all when none is named.")] = None,
    root: Root = ROOT,
) -> None:
    """Show what paid calls have cost, run by run and deal by deal."""
    spent = [cost for cost in read_costs(root / LEDGER_FOLDER) if deal in {None, cost.deal}]
    out.print(costs_table(spent) if spent else "no paid call has been made")


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

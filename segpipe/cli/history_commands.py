"""The commands about what was promoted and paid: verify, versions, rollback, sweep, costs."""

from collections.abc import Sequence
from typing import Annotated

import typer

from segpipe.cli.console import (
    Column,
    Listing,
    complain,
    counted,
    print_json,
    print_listings,
    say,
)
from segpipe.cli.facts import (
    CostFacts,
    CostList,
    Generation,
    ProblemFacts,
    RolledBack,
    Sweeping,
    Verification,
    VersionList,
)
from segpipe.cli.options import (
    ROOT,
    Json,
    ModeOption,
    Root,
    existing,
    existing_root,
)
from segpipe.errors import ConfigError
from segpipe.flow.finds import write_finds_after_rollback
from segpipe.prompt import Mode
from segpipe.segmenters.sam3.segmind.ledger_costs import DealCost, read_costs
from segpipe.segmenters.sam3.segmind.segmind_settings import LEDGER_FOLDER
from segpipe.store.manifests import Commit
from segpipe.store.shared_data import kept_data
from segpipe.store.store import DealStore

_SECONDS_PER_HOUR = 3600.0
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_SECOND_ENDS = len("2026-01-01T00:00:00")

_VERSION_COLUMNS = (
    Column("mode"),
    Column("generation", is_number=True),
    Column("made"),
    Column("kind"),
    Column("asset"),
    Column("version"),
)
_COST_COLUMNS = (
    Column("started"),
    Column("run"),
    Column("deal"),
    Column("calls", is_number=True),
    Column("credits", is_number=True),
    Column("of unknown cost", is_number=True),
    Column("credits left", is_number=True),
)


def verify(
    deal: Annotated[str | None, typer.Argument(help="The deal; all when none is named.")] = None,
    root: Root = ROOT,
    as_json: Json = False,
) -> None:
    """Compare every promoted file with the size and sha256 that were recorded for it."""
    store = existing_root(root)
    deals = store.deals() if deal is None else [existing(store, deal)]
    problems = [problem for each in deals for problem in store.verify(each)]
    if as_json:
        told = (
            ProblemFacts(p.deal, p.mode, p.generation, p.asset or None, p.file or None, p.what)
            for p in problems
        )
        print_json(Verification(tuple(deals), tuple(told)))
    for problem in problems if not as_json else ():
        place = f"{problem.asset} {problem.file}" if problem.asset else "its commit"
        complain(
            f"deal {problem.deal!r}, mode {problem.mode}, generation {problem.generation}, "
            f"{place}: {problem.what}"
        )
    if problems:
        raise typer.Exit(1)
    if not as_json:
        say("every promoted file is what was written")


def versions(deal: str, root: Root = ROOT, as_json: Json = False) -> None:
    """List the kept generations of a deal, to roll back to."""
    store = DealStore(root)
    deal = existing(store, deal)
    kept = {mode: store.commits(deal, mode) for mode in store.modes(deal)}
    generations = [each for commits in kept.values() for each in _generations(commits)]
    unreadable = [mode for mode, commits in kept.items() if not commits]
    if as_json:
        print_json(VersionList(deal, tuple(generations), tuple(unreadable)))
        return
    if generations:
        print_listings(_versions(deal, generations))
    for mode in unreadable:
        complain(f"{deal}, mode {mode}: no commit can be read, see 'segpipe verify'")
    if not kept:
        say(f"{deal}: nothing is promoted yet")


def rollback(
    deal: str,
    asset: Annotated[
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
    as_json: Json = False,
) -> None:
    """Make an older generation of a deal current again, or an older version of one asset.

    The newer ones stay available.
    """
    store = DealStore(root)
    deal = existing(store, deal)
    if run_id is not None:
        commit = store.rollback_asset(deal, mode, asset, run_id).commit
        said = f"{asset} is {commit.assets[asset].version} again"
    elif asset.isdecimal():
        commit = store.rollback(deal, mode, int(asset)).commit
        said = f"generation {int(asset)} is current again"
    else:
        raise ConfigError(
            f"{asset!r} is no generation; name one, or the run id of the asset's version, too",
            field="GENERATION",
        )
    write_finds_after_rollback(store, deal, mode)
    if as_json:
        held = {name: version.version for name, version in commit.assets.items()}
        print_json(RolledBack(deal, mode.value, commit.generation, held))
    else:
        say(f"{deal}: {said}, generation {commit.generation}")


def sweep(
    root: Root = ROOT,
    min_age_hours: Annotated[
        float, typer.Option(min=0, help="Keep what is younger; longer than any run takes.")
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, only tell.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what killed runs left behind, and generations beyond the kept ones."""
    store = existing_root(root)
    report = store.sweep(min_age_s=min_age_hours * _SECONDS_PER_HOUR, dry_run=dry_run)
    if as_json:
        facts = Sweeping(
            is_dry_run=dry_run,
            versions=report.versions,
            commits=report.commits,
            files=report.files,
            bytes=report.bytes,
            skipped=report.skipped,
        )
        print_json(facts)
    else:
        say(
            f"{'would remove' if dry_run else 'removed'} {counted(report.versions, 'version')}, "
            f"{counted(report.commits, 'commit')} and {counted(report.files, 'other file')}: "
            f"{report.bytes:,} bytes"
        )
    for place in report.skipped:
        complain(f"left alone, as it cannot be read: {place}")
    if report.skipped:
        raise typer.Exit(1)


def costs(
    deal: Annotated[str | None, typer.Argument(help="The deal; all when none is named.")] = None,
    root: Root = ROOT,
    as_json: Json = False,
) -> None:
    """Show what paid calls have cost, run by run and deal by deal."""
    store = existing_root(root)
    spent = read_costs(kept_data(store.root).ledgers(LEDGER_FOLDER))
    if deal is not None:
        # A deal that was removed has been paid for all the same.
        if not any(cost.deal == deal for cost in spent):
            deal = existing(store, deal)
        spent = [cost for cost in spent if cost.deal == deal]
    total = _total(spent)
    if as_json:
        print_json(total)
    elif spent:
        print_listings(_costs(total))
    else:
        say("no paid call has been made")


def _generations(commits: Sequence[Commit]) -> list[Generation]:
    """The kept generations of a mode, latest first, and what each changed."""
    older = [*commits[:-1][::-1], None]
    return [
        Generation(
            mode=commit.mode,
            generation=commit.generation,
            is_current=commit is commits[-1],
            promoted_at=commit.created_at,
            kind=commit.kind.value,
            run_id=commit.run_id,
            versions={asset: held.version for asset, held in commit.assets.items()},
            changed=tuple(
                asset
                for asset, held in commit.assets.items()
                if before is None or before.assets.get(asset) != held
            ),
        )
        for commit, before in zip(commits[::-1], older, strict=True)
    ]


def _versions(deal: str, generations: Sequence[Generation]) -> Listing:
    rows = [
        (
            each.mode,
            each.generation,
            f"{each.promoted_at:{_TIME_FORMAT}}",
            each.kind,
            asset,
            each.versions.get(asset),
        )
        for each in generations
        for asset in each.changed or ("",)
    ]
    note = "the first one of each mode is current"
    return Listing(_VERSION_COLUMNS, rows, deal, note)


def _total(spent: Sequence[DealCost]) -> CostList:
    return CostList(
        costs=tuple(
            CostFacts(
                run_id=cost.run_id,
                deal=cost.deal,
                started_at=cost.started,
                calls=cost.calls,
                credits=cost.cost,
                calls_of_unknown_cost=cost.unknown,
                credits_left=cost.remaining_credits,
            )
            for cost in spent
        ),
        calls=sum(cost.calls for cost in spent),
        credits=sum(cost.cost for cost in spent),
        calls_of_unknown_cost=sum(cost.unknown for cost in spent),
    )


def _costs(total: CostList) -> Listing:
    rows = [
        (
            cost.started_at[:_SECOND_ENDS].replace("T", " "),
            cost.run_id,
            cost.deal,
            cost.calls,
            f"{cost.credits:.4f}",
            cost.calls_of_unknown_cost,
            None if cost.credits_left is None else f"{cost.credits_left:.4f}",
        )
        for cost in total.costs
    ]
    note = f"all: {counted(total.calls, 'call')}, {total.credits:.4f} credits"
    if total.calls_of_unknown_cost:
        note += f" and {counted(total.calls_of_unknown_cost, 'call')} of unknown cost"
    return Listing(_COST_COLUMNS, rows, "Paid calls", note)

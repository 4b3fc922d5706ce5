"""The commands that show how deals stand: all of them, or one photo by photo."""

from collections import Counter
from typing import Annotated

import typer

from segpipe.cli.console import (
    Column,
    Listing,
    complain,
    is_drawn,
    print_json,
    print_listings,
    say,
    warn,
)
from segpipe.cli.deal_facts import read_deal, read_state, short
from segpipe.cli.facts import (
    DealFacts,
    DealList,
    DealState,
    FailureFacts,
    ModeFacts,
    NoDeal,
    StatusFacts,
    UnfinishedRun,
)
from segpipe.cli.options import ROOT, AnyMode, Json, Root, existing, existing_root
from segpipe.errors import describe
from segpipe.flow.deal_state import State
from segpipe.flow.saved_settings import read_saved
from segpipe.prompt import Mode
from segpipe.store.store import DealStore

_MAX_NAMED = 5
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_OBVIOUS = frozenset({str(State.UP_TO_DATE), str(State.NEVER_MADE), str(State.NOTHING_TO_ASK)})
_AS_IT_SHOULD_BE = frozenset({str(State.UP_TO_DATE), str(State.OTHER_SETTINGS)})
"""Of what is current; others than the defaults are somebody's choice."""

_STATE_COLUMNS = (
    Column("deal"),
    Column("mode"),
    Column("state"),
    Column("generation", is_number=True),
    Column("photos", is_number=True),
    Column("crops", is_number=True),
    Column("why", wraps=True),
)
_PHOTO_COLUMNS = (
    Column("mode", is_in_title=True),
    Column("generation", is_number=True, is_in_title=True),
    Column("photo"),
    Column("pixels", is_number=True),
    Column("detections", is_number=True),
    Column("survivors", is_number=True),
    Column("refined", is_number=True),
    Column("crops", is_number=True),
    Column("crops_folder", is_in_title=True),
    Column("warnings", wraps=True),
)


def list_deals(
    root: Root = ROOT,
    mode: AnyMode = None,
    needs_run: Annotated[
        bool, typer.Option("--needs-run", help="Only what a run would bring further, or failed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List all deals: what is current, what is out of date and why, what failed and why."""
    store = existing_root(root)
    found = _read_deals(store, mode, needs_run=needs_run)
    if as_json:
        print_json(found)
    else:
        _print_deals(found, mode)


def status(root: Root = ROOT, mode: AnyMode = None, as_json: Json = False) -> None:
    """Tell how all deals stand, as 'list' does, and what waits or is under way in Dagster.

    At the end it counts how many deals are in each state. Dagster is only asked where it has been
    used before.
    """
    store = existing_root(root)
    found = _read_deals(store, mode)
    runs = _unfinished_runs(root)
    if as_json:
        print_json(StatusFacts(found.root, found.deals, found.no_deals, runs))
        return
    _print_deals(found, mode)
    for run in runs:
        named = ", ".join(run.deals[:_MAX_NAMED])
        more = f" and {len(run.deals) - _MAX_NAMED} more" if len(run.deals) > _MAX_NAMED else ""
        say(f"run {run.run_id} {run.status}, mode {' and '.join(run.modes)}: {named}{more}")
    for each in [mode] if mode else Mode:
        counts = Counter(state.state for state in found.deals if state.mode == each)
        say(f"{each}: {', '.join(f'{count} {state}' for state, count in counts.items())}")


def _unfinished_runs(root: str) -> tuple[UnfinishedRun, ...]:
    """What waits or is under way; nothing where Dagster was never used."""
    # Here alone: Dagster takes a second to import, and the other commands do without.
    from segpipe.cli.instance import instance_folder, open_instance  # noqa: PLC0415
    from segpipe.pipeline.under_way import runs_under_way  # noqa: PLC0415

    if not instance_folder(root).exists():
        return ()
    with open_instance(root) as instance:
        return tuple(
            UnfinishedRun(
                run_id=run.record.dagster_run.run_id,
                status="is under way" if run.has_begun else "waits",
                modes=tuple(str(each) for each in run.modes),
                deals=run.deals,
                asked_at=run.record.create_timestamp,
            )
            for run in runs_under_way(instance)
        )


def _read_deals(store: DealStore, mode: Mode | None, *, needs_run: bool = False) -> DealList:
    saved = read_saved(store)
    states = [
        read_state(store, deal, each, saved)
        for deal in store.deals()
        for each in ([mode] if mode else Mode)
    ]
    if needs_run:
        states = [state for state in states if state.needs_run or state.failure]
    no_deals = [NoDeal(name, describe(why)) for name, why in store.invalid_deals().items()]
    return DealList(str(store.root), tuple(states), tuple(no_deals))


def _print_deals(found: DealList, mode: Mode | None) -> None:
    for folder in found.no_deals:
        warn(f"no deal: {folder.name!r}: {folder.reason}")
    rows = [
        (
            state.deal,
            state.mode,
            state.state,
            state.generation,
            state.images,
            state.crops,
            "" if state.state in _OBVIOUS else state.reason,
        )
        for state in found.deals
        if mode or _is_worth_a_line(state)
    ]
    print_listings(Listing(_STATE_COLUMNS, rows))


def show(
    deal: str,
    root: Root = ROOT,
    mode: AnyMode = None,
    as_json: Json = False,
) -> None:
    """Show what is current for a deal, photo by photo, and why its last run failed if it did."""
    store = DealStore(root)
    facts = read_deal(store, existing(store, deal), mode, read_saved(store))
    if as_json:
        print_json(facts)
        return
    print_listings(*(photo_listing(facts.deal, each) for each in facts.modes if each.images))
    for each in facts.modes:
        _tell_of_mode(facts, each)
    if not facts.modes:
        say(f"{facts.deal}: nothing is promoted yet, in no mode")
    if facts.photos_fault:
        complain(f"its photos cannot be used now: {facts.photos_fault}")


def photo_listing(deal: str, facts: ModeFacts) -> Listing:
    """The photos of a deal in a mode."""
    made = "rolled back to" if facts.kind == "rollback" else "made by"
    title = f"{deal}, mode {facts.mode}, generation {facts.generation}"
    title += f", {made} run {facts.run_id} at {facts.promoted_at:{_TIME_FORMAT}}"
    note = f"segmenter {facts.segmenter}, refiner {facts.refiner}"
    rows = [
        (
            facts.mode,
            facts.generation,
            image.file_name,
            f"{image.width} x {image.height}",
            image.detections,
            image.survivors,
            image.refined,
            image.crops,
            short(image.crops_folder) if image.crops_folder else None,
            "; ".join(image.warnings),
        )
        for image in facts.images
    ]
    return Listing(_PHOTO_COLUMNS, rows, title, note)


def _tell_of_mode(facts: DealFacts, mode: ModeFacts) -> None:
    name = f"{facts.deal}, mode {mode.mode}"
    if mode.generation is None:
        say(f"{facts.deal}: nothing is promoted yet in mode {mode.mode}")
    elif mode.crops_folder and is_drawn():
        say(f"{name}: crops are in {short(mode.crops_folder)}")
    elif mode.images and not mode.crops_folder:
        warn(f"{name}: nothing was found in any photo")
    if mode.generation is not None and mode.state not in _AS_IT_SHOULD_BE:
        warn(f"{name}: {mode.reason}")
    for warning in mode.warnings:
        warn(f"{name}: {warning}")
    if mode.failure:
        _tell_failure(name, mode.failure)


def _tell_failure(name: str, failure: FailureFacts) -> None:
    again = "may succeed again" if failure.may_pass else "needs its input changed"
    when = f"{failure.failed_at:{_TIME_FORMAT}}"
    complain(f"{name}: the last run {failure.run_id} failed at {when}; it {again}")
    for error in failure.errors:
        image = f"{error.image}: " if error.image else ""
        complain(f"  {image}{error.error}: {error.message}")


def _is_worth_a_line(state: DealState) -> bool:
    """Whether there is anything in this mode: not where nobody has drawn a box."""
    is_at_rest = state.state == str(State.NOTHING_TO_ASK)
    return not is_at_rest or state.generation is not None or state.failure is not None

"""The command that runs deals, and what it prints of them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from segpipe.cli.console import (
    Column,
    Listing,
    complain,
    err,
    is_drawn,
    print_json,
    print_listings,
    say,
    warn,
)
from segpipe.cli.deal_facts import (
    contact_sheet,
    crops_folder,
    photos_without_items,
    read_summary,
    short,
)
from segpipe.cli.options import ROOT, Json, ModeOption, Root, existing
from segpipe.cli.outcomes import DealRun, RunFacts
from segpipe.cli.run_config import RunConfig, read_run_config
from segpipe.cli.run_deals import RunResult, check_config, run_deals
from segpipe.errors import DealNotFoundError, PromptError, describe
from segpipe.flow.checks import some_of
from segpipe.flow.deal_state import State, Todo
from segpipe.flow.stages.segmentation import NOTHING_FOUND
from segpipe.flow.todo import nothing_to_ask, todo_of
from segpipe.prompt import Mode
from segpipe.store.store import DealStore

_INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, as shells have it
_DONE, _SKIPPED, _FAILED, _NOT_DONE = "done", "skipped", "failed", "not done"

_COLUMNS = (
    Column("mode", is_in_title=True),
    Column("deal"),
    Column("images", is_number=True),
    Column("detections", is_number=True),
    Column("survivors", is_number=True),
    Column("crops", is_number=True),
    Column("seconds", is_number=True),
    Column("outcome"),
    Column("crops_folder", is_in_title=True),
    Column("contact_sheet", is_in_title=True),
)
_HOW_TO_REPLACE = {
    State.KNOWN_BAD: "",
    State.OTHER_SETTINGS: "; run it with --force or --config to replace that",
    State.EXTRA_OUT_OF_DATE: "",
    State.ROLLED_BACK: "; run it with --force to make it anew",
}


def run(
    deals: Annotated[
        list[str] | None, typer.Argument(help="The deals; all of them when none is named.")
    ] = None,
    root: Root = ROOT,
    mode: ModeOption = Mode.FIND_ALL,
    force: Annotated[
        bool, typer.Option("--force", help="Do again what is up to date, too.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A YAML file of run config, as in the launchpad; 'segpipe config' writes one.",
            dir_okay=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Put deals through every stage that is not up to date, in Dagster."""
    store = DealStore(root)
    wanted = _wanted(store, deals or [], mode)
    settings = check_config(root, mode, read_run_config(config), force=force)
    # A run that finds nothing to do would only stand between people and the one that did.
    todos = _todos(store, wanted, mode, settings)
    _tell_todos(todos)
    to_do = [deal for deal in wanted if deal not in todos or todos[deal].needs_run]
    result = run_deals(root, to_do, mode, err, settings) if to_do else RunResult()
    facts = _facts(store, wanted, mode, result, todos)
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    for problem in (*result.failures.values(), *result.errors):
        complain(problem)
    if result.is_interrupted:
        complain("interrupted: what is done stays done, running again goes on")
        raise typer.Exit(_INTERRUPTED_EXIT_CODE)
    if result.errors or any(deal.outcome == _FAILED for deal in facts.deals):
        raise typer.Exit(1)


def _wanted(store: DealStore, named: list[str], mode: Mode) -> list[str]:
    """The deals to run: those that are named, or all in which there is something to ask."""
    if named:
        wanted = list(dict.fromkeys(existing(store, deal) for deal in named))
        for deal in wanted:
            if nothing := nothing_to_ask(store, deal, mode):
                raise PromptError(f"{nothing.reason}: draw one with 'segpipe prompt'", deal=deal)
        return wanted
    for name, fault in store.invalid_deals().items():
        warn(f"left out: {name!r}: {describe(fault)}")
    deals = store.deals()
    if not deals:
        raise DealNotFoundError(f"there are no deals under {store.root}: use 'segpipe add' first")
    wanted = [deal for deal in deals if not nothing_to_ask(store, deal, mode)]
    if not wanted:
        raise DealNotFoundError(
            f"no deal under {store.root} has a box: draw one with 'segpipe prompt'"
        )
    return wanted


def _todos(
    store: DealStore, deals: Sequence[str], mode: Mode, config: RunConfig
) -> dict[str, Todo]:
    """What each deal needs of the run; nothing where everything is to be made anew."""
    if not config.skips_up_to_date:
        return {}
    return {
        deal: todo_of(
            store,
            deal,
            mode,
            config.settings,
            replace_other_settings=not config.keeps_other_settings,
            saved_at=config.saved_at,
        )
        for deal in deals
    }


def _tell_todos(todos: Mapping[str, Todo]) -> None:
    """Tell of what is left alone though it is not up to date, and of what a run changes."""
    for deal, todo in todos.items():
        if todo.state is State.KNOWN_BAD:
            complain(f"{deal}: {todo.reason}")
        elif todo.state in _HOW_TO_REPLACE:
            warn(f"{deal}: {todo.reason}{_HOW_TO_REPLACE[todo.state]}")
        elif todo.needs_run:
            err.print(f"{deal}: {todo.reason}", soft_wrap=True)


def _facts(
    store: DealStore,
    deals: Sequence[str],
    mode: Mode,
    result: RunResult,
    todos: Mapping[str, Todo],
) -> RunFacts:
    """What a run made of its deals, and why there was none for the others."""
    runs = tuple(_deal_run(store, deal, mode, result, todos.get(deal)) for deal in deals)
    return RunFacts(
        mode=mode.value,
        deals=runs,
        run_ids=tuple(result.run_ids),
        errors=tuple(result.errors),
        is_interrupted=result.is_interrupted,
    )


def _deal_run(
    store: DealStore, deal: str, mode: Mode, result: RunResult, todo: Todo | None
) -> DealRun:
    outcome, reason = _outcome(deal, result, todo)
    # What is current was made by another run, if this one failed.
    snapshot = store.current(deal, mode) if outcome in {_DONE, _SKIPPED} else None
    summary = read_summary(snapshot)
    counts = summary.counts if summary else None
    return DealRun(
        deal=deal,
        outcome=outcome,
        reason=reason,
        images=counts.images if counts else None,
        detections=counts.detections if counts else None,
        survivors=counts.survivors if counts else None,
        crops=counts.crops if counts else None,
        seconds=result.seconds.get(deal),
        crops_folder=crops_folder(snapshot, summary),
        contact_sheet=contact_sheet(snapshot),
        photos_without_items=photos_without_items(summary),
    )


def _outcome(deal: str, result: RunResult, todo: Todo | None) -> tuple[str, str | None]:
    if deal in result.failures:
        return _FAILED, result.failures[deal]
    if todo and todo.state is State.KNOWN_BAD:
        return _FAILED, todo.reason
    if deal in result.not_done:
        return _NOT_DONE, None
    if deal in result.seconds:
        return _DONE, None
    if todo and not todo.needs_run:
        return _SKIPPED, str(todo.state)
    return _SKIPPED, result.skipped.get(deal)


def _print(facts: RunFacts) -> None:
    rows = [
        (
            facts.mode,
            run.deal,
            run.images,
            run.detections,
            run.survivors,
            run.crops,
            None if run.seconds is None else f"{run.seconds:.1f}",
            run.reason if run.outcome == _SKIPPED else run.outcome,
            short(run.crops_folder) if run.crops_folder else None,
            short(run.contact_sheet) if run.contact_sheet else None,
        )
        for run in facts.deals
    ]
    print_listings(Listing(_COLUMNS, rows, f"Deals, mode {facts.mode}"))
    for place in _places(facts) if is_drawn() else ():
        say(place)
    for run in facts.deals:
        if run.crops == 0:
            warn(f"{run.deal}: {NOTHING_FOUND} in any photo")
        elif run.photos_without_items:
            warn(some_of(f"{run.deal}: {NOTHING_FOUND} in", run.photos_without_items))


def _places(facts: RunFacts) -> Iterator[str]:
    """Where the crops and the preview of each deal lie."""
    for run in facts.deals:
        if run.crops_folder:
            yield f"{run.deal}: crops    {short(run.crops_folder)}"
        if run.contact_sheet:
            yield f"{run.deal}: preview  {short(run.contact_sheet)}"

"""The command that runs deals, and what it prints of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.table import Table

from segpipe.cli.console import err, out
from segpipe.cli.deal_facts import read_summary
from segpipe.cli.options import ROOT, ModeOption, Root, existing
from segpipe.cli.run_deals import RunResult, run_deals, todos_of
from segpipe.errors import ConfigError, DealNotFoundError, PromptError, describe
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.report import REPORT, SHEET_FILE
from segpipe.flow.todo import State, Todo, nothing_to_ask
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe.store.version_info import DealSummary

_INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, as shells have it


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
        typer.Option(help="A YAML file of run config, as in the launchpad.", dir_okay=False),
    ] = None,
) -> None:
    """Put deals through every stage that is not up to date, in Dagster."""
    store = DealStore(root)
    wanted = _wanted(store, deals or [], mode)
    settings = _read_config(config)
    # A run that finds nothing to do would only stand between people and the one that did.
    todos = {} if force or settings else todos_of(store, wanted, mode)
    print_todos(todos)
    to_do = [deal for deal in wanted if deal not in todos or todos[deal].needs_run]
    result = run_deals(root, to_do, mode, err, force=force, config=settings)
    out.print(run_table(store, wanted, mode, result, todos))
    for place in places(store, wanted, mode):
        out.print(place, soft_wrap=True)
    for problem in (*result.failures.values(), *result.errors):
        err.print(problem, style="red", soft_wrap=True)
    if result.is_interrupted:
        err.print("interrupted: what is done stays done, running again goes on", style="red")
        raise typer.Exit(_INTERRUPTED_EXIT_CODE)
    is_bad = any(todo.state is State.KNOWN_BAD for todo in todos.values())
    if result.failures or result.errors or is_bad:
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
        err.print(f"left out: {name!r}: {describe(fault)}", style="yellow", soft_wrap=True)
    deals = store.deals()
    if not deals:
        raise DealNotFoundError(f"there are no deals under {store.root}: use 'segpipe add' first")
    wanted = [deal for deal in deals if not nothing_to_ask(store, deal, mode)]
    if not wanted:
        raise DealNotFoundError(
            f"no deal under {store.root} has a box: draw one with 'segpipe prompt'"
        )
    return wanted


def _read_config(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", field="--config") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} holds no run config", field="--config")
    return config


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
        if snapshot and snapshot.has(CROPS.name) and snapshot.has(REPORT.name):
            sheet = snapshot.path(REPORT.name, SHEET_FILE)
            lines.append(f"{deal}: crops    {_short(f'{snapshot.folder(CROPS.name)}/crops')}")
            lines.append(f"{deal}: preview  {_short(sheet)}")
    return lines


def _short(path: str) -> str:
    """A path as people would type it: relative to where they are, when it is below."""
    here = f"{Path.cwd()}/"
    return path.removeprefix(here)


def _counts(summary: DealSummary) -> list[str]:
    counts = summary.counts
    return [str(n) for n in (counts.images, counts.detections, counts.survivors, counts.crops)]

"""The commands."""

import functools
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from segpipe.cli.console import err, out, told_errors
from segpipe.cli.export import export
from segpipe.cli.instance import add_partitions, open_instance
from segpipe.cli.options import ROOT, ModeOption, Root, existing
from segpipe.cli.prompts import app as prompt_commands
from segpipe.cli.run import run_deals, todos_of
from segpipe.cli.samples import add_samples
from segpipe.cli.serve import serve
from segpipe.cli.tables import (
    costs_table,
    deal_table,
    failure_table,
    places,
    print_todos,
    read_summary,
    run_table,
    versions_table,
)
from segpipe.errors import (
    ConfigError,
    DealNotFoundError,
    EmptyDealError,
    InputError,
    PromptError,
    describe,
)
from segpipe.flow.todo import State, nothing_to_ask
from segpipe.prompt import Mode
from segpipe.segmenters.sam3.segmind.config import LEDGER_FOLDER
from segpipe.segmenters.sam3.segmind.costs import read_costs
from segpipe.store.ids import check_deal_id
from segpipe.store.inputs import is_ignored
from segpipe.store.store import DealStore

_SECONDS_PER_HOUR = 3600.0
_INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, as shells have it

app = typer.Typer(
    name="segpipe",
    help="Every item out of thousands of photos: deals in, verified crops out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(prompt_commands)


@app.command(epilog="Example: segpipe add spring-lot photos/*.jpg")
def add(
    deal: Annotated[str, typer.Argument(help="The deal; made when it is new.")],
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of them.")],
    root: Root = ROOT,
) -> None:
    """Copy photos into a deal, whole or not at all."""
    with told_errors():
        deal = check_deal_id(deal)
        files = [file for photo in photos for file in _files(photo)]
        if not files:
            raise EmptyDealError("there are no photos in what was given", deal=deal)
        added = DealStore(root).add_photos(deal, files)
        with open_instance(root) as instance:
            add_partitions(instance, [deal])
        out.print(f"{len(added)} photos are in deal {deal}")


@app.command(epilog="Example: segpipe samples && segpipe run")
def samples(root: Root = ROOT) -> None:
    """Add two deals of real photos to try segpipe on."""
    with told_errors():
        deals = add_samples(DealStore(root))
        with open_instance(root) as instance:
            add_partitions(instance, deals)
        out.print(f"sample deals: {', '.join(deals)}")


@app.command(epilog="Example: segpipe run spring-lot --config recursive.yaml")
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
    with told_errors():
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


@app.command(epilog="Example: segpipe show spring-lot")
def show(deal: str, root: Root = ROOT, mode: ModeOption = Mode.FIND_ALL) -> None:
    """Show what is current for a deal, photo by photo, and why its last run failed if it did."""
    with told_errors():
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


@app.command(epilog="Example: segpipe verify spring-lot")
def verify(
    deal: Annotated[str | None, typer.Argument(help="The deal; all when none is named.")] = None,
    root: Root = ROOT,
) -> None:
    """Compare every promoted file with the size and sha256 that were recorded for it."""
    with told_errors():
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


@app.command(epilog="Example: segpipe versions spring-lot")
def versions(deal: str, root: Root = ROOT) -> None:
    """List the kept generations of a deal, to roll back to."""
    with told_errors():
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


@app.command(epilog="Example: segpipe rollback spring-lot dedup 3f2a91c0")
def rollback(
    deal: str,
    asset: str,
    run_id: Annotated[str, typer.Argument(help="As in 'segpipe versions', or how it begins.")],
    root: Root = ROOT,
    mode: ModeOption = Mode.FIND_ALL,
) -> None:
    """Make an older version of an asset current again; the newer one stays available."""
    with told_errors():
        promotion = DealStore(root).rollback(deal, mode, asset, run_id)
        held = promotion.commit.assets[asset]
        generation = promotion.commit.generation
        out.print(f"{deal}: {asset} is {held.version} again, generation {generation}")


@app.command(epilog="Example: segpipe sweep --dry-run")
def sweep(
    root: Root = ROOT,
    min_age_hours: Annotated[
        float, typer.Option(min=0, help="Keep what is younger; longer than any run takes.")
    ] = 24.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, only tell.")] = False,
) -> None:
    """Remove what killed runs left behind, and generations beyond the kept ones."""
    with told_errors():
        report = DealStore(root).sweep(min_age_s=min_age_hours * _SECONDS_PER_HOUR, dry_run=dry_run)
        out.print(
            f"{'would remove' if dry_run else 'removed'} {report.versions} versions, "
            f"{report.commits} commits and {report.files} other files: {report.bytes:,} bytes"
        )
        for place in report.skipped:
            err.print(f"left alone, as it cannot be read: {place}", style="red", soft_wrap=True)
        if report.skipped:
            raise typer.Exit(1)


@app.command(epilog="Example: segpipe costs spring-lot")
def costs(
    deal: Annotated[str | None, typer.Argument(help="The deal; all when none is named.")] = None,
    root: Root = ROOT,
) -> None:
    """Show what paid calls have cost, run by run and deal by deal."""
    with told_errors():
        spent = [cost for cost in read_costs(root / LEDGER_FOLDER) if deal in {None, cost.deal}]
        out.print(costs_table(spent) if spent else "no paid call has been made")


@app.command("export", epilog="Example: segpipe export --format coco --out goods.json")
@functools.wraps(export)
def _export(**options: Any) -> None:
    with told_errors():
        export(**options)


@app.command("serve", epilog="Example: segpipe serve --model sam3 --checkpoint weights/sam3")
@functools.wraps(serve)
def _serve(**options: Any) -> None:
    with told_errors():
        serve(**options)


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


def _files(photo: Path) -> list[Path]:
    if not photo.is_dir():
        return [photo]
    return sorted(file for file in photo.iterdir() if not is_ignored(file.name))


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


def main() -> None:
    """The console script."""
    app()

"""The command that sets two settings, or two generations, side by side on a sample of photos."""

import asyncio
import re
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer
from rich.console import Console

from segpipe.cli.compare_facts import ComparisonFacts
from segpipe.cli.console import (
    Column,
    Listing,
    print_json,
    print_listings,
    progress_bars,
    say,
    warn,
)
from segpipe.cli.options import ROOT, Json, ModeOption, Root, existing, existing_root
from segpipe.cli.try_command import read_settings
from segpipe.errors import ConfigError, EmptyDealError
from segpipe.flow.compare import PhotoComparison, SampledPhoto, compare, sample_photos
from segpipe.flow.compare_report import (
    ComparisonTotals,
    by_disagreement,
    facts_of,
    report_page,
    rows_of,
    totals_of,
)
from segpipe.flow.compare_sides import GenerationSide, SettingsSide, Side
from segpipe.flow.photo import PhotoSettings
from segpipe.flow.saved_settings import SavedSettings, read_saved
from segpipe.prompt import Mode
from segpipe.store.shared_data import kept_data
from segpipe.store.store import DealStore

_GENERATION = re.compile(r"current(?:-(\d+))?")
_SAVED = re.compile(r"saved(?::(\d+))?")
_SIDES = (
    "a YAML file of settings; 'saved', or 'saved:7' for a generation of them; 'defaults'; "
    "'current' for what is promoted, or 'current-1' for the generation before"
)
_COLUMNS = (Column(""), Column("A", is_number=True), Column("B", is_number=True))


def compare_sides(
    a: Annotated[str, typer.Option("--a", help=f"The one side: {_SIDES}.")],
    b: Annotated[str, typer.Option("--b", help="The other, in the same forms.")],
    deals: Annotated[
        list[str] | None, typer.Argument(help="The deals; all when none is named.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=1, help="How many photos: of each kind as many as its part is.")
    ] = 50,
    seed: Annotated[int, typer.Option(help="Of the choice: the same takes the same photos.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="A folder for the report and the table; 'comparison' when left out."),
    ] = None,
    mode: ModeOption = Mode.FIND_ALL,
    root: Root = ROOT,
    as_json: Json = False,
) -> None:
    """Compare settings, or what deals had before and have now, on a sample of photos.

    Nothing is promoted. Answers of paid segmenters are kept: what was answered once is free, also
    when the command is stopped and called again.
    """
    store = existing_root(root)
    named = [existing(store, deal) for deal in deals or ()]
    photos = sample_photos(store, mode, sample, deals=named, seed=seed)
    if not photos:
        raise EmptyDealError("there are no photos to compare: add some with 'segpipe add'")
    sides = [_side(name, option, store, mode) for name, option in ((a, "--a"), (b, "--b"))]
    folder = out or Path("comparison")
    compared = asyncio.run(_compare(store, mode, photos, (sides[0], sides[1])))
    totals = totals_of(compared)
    names = (sides[0].name, sides[1].name)
    report, table = _write(folder, names, totals, compared)
    failed = [_named(photo) for photo in compared if not photo.is_whole]
    if as_json:
        told = ComparisonFacts(*names, mode.value, totals, tuple(failed), str(report), str(table))
        print_json(told)
    else:
        rows = [*facts_of(totals)]
        print_listings(Listing(_COLUMNS, rows, title=f"A: {names[0]}, B: {names[1]}"))
        both = f"{totals.matched} in both, {totals.only_a} only in A, {totals.only_b} only in B"
        say(f"{both}: see {report}")
    for name in failed:
        warn(name)
    if failed:
        raise typer.Exit(1)


def _named(photo: PhotoComparison) -> str:
    said = [
        f"{side}: {fault}" for side, fault in (("A", photo.a.fault), ("B", photo.b.fault)) if fault
    ]
    return f"{photo.sampled.deal}, {photo.sampled.photo.name}: {'; '.join(said)}"


def _side(text: str, option: str, store: DealStore, mode: Mode) -> Side:
    """What somebody calls a side."""
    if generation := _GENERATION.fullmatch(text):
        return GenerationSide(store, mode, int(generation[1] or 0))
    if text == "defaults":
        settings = SavedSettings()
    elif saved := _SAVED.fullmatch(text):
        settings = read_saved(store, int(saved[1]) if saved[1] else None).settings
    elif Path(text).is_file():
        settings = read_settings(Path(text))[1]
    else:
        raise ConfigError(f"{text!r} is none: give {_SIDES}", field=option)
    run_id = f"compare-{datetime.now(UTC):%Y-%m-%d}"
    return SettingsSide(text, settings, store, mode, kept_data(store.root), run_id)


async def _compare(
    store: DealStore, mode: Mode, photos: list[SampledPhoto], sides: tuple[Side, Side]
) -> list[PhotoComparison]:
    settings = PhotoSettings(max_megapixels=max(side.max_megapixels for side in sides))
    compared = []
    try:
        with progress_bars(Console(stderr=True)) as bars:
            task = bars.add_task("photos", total=len(photos), note="")
            async with aclosing(compare(store, mode, photos, *sides, settings)) as answers:
                async for photo in answers:
                    compared.append(photo)
                    bars.update(task, advance=1, note=photo.sampled.deal)
    finally:
        for side in sides:
            await side.aclose()
    return compared


def _write(
    folder: Path,
    names: tuple[str, str],
    totals: ComparisonTotals,
    compared: list[PhotoComparison],
) -> tuple[Path, Path]:
    report, table = folder / "comparison.html", folder / "comparison.parquet"
    rows = rows_of(compared)
    pictures = [photo.picture for photo in by_disagreement(compared)]
    page = report_page(names, totals, rows.to_pylist(), pictures)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        report.write_text(page, encoding="utf-8")
        pq.write_table(rows, table)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}", field="--out") from error
    return report, table

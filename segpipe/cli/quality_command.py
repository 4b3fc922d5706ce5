"""The command that measures deals and tells whether the last ones differ from those before."""

from datetime import datetime

from segpipe.cli.console import (
    Column,
    Listing,
    counted,
    print_json,
    print_listings,
    say,
    warn,
)
from segpipe.cli.options import ROOT, Json, ModeOption, Root, existing_root
from segpipe.cli.quality_facts import QualityFacts
from segpipe.flow.drift import find_drift
from segpipe.flow.quality import DealQuality, measure_new, read_quality
from segpipe.prompt import Mode

_LAST_DEALS = 20
_TIME_FORMAT = "%Y-%m-%d %H:%M"
_COLUMNS = (
    Column("made"),
    Column("deal"),
    Column("photos", is_number=True),
    Column("items a photo", is_number=True),
    Column("empty", is_number=True),
    Column("score", is_number=True),
    Column("refined", is_number=True),
)


def quality(root: Root = ROOT, mode: ModeOption = Mode.FIND_ALL, as_json: Json = False) -> None:
    """Measure the deals that are new, and tell whether the last ones differ from those before."""
    store = existing_root(root)
    measured = measure_new(store, mode, lambda deal, why: warn(f"{deal} is not measured: {why}"))
    rows = read_quality(store, mode)
    drifts = find_drift(rows)
    if as_json:
        print_json(QualityFacts(mode.value, measured, tuple(rows), drifts))
        return
    if not rows:
        say("nothing is promoted yet: there is nothing to measure")
        return
    print_listings(Listing(_COLUMNS, [_row(row) for row in rows[-_LAST_DEALS:]]))
    for drift in drifts:
        warn(f"{drift}: {drift.deals[-1]} to {drift.deals[0]}")
    say(f"{counted(measured, 'deal')} measured now, {len(rows)} in all")


def _row(row: DealQuality) -> tuple[str | int | None, ...]:
    return (
        _moment(row.made_at),
        row.deal,
        row.photos,
        _number(row.items_per_photo),
        _number(row.empty_ratio),
        _number(row.score_p50),
        _number(row.accepted_ratio),
    )


def _moment(time: datetime) -> str:
    return time.astimezone().strftime(_TIME_FORMAT)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"

"""The numbers of deals over time as charts: points in a picture, for a template to draw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from segpipe.flow.drift import METRICS, Drift
from segpipe.flow.quality import DealQuality

WIDTH, HEIGHT = 640, 150
"""The size of a chart, in its own units."""
_PAD = 8


@dataclass(frozen=True, slots=True)
class Point:
    """One generation of a deal, where it is in the chart."""

    x: float
    y: float
    deal: str
    generation: int
    value: float


@dataclass(frozen=True, slots=True)
class SettingsMark:
    """Where deals begin to be made with another generation of the saved settings."""

    x: float
    generation: int


@dataclass(frozen=True, slots=True)
class Chart:
    """One number of many deals, the earliest at the left.

    Attributes:
        metric: Its field.
        title: What it is called.
        points: The deals that have it.
        low: The least value, at the bottom.
        high: The largest value, at the top.
        latest: The last value.
        marks: Where settings change.
        drift: What is said of the last deals; None when they are like those before.
    """

    metric: str
    title: str
    points: tuple[Point, ...]
    low: float
    high: float
    latest: float
    marks: tuple[SettingsMark, ...]
    drift: Drift | None


def charts_of(rows: Sequence[DealQuality], drifts: Sequence[Drift]) -> list[Chart]:
    """A chart of each number that is watched, those that have drifted first.

    Args:
        rows: What was measured, the earliest first.
        drifts: The numbers that have changed.
    """
    said = {drift.metric: drift for drift in drifts}
    marks = tuple(_marks(rows))
    charts = [
        chart for metric in METRICS if (chart := _chart(metric, rows, marks, said.get(metric)))
    ]
    return sorted(charts, key=lambda chart: chart.drift is None)


def _chart(
    metric: str, rows: Sequence[DealQuality], marks: tuple[SettingsMark, ...], drift: Drift | None
) -> Chart | None:
    values = [getattr(row, metric) for row in rows]
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    points = tuple(
        Point(_x(place, len(rows)), _y(value, low, high), row.deal, row.generation, value)
        for place, (row, value) in enumerate(zip(rows, values, strict=True))
        if value is not None
    )
    return Chart(metric, METRICS[metric], points, low, high, known[-1], marks, drift)


def _marks(rows: Sequence[DealQuality]) -> Iterator[SettingsMark]:
    for place, (before, row) in enumerate(pairwise(rows), start=1):
        now = row.settings_generation
        if now is not None and now != before.settings_generation:
            yield SettingsMark(_x(place, len(rows)), now)


def _x(place: int, count: int) -> float:
    return round(_PAD + place / max(count - 1, 1) * (WIDTH - 2 * _PAD), 1)


def _y(value: float, low: float, high: float) -> float:
    part = (value - low) / (high - low) if high > low else 0.5
    return round(HEIGHT - _PAD - part * (HEIGHT - 2 * _PAD), 1)

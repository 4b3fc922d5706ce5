"""Whether what runs make has changed: the last deals beside those before them.

A metric has drifted when the population stability index says that its values lie elsewhere, and
that is more than chance by at least one of three tests. With some dozens of deals the index alone
is mostly noise: without a change it is about (bins - 1) (1 / n + 1 / m), and follows a chi-squared
distribution of that scale (Yurdakul and Naranjo, "Statistical properties of the population
stability index", 2020). The two-sample Kolmogorov-Smirnov test sees any change of a distribution,
Welch's t test a shift of the mean that is smaller than what the others see.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from segpipe.flow.quality import DealQuality
from segpipe.settings import Settings

Numbers = NDArray[np.float64]

METRICS = {
    "items_per_photo": "items a photo",
    "empty_ratio": "photos without an item",
    "rejected_ratio": "detections that dedup rejected",
    "score_p10": "score, lowest tenth",
    "score_p50": "score, median",
    "score_p90": "score, highest tenth",
    "accepted_ratio": "masks that the refiner was trusted with",
    "refined_iou": "coarse to refined mask, IoU",
    "item_size": "size of an item in its photo",
}
"""What is watched, and what it is called."""
_TESTS = 3
_HALF = 0.5  # of a deal in each bin, so that an empty one has a logarithm


class DriftSettings(Settings):
    """When what runs make counts as changed."""

    window_deals: int = Field(
        default=30, ge=5, le=1000, description="How many of the last deals are looked at."
    )
    reference_deals: int = Field(
        default=200,
        ge=10,
        le=10_000,
        description="How many of the deals before them they are compared with, at most.",
    )
    min_reference_deals: int = Field(
        default=60, ge=10, le=10_000, description="With fewer before them nothing is said."
    )
    min_psi: float = Field(
        default=0.1,
        ge=0,
        description="The population stability index from which a change matters; the usual words "
        "are moderate from 0.1 and large from 0.25.",
    )
    max_p_value: float = Field(
        default=0.003,
        gt=0,
        lt=1,
        description="How rarely chance alone may flag the last deals, over all metrics and tests.",
    )
    bins: int = Field(
        default=5, ge=2, le=20, description="Of the index: parts of the reference of equal size."
    )


class Comparison(NamedTuple):
    """Two samples of a metric.

    Attributes:
        psi: The population stability index, from 0.
        ks: The Kolmogorov-Smirnov statistic, 0 to 1.
        p_value: The smallest p value of the three tests, times their number: at most 1.
    """

    psi: float
    ks: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Drift:
    """A metric that has changed.

    Attributes:
        metric: Its field of :class:`DealQuality`.
        before: Its mean over the reference.
        now: Its mean over the last deals.
        psi: The population stability index.
        ks: The Kolmogorov-Smirnov statistic.
        p_value: How likely chance alone does as much, over all metrics and tests.
        deals: The last deals, the latest first.
    """

    metric: str
    before: float
    now: float
    psi: float
    ks: float
    p_value: float
    deals: tuple[str, ...]

    def __str__(self) -> str:
        """In words.

        >>> print(Drift("score_p50", 0.9, 0.8, 1.25, 0.9, 0.0001, ("lot-2", "lot-1")))
        score, median: 0.8 in the last 2 deals, 0.9 before (PSI 1.25, KS 0.90)
        """
        return (
            f"{METRICS[self.metric]}: {self.now:.3g} in the last {len(self.deals)} deals, "
            f"{self.before:.3g} before (PSI {self.psi:.2f}, KS {self.ks:.2f})"
        )


def find_drift(
    rows: Sequence[DealQuality], settings: DriftSettings | None = None
) -> tuple[Drift, ...]:
    """The metrics in which the last deals differ from those before them, in the order of METRICS.

    Args:
        rows: What was measured, the earliest first.
        settings: When a change counts; the defaults for None.
    """
    settings = settings or DriftSettings()
    latest = rows[-settings.window_deals :]
    before = rows[: -settings.window_deals][-settings.reference_deals :]
    found = []
    for metric in METRICS:
        old, new = _values(before, metric), _values(latest, metric)
        if len(new) < settings.window_deals or len(old) < settings.min_reference_deals:
            continue
        told = compare_samples(old, new, bins=settings.bins)
        p_value = min(1.0, told.p_value * len(METRICS))
        if told.psi >= settings.min_psi and p_value < settings.max_p_value:
            deals = tuple(row.deal for row in reversed(latest))
            means = float(old.mean()), float(new.mean())
            found.append(Drift(metric, *means, told.psi, told.ks, p_value, deals))
    return tuple(found)


def mean_of(rows: Sequence[DealQuality], metric: str) -> float | None:
    """The mean of a metric over the deals that have it; None when none has."""
    values = _values(rows, metric)
    return float(values.mean()) if len(values) else None


def compare_samples(before: Numbers, now: Numbers, *, bins: int) -> Comparison:
    """How differently two samples lie.

    >>> same = np.arange(100.0)
    >>> compare_samples(same, same, bins=5).p_value
    1.0
    >>> compare_samples(same, same + 100, bins=5).ks
    1.0

    Args:
        before: The reference, (m,); at least two values.
        now: The other one, (n,); at least two values.
        bins: Of the index; fewer where values repeat.
    """
    # Half a second, which no other command has to wait for.
    from scipy import stats  # noqa: PLC0415

    if np.ptp(before) == 0 and np.ptp(now) == 0 and before[0] == now[0]:
        return Comparison(0.0, 0.0, 1.0)
    edges = np.unique(np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1]))
    old, new = _parts(before, edges), _parts(now, edges)
    psi = float(np.sum((old - new) * np.log(old / new)))
    by_psi = stats.chi2.sf(psi / (1 / len(before) + 1 / len(now)), len(edges))
    tested = stats.ks_2samp(before, now, method="asymp")
    by_mean = _by_mean(stats.ttest_ind_from_stats, before, now)
    p_value = min(float(by_psi), float(tested.pvalue), by_mean)
    return Comparison(psi, float(tested.statistic), min(1.0, p_value * _TESTS))


def _by_mean(test: Callable[..., object], before: Numbers, now: Numbers) -> float:
    """The p value of Welch's test; a sample without spread is taken to have a little."""
    spread = max(float(np.std(before)), float(np.std(now)))
    least = spread / len(before)
    old, new = (max(float(np.std(each, ddof=1)), least) for each in (before, now))
    told = test(before.mean(), old, len(before), now.mean(), new, len(now), equal_var=False)
    return float(told.pvalue) if spread else 1.0  # type: ignore[attr-defined]


def _parts(values: Numbers, edges: Numbers) -> Numbers:
    """The part of the values between each two edges, none of which is nothing."""
    places = np.searchsorted(edges, values, side="right")
    counts = np.bincount(places, minlength=len(edges) + 1) + _HALF
    return np.asarray(counts / counts.sum())


def _values(rows: Sequence[DealQuality], metric: str) -> Numbers:
    return np.fromiter(_numbers(rows, metric), np.float64)


def _numbers(rows: Sequence[DealQuality], metric: str) -> Iterator[float]:
    for row in rows:
        value = getattr(row, metric)
        if value is not None:
            yield float(value)

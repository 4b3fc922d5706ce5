"""What ``segpipe compare`` tells."""

from dataclasses import dataclass

from segpipe.flow.compare_report import ComparisonTotals, SideScore  # noqa: F401 - here are all


@dataclass(frozen=True, slots=True)
class ComparisonFacts:
    """``segpipe compare``; ``report`` is a page of HTML, ``table`` a Parquet file."""

    a: str
    b: str
    mode: str
    totals: ComparisonTotals
    failed: tuple[str, ...]
    report: str
    table: str

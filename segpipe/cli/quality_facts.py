"""What ``segpipe quality`` tells: the rows and changes of :mod:`segpipe.flow`, as they are."""

from dataclasses import dataclass

from segpipe.flow.drift import Drift
from segpipe.flow.quality import DealQuality


@dataclass(frozen=True, slots=True)
class QualityFacts:
    """``segpipe quality``; ``measured`` counts the deals that were measured by this call."""

    mode: str
    measured: int
    deals: tuple[DealQuality, ...]
    drifts: tuple[Drift, ...]

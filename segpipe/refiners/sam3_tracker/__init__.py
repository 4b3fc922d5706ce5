"""Sharpen coarse masks by SAM 3's own tracker; torch is imported when one is loaded."""

from segpipe.refiners.sam3_tracker.config import Sam3TrackerConfig
from segpipe.refiners.sam3_tracker.refiner import Sam3TrackerRefiner

__all__ = ["Sam3TrackerConfig", "Sam3TrackerRefiner"]

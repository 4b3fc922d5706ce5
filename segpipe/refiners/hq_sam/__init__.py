"""Sharpen coarse masks by HQ-SAM; torch is imported when one is loaded, not before."""

from segpipe.refiners.hq_sam.config import HqSamConfig
from segpipe.refiners.hq_sam.refiner import HqSamRefiner

__all__ = ["HqSamConfig", "HqSamRefiner"]

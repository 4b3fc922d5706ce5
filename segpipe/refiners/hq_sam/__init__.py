"""Sharpen coarse masks by HQ-SAM.

A refinement reads: item (a mask and its guards) -> prompts -> views (onto the model's square) ->
decoder -> loop -> cleaning. ``decoder.py`` says what a model has to offer; torch is imported when
one is loaded, not before.
"""

from segpipe.refiners.hq_sam.config import HqSamConfig
from segpipe.refiners.hq_sam.refiner import HqSamRefiner

__all__ = ["HqSamConfig", "HqSamRefiner"]

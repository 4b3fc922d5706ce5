"""SAM 3 in this process.

A call reads: prompts -> model (batches, kept features) -> a runtime -> masks. ``runtime.py`` says
what a library has to offer; torch is imported when a model is loaded, not before.
"""

from segpipe.segmenters.sam3.local.local_model import LocalModel
from segpipe.segmenters.sam3.local.local_segmenter import LocalSegmenter, load_model
from segpipe.segmenters.sam3.local.local_settings import EverythingSettings, LocalConfig

__all__ = ["EverythingSettings", "LocalConfig", "LocalModel", "LocalSegmenter", "load_model"]

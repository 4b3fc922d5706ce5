"""Our own inference service as a segmenter."""

from segpipe.segmenters.sam3.internal.config import InternalConfig
from segpipe.segmenters.sam3.internal.segmenter import InternalSegmenter

__all__ = ["InternalConfig", "InternalSegmenter"]

"""Our own inference service as a segmenter."""

from segpipe.segmenters.sam3.service.service_segmenter import InternalSegmenter
from segpipe.segmenters.sam3.service.service_settings import InternalConfig

__all__ = ["InternalConfig", "InternalSegmenter"]

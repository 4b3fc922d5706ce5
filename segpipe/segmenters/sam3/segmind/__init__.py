"""SAM 3 by Segmind's API.

It reads: question (image and prompt to JSON) -> api (the calls, with the ledger beside it) ->
answer (what comes back to detections, by finds, masks and pictures) -> matching (which detection
is for which box). box_by_box goes around a cache.
"""

from segpipe.segmenters.sam3.segmind.segmind_boxes import BoxByBox
from segpipe.segmenters.sam3.segmind.segmind_segmenter import SegmindSegmenter
from segpipe.segmenters.sam3.segmind.segmind_settings import SegmindConfig

__all__ = ["BoxByBox", "SegmindConfig", "SegmindSegmenter"]

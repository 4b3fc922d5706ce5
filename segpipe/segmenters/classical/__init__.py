"""The embedded segmenter: classical vision, no weights.

``find_all`` reads: background -> foreground -> split -> items -> find_all. ``at_points`` starts
the same way. ``exemplars`` goes on from the items: claims -> appearance -> exemplars.
``inside_box`` stands alone.
"""

from segpipe.segmenters.classical.config import ClassicalConfig
from segpipe.segmenters.classical.segmenter import ClassicalSegmenter

__all__ = ["ClassicalConfig", "ClassicalSegmenter"]

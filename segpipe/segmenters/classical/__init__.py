"""The embedded segmenter: classical vision, no weights.

Every item (``item_search``) is found by the table's colour (``table_colour``), what is unlike it
(``goods_mask``), where touching items part (``touching_items``), and which stripes are of one item
(``striped_goods``). ``item_at_points`` starts the
same way; ``exemplar_search`` goes on from the items; ``item_in_box`` stands alone. All work on the
arrays of ``lab_planes``.
"""

from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.segmenters.classical.classical_settings import ClassicalConfig

__all__ = ["ClassicalConfig", "ClassicalSegmenter"]

"""How faults of SAM 3 in this process are told."""

from segpipe.errors import SegmenterError
from segpipe.models.faults import Faults

FAULTS = Faults(
    model="SAM 3",
    remedy="lower batch_size, kept_images or everything.points_per_batch",
    error=SegmenterError,
)

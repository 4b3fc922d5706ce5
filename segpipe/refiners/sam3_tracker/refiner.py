"""The refiner by SAM 3's tracker."""

from functools import partial
from typing import TYPE_CHECKING

from segpipe.models.faults import imports_of
from segpipe.refiners.iterative.refiner import LoopRefiner
from segpipe.refiners.sam3_tracker.config import Sam3TrackerConfig

if TYPE_CHECKING:
    from segpipe.refiners.sam3_tracker.model import TrackerModel


class Sam3TrackerRefiner(LoopRefiner):
    """Sharpens masks by SAM 3's tracker; the weights are loaded when the first masks come."""

    id = "sam3_tracker"

    def __init__(self, config: Sam3TrackerConfig) -> None:
        super().__init__(config, partial(_load, config))


def _load(config: Sam3TrackerConfig) -> "TrackerModel":
    with imports_of("SAM 3", "segpipe[local]", field="kind"):
        from segpipe.refiners.sam3_tracker.model import TrackerModel  # noqa: PLC0415
    return TrackerModel.load(config)

"""The refiner by HQ-SAM."""

from functools import partial
from typing import TYPE_CHECKING

from segpipe.models.faults import imports_of
from segpipe.refiners.hq_sam.config import HqSamConfig
from segpipe.refiners.iterative.refiner import LoopRefiner

if TYPE_CHECKING:
    from segpipe.refiners.hq_sam.model import HqSamModel


class HqSamRefiner(LoopRefiner):
    """Sharpens masks by HQ-SAM; the weights are loaded when the first masks come."""

    id = "hq_sam"

    def __init__(self, config: HqSamConfig) -> None:
        super().__init__(config, partial(_load, config))


def _load(config: HqSamConfig) -> "HqSamModel":
    with imports_of("HQ-SAM", "segpipe[local]", field="kind"):
        from segpipe.refiners.hq_sam.model import HqSamModel  # noqa: PLC0415
    return HqSamModel.load(config)

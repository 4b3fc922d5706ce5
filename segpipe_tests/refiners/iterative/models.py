"""The models that the loop can ask, tiny and of random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from segpipe.refiners.hq_sam import HqSamConfig, HqSamRefiner
from segpipe.refiners.hq_sam.model import HqSamModel
from segpipe.refiners.iterative.refiner import LoopRefiner
from segpipe.refiners.sam3_tracker import Sam3TrackerConfig, Sam3TrackerRefiner
from segpipe.refiners.sam3_tracker.model import TrackerModel


class Kind(NamedTuple):
    """One kind of model: its settings, its refiner, how it is loaded, and where its weights lie."""

    config: Callable[..., Any]
    refiner: Callable[[Any], LoopRefiner]
    load: Callable[[Any], Any]
    fixture: str


KINDS = {
    "hq_sam": Kind(HqSamConfig, HqSamRefiner, HqSamModel.load, "tiny_hq_sam"),
    "sam3_tracker": Kind(Sam3TrackerConfig, Sam3TrackerRefiner, TrackerModel.load, "tiny_sam3"),
}


def config_of(kind: Kind, checkpoint: Path | str, **settings: Any) -> Any:
    return kind.config(checkpoint=str(checkpoint), device="cpu", **settings)

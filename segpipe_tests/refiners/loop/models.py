"""The models that the loop can ask, tiny and of random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from segpipe.refiners.loop.hq_sam import HqSamModel
from segpipe.refiners.loop.loop_refiner import HqSamRefiner, LoopRefiner, Sam3TrackerRefiner
from segpipe.refiners.loop.loop_settings import HqSamConfig, Sam3TrackerConfig
from segpipe.refiners.loop.sam3_tracker import TrackerModel


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

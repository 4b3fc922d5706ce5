"""Refiners by configuration: the only place that maps a kind to a class."""

from typing import Annotated

from pydantic import Field

from segpipe.refiners.grabcut import GrabCutConfig, GrabCutRefiner
from segpipe.refiners.hq_sam import HqSamConfig, HqSamRefiner
from segpipe.refiners.none import NoneConfig, NoneRefiner
from segpipe.refiners.refiner import Refiner
from segpipe.refiners.sam3_tracker import Sam3TrackerConfig, Sam3TrackerRefiner

AnyRefinerConfig = NoneConfig | GrabCutConfig | HqSamConfig | Sam3TrackerConfig
RefinerConfig = Annotated[AnyRefinerConfig, Field(discriminator="kind")]
"""Every refiner that can be configured, told apart by ``kind``."""


def build_refiner(config: AnyRefinerConfig) -> Refiner:
    """Build the refiner that a configuration describes."""
    match config:
        case NoneConfig():
            return NoneRefiner()
        case GrabCutConfig():
            return GrabCutRefiner(config)
        case HqSamConfig():
            return HqSamRefiner(config)
        case Sam3TrackerConfig():
            return Sam3TrackerRefiner(config)

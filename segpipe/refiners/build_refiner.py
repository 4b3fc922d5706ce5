"""Refiners by configuration: the only place that maps a kind to a class."""

from typing import Annotated

from pydantic import Field

from segpipe.refiners.grabcut import GrabCutConfig, GrabCutRefiner
from segpipe.refiners.loop.loop_refiner import HqSamRefiner, Sam3TrackerRefiner
from segpipe.refiners.loop.loop_settings import HqSamConfig, Sam3TrackerConfig
from segpipe.refiners.refiner import NoneConfig, NoneRefiner, Refiner

AnyRefinerConfig = NoneConfig | GrabCutConfig | HqSamConfig | Sam3TrackerConfig
RefinerConfig = Annotated[AnyRefinerConfig, Field(discriminator="kind")]
"""Every refiner that can be configured, told apart by ``kind``."""


def build_refiner(config: AnyRefinerConfig) -> Refiner:
    """Build the refiner that a configuration describes.

    >>> build_refiner(GrabCutConfig()).id
    'grabcut'
    """
    match config:
        case NoneConfig():
            return NoneRefiner()
        case GrabCutConfig():
            return GrabCutRefiner(config)
        case HqSamConfig():
            return HqSamRefiner(config)
        case Sam3TrackerConfig():
            return Sam3TrackerRefiner(config)

"""Settings of the refiner by SAM 3's tracker."""

from typing import Literal

from pydantic import Field

from segpipe.models.settings import CHECKPOINT, ModelSettings
from segpipe.refiners.iterative.settings import LoopSettings


class Sam3TrackerConfig(ModelSettings, LoopSettings):
    """Refine each mask by asking SAM 3's tracker about it again and again.

    It takes the same weights as the segmenter, so a user of SAM 3 needs no second model.
    """

    kind: Literal["sam3_tracker"] = "sam3_tracker"
    checkpoint: str = Field(default="facebook/sam3", min_length=1, description=CHECKPOINT)

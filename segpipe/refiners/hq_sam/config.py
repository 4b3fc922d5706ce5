"""Settings of the refiner by HQ-SAM."""

from typing import Literal

from pydantic import Field

from segpipe.models.settings import CHECKPOINT, ModelSettings
from segpipe.refiners.iterative.settings import LoopSettings


class HqSamConfig(ModelSettings, LoopSettings):
    """Refine each mask by asking HQ-SAM about it again and again."""

    kind: Literal["hq_sam"] = "hq_sam"
    checkpoint: str = Field(
        default="syscv-community/sam-hq-vit-large", min_length=1, description=CHECKPOINT
    )

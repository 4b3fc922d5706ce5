"""Settings of the refiners that ask a promptable model about each mask again and again."""

from typing import Literal

from pydantic import ConfigDict, Field

from segpipe.models.checkpoint import CHECKPOINT, ModelSettings
from segpipe.settings import Settings

MEMORY_REMEDY = "lower objects_per_batch and crops_per_batch"
"""What helps when a model runs out of memory in the loop."""


class LoopSettings(Settings):
    """How masks are refined by any model that takes mask prompts.

    The prompts and their defaults are those of SAMRefiner (Y. Lin and others, ICLR 2025,
    https://arxiv.org/abs/2502.06756).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    iterations: int = Field(
        default=6, ge=1, le=50, description="How often the model is asked about a mask at most."
    )
    margin_ratio: float = Field(
        default=0.25,
        ge=0,
        le=2,
        description="How far beyond its box an item's mask may reach, and its crop does, on each "
        "side: a part of the box's width and height.",
    )
    gamma: float = Field(
        default=4.0,
        gt=0,
        description="How quickly the mask prompt grows unsure toward the item's edge.",
    )
    strength: float = Field(
        default=30.0,
        gt=0,
        le=1000,
        description="How sure the mask prompt is of the item's middle, a logit.",
    )
    embed: Literal["image", "crop", "auto"] = Field(
        default="auto",
        description="What the model looks at: the whole image once, the surroundings of each item "
        "(sharper on small items, a pass of the encoder each), or the latter for small items only.",
    )
    small_item_ratio: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="With embed auto: items whose surroundings are shorter than this part of the "
        "image's longer side get a crop of their own.",
    )
    min_iou: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="IoU with the coarse mask, 0 to 1, below which an answer has left the item: "
        "the loop ends with the best so far.",
    )
    min_predicted_iou: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="The coarse mask stays when the model expects less than this IoU of its best "
        "answer.",
    )
    agreement_weight: float = Field(
        default=0.1,
        ge=0,
        description="Of several answers the best has the largest predicted IoU plus this times its "
        "IoU with the coarse mask.",
    )
    max_flaw_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Holes and islands smaller than this part of the item are removed.",
    )
    objects_per_batch: int = Field(
        default=16, ge=1, description="Items that go through the mask decoder together."
    )
    crops_per_batch: int = Field(
        default=4, ge=1, description="Crops that go through the image encoder together."
    )


class HqSamConfig(ModelSettings, LoopSettings):
    """Refine each mask by asking HQ-SAM about it again and again."""

    kind: Literal["hq_sam"] = "hq_sam"
    checkpoint: str = Field(
        default="syscv-community/sam-hq-vit-large", min_length=1, description=CHECKPOINT
    )


class Sam3TrackerConfig(ModelSettings, LoopSettings):
    """Refine each mask by asking SAM 3's tracker about it again and again.

    It takes the same weights as the segmenter, so a user of SAM 3 needs no second model.
    """

    kind: Literal["sam3_tracker"] = "sam3_tracker"
    checkpoint: str = Field(default="facebook/sam3", min_length=1, description=CHECKPOINT)

"""Settings of SAM 3 in this process."""

from typing import ClassVar, Literal

from pydantic import Field

from segpipe.detection import Thresholds
from segpipe.models.checkpoint import CHECKPOINT, ModelSettings
from segpipe.settings import Settings


class EverythingSettings(Settings):
    """How everything is found without a prompt: the model is asked at each point of a grid.

    The filters and their defaults are those of the automatic mask generator of SAM (A. Kirillov
    and others: "Segment Anything", 2023, https://arxiv.org/abs/2304.02643, appendix B).
    """

    operational: ClassVar[frozenset[str]] = frozenset({"points_per_batch"})

    points_per_side: int = Field(
        default=32, ge=1, le=256, description="The grid has this many points along each side."
    )
    pred_iou_thresh: float = Field(
        default=0.88,
        ge=0,
        le=1,
        description="A mask counts when the model itself expects at least this IoU of it.",
    )
    stability_score_thresh: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="A mask counts when it hardly changes as its threshold moves: the IoU of the "
        "masks at both ends.",
    )
    stability_offset: float = Field(
        default=1.0, gt=0, description="How far the threshold moves up and down, in logits."
    )
    box_nms_thresh: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Of two masks whose boxes overlap by more than this IoU, only the better one "
        "is kept.",
    )
    min_area_px: int = Field(
        default=0, ge=0, description="Masks with fewer pixels of the image are left out."
    )
    points_per_batch: int = Field(
        default=16,
        ge=1,
        description="Points (or drawn boxes) that the model is asked about at a time; more is "
        "faster on a large GPU, and takes more of its memory.",
    )


class LocalConfig(ModelSettings):
    """SAM 3 in this process, on the GPU where there is one."""

    operational: ClassVar[frozenset[str]] = frozenset(
        {"batch_size", "batch_wait_ms", "kept_images"}
    )

    kind: Literal["local"] = "local"
    runtime: Literal["transformers", "sam3"] = Field(
        default="transformers",
        description="The library that runs the model: transformers, or Meta's own package sam3, "
        "which needs CUDA.",
    )
    checkpoint: str = Field(default="facebook/sam3", min_length=1, description=CHECKPOINT)
    threshold: float = Field(
        default=0.5, ge=0, le=1, description="Items that score less are left out."
    )
    mask_threshold: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Pixels whose probability is above this belong to an item.",
    )
    max_masks: int = Field(
        default=100, ge=1, description="Items of one photo at most, those with the best scores."
    )
    everything: EverythingSettings = Field(
        default=EverythingSettings(), description="How everything is found without a prompt."
    )
    batch_size: int = Field(
        default=4, ge=1, description="Photos at most in one pass of the vision encoder."
    )
    batch_wait_ms: float = Field(
        default=5.0,
        ge=0,
        description="How long a photo waits for others to share its pass with, in milliseconds.",
    )
    kept_images: int = Field(
        default=8,
        ge=1,
        description="Photos whose features stay in the memory of the device, for further prompts; "
        "one takes 70 MB in bfloat16 and 140 MB in float32.",
    )

    @property
    def thresholds(self) -> Thresholds:
        """What counts as found."""
        return Thresholds(self.threshold, self.mask_threshold, self.max_masks)

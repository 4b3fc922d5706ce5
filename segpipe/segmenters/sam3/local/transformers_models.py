"""The parts of SAM 3 as transformers has them, loaded and made to run without torchvision."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.sam3 import modeling_sam3
from transformers.models.sam3.configuration_sam3 import Sam3Config

from segpipe.models.checkpoint import read_config
from segpipe.models.sam3 import SAM3, load_tracker
from segpipe.models.torch_model import damaged, load_pretrained
from segpipe.segmenters.sam3.local.roi_align import roi_align

if not hasattr(modeling_sam3, "torchvision"):
    # Sam3's geometry encoder calls torchvision.ops.roi_align by this name of its module, which is
    # there when torchvision is installed. Nothing else of torchvision is called while it computes.
    modeling_sam3.torchvision = SimpleNamespace(ops=SimpleNamespace(roi_align=roi_align))


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """What a checkpoint holds.

    Attributes:
        detector: ``Sam3Model``.
        tracker: ``Sam3TrackerModel``.
        tokenizer: ``CLIPTokenizer``.
    """

    detector: Any
    tracker: Any
    tokenizer: Any


def load_models(folder: Path, dtype: torch.dtype) -> Models:
    """Load everything from a folder, onto the CPU.

    Raises:
        CheckpointError: Something is missing, damaged, a pickle, or of another model.
    """
    settings = read_config(folder, SAM3)
    try:
        config = Sam3Config(**settings["detector_config"])
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    # Each library complains of nonsense in its own way; all mean the same here.
    except Exception as error:
        raise damaged(folder, error) from error
    whole = SAM3.example
    return Models(
        load_pretrained(modeling_sam3.Sam3Model, folder, dtype, whole=whole, config=config),
        load_tracker(folder, dtype, SAM3),
        tokenizer,
    )

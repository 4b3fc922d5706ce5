"""SAM 3's tracker as transformers has it: the part that answers points, boxes and masks."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.models.sam3_tracker.configuration_sam3_tracker import Sam3TrackerConfig
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

from segpipe.models.checkpoint import Contents, read_config
from segpipe.models.pretrained import damaged, load_pretrained

_PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")


def load_tracker(folder: Path, dtype: torch.dtype, contents: Contents) -> Any:
    """The ``Sam3TrackerModel`` of a checkpoint of SAM 3, onto the CPU.

    Raises:
        CheckpointError: Something is missing, damaged, a pickle, or of another model.
    """
    settings = read_config(folder, contents)
    try:
        config = Sam3TrackerConfig(**{name: settings["tracker_config"][name] for name in _PARTS})
    # Each library complains of nonsense in its own way; all mean the same here.
    except Exception as error:
        raise damaged(folder, error) from error
    return load_pretrained(Sam3TrackerModel, folder, dtype, whole=contents.example, config=config)


def tracker_levels(tracker: Any, hidden: Tensor) -> list[Tensor]:
    """The levels that the tracker's mask decoder takes, of a batch of backbone outputs.

    transformers' Sam3TrackerModel adds the embedding for "no memory" to the last level of the
    neck. The published checkpoint has one level more than the decoder takes, and there that
    would be lost. In Meta's code, and in transformers' Sam3VideoModel, the surplus level is
    dropped first; so it is here.

    Args:
        tracker: A ``Sam3TrackerModel``.
        hidden: Shape (n, cells, channels), its backbone's ``last_hidden_state``.

    Returns:
        The levels, each (n, channels, rows, columns), the finest first.
    """
    levels = len(tracker.backbone_feature_sizes)
    rows, columns = tracker.prompt_encoder.image_embedding_size
    plane = hidden.transpose(1, 2).reshape(len(hidden), -1, rows, columns)
    maps = [layer(plane) for layer in tracker.vision_encoder.neck.fpn_layers[:levels]]
    maps[0] = tracker.mask_decoder.conv_s0(maps[0])
    maps[1] = tracker.mask_decoder.conv_s1(maps[1])
    maps[-1] = maps[-1] + tracker.no_memory_embedding.view(1, -1, 1, 1)
    return maps

"""What segmenters and refiners share of SAM 3: its checkpoint, its square, its tracker."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from transformers.models.sam3_tracker.configuration_sam3_tracker import Sam3TrackerConfig
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

from segpipe.models.checkpoint import Contents, read_config
from segpipe.models.torch_model import damaged, load_pretrained
from segpipe.vision.image import RgbImage

_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_TYPE, _REPOSITORY = "sam3_video", "facebook/sam3"
_REMARK = "detector and tracker in one"

SAM3 = Contents(_TYPE, _REPOSITORY, files=(_TOKENIZERS,), remark=_REMARK)
"""Text detector and tracker over one vision backbone."""
SAM3_TRACKER = Contents(_TYPE, _REPOSITORY, remark=_REMARK)
"""The same, where nothing reads a text."""


_MIDDLE = 127.5
"""Mean and standard deviation of the model's input, 0 to 255: .5 each for all three channels
(``IMAGENET_STANDARD_MEAN`` in transformers' Sam3ImageProcessor)."""


def resize(image: RgbImage, side: int) -> Tensor:
    """Scale an image to a square whatever its shape, (3, side, side) uint8 on the CPU.

    Bilinear with antialiasing, on whole numbers: what transformers' Sam3ImageProcessor has
    torchvision do, and what Pillow calls BILINEAR.

    Args:
        image: Shape (h, w, 3) uint8.
        side: Pixels.
    """
    # torch warns of memory that it could write to and must not.
    pixels: Any = torch.from_numpy(np.require(image, requirements=["C", "W"]))
    channels_first = pixels.permute(2, 0, 1)[None]
    return interpolate(channels_first, (side, side), mode="bilinear", antialias=True)[0]


def digest_of(square: Tensor, *, width: int, height: int) -> bytes:
    """What names a scaled image of that size: equal for images that the model cannot tell apart.

    Args:
        square: Shape (3, side, side) uint8 on the CPU.
        width: Pixels of the image before it was scaled.
        height: Pixels of the image before it was scaled.
    """
    digest = hashlib.sha256(f"{width} {height} {len(square[0])}".encode())
    digest.update(square.contiguous().numpy().data)
    return digest.digest()


def normalise(pixels: Tensor) -> Tensor:
    """Turn 0 to 255 into -1 to 1, float32."""
    return (pixels.float() - _MIDDLE) / _MIDDLE


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

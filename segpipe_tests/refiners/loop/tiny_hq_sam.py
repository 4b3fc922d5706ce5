"""A checkpoint as the published ones are laid out, small enough to be made in a moment."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers.models.sam_hq.configuration_sam_hq import SamHQConfig
from transformers.models.sam_hq.modeling_sam_hq import SamHQModel

SIDE = 128
"""Pixels of the model's square."""
WIDTH = 32
"""Channels of the image map."""
VIT_WIDTH = 48
"""Channels of the encoder's layers."""
HEADS = 4
MLP_WIDTH = 64
IOU_WIDTH = 24
PATCH = 16

_SEED = 5
_NOISE = 0.1


def make_tiny_model() -> Any:
    """An HQ-SAM of random weights, always the same."""
    config = SamHQConfig(
        vision_config={
            "hidden_size": VIT_WIDTH,
            "output_channels": WIDTH,
            "num_hidden_layers": 3,
            "num_attention_heads": HEADS,
            "image_size": SIDE,
            "patch_size": PATCH,
            "window_size": 4,
            "global_attn_indexes": [1, 2],
            "num_pos_feats": WIDTH // 2,
            "initializer_range": 0.02,
        },
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": SIDE, "patch_size": PATCH},
        mask_decoder_config={
            "hidden_size": WIDTH,
            "mlp_dim": MLP_WIDTH,
            "num_attention_heads": HEADS,
            "iou_head_hidden_dim": IOU_WIDTH,
            "vit_dim": VIT_WIDTH,
        },
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = SamHQModel(config).eval()
        # A fresh model is all but symmetric: it would say the same of every prompt.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=_NOISE)
    return model


def make_tiny_checkpoint(folder: Path) -> Path:
    """Write the tiny model as safetensors, and give its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model = make_tiny_model()
    model.config.save_pretrained(folder)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder

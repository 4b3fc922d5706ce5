"""A checkpoint as the published one is laid out, small enough to be made in a second."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.sam3_video.configuration_sam3_video import Sam3VideoConfig
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoModel

from segpipe.vision.image import RgbImage

SIDE = 112
"""Pixels of the model's square."""
TEXT_TOKENS = 32
"""What a text may have, start and end included; a letter is a token here."""
QUERIES = 12
"""Detections that the detector proposes."""

_PATCH = 14
_WIDTH = 32
_SEED = 2
_NOISE = 0.15
_START, _END = "<|startoftext|>", "<|endoftext|>"


def make_tiny_checkpoint(folder: Path) -> Path:
    """Write a SAM 3 of random weights, always the same, and give its folder.

    At a threshold of 0 it finds something in any picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = Sam3VideoModel(_config(tokenizer))
        # A fresh model is all but symmetric: its masks would be empty or full, its scores alike.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=_NOISE)
    model.config.save_pretrained(folder)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def change_config(folder: Path, **values: Any) -> None:
    """Overwrite entries of a checkpoint's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _tokenizer() -> Any:
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), _START, _END]
    return CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])


def _config(tokenizer: Any) -> Any:
    small = {"hidden_size": _WIDTH, "num_attention_heads": 2}
    layered = {**small, "intermediate_size": 2 * _WIDTH, "num_layers": 1}
    cells = SIDE // _PATCH
    vision = {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            **small,
            "intermediate_size": 2 * _WIDTH,
            "num_hidden_layers": 2,
            "image_size": SIDE,
            "patch_size": _PATCH,
            "window_size": cells // 2,
            "global_attn_indexes": [1],
            "pretrain_image_size": SIDE // 2,
        },
        "fpn_hidden_size": _WIDTH,
        "backbone_feature_sizes": [[scale * cells] * 2 for scale in (4, 2, 1)],
    }
    text = {
        "model_type": "clip_text_model",
        **small,
        "vocab_size": len(tokenizer),
        "intermediate_size": 2 * _WIDTH,
        "projection_dim": _WIDTH,
        "num_hidden_layers": 2,
        "max_position_embeddings": TEXT_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    memory = {
        "memory_attention_hidden_size": _WIDTH,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": _WIDTH,
        "memory_attention_rope_feat_sizes": [cells, cells],
        "memory_encoder_hidden_size": _WIDTH,
        "memory_encoder_output_channels": 8,
        "mask_downsampler_embed_dim": _WIDTH,
        "memory_fuser_embed_dim": _WIDTH,
        "memory_fuser_intermediate_dim": _WIDTH,
    }
    return Sam3VideoConfig(
        detector_config={
            "model_type": "sam3",
            "vision_config": vision,
            "text_config": text,
            "geometry_encoder_config": layered,
            "detr_encoder_config": layered,
            "detr_decoder_config": {**layered, "num_queries": QUERIES},
            "mask_decoder_config": small,
        },
        tracker_config={
            "model_type": "sam3_tracker_video",
            "vision_config": vision,
            "image_size": SIDE,
            "prompt_encoder_config": {"hidden_size": _WIDTH, "patch_size": _PATCH},
            "mask_decoder_config": {
                **small,
                "mlp_dim": 2 * _WIDTH,
                "iou_head_hidden_dim": _WIDTH,
            },
            **memory,
        },
    )


def picture(*, width: int = 160, height: int = 120, seed: int = 0) -> RgbImage:
    """Smooth blobs of colour, another picture for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.uint8)

"""The mask decoder of the package segment-anything-hq, with the weights of transformers' decoder.

The package imports torchvision for what is not used here, so its three modules that hold the
decoder are loaded by file.
"""

import importlib
import importlib.machinery
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from segpipe_tests.refiners.loop import tiny_hq_sam as tiny

_PACKAGE = "segment_anything_hq.modeling"
_THEIR_NAMES = {
    r"^hq_token": "hf_token",
    r"^hq_mask_mlp": "hf_mlp",
    r"^upscale_conv1": "output_upscaling.0",
    r"^upscale_layer_norm": "output_upscaling.1",
    r"^upscale_conv2": "output_upscaling.3",
    r"^compress_vit_conv1": "compress_vit_feat.0",
    r"^compress_vit_norm": "compress_vit_feat.1",
    r"^compress_vit_conv2": "compress_vit_feat.3",
    r"^encoder_conv1": "embedding_encoder.0",
    r"^encoder_norm": "embedding_encoder.1",
    r"^encoder_conv2": "embedding_encoder.3",
    r"^mask_conv1": "embedding_maskfeature.0",
    r"^mask_norm": "embedding_maskfeature.1",
    r"^mask_conv2": "embedding_maskfeature.3",
    r"layer_norm": "norm",
    # The layer between the first and the last of a small network.
    r"^((?!transformer).*)\.layers\.0": r"\1.layers.1",
    r"\.proj_in": ".layers.0",
    r"\.proj_out": ".layers.2",
}
"""Patterns of names in transformers, replaced one after another."""


def original_decoder(decoder: Any) -> Any:
    """The package's ``MaskDecoderHQ`` with the weights of a ``SamHQMaskDecoder``."""
    transformer = _module("transformer").TwoWayTransformer(
        depth=2, embedding_dim=tiny.WIDTH, num_heads=tiny.HEADS, mlp_dim=tiny.MLP_WIDTH
    )
    original = _module("mask_decoder_hq").MaskDecoderHQ(
        transformer_dim=tiny.WIDTH,
        transformer=transformer,
        iou_head_hidden_dim=tiny.IOU_WIDTH,
        vit_dim=tiny.VIT_WIDTH,
    )
    weights = decoder.state_dict().items()
    original.load_state_dict({_their_name(name): weight for name, weight in weights})
    return original.eval()


def _their_name(name: str) -> str:
    for ours, theirs in _THEIR_NAMES.items():
        name = re.sub(ours, theirs, name)
    return name


def _module(name: str) -> ModuleType:
    """One module of the package, without running the ``__init__`` of either folder."""
    found = importlib.machinery.PathFinder.find_spec("segment_anything_hq")
    assert found, "segment-anything-hq is missing: pip install --no-deps segment-anything-hq==0.3"
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "modeling"
    for package, path in (("segment_anything_hq", folder.parent), (_PACKAGE, folder)):
        if package not in sys.modules:
            empty = ModuleType(package)
            empty.__path__ = [str(path)]
            sys.modules[package] = empty
    return importlib.import_module(f"{_PACKAGE}.{name}")

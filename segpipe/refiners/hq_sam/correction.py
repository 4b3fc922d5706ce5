"""The mask decoder of HQ-SAM in transformers, made to compute what the original computes.

Its transformer gives back the tokens and the image map, both after they attended to each other.
The versions of transformers from 4.54 to 5.23 upscale the map from before that in place of the
attended one (``SamHQMaskDecoder.forward`` binds the second output to a name that it overwrites),
so that masks no longer follow the prompts as they should. The original is ``predict_masks`` in
https://github.com/SysCV/sam-hq/blob/main/segment_anything/modeling/mask_decoder_hq.py
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.sam_hq.configuration_sam_hq import SamHQMaskDecoderConfig

_PROBE_WIDTH = 16
_PROBE_SIDE = 2


def correct(decoder: Any) -> None:
    """Make a ``SamHQMaskDecoder`` upscale the attended image map, unless it does so already."""
    kind: Callable[..., Any] = type(decoder)
    if drops_attended_map(kind):
        _Reconnection().attach(decoder)


@cache
def drops_attended_map(kind: Callable[..., Any]) -> bool:
    """Whether a class of mask decoders has the fault, found by trying it with tiny weights."""
    config = SamHQMaskDecoderConfig(
        hidden_size=_PROBE_WIDTH,
        mlp_dim=_PROBE_WIDTH,
        vit_dim=_PROBE_WIDTH,
        iou_head_hidden_dim=_PROBE_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    config._attn_implementation = "eager"
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        decoder = kind(config).eval()
        attended: list[Tensor] = []
        upscaled: list[Tensor] = []
        decoder.transformer.register_forward_hook(
            lambda _module, _inputs, output: attended.append(_as_map(output[1]))
        )
        decoder.upscale_conv1.register_forward_pre_hook(
            lambda _module, inputs: upscaled.append(inputs[0])
        )
        image_map = torch.rand(1, _PROBE_WIDTH, _PROBE_SIDE, _PROBE_SIDE)
        decoder(
            image_embeddings=image_map,
            image_positional_embeddings=torch.zeros_like(image_map),
            sparse_prompt_embeddings=torch.rand(1, 1, 1, _PROBE_WIDTH),
            dense_prompt_embeddings=torch.zeros_like(image_map),
            multimask_output=True,
            hq_token_only=False,
            intermediate_embeddings=[torch.rand(1, _PROBE_SIDE, _PROBE_SIDE, _PROBE_WIDTH)],
        )
    return not torch.equal(attended[0], upscaled[0])


class _Reconnection:
    """Carries the attended map of one call from the transformer to where it is upscaled."""

    def __init__(self) -> None:
        self._attended: Tensor | None = None

    def attach(self, decoder: Any) -> None:
        decoder.transformer.register_forward_hook(self._keep)
        decoder.upscale_conv1.register_forward_pre_hook(self._replace)

    def _keep(self, _module: nn.Module, _inputs: object, output: tuple[Tensor, Tensor]) -> None:
        self._attended = output[1]

    def _replace(self, _module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        attended, self._attended = self._attended, None
        return inputs if attended is None else (_as_map(attended),)


def _as_map(tokens: Tensor) -> Tensor:
    """The tokens of a square image map, (n, 1, side * side, c), as (n, c, side, side)."""
    side = round(tokens.shape[2] ** 0.5)
    return tokens[:, 0].transpose(1, 2).reshape(len(tokens), -1, side, side)

"""HQ-SAM itself, by transformers.

L. Ke and others: "Segment Anything in High Quality", NeurIPS 2023,
https://arxiv.org/abs/2306.01567

The mask decoder of HQ-SAM in transformers is made to compute what the original computes.
Its transformer gives back the tokens and the image map, both after they attended to each other.
The versions of transformers from 4.54 to 5.23 upscale the map from before that in place of the
attended one (``SamHQMaskDecoder.forward`` binds the second output to a name that it overwrites),
so that masks no longer follow the prompts as they should. The original is ``predict_masks`` in
https://github.com/SysCV/sam-hq/blob/main/segment_anything/modeling/mask_decoder_hq.py
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers.models.sam_hq.configuration_sam_hq import SamHQMaskDecoderConfig
from transformers.models.sam_hq.modeling_sam_hq import SamHQModel

from segpipe.errors import RefinerError
from segpipe.models.checkpoint import Contents, locate, read_config
from segpipe.models.faults import Faults
from segpipe.models.torch_model import choose_device, choose_dtype, load_pretrained
from segpipe.refiners.loop.loop_settings import MEMORY_REMEDY, HqSamConfig
from segpipe.refiners.loop.sam_decoder import SamDecoder
from segpipe.refiners.loop.square_view import Fit, Square
from segpipe.vision.canvas import shrink
from segpipe.vision.image import RgbImage

CONTENTS = Contents("sam_hq", "syscv-community/sam-hq-vit-large")
"""What a checkpoint of HQ-SAM holds."""

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
"""Of the model's input, RGB of 0 to 255: ImageNet's, as SAM was trained with
(https://github.com/facebookresearch/segment-anything/blob/main/segment_anything/build_sam.py)."""
_LOW_STEP = 4
"""Pixels of the square along a pixel of the model's masks."""
_FAULTS = Faults("HQ-SAM", MEMORY_REMEDY, RefinerError)


@dataclass(frozen=True, slots=True, eq=False)
class HqSamFeatures:
    """What the encoder saw in one view.

    Attributes:
        image: Shape (channels, cells, cells).
        early: Shape (cells, cells, width): the output of the first layer with global attention,
            from which HQ-SAM takes the details; the later ones are not needed.
    """

    image: Tensor
    early: Tensor


class HqSamModel(SamDecoder[HqSamFeatures]):
    """HQ-SAM as the loop's decoder; not for several threads at once.

    Args:
        model: A ``SamHQModel`` in float32; it is moved, and its mask decoder corrected.
        device: Where to compute.
        dtype: Numbers to compute with.
    """

    def __init__(self, model: Any, *, device: torch.device, dtype: torch.dtype) -> None:
        correct(model.mask_decoder)
        side = int(model.config.vision_config.image_size)
        square = Square(side, side // _LOW_STEP, Fit.PAD)
        super().__init__(model, square=square, device=device, dtype=dtype, faults=_FAULTS)

    @classmethod
    def load(cls, config: HqSamConfig) -> Self:
        """Load the weights that the settings name; it takes seconds, and blocks.

        Raises:
            CheckpointError: The weights are missing, damaged, pickles or of another model.
            ConfigError: There is no such device, or a repository is not pinned.
            RefinerError: There is not enough memory.
        """
        device = choose_device(config.device)
        with _FAULTS.told("loading the weights"):
            folder = locate(config, CONTENTS).folder
            read_config(folder, CONTENTS)
            model = load_pretrained(SamHQModel, folder, torch.float32, whole=CONTENTS.example)
            return cls(model, device=device, dtype=choose_dtype(config.dtype, device))

    def _look(self, pixels: Tensor) -> Sequence[HqSamFeatures]:
        seen = self._model.vision_encoder(pixels)
        return [
            HqSamFeatures(image, early)
            for image, early in zip(
                seen.last_hidden_state, seen.intermediate_embeddings[0], strict=True
            )
        ]

    def _answer(
        self, views: Sequence[HqSamFeatures], sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        count = len(sparse)
        masks, ious = self._model.mask_decoder(
            image_embeddings=torch.stack([one.image for one in views]).expand(count, -1, -1, -1),
            image_positional_embeddings=self._positions.expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            hq_token_only=False,
            # The decoder spreads one over all objects by itself.
            intermediate_embeddings=[torch.stack([one.early for one in views])],
        )
        return masks, ious

    def _square_pixels(self, view: RgbImage) -> Tensor:
        """Its longer side fills the square, and padding is the mean colour."""
        height, width, _ = view.shape
        columns, rows = self.square.size_of(width, height)
        # A copy: torch warns of memory that it could write to and must not.
        scaled = torch.from_numpy(shrink(view, columns, rows).copy()).to(self._device)
        mean, std = (self._tensor(numbers)[:, None, None] for numbers in (_MEAN, _STD))
        missing = (0, self.square.side - columns, 0, self.square.side - rows)
        return pad((scaled.permute(2, 0, 1).float() - mean) / std, missing).to(self._dtype)


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

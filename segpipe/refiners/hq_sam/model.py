"""HQ-SAM itself, by transformers.

L. Ke and others: "Segment Anything in High Quality", NeurIPS 2023,
https://arxiv.org/abs/2306.01567
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.models.sam_hq.modeling_sam_hq import SamHQModel
from transformers.utils import logging

from segpipe.errors import CheckpointError, ConfigError, RefinerError
from segpipe.refiners.hq_sam.checkpoint import locate
from segpipe.refiners.hq_sam.config import HqSamConfig
from segpipe.refiners.hq_sam.correction import correct
from segpipe.refiners.iterative.decoder import Candidates
from segpipe.refiners.iterative.views import SquarePrompt
from segpipe.vision.image import RgbImage

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
"""Of the model's input, RGB of 0 to 255: ImageNet's, as SAM was trained with
(https://github.com/facebookresearch/segment-anything/blob/main/segment_anything/build_sam.py)."""
_LOW_STEP = 4
"""Pixels of the square along a pixel of the model's masks."""
_PIXEL_CENTRE = 0.5
"""What SAM's prompt encoder adds to every coordinate; those of a prompt are continuous already."""
_INSIDE_LABEL, _OUTSIDE_LABEL = 1, 0
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the encoder saw in one view.

    Attributes:
        image: Shape (channels, cells, cells).
        early: Shape (cells, cells, width): the output of the first layer with global attention,
            from which HQ-SAM takes the details; the later ones are not needed.
    """

    image: Tensor
    early: Tensor


class HqSamModel:
    """HQ-SAM as the loop's decoder; not for several threads at once.

    Args:
        model: A ``SamHQModel``; it is moved, and its mask decoder corrected.
        device: Where to compute.
        dtype: Numbers to compute with.
    """

    def __init__(self, model: Any, *, device: torch.device, dtype: torch.dtype) -> None:
        correct(model.mask_decoder)
        self._model = (
            model.to(device=device, dtype=dtype).eval().requires_grad_(requires_grad=False)
        )
        self._device, self._dtype = device, dtype
        self.side = int(model.config.vision_config.image_size)
        self.low_side = self.side // _LOW_STEP
        self.encoder_passes = 0
        with torch.inference_mode():
            self._positions = self._model.get_image_wide_positional_embeddings()

    @classmethod
    def load(cls, config: HqSamConfig) -> Self:
        """Load the weights that the settings name; it takes seconds, and blocks.

        Raises:
            CheckpointError: The weights are missing, damaged, pickles or of another model.
            ConfigError: There is no such device, or a repository is not pinned.
        """
        device = _choose_device(config.device)
        dtype = _choose_dtype(config.dtype, device)
        return cls(
            _load(locate(config.checkpoint, config.revision), dtype), device=device, dtype=dtype
        )

    def embed(self, views: Sequence[RgbImage]) -> Sequence[Features]:
        """Run the encoder once over views, each (h, w, 3) uint8, scaled to the model's square.

        Raises:
            RefinerError: The model failed, or ran out of memory.
        """
        with _faults("looking at the picture"), torch.inference_mode():
            self.encoder_passes += len(views)
            pixels = torch.stack([self._square(view) for view in views])
            seen = self._model.vision_encoder(pixels)
            return [
                Features(image, early)
                for image, early in zip(
                    seen.last_hidden_state, seen.intermediate_embeddings[0], strict=True
                )
            ]

    def decode(
        self, embeddings: Sequence[Features], prompts: Sequence[SquarePrompt]
    ) -> Sequence[Candidates]:
        """Propose three masks for each object.

        Raises:
            RefinerError: The model failed, or ran out of memory.
        """
        answers: dict[int, Candidates] = {}
        with _faults("answering prompts"), torch.inference_mode():
            # A point that is only padding would change the answer, so prompts with and without a
            # background point go separately.
            for has_outside in (True, False):
                rows = [
                    row
                    for row, prompt in enumerate(prompts)
                    if (prompt.outside is not None) is has_outside
                ]
                if rows:
                    found = self._decode_alike(
                        [embeddings[row] for row in rows], [prompts[row] for row in rows]
                    )
                    answers.update(zip(rows, found, strict=True))
        return [answers[row] for row in range(len(prompts))]

    def _decode_alike(
        self, features: Sequence[Features], prompts: Sequence[SquarePrompt]
    ) -> Iterator[Candidates]:
        """Decode prompts that all have the same number of points."""
        count = len(prompts)
        sparse, dense = self._prompt_embeddings(prompts)
        if all(one is features[0] for one in features):
            image = features[0].image[None].expand(count, -1, -1, -1)
            early = features[0].early[None]  # the decoder spreads one over all objects by itself
        else:
            image = torch.stack([one.image for one in features])
            early = torch.stack([one.early for one in features])
        masks, ious = self._model.mask_decoder(
            image_embeddings=image,
            image_positional_embeddings=self._positions.expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            hq_token_only=False,
            intermediate_embeddings=[early],
        )
        logits, predicted = masks[:, 0].float().cpu().numpy(), ious[:, 0].float().cpu().numpy()
        return (Candidates(*pair) for pair in zip(logits, predicted, strict=True))

    def _prompt_embeddings(self, prompts: Sequence[SquarePrompt]) -> tuple[Tensor, Tensor]:
        points = [
            [prompt.inside] + ([prompt.outside] if prompt.outside else []) for prompt in prompts
        ]
        labels = [[_INSIDE_LABEL, _OUTSIDE_LABEL][: len(row)] for row in points]
        logits = np.stack([prompt.logits for prompt in prompts])
        sparse, dense = self._model.prompt_encoder(
            input_points=self._tensor(points)[:, None] - _PIXEL_CENTRE,
            input_labels=torch.tensor(labels, device=self._device)[:, None],
            input_boxes=self._tensor([prompt.box for prompt in prompts])[:, None] - _PIXEL_CENTRE,
            input_masks=self._tensor(logits)[:, None].to(self._dtype),
        )
        return sparse.to(self._dtype), dense

    def _square(self, view: RgbImage) -> Tensor:
        """Normalise a view and pad it to the model's square, (3, side, side)."""
        # A copy: torch warns of memory that it could write to and must not.
        pixels = torch.from_numpy(view.copy()).to(self._device).permute(2, 0, 1).float()
        mean, std = (self._tensor(numbers)[:, None, None] for numbers in (_MEAN, _STD))
        missing = (0, self.side - view.shape[1], 0, self.side - view.shape[0])
        return pad((pixels - mean) / std, missing).to(self._dtype)

    def _tensor(self, numbers: Any) -> Tensor:
        return torch.as_tensor(numbers, dtype=torch.float32, device=self._device)


def _load(folder: Path, dtype: torch.dtype) -> Any:
    """The model of a folder, with every weight that it needs, on the CPU."""
    had_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # it would draw over the log of a run
    try:
        model, report = SamHQModel.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    # Each library complains of nonsense in its own way; all mean the same here.
    except Exception as error:
        raise CheckpointError(
            f"the checkpoint {folder} cannot be loaded ({type(error).__name__}: {error}); copy it "
            "again",
            field="checkpoint",
        ) from error
    finally:
        if had_bars:
            logging.enable_progress_bar()
    # transformers makes up what is missing, and would answer nonsense with it.
    missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if missing:
        raise CheckpointError(
            f"the checkpoint {folder} lacks {len(missing)} weights, {missing[0]} among them; take "
            "the whole of a published HQ-SAM",
            field="checkpoint",
        )
    return model


def _choose_device(name: str) -> torch.device:
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if has_cuda else "mps" if has_mps else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= (torch.cuda.device_count() * has_cuda):
        raise ConfigError(f"there is no {name} here; use auto or cpu", field="device")
    if device.type == "mps" and not has_mps:
        raise ConfigError("this machine has no mps; use auto or cpu", field="device")
    return device


def _choose_dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return _DTYPES[name]


@contextmanager
def _faults(doing: str) -> Iterator[None]:
    """Turn whatever torch raises into an error that says what to do."""
    try:
        yield
    except Exception as error:
        raise RefinerError(
            f"HQ-SAM failed while {doing} ({type(error).__name__}: {error}); when memory ran out, "
            "lower objects_per_batch and crops_per_batch, use dtype bfloat16, or a larger device"
        ) from error

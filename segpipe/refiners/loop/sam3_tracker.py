"""SAM 3's tracker, asked about single pictures, by transformers.

N. Carion and others: "SAM 3: Segment Anything with Concepts", 2025,
https://arxiv.org/abs/2511.16719. What it remembers of earlier pictures of a video is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from segpipe.errors import RefinerError
from segpipe.models.checkpoint import locate
from segpipe.models.faults import Faults
from segpipe.models.sam3 import SAM3_TRACKER, load_tracker, normalise, resize, tracker_levels
from segpipe.models.torch_model import choose_device, choose_dtype
from segpipe.refiners.loop.loop_settings import MEMORY_REMEDY, Sam3TrackerConfig
from segpipe.refiners.loop.sam_decoder import SamDecoder
from segpipe.refiners.loop.square_view import Fit, Square
from segpipe.vision.image import RgbImage

_FAULTS = Faults("SAM 3", MEMORY_REMEDY, RefinerError)


@dataclass(frozen=True, slots=True, eq=False)
class TrackerFeatures:
    """What the encoder saw in one view.

    Attributes:
        image: Shape (channels, cells, cells).
        details: The finer levels, each (channels, rows, columns), the finest first.
    """

    image: Tensor
    details: tuple[Tensor, ...]


class TrackerModel(SamDecoder[TrackerFeatures]):
    """SAM 3's tracker as the loop's decoder; not for several threads at once.

    Args:
        model: A ``Sam3TrackerModel`` in float32; it is moved.
        device: Where to compute.
        dtype: Numbers to compute with.
    """

    def __init__(self, model: Any, *, device: torch.device, dtype: torch.dtype) -> None:
        side = int(model.prompt_encoder.input_image_size)
        low_side, _ = model.prompt_encoder.mask_input_size
        square = Square(side, int(low_side), Fit.STRETCH)
        super().__init__(model, square=square, device=device, dtype=dtype, faults=_FAULTS)

    @classmethod
    def load(cls, config: Sam3TrackerConfig) -> Self:
        """Load the weights that the settings name; it takes seconds, and blocks.

        Raises:
            CheckpointError: The weights are missing, gated, damaged, pickles or of another model.
            ConfigError: There is no such device, or a repository is not pinned.
            RefinerError: There is not enough memory.
        """
        device = choose_device(config.device)
        with _FAULTS.told("loading the weights"):
            folder = locate(config, SAM3_TRACKER).folder
            model = load_tracker(folder, torch.float32, SAM3_TRACKER)
            return cls(model, device=device, dtype=choose_dtype(config.dtype, device))

    def _square_pixels(self, view: RgbImage) -> Tensor:
        return normalise(resize(view, self.square.side).to(self._device)).to(self._dtype)

    def _look(self, pixels: Tensor) -> Sequence[TrackerFeatures]:
        hidden = self._model.vision_encoder.backbone(pixels).last_hidden_state
        *details, image = tracker_levels(self._model, hidden)
        return [
            TrackerFeatures(of_view, tuple(finer))
            for of_view, *finer in zip(image, *details, strict=True)
        ]

    def _answer(
        self, views: Sequence[TrackerFeatures], sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        count = len(sparse)
        masks, ious, _, _ = self._model.mask_decoder(
            image_embeddings=torch.stack([one.image for one in views]).expand(count, -1, -1, -1),
            image_positional_embeddings=self._positions.expand(count, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            # Those of one view are added to every object's by broadcasting.
            high_resolution_features=[
                torch.stack(level) for level in zip(*(one.details for one in views), strict=True)
            ],
        )
        return masks, ious

"""Models of the SAM family as the loop's decoder, whatever their encoder.

In transformers all of them read prompts alike. What differs, how a picture becomes features and
how masks come from them, is for each model to say.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from segpipe.models.faults import Faults
from segpipe.refiners.loop.mask_decoder import Candidates
from segpipe.refiners.loop.square_view import Square, SquarePrompt
from segpipe.vision.image import RgbImage

F = TypeVar("F")
"""A model's own features of one view."""

_PIXEL_CENTRE = 0.5
"""What SAM's prompt encoder adds to every coordinate; those of a prompt are continuous already."""
_INSIDE_LABEL, _OUTSIDE_LABEL = 1, 0


class SamDecoder(ABC, Generic[F]):
    """Implements :class:`~segpipe.refiners.loop.mask_decoder.MaskDecoder`; not thread-safe.

    Args:
        model: As transformers has it, with weights in float32; it is moved.
        square: What it sees at a time.
        device: Where to compute.
        dtype: Numbers to compute with. Places in the picture are float32 whatever it is: the
            others would round them to some pixels.
        faults: How its faults are told.
    """

    def __init__(
        self,
        model: Any,
        *,
        square: Square,
        device: torch.device,
        dtype: torch.dtype,
        faults: Faults,
    ) -> None:
        self.square = square
        self._device, self._dtype, self._faults = device, dtype, faults
        with faults.told("moving the weights"):
            self._model = _moved(model, device, dtype)
            with torch.inference_mode():
                positions = self._model.get_image_wide_positional_embeddings()
            self._positions = positions.to(dtype)

    def embed(self, views: Sequence[RgbImage]) -> Sequence[F]:
        """Run the encoder once over views, each (h, w, 3) uint8 of any size.

        Raises:
            RefinerError: The model failed, or ran out of memory.
        """
        with self._faults.told("looking at the picture"), torch.inference_mode():
            return self._look(torch.stack([self._square_pixels(view) for view in views]))

    def decode(
        self, embeddings: Sequence[F], prompts: Sequence[SquarePrompt]
    ) -> Sequence[Candidates]:
        """Propose three masks for each object.

        Raises:
            RefinerError: The model failed, or ran out of memory.
        """
        answers: dict[int, Candidates] = {}
        with self._faults.told("answering prompts"), torch.inference_mode():
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

    @abstractmethod
    def _square_pixels(self, view: RgbImage) -> Tensor:
        """A view scaled to the square and normalised, (3, side, side)."""

    @abstractmethod
    def _look(self, pixels: Tensor) -> Sequence[F]:
        """Features of each square of a batch, (n, 3, side, side)."""

    @abstractmethod
    def _answer(self, views: Sequence[F], sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Masks (n, 1, 3, low_side, low_side) and predicted IoUs (n, 1, 3) of n objects.

        Args:
            views: The features for each object; one alone when all are of the same view.
            sparse: Points and boxes, (n, 1, tokens, channels).
            dense: Soft masks, (n, channels, cells, cells).
        """

    def _decode_alike(
        self, features: Sequence[F], prompts: Sequence[SquarePrompt]
    ) -> Iterator[Candidates]:
        """Decode prompts that all have the same number of points."""
        is_shared = all(one is features[0] for one in features)
        views = features[:1] if is_shared else features
        masks, ious = self._answer(views, *self._prompt_embeddings(prompts))
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

    def _tensor(self, numbers: Any) -> Tensor:
        return torch.as_tensor(numbers, dtype=torch.float32, device=self._device)


def _moved(model: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The model where it computes, with the embeddings of places in float32."""
    of_places: list[nn.Module] = [
        model.shared_image_embedding,
        model.prompt_encoder.shared_embedding,
    ]
    exact = [{name: value.clone() for name, value in one.state_dict().items()} for one in of_places]
    model = model.to(device=device, dtype=dtype).eval().requires_grad_(requires_grad=False)
    for module, values in zip(of_places, exact, strict=True):
        module.float().load_state_dict(values)
    return model

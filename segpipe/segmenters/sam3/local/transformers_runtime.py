"""SAM 3 by transformers: ``Sam3Model`` for text and exemplars, ``Sam3TrackerModel`` for the rest.

Both stand on one vision backbone, as in the published checkpoint, and share its pass; each has a
neck of its own on top.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from segpipe.detection import Thresholds
from segpipe.errors import PromptError
from segpipe.models.checkpoint import locate
from segpipe.models.sam3 import SAM3, digest_of, normalise, resize, tracker_levels
from segpipe.models.torch_model import choose_device, choose_dtype
from segpipe.prompt import Exemplar, Point
from segpipe.segmenters.sam3.local.local_settings import LocalConfig
from segpipe.segmenters.sam3.local.sam3_runtime import RawMasks, logit
from segpipe.segmenters.sam3.local.transformers_models import load_models
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage

_TEXT_OF_EXEMPLARS = "visual"
"""What the model was trained to read where there are exemplars and no words (Sam3Processor)."""
_KEPT_TEXTS = 64


@dataclass(frozen=True, slots=True, eq=False)
class TransformersPixels:
    """An image made ready: (3, side, side) uint8 on the CPU, and the size that it had."""

    tensor: Tensor
    width: int
    height: int
    digest: bytes


@dataclass(frozen=True, slots=True, eq=False)
class TransformersFeatures:
    """What the vision encoder makes of one image.

    Attributes:
        detector: The levels of the detector's neck, each (1, c, h, w), the finest first.
        tracker: Those that the tracker's mask decoder takes.
        width: TransformersPixels of the image.
        height: TransformersPixels of the image.
    """

    detector: tuple[Tensor, ...]
    tracker: tuple[Tensor, ...]
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """A text as the model reads it."""

    features: Tensor
    attention_mask: Tensor


class TransformersRuntime:
    """Implements :class:`~segpipe.segmenters.sam3.local.sam3_runtime.Runtime`."""

    def __init__(
        self,
        detector: Any,
        tracker: Any,
        tokenizer: Any,
        *,
        revision: str,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        # One backbone for both: the checkpoint has it once.
        tracker.vision_encoder.backbone = detector.vision_encoder.backbone
        self._detector = detector.to(device, dtype).eval()
        self._tracker = tracker.to(device, dtype).eval()
        # In bfloat16 a place in the picture would be rounded to four pixels.
        self._tracker.prompt_encoder.shared_embedding.float()
        self._tokenizer = tokenizer
        self._revision = revision
        self._device = device
        self._dtype = dtype
        self._side = int(detector.config.vision_config.image_size)
        self._positions: tuple[Tensor, ...] = ()
        self._read = lru_cache(maxsize=_KEPT_TEXTS)(self._read_text)

    @classmethod
    def load(cls, config: LocalConfig) -> Self:
        """Load the weights onto the device.

        Raises:
            CheckpointError: They are missing, gated, damaged, pickles, or those of another model.
            ConfigError: There is no such device, or a repository is not pinned.
        """
        device = choose_device(config.device)
        dtype = choose_dtype(config.dtype, device)
        checkpoint = locate(config, SAM3)
        models = load_models(checkpoint.folder, dtype)
        return cls(
            models.detector,
            models.tracker,
            models.tokenizer,
            revision=checkpoint.revision,
            device=device,
            dtype=dtype,
        )

    @property
    def revision(self) -> str:
        """The commit of the weights, or a digest of their files."""
        return self._revision

    @property
    def device(self) -> str:
        """Where it computes."""
        return str(self._device)

    def prepare(self, image: RgbImage) -> TransformersPixels:
        """Scale an upright RGB image, (h, w, 3) uint8, to the model's square."""
        height, width, _ = image.shape
        square = resize(image, self._side)
        return TransformersPixels(
            square, width, height, digest_of(square, width=width, height=height)
        )

    @torch.inference_mode()
    def encode(self, images: Sequence[TransformersPixels]) -> list[TransformersFeatures]:
        """Features of each image, by one pass of the backbone over all of them."""
        pixels = torch.stack([image.tensor for image in images]).to(self._device)
        vision = self._detector.get_vision_features(normalise(pixels).to(self._dtype))
        if not self._positions:
            # The same for every image: kept once.
            self._positions = tuple(level[:1].clone() for level in vision.fpn_position_encoding)
        tracker = tracker_levels(self._tracker, vision.last_hidden_state)
        return [
            TransformersFeatures(
                # Copies, since a view would keep the features of the whole batch alive.
                tuple(level[index : index + 1].clone() for level in vision.fpn_hidden_states),
                tuple(level[index : index + 1].clone() for level in tracker),
                image.width,
                image.height,
            )
            for index, image in enumerate(images)
        ]

    @torch.inference_mode()
    def find(
        self,
        features: TransformersFeatures,
        text: str | None,
        exemplars: Sequence[Exemplar],
        thresholds: Thresholds,
    ) -> RawMasks:
        """Everything that the text names and the exemplars show, the best score first.

        Raises:
            PromptError: The text is longer than the model can read.
        """
        read = self._read(text or _TEXT_OF_EXEMPLARS)
        found = self._detector(
            vision_embeds=Sam3VisionEncoderOutput(
                fpn_hidden_states=features.detector, fpn_position_encoding=self._positions
            ),
            text_embeds=BaseModelOutputWithPooling(pooler_output=read.features),
            attention_mask=read.attention_mask,
            **self._exemplars(features, exemplars),
        )
        scores = (found.pred_logits.sigmoid() * found.presence_logits.sigmoid())[0].float()
        order = scores.argsort(descending=True, stable=True)[: thresholds.max_masks]
        order = order[scores[order] >= thresholds.score]
        # transformers interpolates probabilities here, and logits in the tracker's masks.
        return RawMasks(
            _to_numpy(found.pred_masks[0, order].sigmoid()),
            _to_numpy(scores[order]),
            thresholds.mask,
        )

    def at_points(
        self, features: TransformersFeatures, points: Sequence[Point], mask_threshold: float
    ) -> RawMasks:
        """Three readings of what all the points mean together."""
        planes, scores = self._track(features, several=True, points=[points])
        return RawMasks(_to_numpy(planes[0]), _to_numpy(scores[0]), logit(mask_threshold))

    def at_each_point(
        self,
        features: TransformersFeatures,
        points: Sequence[Point],
        mask_threshold: float,
        min_score: float,
    ) -> RawMasks:
        """Readings of each point for itself, those that score enough."""
        planes, scores = self._track(features, several=True, points=[[one] for one in points])
        good = scores >= min_score
        return RawMasks(_to_numpy(planes[good]), _to_numpy(scores[good]), logit(mask_threshold))

    def in_boxes(
        self,
        features: TransformersFeatures,
        boxes: Sequence[Box],
        points: Sequence[Sequence[Point]],
        mask_threshold: float,
    ) -> RawMasks:
        """One mask for each box, refined by the points that come with it."""
        planes: list[Tensor] = [torch.empty(0)] * len(boxes)
        scores: list[Tensor] = [torch.empty(0)] * len(boxes)
        # Padding with points that are none would change the answer a little: boxes with equally
        # many points go together.
        for count in {len(of_box) for of_box in points}:
            chosen = [index for index, of_box in enumerate(points) if len(of_box) == count]
            some_planes, some_scores = self._track(
                features,
                several=False,
                boxes=[boxes[index] for index in chosen],
                points=[points[index] for index in chosen] if count else None,
            )
            for index, plane, score in zip(chosen, some_planes, some_scores, strict=True):
                planes[index], scores[index] = plane, score
        return RawMasks(
            _to_numpy(torch.cat(planes)), _to_numpy(torch.cat(scores)), logit(mask_threshold)
        )

    def close(self) -> None:
        """Let go of the weights."""
        self._read.cache_clear()
        self._detector = self._tracker = None
        self._positions = ()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _read_text(self, text: str) -> _Text:
        limit = self._detector.config.text_config.max_position_embeddings
        count = len(self._tokenizer(text).input_ids)
        if count > limit:
            raise PromptError(
                f"the text is {count} tokens long, start and end included, and SAM 3 reads {limit} "
                "at most; name the items in fewer words",
                field="text",
            )
        tokens = self._tokenizer(
            text, padding="max_length", max_length=limit, return_tensors="pt"
        ).to(self._device)
        features = self._detector.get_text_features(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
        )
        return _Text(features.pooler_output, tokens.attention_mask)

    def _exemplars(
        self, features: TransformersFeatures, exemplars: Sequence[Exemplar]
    ) -> dict[str, Tensor | None]:
        if not exemplars:
            return {}
        boxes = torch.tensor([exemplar.box for exemplar in exemplars])
        x1, y1, x2, y2 = (boxes / boxes.new_tensor([features.width, features.height] * 2)).unbind(
            -1
        )
        centred = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=-1)
        labels = torch.tensor([[int(exemplar.positive) for exemplar in exemplars]])
        return {
            "input_boxes": centred[None].to(self._device, self._dtype),
            "input_boxes_labels": labels.to(self._device),
        }

    @torch.inference_mode()
    def _track(
        self,
        features: TransformersFeatures,
        *,
        several: bool,
        boxes: Sequence[Box] | None = None,
        points: Sequence[Sequence[Point]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits (n, k, h, w) and scores (n, k) of n questions; k is 3 for several, else 1."""
        prompts: dict[str, Tensor] = {}
        across, down = self._side / features.width, self._side / features.height
        if boxes is not None:
            scaled = torch.tensor(boxes) * torch.tensor([across, down] * 2)
            prompts["input_boxes"] = scaled[None].to(self._device)
        if points is not None:
            places = torch.tensor([[(one.x, one.y) for one in some] for some in points])
            labels = torch.tensor([[int(one.positive) for one in some] for some in points])
            scaled = places * torch.tensor([across, down])
            prompts["input_points"] = scaled[None].to(self._device)
            prompts["input_labels"] = labels[None].to(self._device)
        found = self._tracker(
            image_embeddings=list(features.tracker), multimask_output=several, **prompts
        )
        return found.pred_masks[0], found.iou_scores[0].float()


def _to_numpy(values: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.asarray(values.float().cpu().numpy(), np.float32)

"""SAM 3 by Meta's own package (0.1.4, https://github.com/facebookresearch/sam3).

``Sam3Processor`` answers text and exemplars, ``predict_inst`` points and boxes.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from segpipe.detection import Thresholds
from segpipe.errors import PromptError
from segpipe.models.checkpoint import locate
from segpipe.models.sam3 import SAM3, digest_of, resize
from segpipe.models.torch_model import choose_device, choose_dtype
from segpipe.prompt import Exemplar, Point
from segpipe.segmenters.sam3.local.local_settings import LocalConfig
from segpipe.segmenters.sam3.local.meta_weights import (
    build_meta_model,
    require_folder,
    require_meta_package,
)
from segpipe.segmenters.sam3.local.sam3_runtime import CANDIDATES, RawMasks, logit
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage

_CELLS_OF_PATCH = 4
"""A mask as the model gives it has so many cells along the side of a patch."""


@dataclass(frozen=True, slots=True, eq=False)
class MetaPixels:
    """An image made ready: scaled to the model's square, and the size that it had."""

    square: Image.Image
    width: int
    height: int
    digest: bytes


@dataclass(frozen=True, slots=True, eq=False)
class MetaFeatures:
    """What the vision encoder makes of one image.

    Attributes:
        detector: The levels for text and exemplars, each (1, c, h, w), the finest first.
        tracker: Those for points and boxes.
        width: MetaPixels of the image.
        height: MetaPixels of the image.
    """

    detector: list[Tensor]
    tracker: list[Tensor]
    width: int
    height: int


class MetaRuntime:
    """Implements :class:`~segpipe.segmenters.sam3.local.sam3_runtime.Runtime`.

    Holes of up to 256 cells, which ``predict_inst`` fills by default, are left as they are: goods
    have handles and rings, and the other runtime leaves them too.
    """

    def __init__(
        self, model: Any, *, revision: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        tracker = model.inst_interactive_predictor.model
        self._model = model
        self._side = int(tracker.image_size)
        self._plane_side = self._side // int(tracker.backbone_stride) * _CELLS_OF_PATCH
        self._processor = _processor(model, self._side, device)
        self._revision = revision
        self._device = device
        self._dtype = dtype
        # The same for every image: kept once, for the detector and for the tracker.
        self._positions: tuple[list[Tensor], list[Tensor]] = ([], [])

    @classmethod
    def load(cls, config: LocalConfig) -> Self:
        """Load the weights onto the device.

        Raises:
            CheckpointError: There is no CUDA, a package is missing, or the weights are missing,
                damaged, pickles, or those of another model.
            ConfigError: There is no such device, or a revision is given for a folder.
        """
        device = choose_device(config.device)
        require_meta_package(device)
        require_folder(config.checkpoint)
        checkpoint = locate(config, SAM3)
        model = build_meta_model(checkpoint.folder, device)
        dtype = choose_dtype(config.dtype, device)
        return cls(model, revision=checkpoint.revision, device=device, dtype=dtype)

    @property
    def revision(self) -> str:
        """The commit of the weights, or a digest of their files."""
        return self._revision

    @property
    def device(self) -> str:
        """Where it computes."""
        return str(self._device)

    def prepare(self, image: RgbImage) -> MetaPixels:
        """Scale an upright RGB image, (h, w, 3) uint8, to the model's square."""
        height, width, _ = image.shape
        square = resize(image, self._side)
        # The processor takes the first two axes of an array for channels and rows: hence Pillow.
        picture = Image.fromarray(np.ascontiguousarray(square.permute(1, 2, 0).numpy()))
        return MetaPixels(picture, width, height, digest_of(square, width=width, height=height))

    def encode(self, images: Sequence[MetaPixels]) -> list[MetaFeatures]:
        """Features of each image, by one pass of the backbone over all of them."""
        with self._computing():
            state = self._processor.set_image_batch([image.square for image in images])
            detector = state["backbone_out"]
            tracker = detector["sam2_backbone_out"]
            if not self._positions[0]:
                self._positions = (
                    [level[:1].clone() for level in detector["vision_pos_enc"]],
                    [level[:1].clone() for level in tracker["vision_pos_enc"]],
                )
            return [
                MetaFeatures(
                    # Copies, since a view would keep the features of the whole batch alive.
                    [level[index : index + 1].clone() for level in detector["backbone_fpn"]],
                    [level[index : index + 1].clone() for level in tracker["backbone_fpn"]],
                    image.width,
                    image.height,
                )
                for index, image in enumerate(images)
            ]

    def find(
        self,
        features: MetaFeatures,
        text: str | None,
        exemplars: Sequence[Exemplar],
        thresholds: Thresholds,
    ) -> RawMasks:
        """Everything that the text names and the exemplars show, the best score first.

        Raises:
            PromptError: The text is longer than the model can read.
        """
        state = self._state(features)
        with self._computing():
            if text is not None:
                self._require_readable(text)
                self._processor.set_text_prompt(text, state)
            for exemplar in exemplars:
                box = _centred(exemplar.box, features)
                self._processor.add_geometric_prompt(box, exemplar.positive, state)
            found = self._model.forward_grounding(
                backbone_out=state["backbone_out"],
                find_input=self._processor.find_stage,
                geometric_prompt=state["geometric_prompt"],
                find_target=None,
            )
            each, presence = found["pred_logits"].float(), found["presence_logit_dec"].float()
            scores = (each.sigmoid() * presence.sigmoid()[:, None]).squeeze(-1)[0]
            order = scores.argsort(descending=True, stable=True)[: thresholds.max_masks]
            order = order[scores[order] >= thresholds.score]
            return RawMasks(
                _to_numpy(found["pred_masks"][0, order]),
                _to_numpy(scores[order]),
                logit(thresholds.mask),
            )

    def at_points(
        self, features: MetaFeatures, points: Sequence[Point], mask_threshold: float
    ) -> RawMasks:
        """Three readings of what all the points mean together."""
        planes, scores = self._predict(features, points=[points])
        return RawMasks(planes[0], scores[0], logit(mask_threshold))

    def at_each_point(
        self,
        features: MetaFeatures,
        points: Sequence[Point],
        mask_threshold: float,
        min_score: float,
    ) -> RawMasks:
        """Readings of each point for itself, those that score enough."""
        planes, scores = self._predict(features, points=[[one] for one in points])
        good = scores >= min_score
        return RawMasks(planes[good], scores[good], logit(mask_threshold))

    def in_boxes(
        self,
        features: MetaFeatures,
        boxes: Sequence[Box],
        points: Sequence[Sequence[Point]],
        mask_threshold: float,
    ) -> RawMasks:
        """One mask for each box, refined by the points that come with it."""
        planes = np.empty((len(boxes), self._plane_side, self._plane_side), np.float32)
        scores = np.empty(len(boxes), np.float32)
        # Padding with points that are none would change the answer a little: boxes with equally
        # many points go together.
        for count in {len(of_box) for of_box in points}:
            chosen = [index for index, of_box in enumerate(points) if len(of_box) == count]
            some_planes, some_scores = self._predict(
                features,
                boxes=[boxes[index] for index in chosen],
                points=[points[index] for index in chosen] if count else None,
            )
            planes[chosen], scores[chosen] = some_planes[:, 0], some_scores[:, 0]
        return RawMasks(planes, scores, logit(mask_threshold))

    def close(self) -> None:
        """Let go of the weights."""
        self._model = self._processor = None
        self._positions = ([], [])
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """As the package is meant to compute: weights in float32, products in fewer bits."""
        autocast: AbstractContextManager[object] = nullcontext()
        if self._dtype != torch.float32:
            autocast = torch.autocast(self._device.type, dtype=self._dtype)
        with torch.inference_mode(), autocast:
            yield

    def _state(self, features: MetaFeatures) -> dict[str, Any]:
        """What the processor and ``predict_inst`` keep of an image, with no prompt yet.

        They are told that the picture is as large as the planes, so that they do not stretch every
        mask over the whole picture: the caller does that, box by box.
        """
        of_detector, of_tracker = self._positions
        return {
            "original_height": self._plane_side,
            "original_width": self._plane_side,
            "backbone_out": {
                "vision_features": features.detector[-1],
                "vision_pos_enc": list(of_detector),
                "backbone_fpn": list(features.detector),
                "sam2_backbone_out": {
                    "vision_features": features.tracker[-1],
                    "vision_pos_enc": list(of_tracker),
                    "backbone_fpn": list(features.tracker),
                },
            },
        }

    def _require_readable(self, text: str) -> None:
        """The package cuts a text that is too long without a word."""
        reader = self._model.backbone.language_backbone
        count = len(reader.tokenizer.encode(text)) + 2  # the marks of start and end
        if count > reader.context_length:
            raise PromptError(
                f"the text is {count} tokens long, start and end included, and SAM 3 reads "
                f"{reader.context_length} at most; name the items in fewer words",
                field="text",
            )

    def _predict(
        self,
        features: MetaFeatures,
        *,
        boxes: Sequence[Box] | None = None,
        points: Sequence[Sequence[Point]] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (n, k, h, w) and scores (n, k) of n questions; k is 1 for boxes, else 3."""
        prompts: dict[str, Any] = {}
        cells = np.array([self._plane_side / features.width, self._plane_side / features.height])
        if boxes is not None:
            prompts["box"] = np.asarray(boxes) * np.tile(cells, 2)
        if points is not None:
            places = np.array([[(one.x, one.y) for one in some] for some in points])
            prompts["point_coords"] = places * cells
            prompts["point_labels"] = np.array([[int(one.positive) for one in s] for s in points])
        readings = CANDIDATES if boxes is None else 1
        with self._computing():
            _, scores, planes = self._model.predict_inst(
                self._state(features), multimask_output=readings > 1, return_logits=True, **prompts
            )
        # It drops the axis of questions when there is only one.
        shape = (-1, readings, *planes.shape[-2:])
        return planes.reshape(shape), np.clip(scores.reshape(-1, readings), 0, 1)


def _processor(model: Any, side: int, device: torch.device) -> Any:
    from sam3.model.sam3_image_processor import Sam3Processor  # noqa: PLC0415 - it takes seconds

    class PromptCollector(Sam3Processor):  # type: ignore[misc, unused-ignore]
        """Only notes prompts: Meta's own asks the model anew after each of them."""

        def _forward_grounding(self, state: dict[str, Any]) -> dict[str, Any]:
            return state

    return PromptCollector(model, resolution=side, device=device)


def _centred(box: Box, features: MetaFeatures) -> list[float]:
    """A box as the processor takes it: centre, width and height as parts of the image."""
    x1, x2 = box.x1 / features.width, box.x2 / features.width
    y1, y2 = box.y1 / features.height, box.y2 / features.height
    return [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]


def _to_numpy(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.float().cpu().numpy(), np.float32)

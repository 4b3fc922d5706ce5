"""SAM 3 in this process, as a segmenter."""

import asyncio
from collections.abc import Sequence
from threading import Lock
from typing import Any

from segpipe.detection import Candidate, SegmentationResult, Thresholds
from segpipe.models.faults import imports_of
from segpipe.prompt import Point, Prompt
from segpipe.segmenters.sam3.local.local_model import LocalModel
from segpipe.segmenters.sam3.local.local_settings import LocalConfig
from segpipe.segmenters.sam3.local.sam3_runtime import FAULTS
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.image import RgbImage


class LocalSegmenter(Segmenter):
    """Segments with a model in this process, which is loaded when it is first needed.

    Args:
        config: Which model, and what counts as found.
    """

    id = LocalModel.id

    def __init__(self, config: LocalConfig) -> None:
        self._config = config
        self._lock = Lock()
        self._model: LocalModel[Any, Any] | None = None

    @property
    def concurrency(self) -> int:
        """Two batches: one is made ready while the other is computed."""
        return 2 * self._config.batch_size

    @property
    def device(self) -> str | None:
        """Where it computes; None before the weights are loaded."""
        return self._model.device if self._model else None

    async def revision(self) -> str:
        """What names the weights; they are loaded for it.

        Raises:
            CheckpointError: The weights or what runs them are missing or unfit.
            ConfigError: There is no such device, or a repository is not pinned.
            SegmenterError: There is not enough memory.
        """
        return (await self._when_loaded()).revision

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8.

        Raises:
            PromptError: The prompt makes no sense for this image, or its text is too long.
            UnsupportedPromptError: It asks for two things that SAM 3 cannot combine.
            SegmenterError: The model cannot be loaded, or failed.
        """
        model = await self._when_loaded()
        return await model.find(image, prompt, thresholds or self._config.thresholds)

    async def candidates(
        self, image: RgbImage, points: Sequence[Point]
    ) -> tuple[Candidate, Candidate, Candidate]:
        """Three readings of what the points mean, the best score first; errors as of segment."""
        return await (await self._when_loaded()).candidates(image, points)

    async def aclose(self) -> None:
        """Let go of the model."""
        model, self._model = self._model, None
        if model is not None:
            await model.aclose()

    async def _when_loaded(self) -> LocalModel[Any, Any]:
        model = self._model
        return model if model is not None else await asyncio.to_thread(self._loaded)

    def _loaded(self) -> LocalModel[Any, Any]:
        with self._lock:
            if self._model is None:
                self._model = load_model(self._config)
            return self._model


def load_model(config: LocalConfig) -> LocalModel[Any, Any]:
    """Load SAM 3; it takes seconds, and blocks.

    Raises:
        CheckpointError: The weights are missing, gated, damaged, pickles or of another model, or
            what runs them is not installed.
        ConfigError: There is no such device, or a repository is not pinned.
        SegmenterError: There is not enough memory.
    """
    # Both libraries take seconds to import.
    with FAULTS.told("loading the weights"):
        match config.runtime:
            case "transformers":
                with imports_of("SAM 3", "segpipe[local]", field="runtime"):
                    from segpipe.segmenters.sam3.local import (  # noqa: PLC0415
                        transformers_runtime as by_transformers,
                    )
                return LocalModel[
                    by_transformers.TransformersPixels, by_transformers.TransformersFeatures
                ](by_transformers.TransformersRuntime.load(config), config)
            case "sam3":
                with imports_of("SAM 3", "segpipe[sam3]", field="runtime"):
                    from segpipe.segmenters.sam3.local import (  # noqa: PLC0415
                        meta_runtime as by_meta,
                    )
                return LocalModel[by_meta.MetaPixels, by_meta.MetaFeatures](
                    by_meta.MetaRuntime.load(config), config
                )

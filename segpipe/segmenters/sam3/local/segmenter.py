"""SAM 3 in this process, as a segmenter."""

import asyncio
from threading import Lock

from segpipe.detection import SegmentationResult
from segpipe.prompt import Prompt
from segpipe.segmenters.sam3.local.config import LocalConfig
from segpipe.segmenters.sam3.local.load import load_model
from segpipe.segmenters.sam3.local.model import LocalModel
from segpipe.vision.image import RgbImage


class LocalSegmenter:
    """Segments with a model in this process, which is loaded when it is first needed.

    Args:
        config: Which model, and what counts as found.
    """

    id = LocalModel.id

    def __init__(self, config: LocalConfig) -> None:
        self._config = config
        self._lock = Lock()
        self._model: LocalModel | None = None

    @property
    def concurrency(self) -> int:
        """Two batches: one is made ready while the other is computed."""
        return 2 * self._config.batch_size

    async def load(self) -> None:
        """Load the model, unless it is loaded.

        Raises:
            CheckpointError: The weights or what runs them are missing or unfit.
            ConfigError: There is no such device, or a repository is not pinned.
            SegmenterError: There is not enough memory.
        """
        await asyncio.to_thread(self._loaded)

    async def revision(self) -> str:
        """What names the weights; they are loaded for it. Errors as of :meth:`load`."""
        return (await asyncio.to_thread(self._loaded)).revision

    async def segment(self, image: RgbImage, prompt: Prompt) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8, by the thresholds of the settings.

        Raises:
            PromptError: The prompt makes no sense for this image, or its text is too long.
            UnsupportedPromptError: It asks for two things that SAM 3 cannot combine.
            SegmenterError: The model cannot be loaded, or failed.
        """
        model = self._model
        if model is None:
            model = await asyncio.to_thread(self._loaded)
        return await model.find(image, prompt, self._config.thresholds)

    async def aclose(self) -> None:
        """Let go of the model."""
        model, self._model = self._model, None
        if model is not None:
            await model.aclose()

    def _loaded(self) -> LocalModel:
        with self._lock:
            if self._model is None:
                self._model = load_model(self._config)
            return self._model

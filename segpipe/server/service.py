"""The model of the service: loaded in the background, asked within bounds, closed at the end."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeVar

from segpipe.errors import InputError
from segpipe.progress import StageStarted, Tell, tell_nobody
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.segmenter import Segmenter
from segpipe.server.gate import Gate
from segpipe.server.metrics import Metrics
from segpipe.server.refining import Refining
from segpipe.server.server_settings import ServerSettings
from segpipe.vision.image import RgbImage
from segpipe.web.photo_uploads import PhotoShelf, ReadUpload, UploadedPhoto
from segpipe.web.problems import FullError, RefusedError, failed, unavailable
from segpipe.wire.inference import Health, Status

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
ModelLoader = Callable[[], Segmenter]

_NOT_NOW: dict[Status, tuple[str, str]] = {
    "loading": ("ModelLoading", "the model is still being loaded: come again"),
    "failed": ("ModelFailed", "the model could not be loaded; the service's log has the reason"),
    "stopping": ("Stopping", "the service is shutting down: come again"),
}


class Service:
    """Holds one model, perhaps a refiner, and answers prompts with them.

    Args:
        load: Gives the model; called once, in a worker thread.
        settings: The bounds.
        metrics: Where it is counted.
        refiner: The refiner; it loads what it needs when it is first asked.
    """

    def __init__(
        self,
        load: ModelLoader,
        settings: ServerSettings,
        metrics: Metrics,
        refiner: Refiner | None = None,
    ) -> None:
        self.retry_after_s = settings.retry_after_s
        self._load = load
        self.settings = settings
        self._metrics = metrics
        self._model: Segmenter | None = None
        self._name = ""
        self._loading: asyncio.Task[None] | None = None
        self._status: Status = "loading"
        self._photos = PhotoShelf(
            max_pixels=settings.max_pixels,
            kept_pixels=settings.kept_pixels,
            max_bytes=settings.max_photo_bytes,
            work_bytes_per_pixel=settings.work_bytes_per_pixel,
        )
        self._gate = Gate(
            in_model=settings.in_model,
            in_refiner=settings.in_refiner if refiner else 0,
            decoded_ahead=settings.decoded_ahead,
            queue_size=settings.queue_size,
        )
        self.refining = Refining(refiner, self._gate, metrics)
        metrics.watch(
            "segpipe_model_loaded",
            "1 while the model can be asked.",
            lambda: float(self._status == "ready"),
        )
        metrics.watch("segpipe_in_model", "Prompts in the model.", lambda: self._gate.in_model)
        metrics.watch(
            "segpipe_waiting",
            "Requests that are here and not in the model.",
            lambda: self._gate.inside - self._gate.in_model,
        )

    def start(self) -> None:
        """Begin to load the model, and then the refiner."""
        self._loading = asyncio.create_task(self._load_both())

    async def _load_both(self) -> None:
        # One after the other: what both import is not made to be imported by two threads at once.
        await self._load_model()
        await self.refining.load()

    async def _load_model(self) -> None:
        try:
            model = await asyncio.to_thread(self._load)
            self._name = f"{model.id}@{await model.revision()}"
            self._model = model
        except Exception:  # noqa: BLE001 - logged whole
            # Whatever a loader raises, the port goes on to say that there is no model.
            _log.exception("the model could not be loaded")
            self._become("failed")
        else:
            _log.info("the model %s is loaded on %s", model.id, model.device)
            self._become("ready")

    def _become(self, status: Status) -> None:
        if self._status != "stopping":
            self._status = status

    @property
    def health(self) -> Health:
        """What ``GET /health`` answers."""
        is_ready = self._status == "ready"
        return Health(
            status=self._status,
            model_loaded=is_ready,
            model=self.name if is_ready else None,
            device=self._loaded().device if is_ready else None,
            refiner=self.refining.name,
            refiner_loaded=self.refining.is_ready,
        )

    @property
    def name(self) -> str:
        """The model and its weights in one: another name may mean other answers."""
        self._loaded()
        return self._name

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request in, before its body is read.

        Raises:
            RefusedError: There is no model, or the queue is full (503).
        """
        if self._status != "ready":
            raise self._refuse(*_NOT_NOW[self._status])
        with self._gate.admitted(self._refuse_full):
            yield

    async def ask(
        self,
        read_upload: ReadUpload,
        question: Callable[[Segmenter, RgbImage], Awaitable[Answer]],
    ) -> Answer:
        """Decode an upload, or find it among the last ones, and ask the model about it.

        Raises:
            InputError: The photo or the prompt cannot be used.
            RefusedError: The model failed (500), or is gone (503).
        """
        async with self.photo(read_upload) as photo:
            return await self.in_model(lambda model: question(model, photo.decoded.rgb))

    @asynccontextmanager
    async def photo(
        self, read_upload: ReadUpload, tell: Tell = tell_nobody
    ) -> AsyncIterator[UploadedPhoto]:
        """Wait for room for a photo, and hold it decoded; ``tell`` hears when its turn has come.

        Raises:
            PhotoError: It is no photo that can be used.
        """
        has_begun = False

        async def read_and_tell() -> bytes:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                tell(StageStarted("decode"))
            return await read_upload()

        async with self._photos.photo(read_and_tell, self._gate.with_photo) as photo:
            self._metrics.images.labels("kept" if photo.was_kept else "decoded").inc()
            yield photo

    async def in_model(self, question: Callable[[Segmenter], Awaitable[Answer]]) -> Answer:
        """Wait for the model and ask it.

        Raises:
            InputError: The prompt cannot be used.
            RefusedError: The model failed (500), or is gone (503).
        """
        async with self._gate.with_model():
            started = time.perf_counter()
            try:
                return await question(self._loaded())
            except (InputError, RefusedError):
                raise
            except Exception as error:
                _log.exception("the model failed")
                raise failed(error) from error
            finally:
                self._metrics.model_seconds.observe(time.perf_counter() - started)

    def _loaded(self) -> Segmenter:
        if self._model is None:
            raise self._refuse(*_NOT_NOW["stopping"])
        return self._model

    def stop(self) -> None:
        """Refuse every new request."""
        self._status = "stopping"

    async def aclose(self) -> None:
        """Let what is under way finish, within the limit, and close the model."""
        self.stop()
        if self._loading:
            self._loading.cancel()
            with suppress(asyncio.CancelledError):
                await self._loading
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.shutdown_timeout_s):
                await self._gate.until_empty()
        model, self._model = self._model, None
        if model:
            await model.aclose()

    def _refuse(self, error: str, detail: str) -> RefusedError:
        return unavailable(error, detail, retry_after_s=self.retry_after_s)

    def _refuse_full(self) -> RefusedError:
        return FullError(
            "as many requests as may wait do: come again", retry_after_s=self.retry_after_s
        )

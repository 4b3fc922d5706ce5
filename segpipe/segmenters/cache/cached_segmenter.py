"""A segmenter that asks another one only what it has not been asked before, and its settings."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, replace
from typing import ClassVar

from pydantic import Field

from segpipe.detection import SegmentationResult, Thresholds, Usage
from segpipe.digests import settings_digest
from segpipe.errors import SegmenterError
from segpipe.prompt import Prompt
from segpipe.segmenters.cache.kept_answers import (
    DamagedEntryError,
    answer_key,
    decode_answer,
    encode_answer,
    pixels_digest,
)
from segpipe.segmenters.cache.shared_calls import SharedCalls
from segpipe.segmenters.kept_data import AnswerFiles
from segpipe.segmenters.segmenter import Segmenter, WrappedSegmenter
from segpipe.settings import Settings
from segpipe.vision.image import RgbImage

_BYTES_PER_MB = 1_000_000


class CacheConfig(Settings):
    """Where answers are kept, so that none is paid for twice."""

    # A cache changes no answer, so none of it belongs to the identity of a segmenter.
    operational: ClassVar[frozenset[str]] = frozenset({"enabled", "folder", "max_size_mb"})

    enabled: bool = Field(
        default=True, description="Keep answers, and use those that are kept; off: ask anew."
    )
    folder: str = Field(
        default="cache/segmentations",
        min_length=1,
        description="Folder of the answers, under the data root unless it begins with /; runs and "
        "processes may share it.",
    )
    max_size_mb: int = Field(
        default=2048,
        ge=1,
        description="Size of the folder at most, in millions of bytes; the least recently used "
        "answers go first.",
    )

    @property
    def max_bytes(self) -> int:
        """The most bytes of the folder."""
        return self.max_size_mb * _BYTES_PER_MB


_log = logging.getLogger(__name__)


class CachedSegmenter(WrappedSegmenter):
    """Wraps a segmenter and keeps its answers.

    An answer is kept under the image's pixels, the prompt, the segmenter's id and settings, and
    the revision of its model. One that is kept comes back as it was given, with the time that it
    took then and a usage of one cached answer. Errors are never kept.

    Whoever asks the same at the same time shares one call: tasks of this segmenter share its
    outcome, error or not; other processes wait for it, and ask themselves when it failed.

    The inner segmenter is asked for its revision before every answer, and again before one is
    kept: one that came while it changed, or while it cannot be told, is not kept. With thresholds
    of its own a question is another one.

    A damaged entry is replaced. With a place that cannot be read or written everything still
    works, only unkept, and one warning is logged.

    Args:
        inner: The segmenter that is asked.
        answers: Where they are kept; others may share it.
        settings: Those of the inner segmenter; their identity decides its answers.
    """

    def __init__(
        self,
        inner: Segmenter,
        answers: AnswerFiles,
        *,
        settings: Settings,
    ) -> None:
        self._inner = inner
        self._answers = answers
        self._settings = settings.identity()
        self._shared_calls = SharedCalls[SegmentationResult]()
        self._warned = False

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """The kept answer for one upright RGB image, (h, w, 3) uint8, or a new one.

        Raises what the inner segmenter raises.
        """
        revision = await self._inner.revision()
        key = await self._key(image, prompt, thresholds, revision)
        result, is_first = await self._shared_calls.join(
            key,
            lambda: self._answer(
                key, revision, lambda: self._inner.segment(image, prompt, thresholds)
            ),
        )
        # The call is accounted to one of those who shared it.
        return result if is_first else replace(result, usage=Usage(cached=1))

    async def paid_calls(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> int:
        """None for an answer that is kept, otherwise those of the inner segmenter."""
        calls = await self._inner.paid_calls(image, prompt, thresholds)
        if calls:
            key = await self._key(image, prompt, thresholds, await self._inner.revision())
            calls *= await asyncio.to_thread(self._read, key) is None
        return calls

    async def _key(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None, revision: str
    ) -> str:
        settings = self._settings | ({"thresholds": asdict(thresholds)} if thresholds else {})
        return answer_key(
            pixels=await asyncio.to_thread(pixels_digest, image),
            prompt=prompt,
            segmenter_id=self.id,
            identity=settings_digest(settings),
            revision=revision,
        )

    async def _answer(
        self, key: str, revision: str, ask: Callable[[], Awaitable[SegmentationResult]]
    ) -> SegmentationResult:
        kept = await asyncio.to_thread(self._read, key)
        if kept is not None:
            return kept
        async with self._locked(key):
            # Another process may have asked while we waited.
            kept = await asyncio.to_thread(self._read, key)
            if kept is not None:
                return kept
            result = await ask()
            if await self._is_still(revision):
                await asyncio.to_thread(self._write, key, result)
        return result

    async def _is_still(self, revision: str) -> bool:
        try:
            return await self._inner.revision() == revision
        except SegmenterError:
            return False  # the answer is good: it is given, and not kept

    def _read(self, key: str) -> SegmentationResult | None:
        try:
            entry = self._answers.read(key)
            return None if entry is None else decode_answer(key, entry)
        except DamagedEntryError:
            return None
        except OSError as error:
            self._warn(error)
            return None

    def _write(self, key: str, result: SegmentationResult) -> None:
        try:
            self._answers.write(key, encode_answer(key, result))
        except OSError as error:
            self._warn(error)

    @asynccontextmanager
    async def _locked(self, key: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._answers.locked(key))
            except OSError as error:
                self._warn(error)
            yield

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("answers are not kept, so they may be paid for again: %s", error)

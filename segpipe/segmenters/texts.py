"""A segmenter for pictures in which several texts name what to find."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from segpipe.detection import Detection, PassStats, SegmentationResult, Usage
from segpipe.errors import ConfigError
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.image import RgbImage


class EachText:
    """Wraps a segmenter and asks it for each of several texts where a prompt says nothing.

    What several texts name is found several times: dedup is to reject the copies. A prompt with a
    text, points, exemplars or boxes goes through as it is.

    Args:
        inner: The segmenter that is asked, for all texts at once.
        texts: What to find; one that is given twice is asked for once.

    Raises:
        ConfigError: There is no text, or a blank one.
    """

    def __init__(self, inner: Segmenter, texts: Sequence[str]) -> None:
        if not texts:
            raise ConfigError("give at least one text", field="texts")
        for index, text in enumerate(texts):
            if not text.strip():
                raise ConfigError(
                    f"text {index} is blank: leave it out, or write what to find", field="texts"
                )
        self._inner = inner
        self._texts = tuple(dict.fromkeys(texts))

    @property
    def id(self) -> str:
        """The id of the inner segmenter: the answers are its own."""
        return self._inner.id

    @property
    def concurrency(self) -> int:
        """That of the inner segmenter."""
        return self._inner.concurrency

    async def segment(self, image: RgbImage, prompt: Prompt) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8; the best score comes first.

        Detections without a label get their text. Of equal scores the one of the earlier text
        comes first. All texts together are one pass.

        Raises what the inner segmenter raises, once every text has its answer: what was asked is
        perhaps paid for, and a cache keeps it for the next try.
        """
        if not _says_nothing(prompt):
            return await self._inner.segment(image, prompt)
        started = time.perf_counter()
        results = await self._ask_for_each(image, prompt)
        detections = [
            _labelled(detection, text)
            for text, result in zip(self._texts, results, strict=True)
            for detection in result.detections
        ]
        detections.sort(key=lambda detection: detection.score, reverse=True)
        height, width, _ = image.shape
        elapsed_ms = (time.perf_counter() - started) * 1000
        return SegmentationResult(
            detections=tuple(detections),
            image_width=width,
            image_height=height,
            segmenter_id=self.id,
            elapsed_ms=elapsed_ms,
            pass_stats=(PassStats(len(detections), len(detections), elapsed_ms),),
            usage=sum((result.usage for result in results), Usage()),
            notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        )

    async def aclose(self) -> None:
        """Close the inner segmenter."""
        await self._inner.aclose()

    async def _ask_for_each(self, image: RgbImage, prompt: Prompt) -> list[SegmentationResult]:
        """The answers in the order of the texts."""
        questions = (replace(prompt, text=text) for text in self._texts)
        answers = await asyncio.gather(
            *(self._inner.segment(image, question) for question in questions),
            return_exceptions=True,
        )
        results = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            results.append(answer)
        return results


def _says_nothing(prompt: Prompt) -> bool:
    has_text = bool(prompt.text and prompt.text.strip())
    return prompt.mode is Mode.FIND_ALL and not (
        has_text or prompt.points or prompt.exemplars or prompt.boxes
    )


def _labelled(detection: Detection, text: str) -> Detection:
    return detection if detection.label is not None else replace(detection, label=text)

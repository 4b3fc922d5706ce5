"""A segmenter that asks another one for each of several texts."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from segpipe.detection import Detection, SegmentationResult, Thresholds, Usage, best_first
from segpipe.errors import ConfigError
from segpipe.prompt import Prompt
from segpipe.segmenters.segmenter import Segmenter, WrappedSegmenter
from segpipe.vision.image import RgbImage


class EachText(WrappedSegmenter):
    """Wraps a segmenter that reads one text, and asks it for each text of a prompt.

    What several texts name is found several times: dedup is to reject the copies. A prompt that
    says nothing is asked for the default texts; one with a single text or none goes through as it
    is.

    Args:
        inner: The segmenter that is asked, for all texts at once.
        texts: What to find where a prompt says nothing; one that is given twice is asked for once.

    Raises:
        ConfigError: A text is blank.
    """

    def __init__(self, inner: Segmenter, texts: Sequence[str] = ()) -> None:
        for index, text in enumerate(texts):
            if not text.strip():
                raise ConfigError(
                    f"text {index} is blank: leave it out, or write what to find", field="texts"
                )
        self._inner = inner
        self._texts = tuple(dict.fromkeys(texts))

    @property
    def default_texts(self) -> tuple[str, ...]:
        """What to find where a prompt says nothing."""
        return self._texts or self._inner.default_texts

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8; the best score comes first.

        Detections without a label get their text. Of equal scores the one of the earlier text
        comes first. All texts together are one pass.

        Raises what the inner segmenter raises, once every text has its answer: what was asked is
        perhaps paid for, and a cache keeps it for the next try.
        """
        texts = prompt.or_default(self._texts).texts
        # A single text of the prompt needs no label: the inner segmenter has given it.
        if not texts or (texts == prompt.texts and len(texts) == 1):
            return await self._inner.segment(image, prompt, thresholds)
        started = time.perf_counter()
        prompts = [replace(prompt, texts=(text,)) for text in texts]
        results = await self._ask_for_each(image, prompts, thresholds)
        answers = [
            [_labelled(detection, text) for detection in result.detections]
            for text, result in zip(texts, results, strict=True)
        ]
        return SegmentationResult.of_one_pass(
            best_first(answers),
            image,
            self.id,
            started,
            usage=sum((result.usage for result in results), Usage()),
            notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        )

    async def paid_calls(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> int:
        """Those of all texts together."""
        texts = prompt.or_default(self._texts).texts
        prompts = [replace(prompt, texts=(text,)) for text in texts] or [prompt]
        return sum([await self._inner.paid_calls(image, each, thresholds) for each in prompts])

    async def _ask_for_each(
        self, image: RgbImage, prompts: Sequence[Prompt], thresholds: Thresholds | None
    ) -> list[SegmentationResult]:
        """The answers in the order of the prompts."""
        answers = await asyncio.gather(
            *(self._inner.segment(image, each, thresholds) for each in prompts),
            return_exceptions=True,
        )
        results = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            results.append(answer)
        return results


def _labelled(detection: Detection, text: str) -> Detection:
    return detection if detection.label is not None else replace(detection, label=text)

"""Answers, prompts and segmenters for the tests of the cache."""

import asyncio
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from segpipe.detection import Detection, PassStats, SegmentationResult, Thresholds, Usage
from segpipe.prompt import Prompt
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

WIDTH, HEIGHT = 23, 17

numbers = st.floats(allow_nan=False)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    x1 = draw(st.integers(0, WIDTH))
    x2 = draw(st.integers(x1, WIDTH))
    y1 = draw(st.integers(0, HEIGHT))
    y2 = draw(st.integers(y1, HEIGHT))
    seed = draw(st.integers(0, 2**32 - 1))
    bits = np.random.default_rng(seed).integers(0, 2, (y2 - y1, x2 - x1)).astype(np.uint8)
    return Mask(x1, y1, bits, WIDTH, HEIGHT)


any_text = st.text(st.characters())  # lone surrogates too
detections = st.builds(
    Detection,
    box=st.builds(Box, numbers, numbers, numbers, numbers),
    score=numbers,
    label=st.none() | any_text,
    mask=st.none() | masks(),
    pass_index=st.integers(0, 5),
    trace_of=st.none() | st.integers(0, 5),
)
results = st.builds(
    SegmentationResult,
    detections=st.lists(detections, max_size=5).map(tuple),
    image_width=st.just(WIDTH),
    image_height=st.just(HEIGHT),
    segmenter_id=st.text(),
    elapsed_ms=numbers,
    pass_stats=st.lists(
        st.builds(PassStats, st.integers(0), st.integers(0), numbers, st.none() | any_text)
    ).map(tuple),
    usage=st.builds(Usage, calls=st.integers(0, 9)),
    notes=st.lists(any_text).map(tuple),
)


def facts(result: SegmentationResult) -> tuple[object, ...]:
    """Everything of an answer but its usage, as values that compare, floats to the last bit."""
    return (
        result.image_width,
        result.image_height,
        result.segmenter_id,
        repr(result.elapsed_ms),
        repr(result.pass_stats),
        result.notes,
        [
            (
                *(repr(one.box), repr(one.score), one.label),
                *(one.pass_index, one.trace_of, _mask_facts(one.mask)),
            )
            for one in result.detections
        ],
    )


def _mask_facts(mask: Mask | None) -> object:
    if mask is None:
        return None
    return mask.window, mask.bits.tolist(), mask.image_width, mask.image_height


def picture(seed: int = 0) -> RgbImage:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def answer(image: RgbImage) -> SegmentationResult:
    height, width = image.shape[:2]
    mask = Mask(2, 3, np.eye(5, dtype=np.uint8), width, height)
    found = Detection(Box(2.0, 3.0, 7.0, 8.0), 0.75, "box", mask)
    stats = PassStats(1, 1, 12.5, "one pass")
    usage = Usage(calls=1, cost=0.25)
    return SegmentationResult((found,), width, height, "paid", 12.5, (stats,), usage, ("a note",))


class PaidSegmenter(Segmenter):
    """Answers at once, or when it is let go; counts and can fail."""

    id = "paid"

    def __init__(self, gate: asyncio.Event | None = None, errors: list[Exception] | None = None):
        self.calls = 0
        self.cancelled = 0
        self.closed = 0
        self.asked = asyncio.Event()
        self.thresholds: list[Thresholds | None] = []
        self.held: str | Exception = "a"
        self.held_after_a_call: str | Exception | None = None
        self._gate = gate
        self._errors = errors or []

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        self.calls += 1
        self.thresholds.append(thresholds)
        self.asked.set()
        try:
            if self._gate is not None:
                await self._gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._errors:
            raise self._errors.pop(0)
        self.held = self.held_after_a_call or self.held
        return answer(image)

    async def revision(self) -> str:
        if isinstance(self.held, Exception):
            raise self.held
        return self.held

    async def aclose(self) -> None:
        self.closed += 1


class LoggingSegmenter(Segmenter):
    """Writes a line to a file for each call, from whatever process; slow enough to overlap."""

    id = "paid"

    def __init__(self, log: Path, seconds: float) -> None:
        self._log = log
        self._seconds = seconds

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        with self._log.open("a") as log:
            log.write("call\n")
        await asyncio.sleep(self._seconds)
        return answer(image)

    async def aclose(self) -> None: ...


def in_child(work: Callable[[], object]) -> int:
    """Start some work in a process of its own; its id, to be waited for."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        traceback.print_exc(file=sys.__stderr__)
    os._exit(1)


def exit_code(child: int) -> int:
    """The exit code of a child when it has ended; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

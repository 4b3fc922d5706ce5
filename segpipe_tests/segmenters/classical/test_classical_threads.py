"""The classical model in threads of its own."""

import asyncio
import threading
from typing import Any

import pytest

from segpipe.detection import Thresholds
from segpipe.errors import SegmenterError
from segpipe.prompt import Exemplar, Point, Prompt
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.classical import classical_segmenter as classical
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.segmenters.classical.item_at_points import at_points
from segpipe.vision.boxes import Box
from segpipe_tests.segmenters.classical.pictures import BLUE, disc, table

POINTS = (Point(60, 60), Point(62, 62), Point(64, 64))
PATIENCE_S = 10.0


class Blocked:
    """``at_points`` that waits for ``go``; what it was told of its caller then."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.wanted: list[bool] = []

    def __call__(self, *args: Any, is_wanted: Any) -> Any:
        self.begun.release()
        assert self.go.wait(PATIENCE_S)
        self.wanted.append(is_wanted())
        return at_points(*args)

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=PATIENCE_S)


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Blocked:
    blocked = Blocked()
    monkeypatch.setattr(classical, "at_points", blocked)
    return blocked


def test_a_cancelled_call_ends_when_its_thread_does_and_the_thread_hears_of_it(
    blocked: Blocked,
) -> None:
    async def ask_and_leave() -> None:
        model = ClassicalSegmenter(threads=1)
        leaving = asyncio.create_task(model.candidates(table(), POINTS))
        await blocked.until_begun()
        leaving.cancel()
        await asyncio.wait([leaving], timeout=0.05)
        assert not leaving.done()
        blocked.go.set()
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        assert blocked.wanted == [False]
        await model.aclose()

    asyncio.run(ask_and_leave())


def test_a_call_that_is_cancelled_while_it_waits_is_not_computed(blocked: Blocked) -> None:
    async def ask_twice_and_leave() -> None:
        model = ClassicalSegmenter(threads=1)
        first = asyncio.create_task(model.candidates(table(), POINTS))
        await blocked.until_begun()
        second = asyncio.create_task(model.candidates(table(), POINTS))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        assert second.cancelled()
        blocked.go.set()
        assert len(await first) == 3
        await model.aclose()

    asyncio.run(ask_twice_and_leave())
    assert blocked.wanted == [True]


@pytest.mark.parametrize("fails", [False, True], ids=["answers", "fails"])
def test_what_becomes_of_a_call_that_nobody_waits_for_is_not_told(
    blocked: Blocked, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    points = () if fails else POINTS

    async def ask_and_leave() -> None:
        model = ClassicalSegmenter()
        leaving = asyncio.create_task(model.candidates(table(), points))
        await blocked.until_begun()
        leaving.cancel()
        blocked.go.set()
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        await model.aclose()
        await model.aclose()

    asyncio.run(ask_and_leave())
    assert not caplog.records


def test_growing_stops_at_the_next_point_when_nobody_waits_any_more() -> None:
    asked: list[int] = []

    def is_wanted() -> bool:
        asked.append(1)
        return len(asked) < 2

    with pytest.raises(SegmenterError, match="nobody waits"):
        at_points(table(), POINTS, ClassicalConfig(), is_wanted=is_wanted)
    assert len(asked) == 2


def test_points_are_found_as_by_the_function() -> None:
    image = table()
    disc(image, 60, 60, 25)

    async def find() -> Any:
        model = ClassicalSegmenter()
        found = await model.segment(image, Prompt(points=POINTS), Thresholds())
        await model.aclose()
        return found.detections

    (found,) = asyncio.run(find())
    best, *_ = at_points(image, POINTS, ClassicalConfig())
    assert (found.box, found.score) == (best.mask.box, best.score)


@pytest.mark.parametrize(
    ("thresholds", "found"),
    [(Thresholds(), 2), (Thresholds(score=1.0), 1), (Thresholds(max_masks=1), 1)],
    ids=["by default", "the very look", "one"],
)
def test_exemplars_are_followed_within_the_thresholds(thresholds: Thresholds, found: int) -> None:
    image = table()
    disc(image, 60, 60, 25)
    disc(image, 160, 60, 25, (165, 45, 48))
    disc(image, 260, 60, 25, BLUE)

    async def find() -> Any:
        model = ClassicalSegmenter()
        example = Exemplar(Box(35, 35, 86, 86))
        answer = await model.segment(image, Prompt(exemplars=(example,)), thresholds)
        await model.aclose()
        return answer

    answer = asyncio.run(find())
    assert len(answer.detections) == answer.pass_stats[0].found == found
    assert answer.detections[0].box.x1 < 60

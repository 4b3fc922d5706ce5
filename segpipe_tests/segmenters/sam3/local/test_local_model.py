"""The whole model: prompts in, detections out."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from segpipe.detection import SegmentationResult, Thresholds
from segpipe.errors import PromptError, SegmenterError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.segmenters.sam3.local import (
    EverythingSettings,
    LocalConfig,
    LocalModel,
    LocalSegmenter,
    load_model,
)
from segpipe.vision.boxes import Box
from segpipe.vision.mask import iou
from segpipe_tests.segmenters.sam3.local.tiny import QUERIES, picture

T = TypeVar("T")
Loaded = LocalModel[Any, Any]

ALL = Thresholds(score=0.0)
OPEN_GRID = EverythingSettings(points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0)
BOXES = (Box(20, 30, 90, 100), Box(100, 20, 158, 110), Box(5, 5, 15, 15))


class Counter:
    """Counts what a runtime encodes, and can be made to fail or to wait."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.passes: list[int] = []
        self.threads: set[str] = set()
        self.questions = 0
        self.fails_with: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def encode(self, images: Sequence[Any]) -> Any:
        self.passes.append(len(images))
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.gate.wait(timeout=20)
        if self.fails_with is not None:
            raise self.fails_with
        return self._runtime.encode(images)

    def find(self, *args: Any) -> Any:
        self.questions += 1
        self.threads.add(threading.current_thread().name)
        return self._runtime.find(*args)


@pytest.fixture(scope="module")
def loaded(tiny_checkpoint: Path) -> Iterator[Loaded]:
    model = load_model(config(tiny_checkpoint))
    yield model
    asyncio.run(model.aclose())


@pytest.fixture
def counter(loaded: Loaded) -> Counter:
    return Counter(loaded._runtime)


def config(checkpoint: Path | str = "tiny", **settings: Any) -> LocalConfig:
    return LocalConfig(
        checkpoint=str(checkpoint), device="cpu", **{"everything": OPEN_GRID, **settings}
    )


def with_model(counter: Counter, work: Callable[[Loaded], Awaitable[T]], **settings: Any) -> T:
    """Run something with a model of its own settings around loaded weights."""

    async def run() -> T:
        model = LocalModel(counter, config(**settings))
        try:
            return await work(model)
        finally:
            await model._batcher.aclose()

    return asyncio.run(run())


def find(model: Loaded, prompt: Prompt, thresholds: Thresholds = ALL) -> SegmentationResult:
    return asyncio.run(model.find(picture(), prompt, thresholds))


PROMPTS = {
    "text": Prompt(texts=("red chip",)),
    "unicode": Prompt(texts=("Größe 大 ✂",)),
    "exemplars": Prompt(exemplars=(Exemplar(BOXES[0]), Exemplar(BOXES[2], False))),
    "text and exemplars": Prompt(texts=("chip",), exemplars=(Exemplar(BOXES[0]),)),
    "points": Prompt(points=(Point(40, 50), Point(100, 100, False))),
    "everything": Prompt(),
    "boxes": Prompt(Mode.INSIDE_BOX, boxes=BOXES),
    "boxes and points": Prompt(Mode.INSIDE_BOX, boxes=BOXES, points=(Point(40, 50),)),
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_every_answer_keeps_the_promises_of_a_result(loaded: Loaded, prompt: Prompt) -> None:
    image = picture()
    before = image.copy()
    result = asyncio.run(loaded.find(image, prompt, ALL))
    np.testing.assert_array_equal(image, before)
    assert result.segmenter_id == "sam3-local"
    assert (result.image_width, result.image_height) == (160, 120)
    assert result.detections
    for found in result.detections:
        assert 0 <= found.box.x1 < found.box.x2 <= 160
        assert 0 <= found.box.y1 < found.box.y2 <= 120
        assert 0 <= found.score <= 1
        assert found.mask is not None
        assert found.mask.box == found.box
        assert found.label == prompt.text
    if prompt.mode is Mode.FIND_ALL:
        scores = [found.score for found in result.detections]
        assert scores == sorted(scores, reverse=True)
    (stats,) = result.pass_stats
    assert (stats.found, stats.new, stats.stopped) == (len(result.detections),) * 2 + (None,)


def test_a_text_finds_as_many_as_the_model_proposes_above_the_threshold(
    loaded: Loaded,
) -> None:
    everything = find(loaded, PROMPTS["text"])
    assert len(everything.detections) == QUERIES
    middle = everything.detections[5].score
    fewer = find(loaded, PROMPTS["text"], Thresholds(score=middle))
    assert [one.score for one in fewer.detections] == [
        one.score for one in everything.detections if one.score >= middle
    ]
    assert not find(loaded, PROMPTS["text"], Thresholds(score=1.0)).detections
    assert len(find(loaded, PROMPTS["text"], Thresholds(0.0, max_masks=2)).detections) == 2


def test_a_higher_mask_threshold_gives_smaller_masks(loaded: Loaded) -> None:
    for prompt in (PROMPTS["text"], PROMPTS["points"], PROMPTS["boxes"]):
        low = find(loaded, prompt, Thresholds(0.0, mask=0.49)).detections[0].mask
        high = find(loaded, prompt, Thresholds(0.0, mask=0.51)).detections[0].mask
        assert low is not None
        assert high is not None
        assert high.area < low.area


def test_points_mean_one_item_the_best_of_three_candidates(loaded: Loaded) -> None:
    points = PROMPTS["points"].points
    first, second, third = asyncio.run(loaded.candidates(picture(), points))
    assert 1 >= first.score >= second.score >= third.score >= 0
    (only,) = find(loaded, PROMPTS["points"]).detections
    assert only.mask is not None
    assert only.score == first.score
    assert iou(only.mask, first.mask) == 1


@pytest.mark.parametrize("points", [[], [Point(161, 3)]])
def test_candidates_need_points_of_the_image(loaded: Loaded, points: list[Point]) -> None:
    with pytest.raises(PromptError):
        asyncio.run(loaded.candidates(picture(), points))


def test_inside_box_answers_each_box_in_order_whatever_the_threshold(loaded: Loaded) -> None:
    together = find(loaded, PROMPTS["boxes"], Thresholds(score=1.0)).detections
    assert len(together) == len(BOXES)
    for box, found in zip(BOXES, together, strict=True):
        (alone,) = find(loaded, Prompt(Mode.INSIDE_BOX, boxes=(box,))).detections
        assert found.mask is not None
        assert alone.mask is not None
        assert found.score == pytest.approx(alone.score, abs=1e-5)
        assert iou(found.mask, alone.mask) > 0.99


def test_many_boxes_are_asked_in_parts_and_stay_in_order(counter: Counter) -> None:
    boxes = tuple(Box(x, 10, x + 30, 60) for x in range(0, 120, 10))
    prompt = Prompt(Mode.INSIDE_BOX, boxes=boxes)
    answers = [
        with_model(
            counter,
            lambda model: model.find(picture(), prompt, ALL),
            everything=EverythingSettings(points_per_batch=size),
        ).detections
        for size in (5, 100)
    ]
    assert len(answers[0]) == len(boxes)
    for part, whole in zip(*answers, strict=True):
        assert part.score == pytest.approx(whole.score, abs=1e-5)


def test_where_nothing_is_seen_the_box_is_the_mask_without_a_score(loaded: Loaded) -> None:
    nothing = Thresholds(score=0.0, mask=1.0)
    for box, found in zip(BOXES, find(loaded, PROMPTS["boxes"], nothing).detections, strict=True):
        assert (found.box, found.score) == (box, 0.0)
        assert found.mask is not None
        assert found.mask.area == (box.x2 - box.x1) * (box.y2 - box.y1)
    assert not find(loaded, PROMPTS["text"], nothing).detections
    assert not find(loaded, PROMPTS["points"], nothing).detections


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 200)])
def test_a_plain_picture_of_any_shape_is_answered(
    loaded: Loaded, prompt: Prompt, width: int, height: int
) -> None:
    plain = np.full((height, width, 3), 200, np.uint8)
    scaled = Prompt(
        prompt.mode,
        prompt.texts,
        tuple(Box(0, 0, width, height) for _ in prompt.boxes),
        tuple(Point(width / 2, height / 2, point.positive) for point in prompt.points),
        tuple(Exemplar(Box(0, 0, width, height), one.positive) for one in prompt.exemplars),
    )
    result = asyncio.run(loaded.find(plain, scaled, ALL))
    for found in result.detections:
        assert 0 <= found.box.x1 < found.box.x2 <= width
        assert 0 <= found.box.y1 < found.box.y2 <= height


def test_a_huge_picture_is_answered_at_its_own_size(loaded: Loaded) -> None:
    huge = picture(width=6000, height=4000)
    result = asyncio.run(loaded.find(huge, PROMPTS["text"], Thresholds(0.0, max_masks=2)))
    small = asyncio.run(loaded.find(huge[::40, ::40].copy(), PROMPTS["text"], ALL))
    assert (result.image_width, result.image_height) == (6000, 4000)
    assert result.detections[0].box.x2 > 1000
    assert small.detections


def test_many_texts_on_one_image_cost_one_pass_of_the_vision_encoder(counter: Counter) -> None:
    async def ask(model: Loaded) -> None:
        image = picture()
        texts = [Prompt(texts=(f"thing {number}",)) for number in range(6)]
        await asyncio.gather(*(model.find(image, prompt, ALL) for prompt in texts))
        for prompt in (*texts, *PROMPTS.values()):
            await model.find(image.copy(), prompt, ALL)

    with_model(counter, ask)
    assert counter.passes == [1]


def test_images_at_the_same_time_share_passes(counter: Counter) -> None:
    async def ask(model: Loaded) -> None:
        images = [picture(seed=seed) for seed in range(8)]
        await asyncio.gather(*(model.find(image, PROMPTS["text"], ALL) for image in images))

    with_model(counter, ask, batch_size=4, batch_wait_ms=5000)
    assert counter.passes == [4, 4]
    assert counter.threads == {"sam3-local"}


def test_an_image_is_forgotten_when_enough_others_were_asked_about_since(
    counter: Counter,
) -> None:
    first, second, third = (picture(seed=seed) for seed in range(3))

    async def ask(model: Loaded) -> None:
        for image in (first, second, first, third, first, second):
            await model.find(image, PROMPTS["text"], ALL)

    with_model(counter, ask, kept_images=2)
    # The second was asked about least recently when the third came.
    assert len(counter.passes) == 4


def test_a_batch_of_more_images_than_are_kept_is_answered(counter: Counter) -> None:
    async def ask(model: Loaded) -> list[SegmentationResult]:
        images = [picture(seed=seed) for seed in range(4)]
        return await asyncio.gather(*(model.find(image, PROMPTS["text"], ALL) for image in images))

    results = with_model(counter, ask, kept_images=1, batch_size=4, batch_wait_ms=5000)
    assert all(result.detections for result in results)
    assert counter.passes == [4]


def test_who_leaves_while_waiting_is_not_computed_for(counter: Counter) -> None:
    counter.gate.clear()

    async def ask(model: Loaded) -> None:
        first = asyncio.create_task(model.find(picture(seed=0), PROMPTS["text"], ALL))
        await asyncio.to_thread(counter.entered.wait, 20)
        leaver = asyncio.create_task(model.find(picture(seed=1), PROMPTS["text"], ALL))
        while model._batcher._queue.empty():  # noqa: ASYNC110 - it is a queue of threads
            await asyncio.sleep(0.001)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        counter.gate.set()
        await first

    with_model(counter, ask)
    assert counter.passes == [1]
    assert counter.questions == 1


def test_a_text_that_is_too_long_fails_alone(counter: Counter) -> None:
    async def ask(model: Loaded) -> list[Any]:
        prompts = [Prompt(texts=("x" * 100,)), PROMPTS["text"]]
        return await asyncio.gather(
            *(model.find(picture(), prompt, ALL) for prompt in prompts), return_exceptions=True
        )

    failed, found = with_model(counter, ask, batch_size=2, batch_wait_ms=5000)
    assert isinstance(failed, PromptError)
    assert failed.field == "text"
    assert found.detections


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory.*batch_size"),
        (MemoryError(), "out of memory"),
        (ValueError("odd"), "SAM 3 failed while reading the picture: ValueError: odd"),
    ],
)
def test_a_failing_model_says_what_failed_and_what_to_do(
    counter: Counter, error: Exception, words: str
) -> None:
    counter.fails_with = error
    with pytest.raises(SegmenterError, match=words):
        with_model(counter, lambda model: model.find(picture(), PROMPTS["text"], ALL))


def test_after_a_failure_the_next_image_is_answered(counter: Counter) -> None:
    async def ask(model: Loaded) -> SegmentationResult:
        counter.fails_with = RuntimeError("out of memory")
        with pytest.raises(SegmenterError):
            await model.find(picture(), PROMPTS["text"], ALL)
        counter.fails_with = None
        return await model.find(picture(), PROMPTS["text"], ALL)

    assert with_model(counter, ask).detections


def test_everything_passes_its_filters(counter: Counter) -> None:
    def everything(**settings: Any) -> list[float]:
        grid = OPEN_GRID.model_copy(update={"box_nms_thresh": 1.0, **settings})
        result = with_model(
            counter, lambda model: model.find(picture(), Prompt(), ALL), everything=grid
        )
        return [found.score for found in result.detections]

    whole = everything()
    assert len(whole) > 10
    expected = sorted(whole)[len(whole) // 2]
    better = everything(pred_iou_thresh=expected)
    assert 0 < len(better) < len(whole)
    assert min(better) >= expected - 1e-6
    assert len(everything(stability_score_thresh=0.9)) < len(whole)
    assert len(everything(box_nms_thresh=0.3)) < len(whole)
    assert len(everything(min_area_px=3000)) < len(whole)
    assert everything(pred_iou_thresh=1.0) == []
    assert everything(points_per_batch=3) == pytest.approx(whole, abs=1e-5)


def test_a_segmenter_loads_its_model_once_when_it_is_first_needed(tiny_checkpoint: Path) -> None:
    async def run() -> tuple[list[SegmentationResult], str]:
        segmenter = LocalSegmenter(config(tiny_checkpoint, threshold=0.0, max_masks=3))
        devices = [segmenter.device]
        results = await asyncio.gather(
            *(segmenter.segment(picture(seed=seed), Prompt(texts=("chip",))) for seed in range(3))
        )
        revision = await segmenter.revision()
        devices.append(segmenter.device)
        assert devices == [None, "cpu"]
        await segmenter.aclose()
        await segmenter.aclose()
        return list(results), revision

    before = threading.active_count()
    results, revision = asyncio.run(run())
    assert [len(result.detections) for result in results] == [3, 3, 3]
    assert revision.startswith("sha256:")
    assert threading.active_count() == before


def test_a_segmenter_that_cannot_load_says_so_each_time(tmp_path: Path) -> None:
    async def run() -> None:
        segmenter = LocalSegmenter(config(tmp_path / "nowhere"))
        for _ in range(2):
            with pytest.raises(SegmenterError, match="there is no folder"):
                await segmenter.segment(picture(), Prompt())
        await segmenter.aclose()

    asyncio.run(run())


def test_thresholds_of_a_call_come_before_those_of_the_settings(tiny_checkpoint: Path) -> None:
    async def count(thresholds: Thresholds | None) -> int:
        segmenter = LocalSegmenter(config(tiny_checkpoint, threshold=0.0, max_masks=3))
        result = await segmenter.segment(picture(), Prompt(texts=("chip",)), thresholds)
        assert len(await segmenter.candidates(picture(), [Point(40, 50)])) == 3
        await segmenter.aclose()
        return len(result.detections)

    assert asyncio.run(count(None)) == 3
    assert asyncio.run(count(Thresholds(0.0, max_masks=1))) == 1

"""Around a cache, what has been paid for is not paid for again when another call fails."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from segpipe.detection import SegmentationResult
from segpipe.errors import BackendUncertainError, PromptError
from segpipe.prompt import Mode, Point, Prompt
from segpipe.segmenters.cache import CachedSegmenter
from segpipe.segmenters.cache.cache_folder import CacheFolder
from segpipe.segmenters.sam3.segmind import BoxByBox, SegmindConfig, SegmindSegmenter
from segpipe.vision.boxes import Box
from segpipe.vision.mask_codecs import to_base64
from segpipe_tests.loopback import Loopback, Received, Reply, json_reply
from segpipe_tests.segmenters.sam3.segmind.double import (
    IMAGE,
    MASKS,
    box_of,
    config_for,
    same_pixels,
    segment,
)

BOXES = tuple(box_of(mask) for mask in MASKS)
STRAY = Point(159, 119)
ALL_GOODS = json_reply([{"mask": to_base64(mask), "score": 0.5} for mask in MASKS])


def inside(*points: Point) -> Prompt:
    return Prompt(mode=Mode.INSIDE_BOX, texts=("cup",), boxes=BOXES, points=points)


def middle(box: Box) -> Point:
    return Point((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2)


EACH = inside(STRAY, *map(middle, BOXES))


def ask(config: SegmindConfig, prompt: Prompt, folder: Path) -> SegmentationResult:
    """As a new process would, with what earlier ones kept."""

    async def body() -> SegmentationResult:
        cached = CachedSegmenter(
            SegmindSegmenter(config), CacheFolder(folder / "cache", 10**9), settings=config
        )
        segmenter = BoxByBox(cached)
        try:
            return await segmenter.segment(IMAGE, prompt)
        finally:
            await segmenter.aclose()

    return asyncio.run(body())


def failing_once_for(box: Box) -> Callable[[Received], Reply]:
    failures = iter([Reply(502)])

    def reply_to(received: Received) -> Reply:
        is_it = json.loads(received.json()["boxes_input"]) == [[int(side) for side in box]]
        return next(failures, ALL_GOODS) if is_it else ALL_GOODS

    return reply_to


def test_a_retry_asks_only_for_the_boxes_that_have_no_answer_yet(tmp_path: Path) -> None:
    with Loopback(failing_once_for(BOXES[2])) as server:
        config = config_for(server.url, tmp_path)
        with pytest.raises(BackendUncertainError):
            ask(config, EACH, tmp_path)
        assert len(server.requests) == 3
        result = ask(config, EACH, tmp_path)
    assert len(server.requests) == 4
    assert (result.usage.calls, result.usage.cached) == (1, 2)


@pytest.mark.parametrize(
    "prompt",
    [
        EACH,
        inside(middle(BOXES[1])),
        inside(STRAY),
        inside(),
        replace(EACH, boxes=(BOXES[2], BOXES[0], BOXES[2])),
        Prompt(texts=("cup",)),
        Prompt(),
    ],
    ids=["all refined", "one refined", "stray", "plain", "twice", "text", "everything"],
)
def test_the_answer_is_that_of_the_segmenter_itself(prompt: Prompt, tmp_path: Path) -> None:
    with Loopback(ALL_GOODS) as server:
        config = config_for(server.url, tmp_path)
        ours, plain = ask(config, prompt, tmp_path), segment(config, prompt)
    for one, other in zip(ours.detections, plain.detections, strict=True):
        assert (one.box, one.score, one.label) == (other.box, other.score, other.label)
        assert one.mask is not None
        assert other.mask is not None
        assert same_pixels(one.mask, other.mask)
    assert ours.notes == plain.notes
    assert ours.usage == plain.usage
    assert ours.segmenter_id == plain.segmenter_id
    assert ours.pass_stats[0].found == len(ours.detections)


def test_a_box_outside_the_photo_is_refused_before_any_call(tmp_path: Path) -> None:
    prompt = replace(EACH, boxes=(*BOXES, Box(900, 1, 950, 9)))
    with Loopback(ALL_GOODS) as server, pytest.raises(PromptError) as caught:
        ask(config_for(server.url, tmp_path), prompt, tmp_path)
    assert caught.value.field == "boxes[3]"
    assert server.requests == []

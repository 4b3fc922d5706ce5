"""What SAM 3 promises behind every door: one test for the three backends.

The service and the double of Segmind hold the very model that the local backend loads: a SAM 3 of
random weights.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from segpipe.detection import SegmentationResult, Thresholds
from segpipe.errors import PromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.segmenters.sam3.local import (
    EverythingSettings,
    LocalConfig,
    LocalSegmenter,
)
from segpipe.segmenters.sam3.segmind import SegmindConfig, SegmindSegmenter
from segpipe.segmenters.sam3.service import InternalConfig, InternalSegmenter
from segpipe.segmenters.segmenter import Segmenter, WrappedSegmenter
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_png
from segpipe.vision.image import RgbImage, decode_image
from segpipe_tests.loopback import Loopback, Received, Reply, json_reply
from segpipe_tests.segmenters.sam3.local.tiny import make_tiny_checkpoint, picture
from segpipe_tests.server.running import running

MAX_MASKS = 6
BOXES = (Box(20.0, 10.0, 90.0, 70.0), Box(80.5, 40.0, 160.0, 120.0))

Make = Callable[[], Segmenter]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> LocalConfig:
    checkpoint = make_tiny_checkpoint(tmp_path_factory.mktemp("contract"))
    few = EverythingSettings(points_per_side=6)
    return LocalConfig(
        checkpoint=str(checkpoint), threshold=0.0, max_masks=MAX_MASKS, everything=few
    )


class KeptOpen(WrappedSegmenter):
    """A segmenter that several questions share: it is not closed after each."""

    def __init__(self, inner: Segmenter) -> None:
        self._inner = inner

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        return await self._inner.segment(image, prompt, thresholds)

    async def aclose(self) -> None:
        """It is closed with the fixture."""


@pytest.fixture(scope="module")
def local(config: LocalConfig) -> Iterator[Segmenter]:
    segmenter = LocalSegmenter(config)
    yield KeptOpen(segmenter)
    asyncio.run(segmenter.aclose())


@pytest.fixture(scope="module")
def service(config: LocalConfig) -> Iterator[str]:
    with running(partial(LocalSegmenter, config)) as service:
        yield service.url


@pytest.fixture(scope="module")
def segmind(local: Segmenter) -> Iterator[str]:
    threads = ThreadPoolExecutor(1)
    with threads, Loopback(partial(segmind_double, local, threads)) as server:
        yield server.url


def segmind_double(segmenter: Segmenter, threads: ThreadPoolExecutor, received: Received) -> Reply:
    """What Segmind would answer if it ran the tiny model; the thread has a loop of its own."""
    asked = received.json()
    photo = decode_image(base64.b64decode(asked["image"])).rgb
    boxes = tuple(Box(*map(float, box)) for box in json.loads(asked.get("boxes_input", "[]")))
    text = asked.get("text_prompt")
    if text:
        prompt = Prompt(texts=(text,), exemplars=tuple(Exemplar(box) for box in boxes))
    elif boxes:
        prompt = Prompt(mode=Mode.INSIDE_BOX, boxes=boxes)
    else:
        places = json.loads(asked.get("points_input", "[]"))
        labels = json.loads(asked.get("point_labels_input", "[]"))
        points = (Point(x, y, bool(yes)) for (x, y), yes in zip(places, labels, strict=True))
        prompt = Prompt(points=tuple(points))
    found = [
        {
            "label": one.label,
            "score": one.score,
            "mask": base64.b64encode(encode_png(one.mask.to_full()[..., None] * 255)).decode(),
        }
        for one in threads.submit(answer, segmenter, photo, prompt).result().detections
        if one.mask
    ]
    return json_reply(found)


@pytest.fixture(params=["local", "internal", "segmind"])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    match request.param:
        case "local":
            local: Segmenter = request.getfixturevalue("local")
            return lambda: local
        case "internal":
            url = request.getfixturevalue("service")
            internal = InternalConfig(url=url, threshold=0.0, max_masks=MAX_MASKS)
            return lambda: InternalSegmenter(internal)
        case _:
            monkeypatch.setenv("SEGMIND_API_KEY", "key")
            url = request.getfixturevalue("segmind")
            segmind = SegmindConfig(endpoint=url, ledger_folder=str(tmp_path), max_masks=MAX_MASKS)
            return lambda: SegmindSegmenter(segmind)


def answer(segmenter: Segmenter, image: RgbImage, prompt: Prompt) -> SegmentationResult:
    return asyncio.run(_ask(segmenter, image, prompt))


async def _ask(segmenter: Segmenter, image: RgbImage, prompt: Prompt) -> SegmentationResult:
    return await segmenter.segment(image, prompt)


def asked_once(make: Make, image: RgbImage, prompt: Prompt) -> SegmentationResult:
    async def ask() -> SegmentationResult:
        segmenter = make()
        try:
            return await segmenter.segment(image, prompt)
        finally:
            await segmenter.aclose()
            await segmenter.aclose()  # closing twice is allowed

    return asyncio.run(ask())


def check(result: SegmentationResult, image: RgbImage, *, segmenter_id: str) -> None:
    height, width = image.shape[:2]
    assert (result.image_width, result.image_height) == (width, height)
    assert result.segmenter_id == segmenter_id
    assert result.elapsed_ms > 0
    assert sum(stats.found for stats in result.pass_stats) == len(result.detections)
    for found in result.detections:
        assert 0 <= found.score <= 1
        assert 0 <= found.box.x1 < found.box.x2 <= width
        assert 0 <= found.box.y1 < found.box.y2 <= height
        assert found.mask is not None
        assert (found.mask.image_width, found.mask.image_height) == (width, height)
        assert found.mask.tight().box == found.box


def segmenter_id(make: Make) -> str:
    return make().id


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(),
        Prompt(texts=("ring",)),
        Prompt(texts=("  ",)),
        Prompt(texts=("Ohrring für Zoë 💍 耳环",)),
        Prompt(exemplars=(Exemplar(BOXES[0]),)),
        Prompt(texts=("ring",), exemplars=(Exemplar(BOXES[0]),)),
        Prompt(points=(Point(40, 30), Point(120, 100, positive=False))),
    ],
    ids=["everything", "text", "blank", "unicode", "exemplar", "text and exemplar", "points"],
)
def test_find_all_gives_the_best_first_inside_the_image(make: Make, prompt: Prompt) -> None:
    image = picture()
    before = image.copy()

    result = asked_once(make, image, prompt)

    check(result, image, segmenter_id=segmenter_id(make))
    scores = [found.score for found in result.detections]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) <= MAX_MASKS
    if prompt.text and prompt.text.strip():
        assert scores
        assert {found.label for found in result.detections} == {prompt.text}
    if prompt.points:
        assert len(scores) <= 1
    assert np.array_equal(image, before)


@pytest.mark.parametrize("points", [(), (Point(50, 40), Point(30, 60, positive=False))])
def test_inside_box_gives_one_detection_for_each_box_in_their_order(
    make: Make, points: tuple[Point, ...]
) -> None:
    image = picture()
    forth = Prompt(mode=Mode.INSIDE_BOX, boxes=BOXES, points=points)
    back = Prompt(mode=Mode.INSIDE_BOX, boxes=BOXES[::-1], points=points)

    there, again = asked_once(make, image, forth), asked_once(make, image, back)

    check(there, image, segmenter_id=segmenter_id(make))
    assert len(there.detections) == len(BOXES)
    assert [one.box for one in again.detections] == [one.box for one in there.detections][::-1]


def test_a_text_labels_what_is_in_the_boxes(make: Make) -> None:
    prompt = Prompt(mode=Mode.INSIDE_BOX, texts=("ring",), boxes=BOXES)
    found = asked_once(make, picture(), prompt).detections
    assert [one.label for one in found] == ["ring", "ring"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (3000, 4000)], ids=str)
@pytest.mark.parametrize("texts", [(), ("ring",)], ids=["everything", "text"])
def test_any_size_of_image(make: Make, shape: tuple[int, int], texts: tuple[str, ...]) -> None:
    image = np.full((*shape, 3), 200, np.uint8)  # an empty one
    check(asked_once(make, image, Prompt(texts=texts)), image, segmenter_id=segmenter_id(make))


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (Prompt(texts=("ring " * 500,)), "text"),
        (Prompt(mode=Mode.INSIDE_BOX, boxes=(Box(500, 10, 600, 20),)), "boxes"),
        (Prompt(points=(Point(160.0, 20.0),)), "points"),
        (Prompt(texts=("ring",), points=(Point(40.0, 20.0),)), "points"),
        (Prompt(exemplars=(Exemplar(Box(-9, 0, -5, 5)),)), "exemplars"),
    ],
    ids=[
        *("over-long text", "outside"),
        *("point at the edge", "points and text", "exemplar outside"),
    ],
)
def test_a_prompt_that_makes_no_sense_names_its_field(
    make: Make, prompt: Prompt, field: str
) -> None:
    with pytest.raises(PromptError) as caught:
        asked_once(make, picture(), prompt)
    assert caught.value.field is not None
    assert caught.value.field.startswith(field)


def test_many_images_at_once_are_each_answered_as_alone(make: Make) -> None:
    images = [picture(seed=seed) for seed in range(4)]

    async def ask() -> list[SegmentationResult]:
        segmenter = make()
        try:
            return await asyncio.gather(
                *(segmenter.segment(image, Prompt(texts=("ring",))) for image in images)
            )
        finally:
            await segmenter.aclose()

    together = asyncio.run(ask())
    alone = [asked_once(make, image, Prompt(texts=("ring",))) for image in images]
    for one, other in zip(together, alone, strict=True):
        assert [found.score for found in one.detections] == pytest.approx(
            [found.score for found in other.detections], abs=1e-4
        )

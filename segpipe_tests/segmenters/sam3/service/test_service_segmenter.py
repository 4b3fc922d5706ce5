"""The client against our real service, and against answers that make no sense."""

import asyncio
import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from segpipe.detection import Candidate, Detection, SegmentationResult
from segpipe.errors import (
    BackendError,
    BackendProtocolError,
    BackendRefusedError,
    BackendUnavailableError,
    ConfigError,
    PromptError,
    UnsupportedPromptError,
)
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.scenes import Scene, make_scene
from segpipe.segmenters.cache import CachedSegmenter
from segpipe.segmenters.cache.cache_folder import CacheFolder
from segpipe.segmenters.classical import ClassicalConfig, ClassicalSegmenter
from segpipe.segmenters.http import HttpSettings
from segpipe.segmenters.sam3.service import InternalConfig, InternalSegmenter
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import to_base64
from segpipe_tests.goods import goods_image
from segpipe_tests.server.running import Service, ToldModel, running, wait_until

ONCE = HttpSettings(max_attempts=1)
A_BOX, OUTSIDE = Box(10, 10, 60, 60), Box(500, 500, 510, 510)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(ClassicalSegmenter) as service:
        service.wait_for_model()
        yield service


@pytest.fixture(scope="module")
def scene() -> Scene:
    scene = make_scene(12, width=400, height=300)
    scene.image.setflags(write=False)
    return scene


async def ask(
    segmenter: InternalSegmenter, prompt: Prompt, image: Any = None
) -> SegmentationResult:
    try:
        return await segmenter.segment(goods_image(2) if image is None else image, prompt)
    finally:
        await segmenter.aclose()
        await segmenter.aclose()


def as_bytes(detections: tuple[Detection, ...]) -> list[tuple[Any, ...]]:
    return [
        (d.box, d.score, d.label, d.mask.window, d.mask.bits.tobytes())
        for d in detections
        if d.mask is not None
    ]


@pytest.mark.parametrize("kind", ["everything", "points", "boxes"])
def test_the_service_gives_what_the_model_gives_in_process(
    service: Service, scene: Scene, kind: str
) -> None:
    prompt = {
        "everything": Prompt(texts=(" ",)),
        "points": Prompt(points=(Point(*_centre(scene.boxes[0])), Point(1, 1, positive=False))),
        "boxes": Prompt(mode=Mode.INSIDE_BOX, boxes=scene.boxes),
    }[kind]
    remote = InternalSegmenter(
        InternalConfig(url=service.url, upload="png", threshold=0, max_masks=300)
    )

    there = asyncio.run(ask(remote, prompt, scene.image))
    here = asyncio.run(ClassicalSegmenter().segment(scene.image, prompt))

    assert as_bytes(there.detections) == as_bytes(here.detections)
    assert len(there.detections) == len(here.detections) > 0
    assert there.segmenter_id == InternalSegmenter.id == "sam3-internal"
    assert (there.image_width, there.image_height) == (400, 300)
    assert there.usage.calls == 1
    (only_pass,) = there.pass_stats
    assert only_pass.found == only_pass.new == len(there.detections)


def _centre(box: Box) -> tuple[float, float]:
    return (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2


def test_jpeg_uploads_find_the_same_items(service: Service, scene: Scene) -> None:
    config = InternalConfig(url=service.url, upload="jpeg", jpeg_quality=95)
    lossy = asyncio.run(ask(InternalSegmenter(config), Prompt(), scene.image))
    exact = asyncio.run(
        ask(InternalSegmenter(InternalConfig(url=service.url, upload="png")), Prompt(), scene.image)
    )
    assert len(lossy.detections) == len(exact.detections)


def test_many_images_are_in_flight_under_the_bound() -> None:
    model = ToldModel(waits=True)
    with running(lambda: model) as service:
        config = InternalConfig(url=service.url, http=HttpSettings(in_flight=3))
        segmenter = InternalSegmenter(config)

        async def ask_for_all() -> list[SegmentationResult]:
            tasks = [
                asyncio.create_task(segmenter.segment(goods_image(1), Prompt())) for _ in range(7)
            ]
            await asyncio.to_thread(wait_until, lambda: model.running == 3)
            await asyncio.sleep(0.05)
            assert model.running == 3
            model.go.set()
            results = await asyncio.gather(*tasks)
            await segmenter.aclose()
            return list(results)

        assert len(asyncio.run(ask_for_all())) == 7
    assert model.most_running == 3


def test_a_cancelled_question_is_not_computed(service: Service) -> None:
    model = ToldModel(waits=True)
    with running(lambda: model) as waiting:
        segmenter = InternalSegmenter(InternalConfig(url=waiting.url))

        async def ask_and_leave() -> None:
            task = asyncio.create_task(segmenter.segment(goods_image(1), Prompt()))
            await asyncio.to_thread(wait_until, lambda: model.running == 1)
            task.cancel()
            await asyncio.wait([task])
            await segmenter.aclose()

        asyncio.run(ask_and_leave())
        wait_until(lambda: model.cancelled == 1)


def test_a_service_that_is_not_ready_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ToldModel(waits=True)

    def load() -> ToldModel:
        model.go.wait(10)
        return model

    with running(load) as service:
        http = HttpSettings(max_attempts=2, backoff_s=0)
        segmenter = InternalSegmenter(InternalConfig(url=service.url, http=http))

        async def ask_early() -> SegmentationResult:
            question = asyncio.create_task(ask(segmenter, Prompt(texts=("mug",))))
            await asyncio.to_thread(
                wait_until, lambda: 'status="503"' in httpx.get(f"{service.url}/metrics").text
            )
            model.go.set()
            return await question

        result = asyncio.run(ask_early())
    assert result.detections[0].label == "mug"
    assert result.usage.calls == 2


def test_the_token_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret-canary")
    monkeypatch.setenv("SEGPIPE_SECRET_NAMES", "MY_TOKEN")
    monkeypatch.setenv("SEGPIPE_SERVER_TOKEN", "s3cret-canary")
    with running(ToldModel) as service:
        service.wait_for_model()
        good = InternalSegmenter(InternalConfig(url=service.url, token_env="MY_TOKEN"))
        assert asyncio.run(ask(good, Prompt())).detections

        monkeypatch.delenv("MY_TOKEN")
        without = InternalSegmenter(InternalConfig(url=service.url, token_env="MY_TOKEN"))
        with pytest.raises(BackendRefusedError, match="401") as caught:
            asyncio.run(ask(without, Prompt()))
        assert "s3cret" not in str(caught.value)


def test_what_the_model_cannot_follow_is_an_unsupported_prompt(service: Service) -> None:
    segmenter = InternalSegmenter(InternalConfig(url=service.url))
    with pytest.raises(UnsupportedPromptError, match="cannot read text") as caught:
        asyncio.run(ask(segmenter, Prompt(texts=("blue mug",))))
    assert caught.value.field == "text"


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (Prompt(mode=Mode.INSIDE_BOX, boxes=(OUTSIDE,)), "boxes[0]"),
        (Prompt(exemplars=(Exemplar(A_BOX), Exemplar(OUTSIDE))), "exemplars[1]"),
        (Prompt(points=(Point(500, 500),)), "points[0]"),
    ],
)
def test_what_lies_outside_the_image_is_a_prompt_error_that_names_it(
    service: Service, prompt: Prompt, field: str
) -> None:
    with pytest.raises(PromptError, match=r"in the image|outside the image") as caught:
        asyncio.run(ask(InternalSegmenter(InternalConfig(url=service.url)), prompt))
    assert caught.value.field == field


NAN = float("nan")


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (Prompt(texts=("x" * 10_001,)), "text"),
        (Prompt(points=(Point(1, 1),) * 1001), "points"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_not_sent(prompt: Prompt, field: str) -> None:
    sent: list[httpx.Request] = []

    def note(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(500)

    with pytest.raises(PromptError) as caught:
        asyncio.run(ask(InternalSegmenter(transport=httpx.MockTransport(note)), prompt))
    assert caught.value.field == field
    assert not sent


WIDTH, HEIGHT = 160, 120
RLE = {"size": [HEIGHT, WIDTH], "counts": "e?>Y32O000000000000000001N\\k`0"}
GOOD: dict[str, Any] = {
    "image": {"width": WIDTH, "height": HEIGHT},
    "boxes": [[4, 20, 16, 36]],
    "scores": [0.5],
    "labels": [None],
    "masks": [RLE],
    "model": "m@1",
    "elapsed_ms": 1.0,
}


def reply(content: bytes, status: int = 200) -> httpx.Response:
    return httpx.Response(status, stream=httpx.ByteStream(content))


def answering(body: bytes | dict[str, Any], status: int = 200) -> InternalSegmenter:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    transport = httpx.MockTransport(lambda _: reply(content, status))
    return InternalSegmenter(InternalConfig(http=ONCE), transport=transport)


def test_a_box_is_that_of_its_mask_and_the_best_score_comes_first() -> None:
    two = {
        **GOOD,
        "boxes": [[0, 0, 100, 100], [5, 5, 9, 9]],
        "scores": [0.2, 0.7],
        "labels": ["a", "b"],
        "masks": [RLE, None],
    }
    best, other = asyncio.run(ask(answering(two), Prompt())).detections
    assert (best.box, best.label, best.mask) == (Box(5, 5, 9, 9), "b", None)
    assert other.box == Box(4, 20, 16, 36)


def test_a_mask_may_come_as_a_png() -> None:
    mask = Mask(5, 6, np.ones((3, 4), np.uint8), WIDTH, HEIGHT)
    (found,) = asyncio.run(
        ask(answering({**GOOD, "masks": [to_base64(mask)]}), Prompt())
    ).detections
    assert found.mask is not None
    assert found.mask.window == mask.window


def _png_of_another_size() -> str:
    return to_base64(Mask.empty(image_width=WIDTH + 1, image_height=HEIGHT))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body"),
        (b"<html>", "the body"),
        (b"[]", "the body"),
        (json.dumps(GOOD).encode()[:-9], "the body"),
        ({"boxes": []}, "image"),
        ({**GOOD, "image": {"width": 1, "height": 1}}, "of 1 x 1 pixels, not 160 x 120"),
        ({**GOOD, "image": {"width": "160", "height": HEIGHT}}, "image.width"),
        ({**GOOD, "scores": []}, "one entry a detection"),
        ({**GOOD, "scores": [1.5]}, "scores.0"),
        ({**GOOD, "scores": [NAN]}, "scores.0"),
        ({**GOOD, "boxes": [[4, 20, 16]]}, "boxes.0"),
        ({**GOOD, "boxes": [[4, 20, 3, 36]]}, "no box in an image"),
        ({**GOOD, "boxes": [[-1, 20, 3, 36]]}, "no box in an image"),
        ({**GOOD, "boxes": [[4, 20, 161, 36]]}, "no box in an image"),
        ({**GOOD, "boxes": [[4, 20, float("inf"), 36]]}, "boxes.0.2"),
        ({**GOOD, "masks": [{"size": [1, 1], "counts": "1"}]}, "masks"),
        ({**GOOD, "masks": [{"size": [HEIGHT, WIDTH], "counts": "é"}]}, "masks"),
        ({**GOOD, "masks": [{"size": [WIDTH, HEIGHT], "counts": RLE["counts"]}]}, "masks"),
        ({**GOOD, "masks": ["no base64"]}, "masks"),
        ({**GOOD, "masks": [base64.b64encode(b"no png").decode()]}, "masks"),
        ({**GOOD, "masks": [_png_of_another_size()]}, "masks"),
        ({**GOOD, "surplus": 1}, "surplus"),
        (
            {
                **GOOD,
                "boxes": GOOD["boxes"] * 101,
                "scores": [0.5] * 101,
                "labels": [None] * 101,
                "masks": [None] * 101,
            },
            "101 detections",
        ),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_protocol_error(body: Any, said: str) -> None:
    with pytest.raises(BackendProtocolError, match="the inference service") as caught:
        asyncio.run(ask(answering(body), Prompt()))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def test_inside_box_wants_one_detection_a_box() -> None:
    prompt = Prompt(mode=Mode.INSIDE_BOX, boxes=(A_BOX, A_BOX))
    with pytest.raises(BackendProtocolError, match="2 boxes got 1"):
        asyncio.run(ask(answering(GOOD), prompt))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, BackendRefusedError), (413, BackendRefusedError), (500, BackendUnavailableError)],
)
def test_a_refusal_is_a_typed_error(status: int, kind: type[BackendError]) -> None:
    with pytest.raises(kind, match=str(status)):
        asyncio.run(ask(answering(b"{}", status), Prompt()))


def test_the_revision_is_what_health_says_and_is_asked_once() -> None:
    with running(ToldModel) as service:
        service.wait_for_model()
        segmenter = InternalSegmenter(InternalConfig(url=service.url))

        async def revisions() -> set[str]:
            names = {await segmenter.revision() for _ in range(3)}
            await segmenter.aclose()
            return names

        before = httpx.get(f"{service.url}/metrics").text
        assert asyncio.run(revisions()) == {"told@1"}
        after = httpx.get(f"{service.url}/metrics").text
    assert _health_checks(after) == _health_checks(before) + 1


def _health_checks(metrics: str) -> float:
    return sum(
        float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith('segpipe_requests_total{path="/health"')
    )


@pytest.mark.parametrize("body", [b"", b"{}", b'{"status": "ready"}', b"[1]"])
def test_a_health_that_makes_no_sense_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(BackendProtocolError, match="health"):
        asyncio.run(answering(body).revision())


def test_a_model_that_is_changed_in_the_middle_is_noticed() -> None:
    models = iter(["old@1", "new@1"])

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            health = {"status": "ready", "model_loaded": True, "device": "cpu"}
            return reply(json.dumps({**health, "model": next(models)}).encode())
        return reply(json.dumps({**GOOD, "model": "new@1"}).encode())

    segmenter = InternalSegmenter(transport=httpx.MockTransport(serve))

    async def ask_twice() -> str:
        assert await segmenter.revision() == "old@1"
        with pytest.raises(BackendUnavailableError, match="changed its model"):
            await segmenter.segment(goods_image(1), Prompt())
        revision = await segmenter.revision()
        await segmenter.segment(goods_image(1), Prompt())
        await segmenter.aclose()
        return revision

    assert asyncio.run(ask_twice()) == "new@1"


class Changing:
    """A service whose model changes, and that holds back its answers until they may go."""

    def __init__(self) -> None:
        self.model = "old@1"
        self.held_back = asyncio.Semaphore(0)
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            health = {"status": "ready", "model_loaded": True, "device": "cpu"}
            return reply(json.dumps({**health, "model": self.model}).encode())
        if not self.go.is_set():
            self.held_back.release()
            await self.go.wait()
        return reply(json.dumps({**GOOD, "labels": [self.model], "model": self.model}).encode())


@pytest.mark.parametrize("knows", [True, False], ids=["revision asked", "first answer told"])
def test_every_answer_under_way_while_the_model_changes_is_refused(knows: bool) -> None:
    async def ask_many() -> None:
        service = Changing()
        segmenter = InternalSegmenter(transport=httpx.MockTransport(service))
        await (segmenter.revision() if knows else segmenter.segment(goods_image(1), Prompt()))
        service.go.clear()
        asking = [
            asyncio.create_task(segmenter.segment(goods_image(1), Prompt())) for _ in range(4)
        ]
        for _ in asking:
            await service.held_back.acquire()
        service.model = "new@1"
        service.go.set()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(one) for one in outcomes] == [BackendUnavailableError] * 4

        (found,) = (await segmenter.segment(goods_image(1), Prompt())).detections
        assert found.label == await segmenter.revision() == "new@1"
        await segmenter.aclose()

    asyncio.run(ask_many())


def test_no_answer_of_a_new_model_is_kept_as_one_of_the_old(tmp_path: Path) -> None:
    def build(service: Changing) -> CachedSegmenter:
        inner = InternalSegmenter(transport=httpx.MockTransport(service))
        return CachedSegmenter(inner, CacheFolder(tmp_path, 10**7), settings=InternalConfig())

    async def ask_for_four(segmenter: CachedSegmenter) -> list[Any]:
        images = [np.full((HEIGHT, WIDTH, 3), shade, np.uint8) for shade in range(4)]
        return await asyncio.gather(
            *(segmenter.segment(image, Prompt()) for image in images), return_exceptions=True
        )

    async def change_in_the_middle() -> None:
        service = Changing()
        service.go.clear()
        segmenter = build(service)
        asking = asyncio.create_task(ask_for_four(segmenter))
        for _ in range(4):
            await service.held_back.acquire()
        service.model = "new@1"
        service.go.set()
        outcomes = await asking
        assert [type(one) for one in outcomes] == [BackendUnavailableError] * 4
        await segmenter.aclose()

        service.model = "old@1"
        segmenter = build(service)
        results = await ask_for_four(segmenter)
        assert {one.detections[0].label for one in results} == {"old@1"}
        assert all(one.usage.cached == 0 for one in results)
        await segmenter.aclose()

    asyncio.run(change_in_the_middle())


@pytest.mark.parametrize("token", ["two words", "geh\u00e9im", "a\nb", "\u2603"])
def test_a_token_that_no_header_carries_is_refused_by_its_variable(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", token)
    monkeypatch.setenv("SEGPIPE_SECRET_NAMES", "MY_TOKEN")
    with pytest.raises(ConfigError, match="MY_TOKEN") as caught:
        InternalSegmenter(InternalConfig(token_env="MY_TOKEN"))
    assert token not in str(caught.value)


def test_classical_settings_change_the_revision() -> None:
    def revision(config: ClassicalConfig | None = None) -> str:
        return asyncio.run(ClassicalSegmenter(config).revision())

    assert revision() == revision(ClassicalConfig())
    assert revision() != revision(ClassicalConfig(min_score=0.9))


def test_a_token_goes_to_this_machine_and_where_it_was_allowed_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = InternalConfig(url="https://gpu.example.org")
    InternalSegmenter(elsewhere)  # without a token nothing is told
    monkeypatch.setenv("SEGPIPE_SERVER_TOKEN", "s3cret-canary")
    InternalSegmenter()
    with pytest.raises(ConfigError, match=r"SEGPIPE_SERVER_TOKEN=https://gpu\.example") as caught:
        InternalSegmenter(elsewhere)
    assert caught.value.field == "url"
    monkeypatch.setenv("SEGPIPE_SECRET_NAMES", "SEGPIPE_SERVER_TOKEN=https://gpu.example.org")
    InternalSegmenter(elsewhere)


def test_a_token_is_not_read_from_any_variable() -> None:
    with pytest.raises(ConfigError, match="SEGPIPE_SECRET_NAMES") as caught:
        InternalConfig(token_env="AWS_SECRET_ACCESS_KEY")
    assert caught.value.field == "token_env"


def test_points_have_the_readings_of_the_model_that_is_served(service: Service) -> None:
    scene = make_scene(0, width=320, height=240)
    points = [Point(*_centre(scene.boxes[0])), Point(1, 1, positive=False)]

    async def ask_both() -> tuple[Sequence[Candidate], Sequence[Candidate]]:
        config = InternalConfig(url=service.url, upload="png")
        client, served = InternalSegmenter(config), ClassicalSegmenter()
        readings = await client.candidates(scene.image, points)
        await client.aclose()
        return readings, await served.candidates(scene.image, points)

    ours, theirs = asyncio.run(ask_both())
    assert [one.score for one in ours] == [one.score for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.mask.to_full(), other.mask.to_full())


def test_readings_that_make_no_sense_are_a_protocol_error() -> None:
    image = goods_image(1)
    empty = to_base64(Mask.empty(image_width=WIDTH, image_height=HEIGHT))
    good = {"image": {"width": WIDTH, "height": HEIGHT}, "scores": [0.9] * 3, "masks": [empty] * 3}

    async def ask_for(answer: dict[str, Any]) -> Sequence[Candidate]:
        return await answering({**answer, "model": "old@1"}).candidates(image, [Point(1, 1)])

    assert len(asyncio.run(ask_for(good))) == 3
    small = to_base64(Mask.empty(image_width=9, image_height=9))
    for bad in (
        {**good, "masks": [empty] * 2},
        {**good, "scores": [0.9]},
        {**good, "masks": [small] * 3},
        {},
    ):
        with pytest.raises(BackendProtocolError, match="answer to points makes no sense"):
            asyncio.run(ask_for(bad))
    with pytest.raises(PromptError, match="negative points alone"):
        asyncio.run(answering(good).candidates(image, [Point(1, 1, positive=False)]))

"""``POST /v1/segment`` as a stream: what comes, in which order, and who is waited for."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import SegmenterError
from segpipe.refiners.grabcut import GrabCutConfig, GrabCutRefiner
from segpipe.refiners.loop.loop_refiner import HqSamRefiner
from segpipe.refiners.loop.loop_settings import HqSamConfig
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.server.server_settings import ServerSettings
from segpipe_tests.refiners.loop.tiny_hq_sam import make_tiny_checkpoint
from segpipe_tests.server.asking import (
    PATH,
    PHOTO,
    FoundModel,
    ToldRefiner,
    ask,
    data_url,
    item,
    loaded,
    post,
    question,
    stream,
    streaming,
)
from segpipe_tests.server.running import PATIENCE_S, Service, ToldModel, running, wait_until

STAGES = ["decode", "segmentation", "dedup", "refinement", "outlines"]
GOOD = item(40, 20, 80, 60, 0.9)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    refiner = GrabCutRefiner(GrabCutConfig())
    with running(ClassicalSegmenter, refiner=refiner) as service, loaded(service) as client:
        yield client


def sent(service: Service, **fields: Any) -> socket.socket:
    """Send a whole request for a stream, and keep the connection in hand."""
    body = json.dumps(question(stream=True, **fields)).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", service.port), PATIENCE_S)
    connection.sendall(head.encode() + body)
    return connection


def stages(events: list[tuple[str, Any]]) -> list[str]:
    """The stages that began, in order."""
    return [data["stage"] for name, data in events if name == "progress" and "step" not in data]


def test_a_stream_tells_each_stage_and_step_and_ends_with_the_answer(client: httpx.Client) -> None:
    events = stream(client)
    assert stages(events) == STAGES
    assert [name for name, _ in events] == ["progress"] * (len(events) - 1) + ["final"]
    assert events[-1][1] == ask(client)
    assert ("progress", {"stage": "dedup", "objects": 3}) in events
    refinement = [data for _, data in events if data.get("stage") == "refinement"]
    assert refinement == [
        {"stage": "refinement", "objects": 3},
        *({"stage": "refinement", "step": step, "steps": 3} for step in (1, 2, 3)),
    ]


def test_masks_are_in_the_final_event_only(client: httpx.Client) -> None:
    *progress, (name, answer) = stream(client, return_base64=True)
    assert name == "final"
    assert answer == ask(client, return_base64=True)
    assert answer["coarse_mask_base64"]
    assert "base64" not in json.dumps(progress)
    assert stages(progress) == [*STAGES, "masks"]


def test_each_iteration_of_a_real_loop_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    checkpoint = make_tiny_checkpoint(tmp_path_factory.mktemp("weights"))
    config = HqSamConfig(
        checkpoint=str(checkpoint), device="cpu", iterations=4, min_iou=0, min_predicted_iou=0
    )
    refiner = HqSamRefiner(config)
    with running(ClassicalSegmenter, refiner=refiner) as service, loaded(service) as client:
        events = stream(client, return_base64=True)
        assert events[-1] == ("final", ask(client, return_base64=True))
    steps = [
        data["step"] for _, data in events if data.get("stage") == "refinement" if "step" in data
    ]
    assert steps == [1, 2, 3, 4]


SHARES = st.sampled_from([0, 0.02, 0.1, 0.25, 0.4, 0.5, 1])
PLACES = st.builds(lambda x, y: {"x": x, "y": y}, SHARES, SHARES)
SPANS = st.tuples(SHARES, SHARES).filter(lambda pair: pair[0] < pair[1])
AREAS = st.builds(
    lambda x, y: {"x_min": x[0], "x_max": x[1], "y_min": y[0], "y_max": y[1]}, SPANS, SPANS
)
QUESTIONS = st.fixed_dictionaries(
    {},
    optional={
        "object": st.sampled_from([None, "", "mug"]),
        "mode": st.sampled_from(["find_all", "inside_box"]),
        "boxes": st.lists(AREAS, max_size=3),
        "points": st.lists(PLACES, max_size=2),
        "settings": st.fixed_dictionaries(
            {},
            optional={
                "threshold": SHARES,
                "max_masks": st.integers(1, 3),
                "iou_threshold": SHARES,
                "containment_threshold": SHARES,
                "compare": st.sampled_from(["masks", "boxes"]),
                "refine": st.booleans(),
            },
        ),
        "return_base64": st.booleans(),
    },
)


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(fields=QUESTIONS)
def test_a_stream_gives_what_a_plain_answer_gives(
    client: httpx.Client, fields: dict[str, Any]
) -> None:
    """Answers and refusals alike."""
    plain = post(client, **fields)
    with client.stream("POST", PATH, json=question(stream=True, **fields)) as response:
        text = response.read().decode()
    if response.status_code == 200:
        name, _, data = text.rstrip("\n").rpartition("event: ")[2].partition("\ndata: ")
        assert name == ("final" if plain.status_code == 200 else "error")
    else:
        assert response.status_code == plain.status_code
        data = text
    assert data == plain.text


def test_what_is_malformed_is_refused_before_a_stream_begins(client: httpx.Client) -> None:
    answer = post(client, stream=True, return_base64="true")
    assert (answer.status_code, answer.json()["field"]) == (400, "return_base64")


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"image_url": data_url(b"rubbish")}, "UnsupportedFormatError", "image_url"),
        ({"image_url": data_url(PHOTO[:200])}, "CorruptImageError", "image_url"),
        ({"object": "mug"}, "UnsupportedPromptError", "object"),
    ],
)
def test_what_goes_wrong_in_a_stream_is_its_last_event(
    client: httpx.Client, fields: dict[str, Any], error: str, field: str
) -> None:
    name, problem = stream(client, **fields)[-1]
    assert (name, problem["error"], problem["field"]) == ("error", error, field)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(RuntimeError("/secret"), "InternalError"), (SegmenterError("/secret"), "SegmenterError")],
)
def test_a_model_that_fails_in_a_stream_keeps_its_reasons(error: Exception, kind: str) -> None:
    with running(lambda: ToldModel(error=error)) as service, loaded(service) as client:
        *_, (name, problem) = stream(client)
        assert service.gauge('segpipe_streams_total{end="error"}') == 1
    assert (name, problem["error"]) == ("error", kind)
    assert "secret" not in str(problem)


def test_the_steps_come_while_the_refiner_is_at_work() -> None:
    refiner = ToldRefiner(waits=True)
    with running(lambda: FoundModel(GOOD), refiner=refiner) as service, loaded(service) as client:
        with streaming(client) as events:
            for name, data in events:
                assert name == "progress"
                if data.get("step") == 1:
                    break
            assert refiner.running == 1
            refiner.go.set()
            assert list(events)[-1][0] == "final"
        assert service.gauge('segpipe_streams_total{end="final"}') == 1
        assert service.gauge("segpipe_refiner_seconds_count") == 1


def test_who_waits_in_the_queue_hears_a_heartbeat() -> None:
    model = ToldModel(waits=True)
    limits = ServerSettings(in_model=1, heartbeat_s=0.01)
    with (
        running(lambda: model, limits) as service,
        loaded(service) as client,
        sent(service),
        client.stream("POST", PATH, json=question(stream=True)) as response,
    ):
        wait_until(lambda: service.gauge("segpipe_waiting") == 1)
        lines = response.iter_lines()
        beats = sum(next(lines).startswith(":") for _ in range(20))
        model.go.set()
        assert "event: final" in list(lines)
    assert beats >= 5


def test_a_client_that_leaves_a_stream_stops_the_model_and_frees_its_place() -> None:
    model = ToldModel(waits=True)
    limits = ServerSettings(in_model=1, queue_size=0)
    with running(lambda: model, limits) as service, loaded(service) as client:
        leaving = sent(service)
        wait_until(lambda: model.running == 1)
        assert post(client).status_code == 503
        leaving.close()
        wait_until(lambda: model.cancelled == 1)
        wait_until(lambda: service.gauge('segpipe_streams_total{end="left"}') == 1)
        model.go.set()
        assert stream(client)[-1][0] == "final"


def test_a_client_that_leaves_the_queue_of_streams_is_not_computed_for() -> None:
    model = ToldModel(waits=True)
    with running(lambda: model, ServerSettings(in_model=1)) as service, loaded(service):
        staying, leaving = sent(service), None
        wait_until(lambda: model.running == 1)
        leaving = sent(service)
        wait_until(lambda: service.gauge("segpipe_waiting") == 1)
        leaving.close()
        wait_until(lambda: service.gauge("segpipe_waiting") == 0)
        model.go.set()
        wait_until(lambda: service.gauge('segpipe_streams_total{end="final"}') == 1)
        staying.close()
    assert len(model.images) == 1


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_refiner_stops_at_its_next_step_when_the_client_has_left(is_stream: bool) -> None:
    refiner = ToldRefiner(waits=True)
    limits = ServerSettings(in_model=1, queue_size=0)
    with (
        running(lambda: FoundModel(GOOD), limits, refiner) as service,
        loaded(service) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        body = question(stream=is_stream)
        leaving = pool.submit(leave_soon, service, body)
        wait_until(lambda: refiner.running == 1)
        leaving.result()
        # It is still at its step, and so its place is taken.
        assert service.gauge("segpipe_in_refiner") == 1
        assert post(client).status_code == 503
        refiner.go.set()
        wait_until(lambda: service.gauge("segpipe_in_refiner") == 0)
        assert refiner.steps == 1
        wait_until(lambda: post(client).status_code == 200)
        assert service.gauge("segpipe_refiner_failures_total") == 0


def leave_soon(service: Service, body: dict[str, Any]) -> None:
    with service.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post(PATH, json=body, timeout=0.2)


def test_a_stream_that_takes_too_long_ends_with_an_error_and_the_model_stops() -> None:
    model = ToldModel(waits=True)
    limits = ServerSettings(request_timeout_s=0.1, in_model=1, queue_size=0)
    with running(lambda: model, limits) as service, loaded(service) as client:
        *_, (name, problem) = stream(client)
        assert model.cancelled == 1
        model.go.set()
        assert stream(client)[-1][0] == "final"
    assert (name, problem["error"]) == ("error", "Timeout")


def test_as_many_photos_are_refined_at_once_as_settings_say() -> None:
    refiner = ToldRefiner(waits=True)
    limits = ServerSettings(in_refiner=2, in_model=4)
    with (
        running(lambda: FoundModel(GOOD), limits, refiner) as service,
        loaded(service) as client,
        ThreadPoolExecutor() as pool,
    ):
        streams = [pool.submit(stream, client) for _ in range(4)]
        plain = [pool.submit(ask, client) for _ in range(2)]
        wait_until(lambda: service.gauge("segpipe_in_refiner") == refiner.running == 2)
        # Those that wait for the refiner are not in the model, which others may ask.
        assert service.gauge("segpipe_in_model") == 0
        found = client.post("/segment", files={"image": PHOTO}, data={"prompt": "{}"})
        assert found.status_code == 200
        refiner.go.set()
        answers = [one.result()[-1][1] for one in streams] + [one.result() for one in plain]
        assert service.gauge("segpipe_waiting") == 0
    assert refiner.most_running == 2
    assert all(answer == answers[0] for answer in answers)


def test_a_shutdown_lets_a_stream_finish() -> None:
    model = ToldModel(waits=True)
    with (
        running(lambda: model) as service,
        loaded(service) as client,
        streaming(client) as events,
    ):
        wait_until(lambda: model.running == 1)
        service.stop()
        wait_until(lambda: service.app.state.service.health.status == "stopping")
        assert model.closed == 0
        model.go.set()
        assert list(events)[-1][0] == "final"
    assert model.closed == 1


def test_a_shutdown_waits_for_a_stream_no_longer_than_its_limit() -> None:
    model = ToldModel(waits=True)
    limits = ServerSettings(shutdown_timeout_s=0)
    with running(lambda: model, limits) as service, loaded(service), sent(service):
        wait_until(lambda: model.running == 1)
        service.stop()
        wait_until(lambda: model.closed == 1)
    assert model.cancelled == 1


def test_streams_are_counted_like_other_requests() -> None:
    with running(ToldModel) as service, loaded(service) as client:
        stream(client)
        post(client, image_url="rubbish")
        text = client.get("/metrics").text
    for line in (
        f'segpipe_requests_total{{path="{PATH}",status="200"}} 1.0',
        f'segpipe_requests_total{{path="{PATH}",status="400"}} 1.0',
        f'segpipe_request_seconds_count{{path="{PATH}"}} 2.0',
        'segpipe_streams_total{end="final"} 1.0',
    ):
        assert line in text

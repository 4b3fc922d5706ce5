"""How much is done at once, for how long, for whom, and what a shutdown leaves."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest

from segpipe.segmenters.classical import classical_segmenter as classical
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.segmenters.classical.item_at_points import at_points
from segpipe.server.server_settings import ServerSettings
from segpipe.web.photo_uploads import PhotoShelf
from segpipe_tests.goods import goods_photo
from segpipe_tests.server.running import PATIENCE_S, Service, ToldModel, running, wait_until


def ask(service: Service) -> httpx.Response:
    with service.client() as client:
        return client.post(
            "/predict/mask", files={"image": goods_photo(1)}, data={"points": "[[10, 28]]"}
        )


def upload(service: Service) -> socket.socket:
    """Send a whole request, and keep the connection in hand."""
    request = httpx.Request(
        "POST",
        f"{service.url}/predict/mask",
        files={"image": goods_photo(1)},
        data={"points": "[[10, 28]]"},
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    connection = socket.create_connection(("127.0.0.1", service.port), PATIENCE_S)
    connection.sendall(f"POST /predict/mask HTTP/1.1\r\n{head}\r\n".encode() + request.read())
    return connection


def test_only_so_many_prompts_are_in_the_model_at_once() -> None:
    model = ToldModel(waits=True)
    with running(lambda: model, ServerSettings(in_model=2)) as service:
        service.wait_for_model()
        with ThreadPoolExecutor() as pool:
            answers = [pool.submit(ask, service) for _ in range(6)]
            wait_until(lambda: service.gauge("segpipe_waiting") == 4)
            assert service.gauge("segpipe_in_model") == model.running == 2
            model.go.set()
            assert [answer.result().status_code for answer in answers] == [200] * 6
    assert model.most_running == 2


def test_a_full_queue_is_503_with_a_time_to_come_again() -> None:
    model = ToldModel(waits=True)
    settings = ServerSettings(in_model=1, queue_size=1, retry_after_s=7)
    with running(lambda: model, settings) as service:
        service.wait_for_model()
        with ThreadPoolExecutor() as pool:
            first = pool.submit(ask, service)
            wait_until(lambda: model.running == 1)
            second = pool.submit(ask, service)
            wait_until(lambda: service.gauge("segpipe_waiting") == 1)
            refused = ask(service)
            model.go.set()
            assert first.result().status_code == second.result().status_code == 200
        assert ask(service).status_code == 200

    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "7"
    assert refused.json()["error"] == "QueueFull"


def test_a_client_that_leaves_the_queue_is_not_computed_for() -> None:
    model = ToldModel(waits=True)
    with running(lambda: model, ServerSettings(in_model=1)) as service:
        service.wait_for_model()
        with ThreadPoolExecutor() as pool:
            first = pool.submit(ask, service)
            wait_until(lambda: model.running == 1)
            leaving = upload(service)
            wait_until(lambda: service.gauge("segpipe_waiting") == 1)
            leaving.close()
            wait_until(lambda: service.gauge("segpipe_waiting") == 0)
            model.go.set()
            assert first.result().status_code == 200
    assert len(model.images) == 1


def test_the_model_stops_when_the_client_leaves() -> None:
    model = ToldModel(waits=True)
    with running(lambda: model) as service:
        service.wait_for_model()
        leaving = upload(service)
        wait_until(lambda: model.running == 1)
        leaving.close()
        wait_until(lambda: model.cancelled == 1)
        model.go.set()
        assert ask(service).status_code == 200


class Threaded:
    """Work in threads that waits for ``go`` and then is done as ever; how often it began."""

    def __init__(self, work: Any) -> None:
        self.go = threading.Event()
        self.begun = 0
        self._work = work

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.begun += 1
        assert self.go.wait(PATIENCE_S)
        return self._work(*args, **options)


def test_clients_that_leave_a_model_that_cannot_be_stopped_take_no_more_threads_than_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grow = Threaded(at_points)
    monkeypatch.setattr(classical, "at_points", grow)
    with running(lambda: ClassicalSegmenter(threads=2), ServerSettings(in_model=2)) as service:
        service.wait_for_model()
        leaving = [upload(service) for _ in range(12)]
        wait_until(lambda: grow.begun == 2 and service.gauge("segpipe_waiting") == 10)
        for connection in leaving:
            connection.close()
        wait_until(lambda: service.gauge("segpipe_waiting") == 0)
        assert service.gauge("segpipe_in_model") == grow.begun == 2

        with ThreadPoolExecutor() as pool:
            following = pool.submit(ask, service)
            wait_until(lambda: service.gauge("segpipe_waiting") == 1)
            grow.go.set()
            assert following.result().status_code == 200
        wait_until(lambda: service.gauge("segpipe_in_model") == 0)
    assert grow.begun == 3


def test_photos_are_decoded_while_every_thread_of_the_model_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grow = Threaded(at_points)
    monkeypatch.setattr(classical, "at_points", grow)
    many = 40  # more threads than those that asyncio.to_thread shares
    settings = ServerSettings(in_model=many)
    with running(lambda: ClassicalSegmenter(threads=many), settings) as service:
        service.wait_for_model()
        connections = [upload(service) for _ in range(many)]
        wait_until(lambda: grow.begun == many)
        grow.go.set()
        for connection in connections:
            assert connection.recv(20).startswith(b"HTTP/1.1 200 ")
            connection.close()


def test_a_photo_takes_its_room_until_it_is_decoded_though_its_client_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decode = Threaded(
        partial(PhotoShelf.decode, PhotoShelf(max_pixels=10**6, kept_pixels=0, max_bytes=10**8))
    )
    monkeypatch.setattr(PhotoShelf, "decode", staticmethod(decode))
    settings = ServerSettings(in_model=1, decoded_ahead=0)
    with running(ToldModel, settings) as service:
        service.wait_for_model()
        leaving = upload(service)
        wait_until(lambda: decode.begun == 1)
        leaving.close()
        with ThreadPoolExecutor() as pool:
            following = pool.submit(ask, service)
            wait_until(lambda: service.gauge("segpipe_waiting") == 2)
            for _ in range(5):
                assert service.gauge("segpipe_waiting") == 2
            assert decode.begun == 1
            decode.go.set()
            assert following.result().status_code == 200


def test_a_client_that_leaves_in_the_middle_of_its_upload_is_forgotten() -> None:
    model = ToldModel()
    with running(lambda: model) as service:
        service.wait_for_model()
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(
                b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
            wait_until(lambda: service.gauge("segpipe_waiting") == 1)
        wait_until(lambda: service.gauge("segpipe_waiting") == 0)
    assert not model.images


def test_an_upload_that_does_not_end_is_408() -> None:
    with running(ToldModel, ServerSettings(upload_timeout_s=0.1)) as service:
        service.wait_for_model()
        with socket.create_connection(("127.0.0.1", service.port), PATIENCE_S) as connection:
            connection.sendall(
                b"POST /segment HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
            answer = b""
            while more := connection.recv(65_536):
                answer += more
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"error":"UploadTimeout"' in answer


def test_an_answer_that_does_not_come_is_504_and_the_model_stops() -> None:
    model = ToldModel(waits=True)
    with running(lambda: model, ServerSettings(request_timeout_s=0.1)) as service:
        service.wait_for_model()
        answer = ask(service)
        assert model.cancelled == 1
    assert answer.status_code == 504
    assert answer.json()["error"] == "Timeout"


def test_a_shutdown_lets_what_is_under_way_finish_and_closes_the_model() -> None:
    model = ToldModel(waits=True)
    with running(lambda: model, ServerSettings(in_model=1)) as service:
        service.wait_for_model()
        with ThreadPoolExecutor() as pool:
            answers = [pool.submit(ask, service) for _ in range(2)]
            wait_until(lambda: model.running == 1 and service.gauge("segpipe_waiting") == 1)
            service.stop()
            wait_until(lambda: not listens(service))
            assert model.closed == 0
            model.go.set()
            assert [answer.result().status_code for answer in answers] == [200, 200]
    assert model.closed == 1


def test_a_shutdown_waits_no_longer_than_its_limit() -> None:
    model = ToldModel(waits=True)
    with running(lambda: model, ServerSettings(shutdown_timeout_s=0)) as service:
        service.wait_for_model()
        with upload(service):
            wait_until(lambda: model.running == 1)
            service.stop()
            wait_until(lambda: model.closed == 1)
    assert model.cancelled == 1


def test_a_service_that_stops_says_so_to_whoever_still_asks() -> None:
    model = ToldModel(waits=True)
    with running(lambda: model) as service:
        service.wait_for_model()
        with ThreadPoolExecutor() as pool:
            first = pool.submit(ask, service)
            wait_until(lambda: model.running == 1)
            service.app.state.service.stop()  # what the server does first
            refused, health = ask(service), httpx.get(f"{service.url}/health")
            model.go.set()
            assert first.result().status_code == 200
    assert refused.status_code == health.status_code == 503
    assert refused.json()["error"] == "Stopping"
    assert health.json()["status"] == "stopping"


def test_a_shutdown_while_the_model_is_being_loaded_leaves_at_once() -> None:
    model = ToldModel(waits=True)

    def load() -> ToldModel:
        model.go.wait(PATIENCE_S)
        return model

    with running(load) as service:
        service.stop()
        wait_until(lambda: not listens(service))
        model.go.set()


def listens(service: Service) -> bool:
    try:
        socket.create_connection(("127.0.0.1", service.port), 1).close()
    except OSError:
        return False
    return True

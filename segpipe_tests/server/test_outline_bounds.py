"""The guards and bounds of the other endpoints hold for JSON, too."""

import json
import socket

import httpx
import pytest

from segpipe.server.server_settings import ServerSettings
from segpipe_tests.server.asking import PATH, loaded, post, question, stream
from segpipe_tests.server.running import PATIENCE_S, ToldModel, running, wait_until

TOKEN_ENV = "SEGPIPE_SERVER_TOKEN"
MEGABYTE = 1_000_000
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
BODY = json.dumps(question()).encode()


def test_the_token_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_ENV, "s3cret")
    with running(ToldModel) as service, loaded(service) as client:
        for is_stream in (True, False):
            refused = httpx.post(f"{service.url}{PATH}", json=question(stream=is_stream))
            assert refused.status_code == 401
        assert stream(client)[-1][0] == "final"


def test_a_page_of_another_origin_may_ask_only_as_settings_say() -> None:
    limits = ServerSettings(cors_origins=["https://studio.example"])
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, authorization",
    }
    with running(ToldModel, limits) as service, loaded(service) as client:
        good = client.options(PATH, headers={"Origin": "https://studio.example", **preflight})
        bad = client.options(PATH, headers={"Origin": "https://evil.example", **preflight})
        # What a page may send anywhere without asking.
        plain = client.post(PATH, content=BODY, headers={"Content-Type": "text/plain"})
    assert (good.status_code, bad.status_code, plain.status_code) == (200, 400, 400)


def test_an_announced_body_over_the_cap_is_413_before_any_of_it_is_sent() -> None:
    with running(ToldModel, ServerSettings(max_upload_mb=1)) as service, loaded(service):
        answer = exchange(service.port, HEAD + b"Content-Length: 1000001\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_an_unannounced_body_is_413_as_soon_as_it_passes_the_cap() -> None:
    piece = b"%x\r\n%b\r\n" % (MEGABYTE // 2 + 1, b" " * (MEGABYTE // 2 + 1))
    with running(ToldModel, ServerSettings(max_upload_mb=1)) as service, loaded(service):
        answer = exchange(
            service.port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + piece + piece
        )
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_end_is_408() -> None:
    with running(ToldModel, ServerSettings(upload_timeout_s=0.1)) as service, loaded(service):
        answer = exchange(service.port, HEAD + b"Content-Length: 5000\r\n\r\n{")
        assert service.gauge("segpipe_waiting") == 0
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"error":"UploadTimeout"' in answer


def test_a_client_that_leaves_in_the_middle_of_its_body_is_forgotten() -> None:
    model = ToldModel()
    with running(lambda: model) as service, loaded(service):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(HEAD + b"Content-Length: 5000000\r\n\r\n" + bytes(2 * MEGABYTE))
            wait_until(lambda: service.gauge("segpipe_waiting") == 1)
        wait_until(lambda: service.gauge("segpipe_waiting") == 0)
    assert not model.images


def test_a_body_that_is_too_large_for_memory_is_answered_all_the_same() -> None:
    padded = BODY + b" " * (3 * MEGABYTE)
    with running(ToldModel) as service, loaded(service) as client:
        answer = client.post(PATH, content=padded, headers={"Content-Type": "application/json"})
        assert answer.json() == post(client).json()


def exchange(port: int, request: bytes) -> bytes:
    """Send a request that never ends, and read the answer."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"}"):
            more = connection.recv(65_536)
            assert more, answer
            answer += more
    return answer

"""The HTTP client of backends against a real server that misbehaves."""

import asyncio
import gzip
import ipaddress
import logging
import pickle
import socket
import ssl
import traceback
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import (
    BackendError,
    BackendProtocolError,
    BackendRefusedError,
    BackendUnavailableError,
    BackendUncertainError,
    BudgetExceededError,
)
from segpipe.segmenters.http import (
    Answer,
    Attempt,
    BackendClient,
    HttpSettings,
    Outcome,
    check_endpoint,
    forbidden_hosts,
    redact,
)
from segpipe.segmenters.http.http_answers import snippet
from segpipe.segmenters.http.http_attempts import asked_pause_s
from segpipe_tests.loopback import Loopback, Reply, json_reply

KEY = "canary/key+0123=="
OK = json_reply({"ok": True})
FAST = HttpSettings(
    connect_timeout_s=5, read_timeout_s=5, deadline_s=10, max_attempts=3, backoff_s=0.001
)


def fast(**changes: Any) -> HttpSettings:
    return FAST.model_copy(update=changes)


def client_of(url: str, settings: HttpSettings = FAST, **rest: Any) -> BackendClient:
    return BackendClient("toy", url, settings, headers={"x-key": KEY}, secrets=[KEY], **rest)


def test_a_name_that_leads_to_a_metadata_address_is_sent_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loopback = frozenset({ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")})
    with Loopback(OK) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        post(url)
        monkeypatch.setattr(forbidden_hosts, "_METADATA_ADDRESSES", loopback)
        failure_of(url, fast(max_attempts=1))
        assert len(server.requests) == 1


def post(url: str, settings: HttpSettings = FAST, *, method: str = "POST", **rest: Any) -> Answer:
    """One request by a client of its own."""
    on_attempt = rest.pop("on_attempt", None)

    async def ask() -> Answer:
        client = client_of(url, settings, **rest)
        try:
            return await client.request(method, "/do", content=b"work", on_attempt=on_attempt)
        finally:
            await client.aclose()

    return asyncio.run(ask())


def failure_of(url: str, settings: HttpSettings = FAST, **rest: Any) -> BackendError:
    with pytest.raises(BackendError) as caught:
        post(url, settings, **rest)
    error = caught.value
    told = [str(error), repr(error), *traceback.format_exception(error)]
    assert not any(KEY in text for text in told)
    assert error.__cause__ is None, "httpx's exceptions lead to the request and its key"
    assert error.__context__ is None, "httpx's exceptions lead to the request and its key"
    return error


def test_an_answer_has_status_headers_media_type_and_body() -> None:
    reply = json_reply({"a": 1}, content_type="Application/JSON; charset=utf-8", status=202)
    with Loopback(reply) as server:
        answer = post(server.url + "/base")
    assert (answer.status, answer.content_type, answer.body) == (
        202,
        "application/json",
        b'{"a": 1}',
    )
    assert answer.headers["Content-Length"] == "8"
    (received,) = server.requests
    assert (received.method, received.path, received.body) == ("POST", "/base/do", b"work")
    assert received.headers["x-key"] == KEY


@pytest.mark.parametrize(
    ("status", "kind", "sent"),
    [
        (400, BackendRefusedError, 1),
        (401, BackendRefusedError, 1),
        (402, BackendRefusedError, 1),
        (403, BackendRefusedError, 1),
        (404, BackendRefusedError, 1),
        (405, BackendRefusedError, 1),
        (406, BackendRefusedError, 1),
        (410, BackendRefusedError, 1),
        (413, BackendRefusedError, 1),
        (418, BackendRefusedError, 1),
        (422, BackendRefusedError, 1),
        (501, BackendRefusedError, 1),
        (408, BackendUnavailableError, 3),
        (429, BackendUnavailableError, 3),
        (500, BackendUnavailableError, 3),
        (503, BackendUnavailableError, 3),
        (502, BackendUncertainError, 1),
        (504, BackendUncertainError, 1),
        (524, BackendUncertainError, 1),
    ],
)
def test_a_status_decides_the_error_and_whether_the_request_is_sent_again(
    status: int, kind: type[BackendError], sent: int
) -> None:
    with Loopback(Reply(status, b"because")) as server:
        error = failure_of(server.url)
    assert type(error) is kind
    assert f"toy answered {status}" in str(error)
    assert "because" in str(error)
    assert len(server.requests) == sent


def test_an_error_has_the_status_and_the_body_of_its_answer_without_secrets() -> None:
    body = f'{{"detail": "no, {KEY}", "long": "{"x" * 9000}"}}'.encode()
    with Loopback(Reply(422, body)) as server:
        error = failure_of(server.url)
    assert error.status == 422
    assert error.body.startswith('{"detail": "no, [redacted]"')
    assert len(error.body) <= 2_000
    again = pickle.loads(pickle.dumps(error))
    assert (again.status, again.body, str(again)) == (error.status, error.body, str(error))


def test_an_error_without_an_answer_has_no_status() -> None:
    error = failure_of("http://127.0.0.1:9")
    assert (error.status, error.body) == (None, "")


def test_406_names_both_of_its_meanings() -> None:
    with Loopback(Reply(406)) as server:
        error = failure_of(server.url)
    assert "credits" in str(error)
    assert "content type" in str(error)


def test_a_passing_failure_is_overcome() -> None:
    with Loopback([Reply(500), Reply(503), OK]) as server:
        assert post(server.url).body == OK.body
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [500, 429, 503])
def test_what_failed_but_was_billed_is_not_sent_again(status: int) -> None:
    with Loopback([Reply(status, headers={"x-cost": "0.5"}), OK]) as server:
        error = failure_of(server.url)
    assert type(error) is BackendUncertainError
    assert "billed" in str(error)
    assert len(server.requests) == 1


def test_a_failure_that_says_it_cost_nothing_is_sent_again() -> None:
    with Loopback([Reply(500, headers={"x-cost": "0"}), OK]) as server:
        post(server.url)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "fault",
    [
        Reply(hang_up=True),
        Reply(hang_up=True, reset=True),
        Reply(body=b"x" * 100, stop_after=40),
        Reply(body=b"x" * 100, stop_after=40, reset=True),
        Reply(raw=b"no HTTP at all\r\n\r\n"),
        Reply(502),
        Reply(504),
    ],
    ids=["hang-up", "reset", "truncated", "reset-in-body", "garbage", "502", "504"],
)
class TestAfterWorkMayHaveBeenDone:
    def test_a_post_is_not_sent_again(self, fault: Reply) -> None:
        with Loopback([fault, OK]) as server:
            error = failure_of(server.url)
        assert type(error) is BackendUncertainError
        assert not error.retryable
        assert len(server.requests) == 1

    def test_a_post_is_sent_again_when_the_settings_say_so(self, fault: Reply) -> None:
        with Loopback([fault, OK]) as server:
            assert post(server.url, resend_uncertain=True).body == OK.body
        assert len(server.requests) == 2

    def test_a_read_is_always_sent_again(self, fault: Reply) -> None:
        with Loopback([fault, OK]) as server:
            assert post(server.url, method="GET").body == OK.body
        assert len(server.requests) == 2


def test_silence_after_the_request_is_a_read_timeout_and_uncertain() -> None:
    with Loopback(Reply(delay_s=30)) as server:
        error = failure_of(server.url, fast(read_timeout_s=0.1))
    assert type(error) is BackendUncertainError
    assert "ReadTimeout" in str(error)
    assert len(server.requests) == 1


def test_the_deadline_ends_a_body_that_trickles() -> None:
    with Loopback(Reply(body=b"x" * 1000, drip_s=0.02)) as server:
        error = failure_of(server.url, fast(deadline_s=0.3))
    assert type(error) is BackendUncertainError
    assert "deadline of 0.3 s" in str(error)
    assert len(server.requests) == 1


def test_an_error_whose_body_trickles_is_still_told_by_its_status() -> None:
    with Loopback(Reply(401, b"x" * 1000, drip_s=0.02)) as server:
        error = failure_of(server.url, fast(deadline_s=0.3))
    assert type(error) is BackendRefusedError
    assert "401" in str(error)


def test_the_deadline_holds_over_all_attempts_together() -> None:
    with Loopback(Reply(503, headers={"retry-after": "60"})) as server:
        error = failure_of(server.url)
    assert type(error) is BackendUnavailableError
    assert "60." in str(error)
    assert "deadline" in str(error)
    assert len(server.requests) == 1


def test_a_server_that_does_not_take_the_whole_request_has_done_no_work() -> None:
    async def ask() -> BackendError:
        async def stare(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await client_has_given_up.wait()
            writer.transport.abort()

        client_has_given_up = asyncio.Event()
        async with await asyncio.start_server(stare, "127.0.0.1", 0, limit=1024) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = client_of(url, fast(write_timeout_s=0.1, max_attempts=2))
            with pytest.raises(BackendError) as caught:
                await client.request("POST", "/", content=bytes(30_000_000))
            await client.aclose()
            client_has_given_up.set()
        return caught.value

    error = asyncio.run(ask())
    assert type(error) is BackendUnavailableError
    assert "after 2 attempts" in str(error)


def test_a_closed_port_is_unavailable_after_all_attempts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = failure_of(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert type(error) is BackendUnavailableError
    assert error.retryable
    assert "after 3 attempts" in str(error)


def test_an_unknown_host_is_unavailable() -> None:
    error = failure_of("http://segpipe-test.invalid", fast(max_attempts=1))
    assert type(error) is BackendUnavailableError


def test_plain_http_where_tls_is_spoken_is_a_connection_fault() -> None:
    with Loopback(OK) as server:
        error = failure_of(server.url.replace("http:", "https:"), fast(max_attempts=2))
    assert type(error) is BackendUnavailableError
    assert server.connections == 2


def test_a_certificate_that_is_not_trusted_is_final(tmp_path: Path) -> None:
    with Loopback(OK, tls=certified_by_nobody_known()) as server:
        error = failure_of(server.url)
    assert type(error) is BackendRefusedError
    assert "certificate" in str(error)
    assert server.requests == []


def certified_by_nobody_known() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_redirect_is_not_followed_and_its_host_is_named() -> None:
    with Loopback(OK) as private:
        target = f"{private.url.replace('127.0.0.1', 'localhost')}/secret?key={KEY}"
        with Loopback(Reply(307, headers={"location": target})) as server:
            error = failure_of(server.url)
    assert type(error) is BackendRefusedError
    assert "'localhost'" in str(error)
    assert "secret" not in str(error)
    assert private.connections == 0


class TestBody:
    @pytest.mark.parametrize(
        ("encoding", "compress"),
        [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)],
    )
    def test_is_decompressed(self, encoding: str, compress: Callable[[bytes], bytes]) -> None:
        text = b"all of it " * 20_000
        reply = Reply(body=compress(text), headers={"content-encoding": encoding})
        with Loopback(reply) as server:
            assert post(server.url).body == text

    def test_of_several_gzip_members_is_read_whole(self) -> None:
        body = gzip.compress(b"one ") + gzip.compress(b"two")
        with Loopback(Reply(body=body, headers={"content-encoding": "gzip"})) as server:
            assert post(server.url).body == b"one two"

    def test_that_unpacks_over_the_cap_is_given_up(self) -> None:
        bomb = gzip.compress(bytes(300_000_000), compresslevel=1)
        with Loopback(Reply(body=bomb, headers={"content-encoding": "gzip"})) as server:
            error = failure_of(server.url, fast(max_response_mb=1))
        assert type(error) is BackendProtocolError
        assert "1,000,000 bytes" in str(error)

    @pytest.mark.parametrize(("size", "fits"), [(1_000_000, True), (1_000_001, False)])
    def test_may_fill_the_cap_and_no_more(self, size: int, fits: bool) -> None:
        with Loopback(Reply(body=bytes(size))) as server:
            if fits:
                assert len(post(server.url, fast(max_response_mb=1)).body) == size
            else:
                error = failure_of(server.url, fast(max_response_mb=1))
                assert type(error) is BackendProtocolError

    @pytest.mark.parametrize(
        ("body", "encoding"),
        [
            (gzip.compress(b"whole" * 100)[:-12], "gzip"),
            (b"no gzip", "gzip"),
            (b"?", "br"),
            (b"?", "gzip, gzip"),
        ],
        ids=["cut", "damaged", "brotli", "twice"],
    )
    def test_that_cannot_be_decompressed_is_a_protocol_error(
        self, body: bytes, encoding: str
    ) -> None:
        with Loopback(Reply(body=body, headers={"content-encoding": encoding})) as server:
            error = failure_of(server.url)
        assert type(error) is BackendProtocolError
        assert len(server.requests) == 1


class TestObserver:
    def test_sees_every_attempt_before_and_after(self) -> None:
        seen: list[Attempt] = []
        with Loopback([Reply(500, headers={"x-note": "n"}), OK]) as server:
            post(server.url, on_attempt=seen.append)
        assert [(one.number, one.outcome, one.status) for one in seen] == [
            (1, Outcome.UNDER_WAY, None),
            (1, Outcome.UNAVAILABLE, 500),
            (2, Outcome.UNDER_WAY, None),
            (2, Outcome.ANSWERED, 200),
        ]
        assert seen[1].headers["X-Note"] == "n"

    def test_can_prevent_an_attempt(self) -> None:
        def refuse_the_second(attempt: Attempt) -> None:
            if attempt.number == 2 and attempt.outcome is Outcome.UNDER_WAY:
                raise BudgetExceededError("enough")

        with Loopback(Reply(500)) as server, pytest.raises(BudgetExceededError):
            post(server.url, on_attempt=refuse_the_second)
        assert len(server.requests) == 1

    def test_hears_of_an_attempt_that_was_cancelled(self) -> None:
        seen: list[Attempt] = []

        async def cancel_under_way(url: str) -> None:
            client = client_of(url)
            asking = asyncio.create_task(
                client.request("POST", "/", content=b"x", on_attempt=seen.append)
            )
            await asyncio.to_thread(server.wait_for_requests, 1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await client.aclose()

        with Loopback(Reply(delay_s=30)) as server:
            asyncio.run(cancel_under_way(server.url))
        assert [one.outcome for one in seen] == [Outcome.UNDER_WAY, Outcome.UNCERTAIN]


class TestManyAtOnce:
    def test_share_few_connections(self) -> None:
        async def ask_all(url: str) -> None:
            client = client_of(url, fast(in_flight=4))
            await asyncio.gather(*(client.request("GET", f"/{n}") for n in range(40)))
            await client.aclose()
            await client.aclose()

        with Loopback(OK) as server:
            asyncio.run(ask_all(server.url))
        assert len(server.requests) == 40
        assert server.connections <= 4

    def test_waiting_for_a_turn_does_not_use_up_the_deadline(self) -> None:
        async def ask_all(url: str) -> None:
            client = client_of(url, fast(in_flight=1, deadline_s=1))
            await asyncio.gather(*(client.request("GET", "/") for _ in range(8)))
            await client.aclose()

        with Loopback(json_reply({}, delay_s=0.2)) as server:
            asyncio.run(ask_all(server.url))
        assert len(server.requests) == 8


def test_no_fault_costs_a_client_its_connections() -> None:
    faults = [
        Reply(hang_up=True, reset=True),
        Reply(body=b"x" * 100, stop_after=9),
        Reply(body=bytes(2_000_000)),
        Reply(500, b"x" * 1000, drip_s=0.02),
        Reply(body=b"x" * 1000, drip_s=0.02),
        Reply(delay_s=30),
        Reply(raw=b"garbage"),
        Reply(302, headers={"location": "/"}),
        Reply(body=b"no gzip", headers={"content-encoding": "gzip"}),
    ]

    async def ask_for_each(url: str) -> bytes:
        client = client_of(
            url, fast(in_flight=1, deadline_s=0.3, max_attempts=1, max_response_mb=1)
        )
        for _ in faults:
            with pytest.raises(BackendError):
                await client.request("POST", "/", content=b"work")
        answer = await client.request("POST", "/", content=b"work")
        await client.aclose()
        return answer.body

    with Loopback([*faults, OK]) as server:
        assert asyncio.run(ask_for_each(server.url)) == OK.body
    assert len(server.requests) == len(faults) + 1


def test_a_body_in_chunks_is_read_whole_and_one_that_breaks_off_is_not() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    with Loopback(Reply(raw=head + b"3\r\none\r\n4\r\n two\r\n0\r\n\r\n")) as server:
        assert post(server.url).body == b"one two"
    with Loopback(Reply(raw=head + b"3\r\none\r\n")) as server:
        assert type(failure_of(server.url)) is BackendUncertainError


class TestSecrets:
    @pytest.mark.parametrize(
        "echo",
        [
            KEY,
            f"bad {KEY}!",
            "canary/\x00key+0123==",
            "canary%2Fkey%2B0123%3D%3D",
            f"{'x' * 190}{KEY}",
        ],
        ids=["bare", "within", "hidden by a control character", "escaped", "at the cut"],
    )
    def test_echoed_by_the_backend_are_taken_out(self, echo: str) -> None:
        with Loopback(Reply(401, echo.encode())) as server:
            error = failure_of(server.url)
        assert "canary" not in str(error)

    def test_are_in_no_log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        filters = list(logging.getLogger("httpcore.http11").filters)
        echo = {"x-echo": KEY}
        with Loopback([Reply(500, KEY.encode(), headers=echo), OK]) as server:
            post(server.url)
        assert "trying again" in caplog.text
        assert "x-echo" in caplog.text
        assert KEY not in caplog.text
        assert logging.getLogger("httpcore.http11").filters == filters

    @given(st.text(), st.text(min_size=4), st.text())
    def test_never_survive_redaction(self, before: str, secret: str, after: str) -> None:
        if secret not in "[redacted]":
            assert secret not in redact(before + secret, [secret]).replace("[redacted]", "")
        line = snippet(before + "\x1b[31m\r\n" + after, [secret])
        assert len(line) <= 201
        assert line.isprintable() or not line.isascii()


NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "inf"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=9), usegmt=True)}, 9),
        ({"retry-after": format_datetime(NOW - timedelta(days=9), usegmt=True)}, 0),
        ({"x-rate-limit-reset-at-utc": "2026-05-04T03:02:11"}, 10),
        ({"x-rate-limit-reset-at-utc": "2026-05-04 03:02:11"}, 10),
        ({"x-rate-limit-reset-at-utc": "2026-05-04 03:02:11 UTC"}, 10),
        ({"x-rate-limit-reset-at-utc": "2026-05-04T03:02:11Z"}, 10),
        ({"x-rate-limit-reset-at-utc": "2026-05-04T05:02:11+02:00"}, 10),
        ({"x-rate-limit-reset-at-utc": str(NOW.timestamp() + 10)}, 10),
        ({"x-rate-limit-reset-at-utc": "Mon, 04 May 2026 03:02:11 GMT"}, 10),
        ({"x-rate-limit-reset-at-utc": "tomorrow"}, 0),
        ({"retry-after": "2", "x-rate-limit-reset-at-utc": "2026-05-04T03:02:11"}, 2),
    ],
)
def test_a_backend_says_how_long_to_wait(headers: dict[str, str], pause_s: float) -> None:
    assert asked_pause_s(httpx.Headers(headers), NOW) == pytest.approx(pause_s)


def test_the_asked_pause_is_kept() -> None:
    async def ask(url: str) -> float:
        client = client_of(url)
        started = asyncio.get_running_loop().time()
        await client.request("POST", "/")
        await client.aclose()
        return asyncio.get_running_loop().time() - started

    with Loopback([Reply(429, headers={"retry-after": "0.3"}), OK]) as server:
        assert asyncio.run(ask(server.url)) >= 0.3


@pytest.mark.parametrize(
    "url", ["https://a.example", "https://a.example/x/", "http://127.0.0.1:8", "http://[::1]:8"]
)
def test_an_endpoint_may_be_https_or_on_this_machine(url: str) -> None:
    assert check_endpoint(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "http://127.0.0.1.a.example",
        "http://10.0.0.1",
        "ftp://127.0.0.1",
        "https://",
        "a.example",
        "",
        "https://user:pass@a.example",
        "https://a.example?key=1",
        "https://a.example#x",
        "https://a.example:99999",
        "https://[::1",
        "https://a\nb.example",
    ],
)
def test_an_endpoint_that_would_give_away_a_key_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        check_endpoint(url)


def test_settings_of_the_connection_never_change_an_answer() -> None:
    assert HttpSettings().identity() == {}

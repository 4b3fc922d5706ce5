"""One pooled client for one backend: retries, deadline, bounds, typed errors."""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx

from segpipe.errors import (
    BackendProtocolError,
    BackendUnavailableError,
    BackendUncertainError,
)
from segpipe.segmenters.http.forbidden_hosts import CarefulTransport
from segpipe.segmenters.http.http_answers import (
    ACCEPT_ENCODING,
    BadBodyError,
    CallFault,
    SecretFilter,
    fault_of_exception,
    kind_of_status,
    read_body,
    read_start,
    redact,
    say_status,
    snippet,
)
from segpipe.segmenters.http.http_attempts import OUTCOMES, Attempt, Call, Outcome, asked_pause_s
from segpipe.segmenters.http.http_settings import HttpSettings

_log = logging.getLogger(__name__)
# At DEBUG it tells the headers of answers, in which a backend may echo a key.
_connection_log = logging.getLogger("httpcore.http11")

_MEGABYTE = 1_000_000
_ERROR_BODY_BYTES = 8_192
_ERROR_BODY_CHARS = 2_000
_ERROR_BODY_TIMEOUT_S = 2.0
_LONGEST_BACKOFF_S = 60.0
# Shorter than servers wait (uvicorn: 5 s), so that hardly a request meets a connection that is
# being closed: that would look as if work might have been done.
_KEEPALIVE_S = 3.0
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer.

    Attributes:
        status: 200 to 299.
        headers: Read without regard to case.
        content_type: The media type in small letters, without parameters; "" when not given.
        body: Decompressed.
    """

    status: int
    headers: httpx.Headers
    content_type: str
    body: bytes


class BackendClient:
    """Sends requests to one backend, many at once under a bound.

    A request is sent again after a pause when the backend certainly did no work: it could not be
    reached, did not take the whole request, or answered 408, 425, 429, 500 or 503 without a bill.
    When it may have done the work, only reads (GET, HEAD) are sent again, and everything with
    ``resend_uncertain``. Redirects are not followed, and proxies or keys of the environment are
    not used. No error refers to a request or its headers, and no text of one holds a secret. A
    client belongs to one event loop.

    Args:
        name: What messages call the backend.
        base_url: Where it is; paths are appended.
        settings: Timeouts, retries and bounds.
        headers: Sent with every request.
        secrets: Taken out of every message.
        resend_uncertain: Whether a request is sent again that may have been worked on and billed.
        transport: Replaces the network, for tests.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        settings: HttpSettings,
        *,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        resend_uncertain: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._base_url = base_url
        self._settings = settings
        self._headers = dict(headers or {})
        self._secrets = tuple(secrets)
        self._filter = SecretFilter(secrets)
        self._resend_uncertain = resend_uncertain
        self._transport = transport
        self._slots = asyncio.Semaphore(settings.in_flight)
        self._pool: httpx.AsyncClient | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        on_attempt: Callable[[Attempt], None] | None = None,
        **content: Any,
    ) -> Answer:
        """Send a request until it is answered, as often and as long as the settings allow.

        Args:
            method: The HTTP method, in capitals.
            path: From "/" on; the host is always that of ``base_url``.
            on_attempt: Called before each attempt is sent, which an error that it raises
                prevents, and after it.
            **content: ``content``, ``json``, ``data``, ``files``, ``params`` and ``headers`` as
                ``httpx.AsyncClient.build_request`` takes them.

        Raises:
            BackendUnavailableError: No answer, and no work was done.
            BackendUncertainError: No whole answer, and the work may have been done and billed.
            BackendRefusedError: It answered that it will not do this, redirects, or has a
                certificate that is not trusted.
            BackendProtocolError: The answer is too large or cannot be decompressed.
        """
        call = Call(method, path, content, on_attempt, is_traced=self._transport is None)
        result: Answer | CallFault
        async with self._slots:
            try:
                async with asyncio.timeout(self._settings.deadline_s) as deadline:
                    result = await self._until_answered(call, deadline)
            except TimeoutError:
                result = self._out_of_time(call)
        if isinstance(result, Answer):
            return result
        # Raised out here, it has no context: httpx's exceptions hold the request and its key.
        message = f"{self._name} {result.reason}"
        if call.number > 1:
            message += f" (after {call.number} attempts)"
        if result.kind is BackendUncertainError and not self._may_repeat(call):
            message += "; it may have done the work all the same, so it was not asked again"
        body = redact(result.body, self._secrets)[:_ERROR_BODY_CHARS]
        raise result.kind(redact(message, self._secrets)).with_answer(result.status, body)

    async def aclose(self) -> None:
        """Close all connections; may be called again."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()
            _connection_log.removeFilter(self._filter)

    async def _until_answered(self, call: Call, deadline: asyncio.Timeout) -> Answer | CallFault:
        while True:
            result = await self._attempt(call)
            if isinstance(result, Answer) or not self._may_send_again(call, result):
                return result
            pause_s = result.pause_s + self._backoff_s(call.number)
            left_s = (deadline.when() or 0) - asyncio.get_running_loop().time()
            if pause_s >= left_s:
                late = (
                    f"{result.reason}; the next attempt would come in {pause_s:.1f} s, after the "
                    f"deadline of {self._settings.deadline_s:g} s for the whole call"
                )
                return replace(result, reason=late)
            _log.info(
                "%s %s; trying again in %.1f s",
                self._name,
                redact(result.reason, self._secrets),
                pause_s,
            )
            await asyncio.sleep(pause_s)

    async def _attempt(self, call: Call) -> Answer | CallFault:
        call.begin()
        try:
            result = await self._send(call)
        except BaseException:
            # Out of time or cancelled: what was sent stays on the books.
            call.end(OUTCOMES[self._out_of_time(call).kind])
            raise
        call.end(Outcome.ANSWERED if isinstance(result, Answer) else OUTCOMES[result.kind])
        return result

    async def _send(self, call: Call) -> Answer | CallFault:
        pool = self._connected()
        try:
            request = pool.build_request(
                call.method, call.path, extensions={"trace": call.trace}, **call.content
            )
            response = await pool.send(request, stream=True)
            try:
                return await self._read(call, response)
            finally:
                await response.aclose()
        except BadBodyError as error:
            said = f"answered {call.status}, but {error}"
            return CallFault(BackendProtocolError, said, status=call.status)
        except (httpx.HTTPError, OSError) as error:
            return fault_of_exception(
                error, was_sent=call.was_sent, was_answered=call.status is not None
            )

    async def _read(self, call: Call, response: httpx.Response) -> Answer | CallFault:
        status, headers = response.status_code, response.headers
        call.status, call.headers = status, headers
        kind = kind_of_status(status, headers)
        if kind is None:
            body = await read_body(response, int(self._settings.max_response_mb * _MEGABYTE))
            media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
            return Answer(status, headers, media_type, body)
        start = b""
        try:
            async with asyncio.timeout(_ERROR_BODY_TIMEOUT_S):
                start = await read_start(response, _ERROR_BODY_BYTES)
        except TimeoutError:
            pass  # the status tells enough
        said = start.decode(errors="replace")
        reason = say_status(status, response, snippet(said, self._secrets))
        return CallFault(kind, reason, asked_pause_s(headers, datetime.now(UTC)), status, said)

    def _out_of_time(self, call: Call) -> CallFault:
        late = f"within the deadline of {self._settings.deadline_s:g} s for the whole call"
        if call.status is not None:
            kind = kind_of_status(call.status, call.headers) or BackendUncertainError
            return CallFault(kind, f"answered {call.status}, but not wholly {late}")
        if call.was_sent is False:
            return CallFault(BackendUnavailableError, f"did not take the whole request {late}")
        return CallFault(BackendUncertainError, f"took the request and gave no answer {late}")

    def _may_send_again(self, call: Call, fault: CallFault) -> bool:
        if call.number >= self._settings.max_attempts:
            return False
        if fault.kind is BackendUncertainError:
            return self._may_repeat(call)
        return fault.kind is BackendUnavailableError

    def _may_repeat(self, call: Call) -> bool:
        """Whether work that may have been done can be asked for again."""
        return self._resend_uncertain or call.method in _READS

    def _backoff_s(self, attempts: int) -> float:
        """Full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter)."""
        longest = min(self._settings.backoff_s * 2 ** (attempts - 1), _LONGEST_BACKOFF_S)
        return random.uniform(0, longest)  # noqa: S311 - spreads load, hides nothing

    def _connected(self) -> httpx.AsyncClient:
        if self._pool is None:
            settings = self._settings
            _connection_log.addFilter(self._filter)
            self._pool = httpx.AsyncClient(
                base_url=self._base_url,
                headers={"accept-encoding": ACCEPT_ENCODING, **self._headers},
                timeout=httpx.Timeout(
                    connect=settings.connect_timeout_s,
                    read=settings.read_timeout_s,
                    write=settings.write_timeout_s,
                    pool=settings.pool_timeout_s,
                ),
                follow_redirects=False,
                trust_env=False,
                transport=self._transport or self._careful_transport(),
            )
        return self._pool

    def _careful_transport(self) -> CarefulTransport:
        in_flight = self._settings.in_flight
        return CarefulTransport(
            limits=httpx.Limits(
                max_connections=in_flight,
                max_keepalive_connections=in_flight,
                keepalive_expiry=_KEEPALIVE_S,
            ),
            verify=_tls(),
            trust_env=False,
        )


@cache
def _tls() -> ssl.SSLContext:
    """One for all clients: reading the certificates takes some 30 ms."""
    return httpx.create_ssl_context(trust_env=False)

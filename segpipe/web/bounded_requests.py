"""How long a request may take, and how its body is read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack, aclosing
from dataclasses import dataclass, field
from math import inf
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, ClassVar, cast

from fastapi import HTTPException, Request, Response, UploadFile
from fastapi.routing import APIRoute
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from segpipe.web.event_stream import EventStream, until_left
from segpipe.web.problems import (
    BAD_REQUEST,
    CLIENT_GONE,
    TIMED_OUT,
    FullError,
    RefusedError,
    too_slow,
)

_MAX_FIELDS = 8
_MAX_FIELD_BYTES = 1_000_000
_MAX_IN_MEMORY_BYTES = 1_000_000  # of a body that is read or waits; more of it lies on disk
_GRACE_S = 0.1  # before an upload may be called slow
_PATIENCE_S = 0.5  # of a request that comes while others arrive
_SLOWEST_BYTES_PER_S = 10_000
_UTF_8 = frozenset({b"utf-8", b"utf8"})
_FORM, _JSON = "multipart/form-data", "application/json"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a request that takes work; :class:`FormRoute` finds them on the app's state.

    While as many requests are in as may be, the one whose body arrives the slowest gives way to
    the next, if it is slower than any honest connection.

    Attributes:
        admit: Counts a request in for as long as the context lasts; raises a
            :class:`~segpipe.web.problems.FullError` where there is no place for it now.
        upload_timeout_s: Time for a request to arrive whole.
        request_timeout_s: Time for its answer, waiting included.
    """

    admit: Callable[[], AbstractContextManager[None]]
    upload_timeout_s: float
    request_timeout_s: float
    arriving: "set[_Upload]" = field(default_factory=set)


class _Upload:
    """A body that is arriving: since when, how much of it has, and until when it may."""

    def __init__(self, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        self.begun = loop.time()
        self.received = 0
        self.limit = asyncio.timeout(timeout_s)
        self.has_left = asyncio.Event()
        self.gave_way = False

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        return self.now() - self.begun

    @property
    def rate(self) -> float:
        """Bytes a second; of one that has just begun, as many as one could wish for."""
        return self.received / self.age_s if self.age_s > _GRACE_S else inf

    def end(self) -> None:
        """Let its time be over."""
        if not self.limit.expired():
            self.gave_way = True
            self.limit.reschedule(self.now())


class FormRoute(APIRoute):
    """A route whose requests take work, within the :class:`Bounds` at ``app.state.bounds``.

    A request is let in before its body is read; the body has to arrive in time, as a form of a
    few parts in UTF-8; and when its client leaves, or it takes too long, the work on it is
    cancelled. A stream keeps its place until its work has ended.
    """

    max_files: ClassVar[int] = 1
    """Files of one form at most."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler within these bounds."""
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            bounds: Bounds = request.app.state.bounds
            with ExitStack() as held:
                upload = await _admitted(bounds, held)
                try:
                    await self._read_in_time(request, held, upload)
                    work = asyncio.ensure_future(answer(request))
                    response = await _unless_gone(request, work, bounds.request_timeout_s)
                except ClientDisconnect:
                    return Response(status_code=CLIENT_GONE)
                if isinstance(response, EventStream):
                    response.hold(held.pop_all())
                return response

        return handle

    async def read_body(
        self, request: Request, chunks: AsyncGenerator[bytes], held: ExitStack
    ) -> None:
        """Read a form; the framework then finds it on the request."""
        _require_utf_8(request, _FORM)
        limits = {"max_fields": _MAX_FIELDS, "max_part_size": _MAX_FIELD_BYTES}
        try:
            # Set where the framework looks first. Its own parser reads text as Latin-1 where it is
            # not UTF-8, and so makes other words of it.
            match _media_type(request):
                case b"multipart/form-data":
                    request._form = await _Utf8FormParser(
                        request.headers, chunks, max_files=self.max_files, **limits
                    ).parse()
                case b"application/x-www-form-urlencoded":
                    request._form = await FormParser(request.headers, chunks, **limits).parse()
                case _:
                    request._form = FormData()
                    async for _chunk in chunks:
                        pass
        except MultiPartException as error:
            raise HTTPException(BAD_REQUEST, error.message) from error
        except UnicodeError as error:
            raise _not_utf_8("the form is not in UTF-8", _FORM) from error

    async def _read_in_time(self, request: Request, held: ExitStack, upload: _Upload) -> None:
        bounds: Bounds = request.app.state.bounds
        bounds.arriving.add(upload)
        try:
            async with upload.limit, aclosing(_counted(request.stream(), upload)) as chunks:
                await self.read_body(request, chunks, held)
        except TimeoutError as error:
            reason = f"the request did not arrive within {bounds.upload_timeout_s:g} s"
            if upload.gave_way:
                reason = "the request arrived too slowly while others waited for its place"
            raise RefusedError(
                TIMED_OUT,
                "UploadTimeout",
                reason,
                headers={"Connection": "close"},
            ) from error
        finally:
            bounds.arriving.discard(upload)


async def _admitted(bounds: Bounds, held: ExitStack) -> _Upload:
    """A place for a request, if need be that of the slowest of those that still arrive."""
    upload = _Upload(bounds.upload_timeout_s)
    held.callback(upload.has_left.set)
    while True:
        try:
            held.enter_context(bounds.admit())
        except FullError:
            slowest = min(bounds.arriving, key=lambda one: one.rate, default=None)
            if slowest and slowest.rate < _SLOWEST_BYTES_PER_S:
                bounds.arriving.discard(slowest)
                slowest.end()
                await slowest.has_left.wait()
            elif slowest and upload.age_s < _PATIENCE_S:
                await asyncio.sleep(_GRACE_S)  # until it is known whether they are slow
            else:
                raise
        else:
            upload.begun = upload.now()
            return upload


async def _counted(chunks: AsyncIterator[bytes], upload: _Upload) -> AsyncGenerator[bytes]:
    async for chunk in chunks:
        upload.received += len(chunk)
        yield chunk


class JsonRoute(FormRoute):
    """A route whose requests take work, within the same bounds, by JSON in place of a form."""

    async def read_body(
        self, request: Request, chunks: AsyncGenerator[bytes], held: ExitStack
    ) -> None:
        """Read the body into a file, for :func:`body_of`."""
        _require_utf_8(request, _JSON)
        # A page of another origin may send other types, and JSON only as CORS permits.
        if _media_type(request) != _JSON.encode():
            raise RefusedError(
                BAD_REQUEST,
                "InvalidRequest",
                f"the request is not said to be JSON: send it with Content-Type: {_JSON}",
                field="content-type",
            )
        spooled = held.enter_context(
            SpooledTemporaryFile(max_size=_MAX_IN_MEMORY_BYTES)  # noqa: SIM115 - entered here
        )
        file = request.state.body = cast("BinaryIO", spooled)
        upload = UploadFile(file)  # its writes to disk keep nobody waiting
        async for chunk in chunks:
            await upload.write(chunk)


class _Utf8FormParser(MultiPartParser):
    """Refuses a text that is not UTF-8, by a UnicodeError."""

    def on_part_end(self) -> None:
        part = self._current_part
        if part.file is None:
            part.data.decode()
        super().on_part_end()


def body_of(request: Request) -> BinaryIO:
    """The file with the body that :class:`JsonRoute` read; it is closed with the request."""
    file: BinaryIO = request.state.body
    return file


def _media_type(request: Request) -> bytes:
    kind, _ = parse_options_header(request.headers.get("content-type"))
    return kind.lower()


def _require_utf_8(request: Request, expected: str) -> None:
    """Refuse a charset before the framework decodes with it: some take minutes, some raise."""
    _, options = parse_options_header(request.headers.get("content-type"))
    charset = options.get(b"charset", b"utf-8")
    if charset.lower() not in _UTF_8:
        raise _not_utf_8("the request names a charset that is not UTF-8", expected)


def _not_utf_8(found: str, expected: str) -> RefusedError:
    return RefusedError(
        BAD_REQUEST,
        "InvalidRequest",
        f"{found}: send {expected} in UTF-8, without a charset",
        field="content-type",
    )


async def _unless_gone(
    request: Request, work: asyncio.Future[Response], timeout_s: float
) -> Response:
    """The result of the work, which is cancelled when nobody waits for it any more."""
    gone = asyncio.ensure_future(until_left(request.receive))
    try:
        done, _ = await asyncio.wait(
            (work, gone), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if work in done:
            return work.result()
        if gone in done:
            raise ClientDisconnect
        raise too_slow(timeout_s)
    finally:
        for task in (work, gone):
            task.cancel()
        # The place in the queue is given up only once the work has really stopped.
        await asyncio.gather(work, gone, return_exceptions=True)

"""How long a request may take, and how much of a form it may be."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from segpipe.server.problems import BAD_REQUEST, CLIENT_GONE, TIMED_OUT, TOO_SLOW, RefusedError
from segpipe.server.service import Service
from segpipe.server.settings import ServerSettings

_MAX_FILES = 1
_MAX_FIELDS = 8
_MAX_FIELD_BYTES = 1_000_000
_UTF_8 = frozenset({b"utf-8", b"utf8"})


class ModelRoute(APIRoute):
    """A route that asks the model.

    A request is let in before its body is read; the body has to arrive in time, as a form of a
    few parts in UTF-8; and when its client leaves, or it takes too long, the work on it is
    cancelled.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler within these bounds."""
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            service: Service = request.app.state.service
            settings: ServerSettings = request.app.state.settings
            with service.admitted():
                try:
                    await _read_form(request, settings.upload_timeout_s)
                    work = asyncio.ensure_future(answer(request))
                    return await _unless_gone(request, work, settings.request_timeout_s)
                except ClientDisconnect:
                    return Response(status_code=CLIENT_GONE)

        return handle


async def _read_form(request: Request, timeout_s: float) -> None:
    """Read the body; the framework then finds the form on the request."""
    try:
        _require_utf_8(request)
        async with asyncio.timeout(timeout_s):
            await request.form(
                max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
            )
    except TimeoutError as error:
        raise RefusedError(
            TIMED_OUT,
            "UploadTimeout",
            f"the request did not arrive within {timeout_s:g} s",
            headers={"Connection": "close"},
        ) from error
    except UnicodeError as error:
        raise _not_utf_8("the form is not in UTF-8") from error


def _require_utf_8(request: Request) -> None:
    """Refuse a charset before the framework decodes with it: some take minutes, some raise."""
    _, options = parse_options_header(request.headers.get("content-type"))
    charset = options.get(b"charset", b"utf-8")
    if charset.lower() not in _UTF_8:
        raise _not_utf_8("the request names a charset that is not UTF-8")


def _not_utf_8(found: str) -> RefusedError:
    return RefusedError(
        BAD_REQUEST,
        "InvalidRequest",
        f"{found}: send multipart/form-data in UTF-8, without a charset",
        field="content-type",
    )


async def _unless_gone(
    request: Request, work: asyncio.Future[Response], timeout_s: float
) -> Response:
    """The result of the work, which is cancelled when nobody waits for it any more."""
    gone = asyncio.ensure_future(_client_left(request))
    try:
        done, _ = await asyncio.wait(
            (work, gone), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if work in done:
            return work.result()
        if gone in done:
            raise ClientDisconnect
        raise RefusedError(TOO_SLOW, "Timeout", f"there was no answer within {timeout_s:g} s")
    finally:
        for task in (work, gone):
            task.cancel()
        # The place in the queue is given up only once the work has really stopped.
        await asyncio.gather(work, gone, return_exceptions=True)


async def _client_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

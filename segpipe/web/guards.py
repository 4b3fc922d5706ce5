"""What a request has to pass before anybody looks at it: the token, the size."""

import asyncio
import hmac
from contextlib import suppress

from fastapi import Request
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segpipe.web.problems import UNAUTHORIZED, RefusedError, too_large

_LINGER_S = 2.0


class RequireToken:
    """Refuses requests without ``Authorization: Bearer <token>``, but for the open paths."""

    def __init__(self, app: ASGIApp, *, token: str, open_paths: frozenset[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._open_paths = open_paths
        # Asked here and not as a dependency of routes, which come after the body is read, and not
        # at all on paths that are not there.
        self._bearer = HTTPBearer(auto_error=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on when it may."""
        if scope["type"] == "http" and scope["path"] not in self._open_paths:
            given = await self._bearer(Request(scope))
            token = given.credentials.strip() if given else ""
            # Constant time: how long a wrong token takes to compare must not tell how wrong it is.
            if not hmac.compare_digest(token.encode(), self._token):
                refusal = RefusedError(
                    UNAUTHORIZED,
                    "Unauthorized",
                    "send the service's token as 'Authorization: Bearer <token>'",
                    headers={"WWW-Authenticate": "Bearer"},
                )
                await refusal.answer()(scope, receive, send)
                return
        await self._app(scope, receive, send)


class LimitBody:
    """Refuses a body over the cap: by its announced length, or as soon as that much has come."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received, is_over = 0, False

        async def count() -> Message:
            nonlocal received, is_over
            message = await receive()
            received += len(message.get("body", b""))
            is_over = received > self._max_bytes
            if is_over:
                raise too_large(self._max_bytes)
            return message

        async def answer(message: Message) -> None:
            is_end = message["type"] == "http.response.body" and not message.get("more_body")
            if is_over and is_end:
                await send({**message, "more_body": True})
                await _linger(receive, self._max_bytes)
                message = {"type": "http.response.body"}
            await send(message)

        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            is_over = True
            await too_large(self._max_bytes).answer()(scope, receive, answer)
        else:
            await self._app(scope, count, answer)


async def _linger(receive: Receive, max_bytes: int) -> None:
    """Throw away some more of a body that was refused.

    Most clients send all before they read. A connection that is closed under them is reset, and
    the answer lost (RFC 9112, section 9.6).
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while max_bytes > 0:
                message = await receive()
                max_bytes -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return

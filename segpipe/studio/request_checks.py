"""What every request to the studio has to pass: its host, its origin, its size; and what goes back.

A page of another site can make a browser send requests here. What stops it: the host has to be one
of ours (so no other name can be pointed at this address), and what changes something has to come
from a page of ours. Browsers say where a request comes from in ``Sec-Fetch-Site``, older ones in
``Origin``; a program that sends neither is no browser.

https://www.w3.org/TR/fetch-metadata/, https://www.w3.org/TR/CSP3/
"""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from segpipe.web.guards import LimitBody
from segpipe.web.problems import BAD_REQUEST, RefusedError

FORBIDDEN = 403
_POLICY_VIOLATION = 1008
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OUR_SITES = frozenset({"same-origin", "none"})
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_WEB = frozenset({"http", "websocket"})

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def refuse(refusal: RefusedError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request or a websocket with a refusal."""
    if scope["type"] == "websocket":
        if "websocket.http.response" in scope.get("extensions", {}):
            await refusal.answer()(scope, receive, send)
        else:
            close = WebSocketClose(_POLICY_VIOLATION, refusal.problem.error)
            await close(scope, receive, send)
        return
    await refusal.answer()(scope, receive, send)


class RequireKnownHost:
    """Refuses requests for a host that is not ours (400)."""

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on when it may."""
        if scope["type"] in _WEB:
            given = Headers(scope=scope).getlist("host")
            if len(given) != 1 or _host_name(given[0]) not in self._hosts:
                refusal = RefusedError(
                    BAD_REQUEST,
                    "UnknownHost",
                    "the studio is not known by this name: start it with --allowed-host NAME",
                )
                await refuse(refusal, scope, receive, send)
                return
        await self._app(scope, receive, send)


class RequireOwnOrigin:
    """Refuses what may change something and comes from a page of another origin (403)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on when it may."""
        is_unsafe = scope["type"] == "websocket" or (
            scope["type"] == "http" and scope["method"] not in _SAFE_METHODS
        )
        if is_unsafe and not _comes_from_us(Headers(scope=scope), scope["scheme"]):
            refusal = RefusedError(
                FORBIDDEN, "ForeignOrigin", "this request comes from a page of another site"
            )
            await refuse(refusal, scope, receive, send)
            return
        await self._app(scope, receive, send)


class LimitBodies:
    """Refuses bodies over the cap of their path (413).

    Args:
        app: What comes after.
        max_bytes: The cap where no other is set.
        of_paths: Other caps: the first pattern that fits a whole path decides.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, of_paths: Sequence[tuple[str, int]] = ()
    ) -> None:
        self._default = LimitBody(app, max_bytes=max_bytes)
        self._of_paths = [
            (re.compile(pattern), LimitBody(app, max_bytes=limit)) for pattern, limit in of_paths
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body counted."""
        path = scope.get("path", "")
        fitting = (limit for pattern, limit in self._of_paths if pattern.fullmatch(path))
        await next(fitting, self._default)(scope, receive, send)


class AddSecurityHeaders:
    """Adds what browsers are to forbid; pages that bring a policy of their own keep it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back with the headers."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers[name] = value
                headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, answer)


def _comes_from_us(headers: Headers, scheme: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OUR_SITES
    origin = headers.get("origin")
    if origin is None:
        return True
    given = urlsplit(origin)
    host = urlsplit(f"//{headers.get('host', '')}")
    try:
        theirs = given.hostname, given.port or _DEFAULT_PORTS.get(given.scheme)
        # A proxy in front may speak https where we hear http.
        ours = host.hostname, host.port or _DEFAULT_PORTS.get(given.scheme or scheme)
    except ValueError:
        return False
    return theirs == ours


def _host_name(host: str) -> str:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    is_plain = parts.netloc == host and "@" not in host
    return (parts.hostname or "") if is_plain else ""

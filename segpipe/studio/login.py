"""Who comes in: without a login on this machine, by a token, or by what a proxy says.

A session is a signed cookie: name and role, and when it began. It is signed with a key made of the
tokens, so a new token ends all sessions, and a restart none.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import cast

from fastapi.security.utils import get_authorization_scheme_param
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from segpipe.studio.request_checks import refuse
from segpipe.studio.roles import NOBODY_IN_PARTICULAR, Person, Role
from segpipe.studio.studio_settings import LoginKind, StudioSettings
from segpipe.web.problems import UNAUTHORIZED, RefusedError

COOKIE = "segpipe_session"
MAX_NAME_CHARS = 64
_OPEN_PATHS = frozenset({"/login", "/health", "/favicon.ico"})
_OPEN_FOLDER = "/static/"
_SALT = "segpipe studio session"
_SECONDS_PER_HOUR = 3600
_PROGRAM = "program"


class Login:
    """Tells who a request comes from.

    Args:
        settings: Who tells it: nobody, a token, a proxy.

    Raises:
        ConfigError: See :meth:`StudioSettings.login_kind`.
    """

    def __init__(self, settings: StudioSettings) -> None:
        self.kind = settings.login_kind()
        self._settings = settings
        self._tokens = settings.read_tokens() if self.kind is LoginKind.TOKEN else {}
        tokens = "\n".join(f"{role} {token}" for role, token in self._tokens.items())
        key = hashlib.sha256(f"{_SALT}\n{tokens}".encode()).hexdigest()
        self._sessions = URLSafeTimedSerializer(key, salt=_SALT)

    def person(self, connection: HTTPConnection) -> Person | None:
        """Who it is; None when nobody can tell."""
        match self.kind:
            case LoginKind.OFF:
                return NOBODY_IN_PARTICULAR
            case LoginKind.PROXY:
                return self._named_by_proxy(connection)
            case LoginKind.TOKEN:
                return self._from_session(connection) or self._from_header(connection)

    def role_of(self, token: str) -> Role | None:
        """The role that a token gives; None for a wrong one."""
        # Every one is compared, in constant time: how long it takes tells nothing.
        given = token.strip().encode()
        fitting = [
            role
            for role, known in self._tokens.items()
            if hmac.compare_digest(given, known.encode())
        ]
        return fitting[0] if fitting else None

    def begin(self, response: Response, person: Person, *, is_secure: bool) -> None:
        """Begin a session."""
        response.set_cookie(
            COOKIE,
            self._sessions.dumps({"name": person.name, "role": person.role.value}),
            max_age=int(self._settings.session_hours * _SECONDS_PER_HOUR),
            httponly=True,
            samesite="strict",
            secure=is_secure,
        )

    def end(self, response: Response) -> None:
        """End a session."""
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")

    def _from_session(self, connection: HTTPConnection) -> Person | None:
        cookie = connection.cookies.get(COOKIE)
        if cookie is None:
            return None
        longest = int(self._settings.session_hours * _SECONDS_PER_HOUR)
        try:
            session = cast("Mapping[str, str]", self._sessions.loads(cookie, max_age=longest))
        except BadSignature:
            return None
        return Person(session["name"], Role(session["role"]))

    def _from_header(self, connection: HTTPConnection) -> Person | None:
        scheme, token = get_authorization_scheme_param(connection.headers.get("authorization"))
        role = self.role_of(token) if scheme.lower() == "bearer" else None
        return Person(_PROGRAM, role) if role else None

    def _named_by_proxy(self, connection: HTTPConnection) -> Person | None:
        peer = connection.client.host if connection.client else ""
        names = connection.headers.getlist(self._settings.proxy_header)
        if peer not in self._settings.proxy_addresses or len(names) != 1 or not names[0].strip():
            return None
        given = connection.headers.get(self._settings.proxy_role_header, Role.VIEWER)
        role = given.strip().lower()
        if role not in list(Role):
            return None
        return Person(names[0].strip()[:MAX_NAME_CHARS], Role(role))


class RequireLogin:
    """Refuses requests of nobody (401), but for the login page and what it is drawn with."""

    def __init__(self, app: ASGIApp, *, login: Login, ask: ASGIApp) -> None:
        self._app = app
        self._login = login
        self._ask = ask

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with who asks, when it may."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        person = self._login.person(connection)
        scope.setdefault("state", {})["person"] = person
        if person or is_open(scope["path"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and wants_page(connection):
            await self._ask(scope, receive, send)
        else:
            refusal = RefusedError(
                UNAUTHORIZED,
                "Unauthorized",
                "log in at /login, or send a token as 'Authorization: Bearer <token>'",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refuse(refusal, scope, receive, send)


def is_open(path: str) -> bool:
    """Whether a path is there for people who have not logged in."""
    return path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER)


def wants_page(connection: HTTPConnection) -> bool:
    """Whether a browser wants a page to show, and no data."""
    return "text/html" in connection.headers.get("accept", "")

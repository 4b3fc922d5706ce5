"""The page on which people log in with a token."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from segpipe.studio.login import MAX_NAME_CHARS
from segpipe.studio.roles import Person
from segpipe.studio.studio_settings import LoginKind
from segpipe.studio.studio_state import Serving, Studio
from segpipe.web.problems import UNAUTHORIZED

_SEE_OTHER = 303
_START = "/deals"

router = APIRouter(include_in_schema=False)


def ask_to_log_in(studio: Studio) -> ASGIApp:
    """Answers whoever is not logged in with the page on which to (401)."""

    async def ask(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        is_read = request.method in {"GET", "HEAD"}
        query = f"?{request.url.query}" if request.url.query else ""
        path = f"{request.url.path}{query}" if is_read else _START
        page = studio.pages.draw(
            request, "login.html", status_code=UNAUTHORIZED, **_shown(studio, path)
        )
        await page(scope, receive, send)

    return ask


@router.get("/login")
def show(request: Request, studio: Serving) -> Response:
    """The form."""
    return studio.pages.draw(request, "login.html", **_shown(studio, _START))


@router.post("/login")
def log_in(
    request: Request,
    studio: Serving,
    token: Annotated[str, Form(max_length=1_000)],
    name: Annotated[str, Form(max_length=MAX_NAME_CHARS)] = "",
    following: Annotated[str, Form(max_length=2_000)] = _START,
) -> Response:
    """Begin a session where the token is right."""
    role = studio.login.role_of(token) if studio.login.kind is LoginKind.TOKEN else None
    if role is None:
        shown = _shown(studio, following) | {"fault": "This token is not known.", "name": name}
        return studio.pages.draw(request, "login.html", status_code=UNAUTHORIZED, **shown)
    person = Person(name.strip() or role.value, role)
    response = RedirectResponse(_own_path(following), _SEE_OTHER)
    studio.login.begin(response, person, is_secure=request.url.scheme == "https")
    studio.audit.note(person, "logged in")
    return response


@router.post("/logout")
def log_out(studio: Serving) -> Response:
    """End the session."""
    response = RedirectResponse("/login", _SEE_OTHER)
    studio.login.end(response)
    return response


def _shown(studio: Studio, following: str) -> dict[str, Any]:
    is_by_token = studio.login.kind is LoginKind.TOKEN
    return {
        "following": _own_path(following),
        "fault": None,
        "name": "",
        "is_by_token": is_by_token,
        "is_by_proxy": studio.login.kind is LoginKind.PROXY,
    }


def _own_path(path: str) -> str:
    """The path where it leads to a page of ours, and to no other site."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\", "/login"))
    return path if is_ours and path.isprintable() else _START

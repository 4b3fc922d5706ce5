"""Every error of the studio as one kind of answer: a problem in JSON, or a page that says it."""

import errno
import logging
from collections.abc import Iterable

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route

from segpipe.errors import (
    DealNotFoundError,
    InputError,
    NotPromotedError,
    PhotoError,
    PromotionConflictError,
    PromptConflictError,
    SavedSettingsError,
    SegpipeError,
    StoreError,
    VersionNotFoundError,
)
from segpipe.studio.login import wants_page
from segpipe.studio.page_templates import Pages
from segpipe.web.problems import BAD_REQUEST, RefusedError, malformed, refusal_of

_NOT_FOUND, _CONFLICT, _PRECONDITION_FAILED = 404, 409, 412
_NO_SUCH_METHOD = 405
_BROKEN, _NO_SPACE_LEFT = 500, 507
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_log = logging.getLogger(__name__)
_NAMES = {404: "NotFound", 405: "MethodNotAllowed"}
_STATUS: dict[type[SegpipeError], int] = {
    DealNotFoundError: _NOT_FOUND,
    VersionNotFoundError: _NOT_FOUND,
    NotPromotedError: _NOT_FOUND,
    PromotionConflictError: _CONFLICT,
    SavedSettingsError: _CONFLICT,
    PromptConflictError: _PRECONDITION_FAILED,
}
"""Errors that are the asker's to know of, with the status that says so."""


def studio_refusal(error: Exception) -> RefusedError:
    """What somebody is told of any error that their request met.

    >>> studio_refusal(DealNotFoundError("there is no such deal", deal="lot-7")).status
    404
    """
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return RefusedError(status, type(error).__name__, error.message, field=error.field)
    if isinstance(error, PhotoError) and error.image:
        detail = f"{error.image}: {error.message}"
        return RefusedError(BAD_REQUEST, type(error).__name__, detail, field=error.field)
    if isinstance(error, RequestValidationError):
        return malformed(error.errors())
    if isinstance(error, HTTPException):
        name = _NAMES.get(error.status_code, "InvalidRequest")
        return RefusedError(error.status_code, name, str(error.detail), headers=error.headers)
    if (cause := _fault_of_disk(error)) and cause.errno in _NO_SPACE:
        said = (
            "no space is left on the disk: free some, then do it again; nothing was left half done"
        )
        return RefusedError(_NO_SPACE_LEFT, "NoSpaceLeft", said)
    return refusal_of(error)


def _fault_of_disk(error: Exception) -> OSError | None:
    cause = error.__cause__ if isinstance(error, StoreError) else error
    return cause if isinstance(cause, OSError) else None


def add_page_problems(app: FastAPI, pages: Pages) -> None:
    """Make every error of the app a problem in JSON, or a page where a browser wants one."""

    def answer(request: Request, error: Exception) -> Response:
        refusal = studio_refusal(error)
        if isinstance(error, SegpipeError | OSError) and refusal.status >= _BROKEN:
            _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        if refusal.status == _NO_SUCH_METHOD:
            refusal.headers["Allow"] = ", ".join(_methods_of(request, app.router.routes))
        if not wants_page(request) or request.url.path.startswith("/api/"):
            return refusal.answer()
        page = pages.draw(
            request, "problem.html", status_code=refusal.status, problem=refusal.problem
        )
        page.headers.update(refusal.headers)
        return page

    known = (RefusedError, RequestValidationError, HTTPException, InputError, *_STATUS)
    for kind in (*known, SegpipeError, OSError, Exception):
        app.exception_handler(kind)(answer)


def _methods_of(request: Request, routes: Iterable[BaseRoute]) -> list[str]:
    """What an address takes: the framework tells of one of its routes alone."""
    methods: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
        elif isinstance(included := getattr(route, "original_router", None), APIRouter):
            methods.update(_methods_of(request, included.routes))
    return sorted(methods)

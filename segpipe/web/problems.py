"""Every error as one kind of answer: :class:`~segpipe.wire.inference.Problem`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from segpipe.errors import InputError, SegpipeError
from segpipe.wire.inference import PROBLEM_FIELD_HEADER, PROBLEM_HEADER, Problem

BAD_REQUEST, UNAUTHORIZED, TIMED_OUT, TOO_LARGE = 400, 401, 408, 413
FAILED, UNAVAILABLE, TOO_SLOW = 500, 503, 504
CLIENT_GONE = 499
"""Nobody reads this answer; logs and metrics do (the number is nginx's)."""

# A field may be the name that a client made up, which must not end a header.
_PLAIN_FIELD = re.compile(r"[A-Za-z0-9_.\[\]]{1,100}")
_NAMES = {404: "NotFound", 405: "MethodNotAllowed"}
_FAILED_DETAIL = "the service failed on this request; its log has the reason"


class RefusedError(Exception):
    """The service will not answer this request.

    Args:
        status: The HTTP status.
        error: The kind of error.
        detail: What was wrong and what to do.
        field: The field concerned.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        error: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.problem = Problem(error=error, detail=detail, field=field)
        self.headers = {PROBLEM_HEADER: error, **(headers or {})}
        if field and _PLAIN_FIELD.fullmatch(field):
            self.headers[PROBLEM_FIELD_HEADER] = field

    def answer(self) -> JSONResponse:
        """The refusal as a response."""
        return JSONResponse(self.problem.model_dump(), self.status, self.headers)


class FullError(RefusedError):
    """There is no place for this request now (503); the client may come again.

    Args:
        detail: What was wrong.
        retry_after_s: When to come again.
    """

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        headers = {"Retry-After": str(retry_after_s)}
        super().__init__(UNAVAILABLE, "QueueFull", detail, headers=headers)


def too_large(limit_bytes: int) -> RefusedError:
    """More bytes than the limit; the connection is closed, since the rest is not read."""
    return RefusedError(
        TOO_LARGE,
        "TooLarge",
        f"the request has more than {limit_bytes:,} bytes: send a smaller or compressed "
        "photo, or raise max_upload_mb",
        field="image",
        headers={"Connection": "close"},
    )


def unavailable(error: str, detail: str, *, retry_after_s: int) -> RefusedError:
    """Not now; the client may come again."""
    return RefusedError(UNAVAILABLE, error, detail, headers={"Retry-After": str(retry_after_s)})


def too_slow(timeout_s: float) -> RefusedError:
    """The answer took longer than the limit."""
    return RefusedError(TOO_SLOW, "Timeout", f"there was no answer within {timeout_s:g} s")


def failed(error: Exception) -> RefusedError:
    """Something broke; the answer keeps the reasons to itself."""
    kind = type(error).__name__ if isinstance(error, SegpipeError) else "InternalError"
    return RefusedError(FAILED, kind, _FAILED_DETAIL)


def malformed(errors: Sequence[Mapping[str, Any]]) -> RefusedError:
    """What pydantic found wrong with a request: the first thing, and how many more."""
    first, *others = errors
    place = [str(part) for part in first["loc"] if part != "body"]
    detail = first["msg"] + (f" (and {len(others)} more)" if others else "")
    return RefusedError(BAD_REQUEST, "InvalidRequest", detail, field=".".join(place) or None)


def refusal_of(error: Exception) -> RefusedError:
    """What a client is told of any error that its request met."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, InputError):
        kind = type(error).__name__
        return RefusedError(BAD_REQUEST, kind, error.message, field=error.field)
    return failed(error)


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of the app a :class:`Problem`."""

    @app.exception_handler(RefusedError)
    def refused(_: Request, error: RefusedError) -> JSONResponse:
        return error.answer()

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return malformed(error.errors()).answer()

    @app.exception_handler(InputError)
    def unusable(_: Request, error: InputError) -> JSONResponse:
        return refusal_of(error).answer()

    @app.exception_handler(HTTPException)
    def refused_by_framework(_: Request, error: HTTPException) -> JSONResponse:
        name = _NAMES.get(error.status_code, "InvalidRequest")
        answer = RefusedError(error.status_code, name, str(error.detail)).answer()
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    def unforeseen(_: Request, error: Exception) -> JSONResponse:
        # The framework raises it again after the answer, for the server to log.
        return refusal_of(error).answer()

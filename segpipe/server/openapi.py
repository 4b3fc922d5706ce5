"""The service's OpenAPI document: what the framework derives, and what it cannot know."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from segpipe.web.problems import (
    BAD_REQUEST,
    FAILED,
    TIMED_OUT,
    TOO_LARGE,
    TOO_SLOW,
    UNAUTHORIZED,
    UNAVAILABLE,
)
from segpipe.wire.inference import Problem, Readings
from segpipe.wire.outlines import Progress, SegmentRequest

_SCHEMAS = "#/components/schemas"
_FRAMEWORK_STATUS = "422"  # answered as 400 here
_FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")
_SCHEME = "token"
RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}
_DESCRIPTIONS = {
    BAD_REQUEST: "A part is missing or malformed, or the image cannot be read",
    UNAUTHORIZED: "The token is missing or wrong",
    TIMED_OUT: "The request did not arrive in time",
    TOO_LARGE: "The request is larger than the cap",
    FAILED: "The model failed",
    UNAVAILABLE: "There is no model yet, or the queue is full",
    TOO_SLOW: "There was no answer in time",
}

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """Declare errors of an endpoint; all of them when none is named."""
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "content": {"application/json": {"schema": {"$ref": f"{_SCHEMAS}/{Problem.__name__}"}}},
            "headers": RETRY_AFTER if status == UNAVAILABLE else {},
        }
        for status in statuses or _DESCRIPTIONS
    }


def readings() -> dict[str, Any]:
    """Declare the JSON answer of an endpoint that answers a picture by default."""
    return {"application/json": {"schema": {"$ref": f"{_SCHEMAS}/{Readings.__name__}"}}}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Declare the body of an endpoint that reads it by itself."""
    schema = {"$ref": f"{_SCHEMAS}/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def events(description: str) -> dict[str, Any]:
    """Declare the answer of an endpoint as a stream."""
    return {"text/event-stream": {"schema": {"type": "string", "description": description}}}


def describe(app: FastAPI, *, needs_token: bool, open_paths: frozenset[str]) -> None:
    """Make ``app.openapi()`` tell what the service does."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            _complete(document, needs_token=needs_token, open_paths=open_paths)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any], *, needs_token: bool, open_paths: frozenset[str]) -> None:
    components = document["components"]
    schemas = components["schemas"]
    for name in _FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    for model in (Problem, Readings, Progress):
        schemas |= _schemas_of(model, "serialization")
    schemas |= _schemas_of(SegmentRequest, "validation")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop(_FRAMEWORK_STATUS, None)
            if not needs_token:
                operation["responses"].pop(str(UNAUTHORIZED), None)
            elif path not in open_paths:
                operation["security"] = [{_SCHEME: []}]
    if needs_token:
        components["securitySchemes"] = {_SCHEME: {"type": "http", "scheme": "bearer"}}


def _schemas_of(model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=f"{_SCHEMAS}/{{model}}", mode=mode)
    return {**schema.pop("$defs", {}), model.__name__: schema}

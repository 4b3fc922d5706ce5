"""The OpenAPI document of the studio's API: every answer it may give, errors included."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from segpipe.wire.inference import Problem

_NAME = "StudioProblem"
_REFERENCE = {"$ref": f"#/components/schemas/{_NAME}"}
_PROBLEMS = {
    "4XX": "It cannot be done as asked: the problem says why, and what to do.",
    "5XX": "It cannot be done now, or something broke.",
}
# FastAPI's own answer to what is malformed, which is a problem here.
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")
_INVALID = "422"


def describe_api(app: FastAPI) -> None:
    """Let the app's document say what it does where something is wrong."""
    app.openapi = _described(app)  # type: ignore[method-assign]


def _described(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, routes=app.routes)
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for name in _FRAMEWORKS_OWN:
                schemas.pop(name, None)
            # Some say more, such as what is there now of what somebody wanted to change.
            schemas[_NAME] = Problem.model_json_schema() | {"additionalProperties": True}
            for operations in document["paths"].values():
                for operation in operations.values():
                    _add_problems(operation["responses"])
            app.openapi_schema = document
        return app.openapi_schema

    return describe


def _add_problems(responses: dict[str, Any]) -> None:
    schema = responses.get(_INVALID, {}).get("content", {}).get("application/json", {})
    if schema.get("schema", {}).get("$ref", "").endswith(_FRAMEWORKS_OWN[0]):
        del responses[_INVALID]
    for status, response in responses.items():
        media = response.get("content", {}).get("application/json")
        if status[0] in "45" and media:
            # Beside what a route has of its own to say, anything may be wrong.
            media["schema"] = {"anyOf": [media["schema"], _REFERENCE]}
    for status, text in _PROBLEMS.items():
        content = {"application/json": {"schema": _REFERENCE}}
        responses.setdefault(status, {"description": text, "content": content})

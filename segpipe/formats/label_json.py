"""JSON label files: found in a folder, and read with errors that people understand."""

import json
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError

from segpipe.errors import PromptError

Finite = Annotated[float, Field(allow_inf_nan=False)]

_Model = TypeVar("_Model", bound=BaseModel)


def json_files(place: Path, *patterns: str) -> list[Path]:
    """The file itself; or those in a folder and below it that have such a name, sorted.

    Raises:
        PromptError: There is none.
    """
    if not place.is_dir():
        return [place]
    for pattern in patterns:
        if found := sorted(path for path in place.rglob(pattern) if path.is_file()):
            return found
    raise PromptError(f"there is no {' or '.join(patterns)} in {place.name!r}: name the file")


def read_json(file: Path) -> object:
    """The value in a file.

    Raises:
        PromptError: It is no JSON.
        OSError: It cannot be read.
    """
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{file.name} is no JSON: {error}") from error


def parse(model: type[_Model], raw: object, where: str) -> _Model:
    """A value as a model.

    Raises:
        PromptError: It does not fit; the message begins with where it stands.
    """
    if not isinstance(raw, dict):
        raise PromptError(f"{where}: it has to be an object, with a name for each value")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        said = "is missing" if fault["type"] == "missing" else fault["msg"]
        raise PromptError(f"{where}: {fault['loc'][0]}: {said}") from error


def place_of(raw: object, kind: str, number: int) -> str:
    """What errors call an object: by its id, or else by its number in the file."""
    name = raw.get("id") if isinstance(raw, dict) else None
    return f"{kind} {name}" if isinstance(name, int | str) else f"{kind} number {number}"

"""JSON that people may have written by hand, and what is wrong with it in words for them."""

import json
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from segpipe.errors import InputError

_VALUE_ERROR = "Value error, "
_ADVICE = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field; remove it, or see how it is spelt",
}


def explain(
    error: ValidationError,
    raw: object,
    items: str = "annotations",
    *,
    keys: Sequence[str] = ("id",),
) -> tuple[str | None, str]:
    """The field that is wrong, as ``annotations[<id>].box``, and what is wrong, for people.

    Args:
        error: What pydantic says.
        raw: The JSON value that it was said of, in which annotations have their ids.
        items: What the list of named things in it is called.
        keys: Where one of these may have its name.
    """
    faults = error.errors(include_url=False)
    names: list[str] = []
    place = ""
    for part in faults[0]["loc"]:
        if isinstance(part, str):
            names.append(part)
        elif names == [items]:
            name, one = _id_of(raw, items, part, keys), items.removesuffix("s")
            names = [f"{items}[{name or part}]"]
            place = f"{one} {name!r}: " if name else f"{one} number {part + 1}: "
    said = faults[0]["msg"].removeprefix(_VALUE_ERROR)
    what = f"{place}{names[-1]}: " if names and not names[-1].endswith("]") else place
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return ".".join(names) or None, f"{what}{_ADVICE.get(faults[0]['type'], said)}{more}"


def _id_of(raw: object, items: str, index: int, keys: Sequence[str]) -> str | None:
    listed = raw.get(items) if isinstance(raw, dict) else None
    found = listed[index] if isinstance(listed, Sequence) else None
    names = [found.get(key) for key in keys] if isinstance(found, dict) else []
    return next((name for name in names if isinstance(name, str) and name), None)


def parse_object(
    data: bytes,
    *,
    file: str,
    image: str | None,
    newest_version: int,
    fault: type[InputError],
) -> dict[str, object]:
    """The JSON object that a file holds, with or without a byte order mark.

    Args:
        data: The whole file.
        file: What to call it in errors.
        image: The image that it is for, for errors.
        newest_version: The version of its schema that is understood.
        fault: What to raise.

    Raises:
        InputError: It is no UTF-8, no JSON or no object, or of a newer version.
    """
    try:
        raw = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_without_doubles)
    except UnicodeDecodeError as error:
        raise fault(f"{file} is not UTF-8: save it as such", image=image) from error
    except (ValueError, RecursionError) as error:
        raise fault(f"{file} is no proper JSON: {error}", image=image) from error
    if not isinstance(raw, dict):
        raise fault(f"{file} has to hold a JSON object, in braces", image=image)
    version = raw.get("version")
    if isinstance(version, int) and version > newest_version:
        raise fault(
            f"{file} is of version {version}, and this release of segpipe reads version "
            f"{newest_version}; take a newer one",
            image=image,
            field="version",
        )
    return raw


def json_lines(values: Mapping[str, object]) -> str:
    """A JSON object as people like to read it: each field, and each item of a list, on a line."""
    fields = []
    for name, value in values.items():
        shown = _dump(value)
        if isinstance(value, list) and value:
            shown = "[\n  " + ",\n  ".join(map(_dump, value)) + "\n ]"
        fields.append(f" {_dump(name)}: {shown}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {double!r} is there twice in one object")
    return found

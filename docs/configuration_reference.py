"""Writes the reference of all settings from their models.

MkDocs calls :func:`on_page_markdown`; ``python -m docs.configuration_reference`` prints it.
"""

import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from segpipe.definitions import defs
from segpipe.pipeline.deal_jobs import SweepOptions
from segpipe.pipeline.options import RunOptions
from segpipe.server.serve_config import ServeConfig

PAGE: Final = "configuration.md"
MARKER: Final = "<!-- reference -->"

Schema = Mapping[str, Any]
"""A JSON schema, or a part of one."""

_BOUNDS: Final = {
    "minimum": "{} or more",
    "exclusiveMinimum": "more than {}",
    "maximum": "{} at most",
    "exclusiveMaximum": "less than {}",
}
_TYPES: Final = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "array": "list",
    "object": "settings",
    "null": "nothing",
}


@dataclass(frozen=True)
class Chapter:
    """The settings at one place of the run config.

    Attributes:
        title: Its heading.
        place: Where they are written.
        intro: What they are, in a sentence or two.
        model: Their model.
    """

    title: str
    place: str
    intro: str
    model: type[BaseModel]


def chapters() -> list[Chapter]:
    """Every chapter of the reference."""
    resources: Mapping[str, object] = defs.resources or {}
    return [
        Chapter(
            "Segmenter",
            "resources: segmenter: config:",
            "What finds the items. The same for both modes.",
            _model_of(resources["segmenter"]),
        ),
        Chapter(
            "Refiner",
            "resources: refiner: config:",
            "What sharpens the masks.",
            _model_of(resources["refiner"]),
        ),
        Chapter(
            "Store",
            "resources: store: config:",
            "Where the deals are. The command line takes the folder from `--root` instead.",
            _model_of(resources["store"]),
        ),
        Chapter(
            "Mode",
            "ops: find_all: config:",
            "The settings of the stages. The other mode has the same ones under "
            "`ops: inside_box: config:`.",
            RunOptions,
        ),
        Chapter(
            "Sweep",
            "ops: sweep_store: config:",
            "What the job `sweep` may remove: files of a run that ended without a word stay for "
            "at least so many hours.",
            SweepOptions,
        ),
        Chapter(
            "Service",
            "the file of segpipe serve --config",
            "The inference service and what it serves. The other options of `segpipe serve` set "
            "some of these, and come before the file.",
            ServeConfig,
        ),
    ]


def reference() -> str:
    """The reference, in Markdown."""
    return "\n".join(line for chapter in chapters() for line in _chapter(chapter))


def on_page_markdown(markdown: str, **place: Any) -> str:
    """MkDocs: put the reference into its page."""
    if place["page"].file.src_uri != PAGE:
        return markdown
    return markdown.replace(MARKER, reference())


def _model_of(resource: object) -> type[BaseModel]:
    if not isinstance(resource, BaseModel):
        raise TypeError(f"{type(resource).__name__} has no settings")
    return type(resource)


def _chapter(chapter: Chapter) -> Iterator[str]:
    schema = chapter.model.model_json_schema()
    yield f"## {chapter.title} {{#{_slug(chapter.title)}}}\n"
    yield f"{chapter.intro}\n"
    yield f"Written under `{chapter.place}`\n"
    yield from _Sections(chapter.title, schema).lines()


class _Sections:
    """The tables of a chapter: its own, and one for each model inside, however often it occurs."""

    def __init__(self, title: str, schema: Schema) -> None:
        self._title = title
        self._schema = schema
        self._models: Mapping[str, Schema] = schema.get("$defs", {})
        self._order: list[str] = []

    def lines(self) -> Iterator[str]:
        """A table for the model itself, then one for each in it, the nearest first."""
        yield from self._table(self._schema)
        for name in self._order:  # it grows while tables are written
            model = self._models[name]
            yield f"### {self._heading(name)} {{#{self._anchor(name)}}}\n"
            if description := model.get("description"):
                yield f"{inspect.cleandoc(description)}\n"
            yield from self._table(model)

    def _table(self, model: Schema) -> Iterator[str]:
        fields = {
            name: field
            for name, field in model.get("properties", {}).items()
            if "const" not in field  # the kind, which the key above says
        }
        if not fields:
            yield "It has no settings.\n"
            return
        yield "| setting | default | may be | what it does |"
        yield "| --- | --- | --- | --- |"
        required = set(model.get("required", ()))
        for name, field in fields.items():
            default = "*required*" if name in required else self._default(field)
            what = self._description(field).replace("\n", " ").replace("|", "\\|")
            yield f"| `{name}` | {default} | {self._allowed(field)} | {what} |"
        yield ""

    def _description(self, field: Schema) -> str:
        """What a field says of itself, else what the model in it says."""
        models = (self._models[name].get("description", "") for name in self._inner(field))
        return str(field.get("description") or next(models, ""))

    def _default(self, field: Schema) -> str:
        value = field.get("default")
        if isinstance(value, dict):
            kind = value.get("kind")
            return f"`{kind}`" if kind else "its defaults"
        if value is None:
            return "nothing"
        if isinstance(value, str) and value.upper() in self._enum(field):
            return f"`{value.upper()}`"
        if isinstance(value, str) and "enum" in field:
            return f"`{value}`"
        return f"`{json.dumps(value, ensure_ascii=False)}`"

    def _allowed(self, field: Schema) -> str:
        if choices := self._enum(field):
            return ", ".join(f"`{choice}`" for choice in choices)
        if models := self._inner(field):
            return "one of " * (len(models) > 1) + ", ".join(map(self._link, models))
        options = field.get("anyOf", (field,))
        return " or ".join(dict.fromkeys(map(self._choice, options)))

    def _choice(self, option: Schema) -> str:
        return ", ".join(f"`{name}`" for name in self._enum(option)) or _type(option)

    def _enum(self, field: Schema) -> list[str]:
        """The names of an enumeration, as Dagster takes them; the texts of a closed choice."""
        if "enum" in field:
            return [str(choice) for choice in field["enum"]]
        target = self._models.get(_name(field), {})
        return [str(choice).upper() for choice in target.get("enum", ())]

    def _inner(self, field: Schema) -> list[str]:
        """The models that a field may hold."""
        options: Sequence[Schema] = field.get("oneOf") or field.get("anyOf") or [field]
        return [name for name in map(_name, options) if "properties" in self._models.get(name, {})]

    def _link(self, name: str) -> str:
        if name not in self._order:
            self._order.append(name)
        return f"[`{self._heading(name)}`](#{self._anchor(name)})"

    def _heading(self, name: str) -> str:
        """The key under which the model is written: its kind, else the field that holds it."""
        model = self._models[name]
        kind = model.get("properties", {}).get("kind", {}).get("const")
        return str(kind or self._holder(name))

    def _holder(self, name: str) -> str:
        for model in (self._schema, *self._models.values()):
            for key, field in model.get("properties", {}).items():
                if name in self._inner(field):
                    return str(key)
        raise KeyError(name)

    def _anchor(self, name: str) -> str:
        heading = self._heading(name)
        alike = [other for other in self._order if self._heading(other) == heading]
        number = alike.index(name) + 1  # a kind may be one thing by itself and another in a third
        return f"{_slug(self._title)}-{_slug(heading)}{f'-{number}' if number > 1 else ''}"


def _name(field: Schema) -> str:
    """The model that a schema refers to; nothing when it is written out."""
    return str(field.get("$ref", "")).rpartition("/")[2]


def _type(field: Schema) -> str:
    name = _TYPES.get(field.get("type", ""), "any value")
    if "minimum" in field and "maximum" in field:
        return f"{name}, {field['minimum']} to {field['maximum']}"
    bounds = [text.format(field[key]) for key, text in _BOUNDS.items() if key in field]
    return ", ".join([name, *bounds])


def _slug(text: str) -> str:
    return text.lower().replace("_", "-")


if __name__ == "__main__":
    sys.stdout.write(reference())

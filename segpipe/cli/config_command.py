"""The command that writes every setting of a run with its default, and what it does."""

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from segpipe.cli.console import say
from segpipe.errors import ConfigError
from segpipe.pipeline.options import RunOptions
from segpipe.pipeline.resources import RefinerResource, SegmenterResource
from segpipe.prompt import Mode

_WIDTH = 96
_KIND = "kind"
_HEAD = """\
Settings of segpipe: segpipe run --config FILE
Every line shows a default. Delete what you do not change: what is not here keeps its default.
Of each segmenter, refiner and backend choose one: comment out the others. One file serves both
modes; the section of the mode that does not run is only checked. Dagster's launchpad takes the
same settings, with the names of choices in capitals (format: PNG)."""
_RESOURCES: dict[str, BaseModel] = {"segmenter": SegmenterResource(), "refiner": RefinerResource()}
_ASKED_BY_COMMANDS = frozenset({"skip_up_to_date", "keep_other_settings"})
"""What run decides by its options, so that the file leaves it alone."""


def config(
    out: Annotated[
        Path | None, typer.Option(help="The file to write; it is printed when left out.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write it in place of a file that is there.")
    ] = False,
) -> None:
    """Write a file with every setting of a run and its default, for run --config."""
    text = run_config_text()
    if out is None:
        sys.stdout.write(text)
        return
    try:
        with out.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(
            f"{out} is there already: choose another name, or --overwrite", field="--out"
        ) from error
    say(f"{out} has every setting; use it with 'segpipe run --config {out}'")


def run_config_text() -> str:
    """Run config in YAML: each setting with its default, under a comment that explains it."""
    return "\n".join(_document()) + "\n"


def _document() -> Iterator[str]:
    yield from (f"# {line}" for line in _HEAD.splitlines())
    yield ""
    yield "resources:"
    for name, resource in _RESOURCES.items():
        yield f"  {name}:"
        yield "    config:"
        yield from _indented(_settings(type(resource), resource), 6)
    yield ""
    yield "ops:"
    for mode in Mode:
        yield f"  {mode.value}:"
        yield "    config:"
        yield from _indented(_settings(RunOptions, RunOptions()), 6)


def _settings(model: type[BaseModel], values: BaseModel | None) -> Iterator[str]:
    """Every field of a model, but for its kind, which the key above says."""
    for name, field in model.model_fields.items():
        if name != _KIND:
            yield from _comment(field.description)
            yield from _field(name, field, getattr(values, name, None) if values else field.default)


def _field(name: str, field: FieldInfo, value: Any) -> Iterator[str]:
    models = [part for part in (field.annotation, *get_args(field.annotation)) if _is_model(part)]
    if field.discriminator and models:
        yield f"{name}:"
        # A file with the kind around it, uncommented, has to hold one of these.
        chosen = type(value) if isinstance(value, BaseModel) else models[0]
        for each in models:
            lines = list(_choice(each, value if isinstance(value, each) else None))
            yield from _indented(lines if each is chosen else _commented(lines), 2)
    elif models:
        inner = list(_settings(models[0], value if isinstance(value, BaseModel) else None))
        lines = [f"{name}:" if inner else f"{name}: {{}}", *_indented(inner, 2)]
        yield from _commented(lines) if value is None else lines
    elif value is None or field.is_required():
        yield f"# {name}: {'(required)' if field.is_required() else ''}".rstrip()
    else:
        line = f"{name}: {_yaml(value)}"
        yield f"# {line}" if name in _ASKED_BY_COMMANDS else line


def _choice(model: type[BaseModel], values: BaseModel | None) -> Iterator[str]:
    """One of several kinds."""
    kind = model.model_fields[_KIND].default
    yield from _comment((model.__doc__ or "").partition("\n\n")[0])
    lines = list(_settings(model, values))
    is_empty = not any(line and not line.lstrip().startswith("#") for line in lines)
    yield f"{kind}: {{}}" if is_empty else f"{kind}:"
    yield from _indented(lines, 2)


def _is_model(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _comment(text: str | None) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join((text or "").split()), _WIDTH)]


def _commented(lines: list[str]) -> list[str]:
    return [f"# {line}" for line in lines]


def _indented(lines: Iterable[str], by: int) -> Iterator[str]:
    return (" " * by + line for line in lines)


def _yaml(value: Any) -> str:
    """A value as YAML, of which JSON is a part."""
    return json.dumps(value.value if isinstance(value, Enum) else value, ensure_ascii=False)

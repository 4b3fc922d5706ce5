"""Settings from a file that somebody has written."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from segpipe.errors import ConfigError
from segpipe.settings import Settings

VALUE_ERROR = "Value error, "
"""What pydantic puts before the words of our own validators."""

_FIELD = "--config"
_ADVICE = {
    "missing": "it is missing",
    "extra_forbidden": "there is no such setting; see how it is spelt",
}

SettingsT = TypeVar("SettingsT", bound=Settings)


def read_settings_file(file: Path, kind: type[SettingsT]) -> SettingsT:
    """What a YAML file says; what it leaves out has its default.

    Args:
        file: The file.
        kind: The model of the settings.

    Raises:
        ConfigError: The file cannot be read, or a setting is wrong; it names file and setting.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}", field=_FIELD) from error
    if not isinstance(values, dict):
        names = ", ".join(kind.model_fields)
        raise ConfigError(f"{file} holds no settings: give {names}", field=_FIELD)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        said = _ADVICE.get(first["type"], first["msg"].removeprefix(VALUE_ERROR))
        more = f" (and {len(others)} more)" if others else ""
        raise ConfigError(f"{file}: {said}{more}", field=_field_of(first["loc"], values)) from None


def _field_of(place: tuple[int | str, ...], values: Any) -> str:
    """Where it is in the file: pydantic names the kinds of a union too, which are no fields."""
    names: list[str] = []
    for number, part in enumerate(place):
        is_there = isinstance(values, dict) and part in values
        if is_there or isinstance(part, int) or number == len(place) - 1:
            names.append(str(part))
        if is_there or (isinstance(part, int) and isinstance(values, list)):
            values = values[part]
    return ".".join(names)

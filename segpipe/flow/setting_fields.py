"""The settings field by field: by their paths, from text, compared, and what is wrong with them.

A path names the fields on the way, without the kinds: ``segmenter.backend.threshold``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import JsonValue, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from segpipe.errors import ConfigError
from segpipe.settings import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)
Values = dict[str, Any]

_KIND = "kind"
NOTHING = "nothing"
"""What stands for a setting that has no value."""
_NOTHING = frozenset({"null", "~", NOTHING})


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that differs.

    Attributes:
        field: Its path; that of the choice, where another kind was chosen.
        before: Its value; the kind of a choice; None where the other kind has no such setting.
        after: The same afterwards.
    """

    field: str
    before: JsonValue
    after: JsonValue

    def __str__(self) -> str:
        return f"{self.field} {in_words(self.before)} → {in_words(self.after)}"


@dataclass(frozen=True, slots=True)
class SettingFault:
    """What is wrong with a setting; "" is the field of the whole."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Field:
    """A setting, or a choice of kinds.

    Attributes:
        path: Where it is.
        value: Its value as JSON; the kind of a choice.
        default: What it is when nobody sets it; None where it has to be set.
        info: Its limits and its description.
        kinds: What a choice may be; none for a setting.
    """

    path: str
    value: JsonValue
    default: JsonValue
    info: FieldInfo
    kinds: tuple[str, ...] = ()

    @property
    def is_changed(self) -> bool:
        """Whether it is not the default."""
        return self.value != self.default


def in_words(value: JsonValue) -> str:
    """A value as people type it."""
    if value is None:
        return NOTHING
    text = value if isinstance(value, str) else str(yaml.safe_dump(value, default_flow_style=True))
    return text.removesuffix("\n").removesuffix("\n...") or "''"


def fields(settings: Settings, place: str = "") -> Iterator[Field]:
    """Every setting, choices before what is in them.

    >>> from segpipe.flow.stages.dedup import DedupSettings
    >>> [(field.path, field.value) for field in fields(DedupSettings())][0]
    ('iou_threshold', 0.5)
    """
    values = settings.model_dump(mode="json")
    defaults = _defaults(type(settings))
    for name, info in type(settings).model_fields.items():
        value, path = getattr(settings, name), f"{place}{name}"
        if isinstance(value, Settings):
            if kinds := _kinds(info):
                default = defaults.get(name)
                yield Field(path, values[name][_KIND], getattr(default, _KIND, None), info, kinds)
            yield from fields(value, f"{path}.")
        elif name != _KIND:
            default = defaults.get(name)
            yield Field(path, values[name], getattr(default, "value", default), info)


def differences(before: Settings, after: Settings, place: str = "") -> Iterator[SettingChange]:
    """Which settings differ; of a newly chosen kind, those that are not its defaults."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    for name in type(after).model_fields:
        path = f"{place}{name}"
        one, other = getattr(before, name), getattr(after, name)
        if old[name] == new[name]:
            continue
        if not isinstance(one, Settings) or not isinstance(other, Settings):
            yield SettingChange(path, old[name], new[name])
        elif type(one) is type(other):
            yield from differences(one, other, f"{path}.")
        else:
            yield SettingChange(path, old[name][_KIND], new[name][_KIND])
            changed = (field for field in fields(other, f"{path}.") if field.is_changed)
            yield from (SettingChange(field.path, None, field.value) for field in changed)


def parse(kind: type[SettingsT], values: Mapping[str, Any]) -> SettingsT:
    """Settings from JSON values.

    Raises:
        ConfigError: A setting is not known, or cannot have that value; it names the first of them.
    """
    faults = find_faults(kind, values)
    if len(faults) == 1:
        raise ConfigError(faults[0].message, field=faults[0].field or None)
    if faults:
        said = "; ".join(f"{fault.field}: {fault.message}" for fault in faults)
        raise ConfigError(said, field=faults[0].field or None)
    return kind.model_validate(values)


def find_faults(kind: type[Settings], values: Mapping[str, Any]) -> tuple[SettingFault, ...]:
    """What is wrong with the values of settings, field by field. No value is repeated."""
    try:
        kind.model_validate(values)
    except ConfigError as error:
        return (SettingFault(_place_of(error.field or "", values), error.message),)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        return tuple(_fault(kind, _path(each["loc"], values), each, values) for each in found)
    return ()


def _fault(
    kind: type[Settings], path: str, fault: ErrorDetails, values: Mapping[str, Any]
) -> SettingFault:
    if fault["type"] == "extra_forbidden":
        return SettingFault(path, "there is no such setting")
    if fault["type"] != "missing":
        return SettingFault(path, fault["msg"].removeprefix("Value error, "))
    *above, name = path.split(".")
    for part in above:
        values = values[part]
        kind = _model_in(kind.model_fields[part], values, part)
    choices = ", ".join(_kinds(kind.model_fields[name]))
    return SettingFault(path, f"has to be set{choices and f', to one of {choices}'}")


def with_texts(settings: SettingsT, texts: Mapping[str, str]) -> SettingsT:
    """The same settings with others set, from what somebody typed.

    A choice takes a kind, and keeps nothing of another one. A list or a mapping is written as in
    YAML, everything else as it is.

    >>> from segpipe.flow.stages.dedup import DedupSettings
    >>> with_texts(DedupSettings(), {"iou_threshold": "0.4"}).iou_threshold
    0.4

    Raises:
        ConfigError: A setting is not known (it says which one may be meant), or refuses its value.
    """
    return parse(type(settings), put_texts(settings, texts))


def put_texts(settings: Settings, texts: Mapping[str, str]) -> Values:
    """The values of :func:`with_texts`, not checked: see :func:`find_faults`.

    Raises:
        ConfigError: A setting is not known.
    """
    values = settings.changed()
    for path, text in texts.items():
        _put(type(settings), values, path.split("."), text, settings)
    return values


def choose(settings: SettingsT, field: Field, kind: str) -> SettingsT:
    """The same settings with another kind of a choice, and the first of each that this needs.

    Raises:
        ConfigError: There is no such kind.
    """
    texts = {field.path: kind}
    if kind in field.kinds:
        model = _models(field.info)[field.kinds.index(kind)]
        for name, info in model.model_fields.items():
            if info.is_required() and _kinds(info):
                texts[f"{field.path}.{name}"] = _kinds(info)[0]
    return with_texts(settings, texts)


def _put(
    model: type[Settings], values: Values, parts: Sequence[str], text: str, known: Settings
) -> None:
    path = ".".join(parts)
    if parts[-1] == _KIND and len(parts) > 1:
        parts = parts[:-1]  # that of the choice
    for number, part in enumerate(parts[:-1]):
        info = _known(model, part, path, known)
        inner = values.setdefault(part, _kept_default(model, part))
        model = _model_in(info, inner, ".".join(parts[: number + 1]))
        values = inner
    name = parts[-1]
    info = _known(model, name, path, known)
    value = _typed(text, info)
    if not (kinds := _kinds(info)):
        if _models(info) and not isinstance(value, Mapping | None):
            inner = f"{path}.{next(iter(_models(info)[0].model_fields))}"
            raise ConfigError(f"{path} has settings inside: set one, such as {inner}", field=path)
        values[name] = value
        return
    chosen = value if isinstance(value, Mapping) else {_KIND: text.lower()}
    if chosen.get(_KIND) not in kinds:
        raise ConfigError(f"{path} is one of {', '.join(kinds)}", field=path)
    before = values.get(name) or _kept_default(model, name)
    is_same = isinstance(before, Mapping) and before.get(_KIND) == chosen[_KIND]
    values[name] = {**before, **chosen} if is_same else dict(chosen)


def _typed(text: str, info: FieldInfo) -> Any:
    """What somebody typed: a list, a mapping or nothing where it reads so, else the text itself."""
    parts = (info.annotation, *get_args(info.annotation))
    if text.strip().lower() in _NOTHING and (info.annotation is not str):
        return None
    if str in parts and get_origin(info.annotation) is not list:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, list | dict) else text


def known_path(settings: Settings, path: str) -> str:
    """The path of a setting, or of a group of them, that there is.

    Raises:
        ConfigError: There is none of that name; it says which one may be meant.
    """
    if not any(f"{field.path}.".startswith(f"{path}.") for field in fields(settings)):
        raise _unknown(type(settings), path, settings)
    return path


def _known(model: type[Settings], name: str, path: str, known: Settings) -> FieldInfo:
    info = model.model_fields.get(name)
    if info is None:
        raise _unknown(model, path, known)
    return info


def _unknown(model: type[Settings], path: str, known: Settings) -> ConfigError:
    """That there is no such setting, with the one that may be meant, or all of that place."""
    leaves = [field.path for field in fields(known)]
    paths = list(dict.fromkeys([*leaves, *(each.rpartition(".")[0] for each in leaves)]))
    name = path.rpartition(".")[2]
    similar = get_close_matches(path, paths, n=1) or get_close_matches(
        name, [each.rpartition(".")[2] for each in paths], n=1
    )
    matching = [each for each in paths if similar and each.endswith(similar[0])]
    names = ", ".join(each for each in model.model_fields if each != _KIND)
    said = f"did you mean {matching[0]!r}?" if matching else f"there are {names}"
    return ConfigError(f"there is no setting {path!r}: {said}", field=path)


def _kept_default(model: type[Settings], name: str) -> Values:
    """What stands for a default among values that are kept only where they differ."""
    default = _defaults(model).get(name)
    return {_KIND: getattr(default, _KIND)} if hasattr(default, _KIND) else {}


def _model_in(info: FieldInfo, values: object, path: str) -> type[Settings]:
    """The model of the settings inside a field."""
    models = _models(info)
    if not models or not isinstance(values, Mapping):
        raise ConfigError(f"{path} has no settings inside", field=path)
    if not (kinds := _kinds(info)):
        return models[0]
    if values.get(_KIND) not in kinds:
        raise ConfigError(f"{path} is not chosen: set it to one of {', '.join(kinds)}", field=path)
    return models[kinds.index(values[_KIND])]


def _models(info: FieldInfo) -> list[type[Settings]]:
    parts = (info.annotation, *get_args(info.annotation))
    return [part for part in parts if isinstance(part, type) and issubclass(part, Settings)]


def _kinds(info: FieldInfo) -> tuple[str, ...]:
    """What a choice may be, in the order of its models; none when it is no choice."""
    if not info.discriminator:
        return ()
    return tuple(str(model.model_fields[_KIND].default) for model in _models(info))


def _defaults(model: type[Settings]) -> Values:
    return {
        name: info.get_default(call_default_factory=True)
        for name, info in model.model_fields.items()
        if not info.is_required()
    }


def _path(location: Sequence[int | str], values: object) -> str:
    """Where a fault is, without the kinds that pydantic puts between the fields."""
    parts: list[str] = []
    for part in location:
        if isinstance(values, Mapping) and part not in values and part == values.get(_KIND):
            continue
        parts.append(str(part))
        if isinstance(values, Mapping):
            values = values.get(part)
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
    return ".".join(parts)


def _place_of(name: str, values: object, place: str = "") -> str:
    """The path of a field that is known by its name alone."""
    if isinstance(values, Mapping):
        if name in values:
            return f"{place}{name}"
        for key, inner in values.items():
            if isinstance(inner, Mapping):
                found = _place_of(name, inner, f"{place}{key}.")
                if found != name:
                    return found
    return name

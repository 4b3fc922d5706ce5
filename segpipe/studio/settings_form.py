"""The settings as a form: every field derived from its model, and read back from what was sent."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Literal, get_args, get_origin

from segpipe.errors import ConfigError
from segpipe.flow.saved_settings import SavedSettings
from segpipe.flow.setting_fields import (
    NOTHING,
    Field,
    SettingFault,
    choose,
    fields,
    find_faults,
    in_words,
    parse,
    put_texts,
)
from segpipe.secret_names import allowed_names, is_secret_name

WAS = "was:"
"""Before the path of a choice: the kind for which the form was drawn."""
_TITLES = {
    "segmenter": "Segmenter",
    "refiner": "Refiner",
    "prompts": "Prompts",
    "dedup": "Dedup",
    "crops": "Crops",
    "coco": "COCO",
    "report": "Report",
    "photos": "Photos",
    "checks": "Checks",
    "budget": "Budget",
}
OF_PAGE = frozenset({"expected", "note", "do"})
"""What the page sends beside settings."""
_FIRST = ("segmenter", "refiner", "dedup", "crops")
_LAST = ("budget",)


class Control(StrEnum):
    """How a setting is entered."""

    CHOICE = "choice"
    SELECT = "select"
    NUMBER = "number"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class FormField:
    """A setting in the form.

    Attributes:
        path: Its name in the form.
        title: What it is called.
        control: How it is entered.
        text: What stands in it.
        default: The default, where it is another.
        options: What a choice or a list of values offers.
        description: What it does.
        fault: What is wrong with it.
    """

    path: str
    title: str
    control: Control
    text: str
    default: str | None
    options: tuple[str, ...]
    description: str
    fault: str | None


@dataclass(frozen=True, slots=True)
class FormGroup:
    """The settings of one subject."""

    name: str
    title: str
    fields: tuple[FormField, ...]


@dataclass(frozen=True, slots=True)
class ReadForm:
    """What was sent.

    Attributes:
        settings: The settings; where something is wrong, those of the kinds that were chosen.
        faults: What is wrong, by path.
        texts: What stood in the fields.
    """

    settings: SavedSettings
    faults: Mapping[str, str]
    texts: Mapping[str, str]


def form_groups(
    settings: SavedSettings,
    faults: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
) -> list[FormGroup]:
    """The form of settings, by subject.

    Args:
        settings: What is set.
        faults: What is wrong with fields, by path.
        texts: What stands in fields in place of what is set.
    """
    groups: dict[str, list[FormField]] = {}
    found = list(fields(settings))
    choices = frozenset(field.path for field in found if field.kinds)
    for field in found:
        name, title = field.path.partition(".")[0], _title(field.path, choices)
        groups.setdefault(name, []).append(_form_field(field, title, faults or {}, texts or {}))
    names = [*_FIRST, *(name for name in groups if name not in {*_FIRST, *_LAST}), *_LAST]
    return [
        FormGroup(name, _TITLES.get(name, name.capitalize()), tuple(groups[name]))
        for name in names
        if name in groups
    ]


def read_form(sent: Mapping[str, str]) -> ReadForm:
    """The settings of a form.

    Fields of a kind that is no longer chosen are left out; those of a newly chosen one have their
    defaults. A field that is no setting is a fault.

    Raises:
        ConfigError: A choice is none that there is, or there is no setting at all.
    """
    settings, changed = _chosen(sent)
    choices = {field.path for field in fields(settings) if field.kinds}
    texts = {
        path: text.strip()
        for path, text in sent.items()
        if "." in path and path not in choices and not path.startswith((WAS, *changed))
    }
    values = put_texts(settings, texts)
    found = find_faults(SavedSettings, values)
    if not found:
        settings = parse(SavedSettings, values)
    faults = _by_path(found, texts) | _strangers(sent, choices, changed)
    return ReadForm(settings, faults, texts if faults else {})


def _strangers(
    sent: Mapping[str, str], choices: Collection[str], changed: tuple[str, ...]
) -> dict[str, str]:
    """What is wrong with fields that are no settings; those with dots are looked at as settings."""
    settings = [name for name in sent if name not in OF_PAGE and not name.startswith(WAS)]
    if not settings:
        raise ConfigError("the form has no setting; send all fields of the page: nothing is saved")
    asked = [name.removeprefix(WAS) for name in sent if name not in OF_PAGE]
    return {
        name: f"there is no setting {name!r}; leave it out, or reload the page: nothing is saved"
        for name in asked
        if not (name in choices or ("." in name and name in sent) or name.startswith(changed))
    }


def _chosen(sent: Mapping[str, str]) -> tuple[SavedSettings, tuple[str, ...]]:
    """The defaults of the kinds that were chosen, and the beginnings of paths of new kinds."""
    settings, changed = SavedSettings(), []
    done: set[str] = set()
    while field := next(_open_choices(settings, done), None):
        done.add(field.path)
        kind = sent.get(field.path, str(field.value))
        if sent.get(f"{WAS}{field.path}", kind) != kind:
            changed.append(f"{field.path}.")
        if kind != field.value:
            settings = choose(settings, field, kind)
    return settings, tuple(changed)


def _open_choices(settings: SavedSettings, done: set[str]) -> Iterator[Field]:
    return (field for field in fields(settings) if field.kinds and field.path not in done)


def _by_path(faults: Sequence[SettingFault], texts: Mapping[str, str]) -> dict[str, str]:
    """The faults by the field of the form that they are of: an item of a list is part of it."""
    found: dict[str, str] = {}
    for fault in faults:
        path = fault.field
        while path not in texts and "." in path:
            path = path.rpartition(".")[0]
        found.setdefault(path if path in texts else fault.field, fault.message)
    return found


def _title(path: str, choices: frozenset[str]) -> str:
    """What a setting is called where its group and the choices above it are known."""
    parts = path.split(".")
    above = [".".join(parts[: number + 1]) for number in range(len(parts) - 1)]
    named = [
        part
        for number, (part, place) in enumerate(zip(parts, above, strict=False))
        if number and place not in choices
    ]
    return " ".join([*named, parts[-1]]).replace("_", " ").capitalize()


def _form_field(
    field: Field, title: str, faults: Mapping[str, str], texts: Mapping[str, str]
) -> FormField:
    options = _options(field)
    control = Control.TEXT
    if field.kinds:
        control = Control.CHOICE
    elif options:
        control = Control.SELECT
    elif isinstance(field.value, int | float):
        control = Control.NUMBER
    own = field.value if isinstance(field.value, str) else in_words(field.value)
    text = texts.get(field.path, own)
    return FormField(
        path=field.path,
        title=title,
        control=control,
        text=text,
        default=in_words(field.default) if field.is_changed else None,
        options=options,
        description=" ".join((field.info.description or "").split()),
        fault=faults.get(field.path),
    )


def _options(field: Field) -> tuple[str, ...]:
    annotation: Any = field.info.annotation
    if field.kinds:
        return field.kinds
    if annotation is bool:
        return ("true", "false")
    if is_secret_name(field.info.metadata):
        return tuple(allowed_names())
    parts = [part for part in (annotation, *get_args(annotation)) if part is not type(None)]
    values = [str(each.value) for part in parts if _is_enum(part) for each in part]
    if get_origin(annotation) is Literal:
        values = [str(each) for each in get_args(annotation)]
    return (NOTHING, *values) if values and type(None) in get_args(annotation) else tuple(values)


def _is_enum(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, Enum)

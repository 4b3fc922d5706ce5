"""Run config of the command line: read from a file, and checked whole before a run is made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import yaml
from dagster._config.config_type import ConfigType, ConfigTypeKind
from pydantic import BaseModel, ValidationError

from segpipe.errors import ConfigError
from segpipe.flow.run_settings import RunSettings
from segpipe.pipeline.chosen_settings import settings_of_run
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.options import RunOptions
from segpipe.pipeline.resources import RefinerResource, SegmenterResource
from segpipe.prompt import Mode
from segpipe.secret_names import require_secret_name
from segpipe.store.store import DealStore

FIELD = "--config"

_SECTIONS = frozenset({ConfigTypeKind.STRICT_SHAPE, ConfigTypeKind.PERMISSIVE_SHAPE})
_MODES = tuple(mode.value for mode in Mode)
_SHOWN_NAMES = 12
_VARIABLE_FIELD = "_env"

Config = Mapping[str, Any]
ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The settings of a run, checked.

    Attributes:
        values: The run config, as Dagster takes it.
        settings: What decides the results.
        skips_up_to_date: Whether only what is missing or older is made.
        keeps_other_settings: Whether what differs by its settings only is left alone.
        saved_at: When they were saved, where nobody gave others.
    """

    values: dict[str, Any]
    settings: RunSettings
    skips_up_to_date: bool
    keeps_other_settings: bool
    saved_at: datetime | None = None


def read_run_config(path: Path | None) -> dict[str, Any]:
    """The run config of a YAML file; nothing without a file.

    Raises:
        ConfigError: It cannot be read, or holds no settings.
    """
    if path is None:
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", field=FIELD) from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} holds no run config", field=FIELD)
    return config


def checked(
    definitions: dg.Definitions,
    mode: Mode,
    config: Config,
    options: Config,
    store: DealStore,
    generation: int,
) -> RunConfig:
    """The run config of one mode, every setting of it checked.

    Sections of another mode are checked, too, and left out, so that one file serves both.

    Args:
        definitions: What runs.
        mode: The mode to run.
        config: As somebody wrote it: names of choices in any case.
        options: What the run's own section has unless ``config`` says otherwise.
        store: Where the saved settings are.
        generation: Of them, unless ``config`` names one.

    Raises:
        ConfigError: A setting is not known, or cannot have that value.
        SavedSettingsError: The saved settings cannot be used.
    """
    ops = _section(config, "ops")
    of_mode: dict[Mode, RunConfig] = {}
    for each in Mode:
        others = {name for name in _MODES if name != each.value}
        own = _section(ops, each.value)
        own["config"] = {**options, **_section(own, "config")}
        kept = {name: section for name, section in ops.items() if name not in others}
        mine = {**config, "ops": {**kept, each.value: own}}
        # The run's log is in the instance, for the UI; the terminal has the progress bars.
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        job = definitions.resolve_job_def(everything_job_name(each))
        of_mode[each] = _checked(job, {**quiet, **mine}, each, store, generation)
    return of_mode[mode]


def _checked(
    job: dg.JobDefinition, config: Config, mode: Mode, store: DealStore, generation: int
) -> RunConfig:
    """One mode's config as Dagster takes it; its settings are built once, as the run will."""
    schema = job.run_config_schema.config_type
    normal: dict[str, Any] = _normal(schema, config, "")
    try:
        resolved = dg.validate_run_config(job, normal)
    except dg.DagsterInvalidConfigError as error:
        faults = "; ".join(fault.message for fault in error.errors)
        raise ConfigError(faults, field=FIELD) from error
    if "root" in _section(_section(_section(config, "resources"), "store"), "config"):
        raise ConfigError(
            "resources.store.config.root: the command line takes the data root from --root",
            field=FIELD,
        )
    segmenter = _build(SegmenterResource, resolved, "resources", "segmenter")
    refiner = _build(RefinerResource, resolved, "resources", "refiner")
    options = _build(RunOptions, resolved, "ops", mode.value)
    given = _section(_section(_section(normal, "ops"), mode.value), "config")
    settings = settings_of_run(
        store, segmenter, refiner, options, given=given, generation=generation
    )
    return RunConfig(
        values=normal,
        settings=settings,
        skips_up_to_date=options.skip_up_to_date,
        keeps_other_settings=options.keep_other_settings,
    )


def _build(kind: type[ModelT], resolved: Config, part: str, name: str) -> ModelT:
    """The settings of one section; ConfigError where their model refuses a value."""
    settings = _section(_section(_section(resolved, part), name), "config")
    try:
        return kind(**settings)
    except ValidationError as error:
        # What was entered is not repeated: it may be a key in the wrong place.
        faults = (
            f"{part}.{name}.config.{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ConfigError("; ".join(faults), field=FIELD) from error


def _normal(schema: ConfigType, value: Any, place: str) -> Any:
    """A value with choices spelled as Dagster has them; unknown names are told with the known."""
    if schema.kind is ConfigTypeKind.NONEABLE:
        return None if value is None else _normal(_inner(schema), value, place)
    if schema.kind is ConfigTypeKind.ENUM:
        return _choice(schema, value, place)
    if schema.kind is ConfigTypeKind.ARRAY and isinstance(value, list):
        return [_normal(_inner(schema), each, f"{place}[{i}]") for i, each in enumerate(value)]
    if schema.kind is ConfigTypeKind.SELECTOR and isinstance(value, str):
        value = {value: {}}  # "backend: classical" is "backend: {classical: {}}"
    is_section = schema.kind in _SECTIONS or schema.kind is ConfigTypeKind.SELECTOR
    if is_section and isinstance(value, Mapping):
        return dict(_normal_fields(schema, value, place))
    return value


def _normal_fields(schema: ConfigType, value: Config, place: str) -> Iterator[tuple[str, Any]]:
    fields: Mapping[str, Any] = schema.fields  # type: ignore[attr-defined]
    is_selector = schema.kind is ConfigTypeKind.SELECTOR
    for name, inner in value.items():
        known = str(name).lower() if is_selector else name
        if known not in fields and schema.kind is not ConfigTypeKind.PERMISSIVE_SHAPE:
            raise ConfigError(_unknown(place, str(name), list(fields)), field=FIELD)
        if known not in fields:
            yield name, inner
            continue
        if inner is None and fields[known].config_type.kind is not ConfigTypeKind.NONEABLE:
            inner = {}  # YAML gives None for a section with nothing in it  # noqa: PLW2901
        path = f"{place}.{known}" if place else str(known)
        yield known, _normal(fields[known].config_type, inner, path)


def _choice(schema: ConfigType, value: Any, place: str) -> Any:
    field = place.rpartition(".")[2]
    if field.endswith(_VARIABLE_FIELD):
        # What was entered may be the secret itself, and is not repeated.
        return require_secret_name(str(value), field=field)
    names: list[str] = [each.config_value for each in schema.enum_values]  # type: ignore[attr-defined]
    by_text = {name.lower(): name for name in names}
    by_text |= {
        str(each.python_value.value).lower(): each.config_value
        for each in schema.enum_values  # type: ignore[attr-defined]
        if hasattr(each.python_value, "value")
    }
    text = str(value).lower()
    if text not in by_text:
        allowed = ", ".join(name.lower() for name in names)
        raise ConfigError(f"{place}: {value!r} is none of {allowed}", field=FIELD)
    return by_text[text]


def _inner(schema: ConfigType) -> ConfigType:
    inner: ConfigType = schema.inner_type  # type: ignore[attr-defined]
    return inner


def _unknown(place: str, name: str, known: list[str]) -> str:
    similar = get_close_matches(name, known, n=1)
    names = ", ".join(known[:_SHOWN_NAMES]) + (", …" if len(known) > _SHOWN_NAMES else "")
    said = f"did you mean {similar[0]!r}?" if similar else f"there are {names}"
    return f"{place or 'the run config'} has no {name!r}: {said}"


def _section(config: Config, name: str) -> dict[str, Any]:
    """A part of run config; YAML gives None for one with nothing in it."""
    section = config.get(name)
    if not isinstance(section, Mapping | None):
        raise ConfigError(f"{name!r} must hold settings, got {section!r}", field=FIELD)
    return dict(section or {})

"""The settings as Dagster config: derived from the settings models, editable in the launchpad."""

from enum import StrEnum
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

import dagster as dg
from pydantic import Field, create_model

from segpipe.flow.run_settings import FlowSettings
from segpipe.refiners.build_refiner import AnyRefinerConfig
from segpipe.secret_names import allowed_names, is_secret_name
from segpipe.segmenters.build_segmenter import AnySegmenterConfig
from segpipe.settings import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)

# A launchpad stores the config of every run that it starts, so a key that somebody enters in place
# of the name of its variable has to be refused before there is a run.
_SecretVariable = StrEnum("SecretVariable", {name: name for name in allowed_names()})  # type: ignore[misc]

_derived: dict[type[Settings], type[Settings]] = {}


def options_of(kind: type[Settings]) -> type[Settings]:
    """The same settings as Dagster config: a subclass of the model and of ``dg.Config``.

    Fields, defaults, descriptions and validation are those of the model. A field that holds other
    settings, alone or in a union, holds the options of these.

    >>> from segpipe.flow.run_settings import FlowSettings
    >>> options = options_of(FlowSettings)
    >>> issubclass(options, FlowSettings) and issubclass(options, dg.Config)
    True
    >>> isinstance(options().dedup, dg.Config)
    True
    """
    if kind not in _derived:
        fields: dict[str, Any] = {}
        for name, field in kind.model_fields.items():
            annotation = _derived_type(field.annotation)
            default = field.default
            if isinstance(default, Settings):
                default = as_options(default)
            if is_secret_name(field.metadata):
                annotation, default = _SecretVariable, _SecretVariable(default)
            if annotation != field.annotation:
                # Its limits stay where they are: on the types inside.
                fields[name] = (
                    annotation,
                    Field(
                        default=default,
                        description=field.description,
                        discriminator=cast("str | None", field.discriminator),
                    ),
                )
        _derived[kind] = create_model(
            kind.__name__, __base__=cast("Any", (kind, dg.Config)), __doc__=kind.__doc__, **fields
        )
    return _derived[kind]


def as_options(settings: SettingsT) -> SettingsT:
    """Settings as the same ones in Dagster config."""
    values = {name: as_options(v) if isinstance(v, Settings) else v for name, v in settings}
    return cast("SettingsT", options_of(type(settings))(**values))


def _derived_type(annotation: Any) -> Any:
    """An annotation with settings models replaced by their options."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return options_of(annotation)
    if get_origin(annotation) in {Union, UnionType}:
        return Union[tuple(map(_derived_type, get_args(annotation)))]  # noqa: UP007 - at run time
    if get_origin(annotation) is Annotated:
        inner, *notes = get_args(annotation)
        return Annotated[(_derived_type(inner), *notes)]
    return annotation


class SavedOptions(Settings, dg.Config):
    """Those that somebody saved, with 'segpipe settings' or in the studio; before, the defaults."""

    kind: Literal["saved"] = "saved"
    generation: int | None = Field(
        default=None,
        ge=0,
        description="Which generation of them; the current one when left out. A run uses one.",
    )


class DefaultOptions(Settings, dg.Config):
    """The defaults of the code, whatever was saved."""

    kind: Literal["defaults"] = "defaults"


if TYPE_CHECKING:
    SegmenterOptions = SavedOptions | AnySegmenterConfig
    RefinerOptions = SavedOptions | AnyRefinerConfig
    FlowOptions = FlowSettings
else:
    SegmenterOptions = SavedOptions | _derived_type(AnySegmenterConfig)
    RefinerOptions = SavedOptions | _derived_type(AnyRefinerConfig)
    FlowOptions = options_of(FlowSettings)


class RunOptions(FlowOptions):
    """The settings of a mode, and what a run does with deals that are up to date."""

    base: SavedOptions | DefaultOptions = Field(
        default=SavedOptions(),
        discriminator="kind",
        description="Where the settings of a mode come from that are not given here.",
    )
    skip_up_to_date: bool = Field(
        default=False,
        description="Make only the assets that are missing or older than their photos, their "
        "upstream or these settings. Off: everything that was asked for is made anew.",
    )
    keep_other_settings: bool = Field(
        default=False,
        description="With skip_up_to_date: leave alone what differs by its settings only. Runs "
        "that nobody started by hand have it on, so that they replace nothing that somebody made "
        "with settings of their own.",
    )


class LocalRoot(dg.Config):
    """Deals in a folder of this machine."""

    kind: Literal["local"] = "local"
    path: str = Field(default="data", description="The data root, which holds deals/.")


class RemoteRoot(dg.Config):
    """Deals in an object store."""

    kind: Literal["remote"] = "remote"
    url: str = Field(
        description="The data root: s3://bucket/prefix, gs://…, az://… or memory://name."
    )


RootOptions = LocalRoot | RemoteRoot

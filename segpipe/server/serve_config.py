"""What is served, and how: the service, its segmenter and its refiner, as one file may say it."""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from segpipe.errors import ConfigError
from segpipe.flow.settings_file import VALUE_ERROR, read_settings_file
from segpipe.inpainters.build_inpainter import InpainterConfig
from segpipe.inpainters.erase import EraseSettings
from segpipe.inpainters.opencv import OpenCvConfig
from segpipe.refiners.build_refiner import RefinerConfig
from segpipe.refiners.grabcut import GrabCutConfig
from segpipe.segmenters.build_segmenter import (
    RecursiveConfig,
    Sam3Config,
    SegmenterConfig,
    TiledConfig,
)
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.local_data import DATA_FOLDER
from segpipe.server.server_settings import ServerSettings
from segpipe.settings import Settings

_KINDS_OF_MODEL = "classical, sam3"
_BAD_KIND = "union_tag_invalid"


class ServeConfig(Settings):
    """All that can be set of a service; ``segpipe serve --config FILE`` reads it from YAML.

    >>> config = ServeConfig.model_validate({"segmenter": {"kind": "recursive"}})
    >>> config.segmenter.kind, config.refiner.kind, config.server.port
    ('recursive', 'grabcut', 8000)
    """

    server: ServerSettings = Field(
        default=ServerSettings(), description="Address, bounds and guards of the service."
    )
    segmenter: SegmenterConfig = Field(
        default=ClassicalConfig(), description="What answers prompts: any segmenter."
    )
    refiner: RefinerConfig = Field(
        default=GrabCutConfig(), description="What refines masks for `POST /v1/segment`."
    )
    inpainter: InpainterConfig = Field(
        default=OpenCvConfig(), description="What fills holes for `POST /v1/inpaint`."
    )
    erase: EraseSettings = Field(
        default=EraseSettings(), description="How much is replaced around what is erased."
    )
    data_folder: str = Field(
        default=str(DATA_FOLDER),
        description="Where relative folders of kept answers and of accounts begin.",
    )

    @property
    def server_settings(self) -> ServerSettings:
        """Those of the service, where some that are not set depend on what is served."""
        if isinstance(self.segmenter, Sam3Config) and not self._is_set("work_bytes_per_pixel"):
            return self.server.model_copy(update={"work_bytes_per_pixel": 0})
        return self.server

    def _is_set(self, field: str) -> bool:
        return field in self.server.model_fields_set


def read_serve_config(file: Path) -> ServeConfig:
    """What a YAML file says; what it leaves out has its default.

    Raises:
        ConfigError: The file cannot be read, or a setting is wrong; it names file and setting.
    """
    return read_settings_file(file, ServeConfig)


def with_options(
    config: ServeConfig,
    *,
    model: str | None = None,
    checkpoint: str | None = None,
    refiner: str | None = None,
    refiner_checkpoint: str | None = None,
    **server: Any,
) -> ServeConfig:
    """A configuration with what short options say of it.

    Args:
        config: What they are options of.
        model: ``classical`` or ``sam3``.
        checkpoint: The weights of ``sam3``: a folder, or a repository with its revision, as in
            ``facebook/sam3@<commit>``.
        refiner: The ``kind`` of a refiner: ``none``, ``grabcut``, ``hq_sam``, …
        refiner_checkpoint: Its weights, where it has any, given as those of ``sam3`` are.
        server: Settings of the service by their names; None leaves one as it is.

    Raises:
        ConfigError: There is no such model or refiner, or it takes no such checkpoint.
    """
    values: dict[str, Any] = {name: getattr(config, name) for name in config.model_fields_set}
    given = {name: value for name, value in server.items() if value is not None}
    if given:
        values["server"] = {**config.server.model_dump(exclude_unset=True), **given}
    if model is not None or checkpoint is not None:
        values["segmenter"] = _model(config, model, checkpoint)
    if refiner is not None or refiner_checkpoint is not None:
        kind = config.refiner.kind if refiner is None else refiner
        values["refiner"] = {"kind": kind, **_refiner_weights(refiner_checkpoint)}
    try:
        return ServeConfig.model_validate(values)
    except ValidationError as error:
        raise _option_error(error, refiner, refiner_checkpoint) from None


def _model(config: ServeConfig, model: str | None, checkpoint: str | None) -> Any:
    kind = model or config.segmenter.kind
    if kind == "classical":
        if checkpoint is not None:
            raise ConfigError("the classical model has no weights", field="checkpoint")
        return {"kind": kind}
    if kind != "sam3" or isinstance(config.segmenter, RecursiveConfig | TiledConfig):
        raise ConfigError(f"must be one of {_KINDS_OF_MODEL}, got {kind!r}", field="model")
    # The service's clients keep answers; here, they would be kept twice.
    return {"kind": kind, "backend": _local(checkpoint), "cache": {"enabled": False}}


def _local(checkpoint: str | None) -> dict[str, str]:
    if checkpoint and Path(checkpoint).expanduser().is_dir():
        return {"kind": "local", "checkpoint": checkpoint}
    repository, _, revision = (checkpoint or "").partition("@")
    if not repository or not revision:
        raise ConfigError(
            f"sam3 needs a folder that is there, or a repository with its revision, such as "
            f"facebook/sam3@<commit>; got {checkpoint!r}",
            field="checkpoint",
        )
    return {"kind": "local", "checkpoint": repository, "revision": revision}


def _refiner_weights(checkpoint: str | None) -> dict[str, str]:
    if checkpoint is None:
        return {}
    if Path(checkpoint).expanduser().is_dir():
        return {"checkpoint": checkpoint}
    repository, _, revision = checkpoint.partition("@")
    return {"checkpoint": repository, "revision": revision}


def _option_error(
    error: ValidationError, refiner: str | None, refiner_checkpoint: str | None
) -> ConfigError:
    first = error.errors(include_url=False)[0]
    if first["loc"][0] != "refiner":
        return ConfigError(first["msg"].removeprefix(VALUE_ERROR), field=str(first["loc"][-1]))
    if first["type"] == _BAD_KIND:
        kinds = first["ctx"]["expected_tags"].replace("'", "")
        return ConfigError(f"must be one of {kinds}, got {refiner!r}", field="refiner")
    if first["type"] == "extra_forbidden":
        return ConfigError(f"the refiner {refiner} has no weights", field="refiner_checkpoint")
    return ConfigError(
        f"{refiner_checkpoint!r} is neither a folder that is there nor a repository with its "
        f"revision, such as syscv-community/sam-hq-vit-large@<commit>: {first['msg']}",
        field="refiner_checkpoint",
    )

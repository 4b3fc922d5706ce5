"""The refiners that the service can hold, by name."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from segpipe.errors import ConfigError
from segpipe.refiners.build_refiner import RefinerConfig, build_refiner
from segpipe.refiners.refiner import NoneConfig, Refiner

_CONFIG: TypeAdapter[Any] = TypeAdapter(RefinerConfig)
_OPTIONS = {"kind": "refiner", "checkpoint": "refiner_checkpoint", "revision": "refiner_checkpoint"}
_BAD_KIND = "union_tag_invalid"


def build(name: str, checkpoint: str | None = None) -> Refiner | None:
    """Build a refiner, whose weights are loaded when it is first asked; None for ``none``.

    Args:
        name: The ``kind`` of a refiner's configuration: ``none``, ``grabcut``, ``hq_sam``, …
        checkpoint: The weights of a refiner that has any: a folder, or a repository with its
            revision, as in ``syscv-community/sam-hq-vit-large@<commit>``.

    Raises:
        ConfigError: There is no such refiner, or it takes no such checkpoint.
    """
    values = {"kind": name}
    if checkpoint is not None and Path(checkpoint).expanduser().is_dir():
        values["checkpoint"] = checkpoint
    elif checkpoint is not None:
        values["checkpoint"], _, values["revision"] = checkpoint.partition("@")
    try:
        config = _CONFIG.validate_python(values)
    except ValidationError as error:
        raise _as_config_error(error, name, checkpoint) from None
    return None if isinstance(config, NoneConfig) else build_refiner(config)


def _as_config_error(error: ValidationError, name: str, checkpoint: str | None) -> ConfigError:
    first = error.errors()[0]
    if first["type"] == _BAD_KIND:
        kinds = first["ctx"]["expected_tags"].replace("'", "")
        return ConfigError(f"must be one of {kinds}, got {name!r}", field="refiner")
    field = str(first["loc"][-1])
    if first["type"] == "extra_forbidden":
        return ConfigError(f"the refiner {name} has no weights", field=_OPTIONS.get(field, field))
    return ConfigError(
        f"{checkpoint!r} is neither a folder that is there nor a repository with its revision, "
        f"such as syscv-community/sam-hq-vit-large@<commit>: {first['msg']}",
        field=_OPTIONS.get(field, field),
    )

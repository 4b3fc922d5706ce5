"""The models that the service can hold, by name."""

from pathlib import Path
from typing import Literal, get_args

from segpipe.errors import ConfigError
from segpipe.segmenters.classical import ClassicalSegmenter
from segpipe.segmenters.sam3.local import LocalConfig, LocalSegmenter
from segpipe.segmenters.segmenter import Segmenter

ModelName = Literal["classical", "sam3"]


def load(name: str, checkpoint: str | None = None, *, threads: int = 1) -> Segmenter:
    """Build a model; its weights are loaded when it is asked for its revision.

    Args:
        name: ``classical`` or ``sam3``.
        checkpoint: The weights of ``sam3``: a folder, or a repository with its revision, as in
            ``facebook/sam3@<commit>``.
        threads: Prompts that ``classical`` computes at once; ``sam3`` computes batches.

    Raises:
        ConfigError: There is no such model, or ``classical`` was given a checkpoint.
    """
    match name:
        case "classical":
            if checkpoint is not None:
                raise ConfigError("the classical model has no weights", field="checkpoint")
            return ClassicalSegmenter(threads=threads)
        case "sam3":
            return _load_sam3(checkpoint)
    raise ConfigError(
        f"must be one of {', '.join(get_args(ModelName))}, got {name!r}", field="model"
    )


def _load_sam3(checkpoint: str | None) -> Segmenter:
    if checkpoint and Path(checkpoint).is_dir():
        return LocalSegmenter(LocalConfig(checkpoint=checkpoint))
    repository, _, revision = (checkpoint or "").partition("@")
    if not repository or not revision:
        raise ConfigError(
            f"sam3 needs a folder that is there, or a repository with its revision, such as "
            f"facebook/sam3@<commit>; got {checkpoint!r}",
            field="checkpoint",
        )
    return LocalSegmenter(LocalConfig(checkpoint=repository, revision=revision))

"""From settings to a loaded model: the only place that maps a runtime to a class."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from segpipe.errors import CheckpointError
from segpipe.segmenters.sam3.local.config import LocalConfig
from segpipe.segmenters.sam3.local.faults import model_faults
from segpipe.segmenters.sam3.local.model import LocalModel
from segpipe.segmenters.sam3.local.runtime import Runtime


def load_model(config: LocalConfig) -> LocalModel:
    """Load SAM 3; it takes seconds, and blocks.

    Raises:
        CheckpointError: The weights are missing, gated, damaged, pickles or of another model, or
            what runs them is not installed.
        ConfigError: There is no such device, or a repository is not pinned.
        SegmenterError: There is not enough memory.
    """
    with model_faults("loading the weights"):
        return LocalModel(_load_runtime(config), config)


def _load_runtime(config: LocalConfig) -> Runtime[Any, Any]:
    # Both take seconds to import.
    match config.runtime:
        case "transformers":
            with _imports("segpipe[local]"):
                from segpipe.segmenters.sam3.local.transformers_runtime import (  # noqa: PLC0415
                    TransformersRuntime,
                )
            return TransformersRuntime.load(config)
        case "sam3":
            with _imports("segpipe[sam3]"):
                from segpipe.segmenters.sam3.local.meta import MetaRuntime  # noqa: PLC0415
            return MetaRuntime.load(config)


@contextmanager
def _imports(extra: str) -> Iterator[None]:
    try:
        yield
    # A torchvision that was built for another torch raises RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise CheckpointError(
            f"SAM 3 cannot run here ({error}); install {extra}, and remove torchvision unless it "
            "was built for the torch beside it: transformers does not need it here",
            field="runtime",
        ) from error

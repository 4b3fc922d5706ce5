"""From settings to a loaded model: the only place that maps a runtime to a class."""

from typing import Any

from segpipe.models.faults import imports_of
from segpipe.segmenters.sam3.local.config import LocalConfig
from segpipe.segmenters.sam3.local.faults import FAULTS
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
    with FAULTS.told("loading the weights"):
        return LocalModel(_load_runtime(config), config)


def _load_runtime(config: LocalConfig) -> Runtime[Any, Any]:
    # Both take seconds to import.
    match config.runtime:
        case "transformers":
            with imports_of("SAM 3", "segpipe[local]", field="runtime"):
                from segpipe.segmenters.sam3.local.transformers_runtime import (  # noqa: PLC0415
                    TransformersRuntime,
                )
            return TransformersRuntime.load(config)
        case "sam3":
            with imports_of("SAM 3", "segpipe[sam3]", field="runtime"):
                from segpipe.segmenters.sam3.local.meta import MetaRuntime  # noqa: PLC0415
            return MetaRuntime.load(config)

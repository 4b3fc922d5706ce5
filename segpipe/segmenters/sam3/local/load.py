"""From settings to a loaded model: the only place that maps a runtime to a class."""

from typing import Any

from segpipe.models.faults import imports_of
from segpipe.segmenters.sam3.local.config import LocalConfig
from segpipe.segmenters.sam3.local.faults import FAULTS
from segpipe.segmenters.sam3.local.model import LocalModel


def load_model(config: LocalConfig) -> LocalModel[Any, Any]:
    """Load SAM 3; it takes seconds, and blocks.

    Raises:
        CheckpointError: The weights are missing, gated, damaged, pickles or of another model, or
            what runs them is not installed.
        ConfigError: There is no such device, or a repository is not pinned.
        SegmenterError: There is not enough memory.
    """
    # Both libraries take seconds to import.
    with FAULTS.told("loading the weights"):
        match config.runtime:
            case "transformers":
                with imports_of("SAM 3", "segpipe[local]", field="runtime"):
                    from segpipe.segmenters.sam3.local import (  # noqa: PLC0415
                        transformers_runtime as by_transformers,
                    )
                return LocalModel[
                    by_transformers.TransformersPixels, by_transformers.TransformersFeatures
                ](by_transformers.TransformersRuntime.load(config), config)
            case "sam3":
                with imports_of("SAM 3", "segpipe[sam3]", field="runtime"):
                    from segpipe.segmenters.sam3.local import meta  # noqa: PLC0415
                return LocalModel[meta.MetaPixels, meta.MetaFeatures](
                    meta.MetaRuntime.load(config), config
                )

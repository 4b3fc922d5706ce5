"""The Parquet files of each stage."""

import pyarrow as pa

from segpipe.flow.crops import CROPS_FILE
from segpipe.flow.dedup import DEDUP_FILE
from segpipe.flow.refinement import REFINEMENT_FILE
from segpipe.flow.segmentation import DETECTIONS_FILE, IMAGES_FILE
from segpipe.flow.stages import Stage
from segpipe.store.schemas import (
    CROPS_SCHEMA,
    DEDUP_SCHEMA,
    DETECTIONS_SCHEMA,
    IMAGES_SCHEMA,
    REFINEMENT_SCHEMA,
)

TABLES: dict[Stage, dict[str, pa.Schema]] = {
    Stage.SEGMENTATION: {IMAGES_FILE: IMAGES_SCHEMA, DETECTIONS_FILE: DETECTIONS_SCHEMA},
    Stage.DEDUP: {DEDUP_FILE: DEDUP_SCHEMA},
    Stage.REFINEMENT: {REFINEMENT_FILE: REFINEMENT_SCHEMA},
    Stage.CROPS: {CROPS_FILE: CROPS_SCHEMA},
    Stage.COCO: {},
    Stage.DEAL_REPORT: {},
}
"""By stage; the last one has a row for each thing that the stage makes."""

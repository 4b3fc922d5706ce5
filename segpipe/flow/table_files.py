"""The Parquet files of each stage."""

import pyarrow as pa

from segpipe.errors import StaleUpstreamError
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
from segpipe.store.snapshot import Snapshot
from segpipe.store.tables import TableReader

TABLES: dict[Stage, dict[str, pa.Schema]] = {
    Stage.SEGMENTATION: {IMAGES_FILE: IMAGES_SCHEMA, DETECTIONS_FILE: DETECTIONS_SCHEMA},
    Stage.DEDUP: {DEDUP_FILE: DEDUP_SCHEMA},
    Stage.REFINEMENT: {REFINEMENT_FILE: REFINEMENT_SCHEMA},
    Stage.CROPS: {CROPS_FILE: CROPS_SCHEMA},
    Stage.COCO: {},
    Stage.DEAL_REPORT: {},
}
"""By stage; the last one has a row for each thing that the stage makes."""


def open_table(snapshot: Snapshot, stage: Stage, name: str) -> TableReader:
    """Open a table of the current version of a stage to read.

    Raises:
        NotPromotedError: Nothing is current for the stage.
        StaleUpstreamError: An older segpipe wrote it, without columns that are needed now.
        CorruptVersionError: The file is not what was promoted.
    """
    reader = TableReader(snapshot, stage, name)
    if missing := set(TABLES[stage][name].names).difference(reader.columns()):
        reader.close()
        raise StaleUpstreamError(
            f"the current {stage} was written by an older segpipe, without "
            f"{', '.join(sorted(missing))}: include {stage} in the run",
            deal=snapshot.deal,
        )
    return reader

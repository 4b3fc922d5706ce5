"""Resources: the deal store, the segmenter and the refiner, each chosen by config."""

from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from segpipe.pipeline.config import (
    ClassicalOptions,
    GrabCutOptions,
    LocalRoot,
    RefinerOptions,
    RootOptions,
    SegmenterOptions,
)
from segpipe.refiners.base import Refiner
from segpipe.refiners.config import build_refiner
from segpipe.segmenters.base import Segmenter
from segpipe.segmenters.config import build_segmenter
from segpipe.store.store import DealStore


class DealStoreResource(dg.ConfigurableResource[DealStore]):
    """Where deals live, and the one way to stage and promote what runs make of them."""

    root: RootOptions = Field(
        default=LocalRoot(), discriminator="kind", description="Where the deals are."
    )
    keep_commits: int = Field(
        default=20, ge=1, description="Generations of a deal that stay available for rollback."
    )

    def open(self) -> DealStore:
        """The store itself."""
        where = self.root.path if isinstance(self.root, LocalRoot) else self.root.url
        return DealStore(where, keep_commits=self.keep_commits)


class SegmenterResource(dg.ConfigurableResource[Segmenter]):
    """Finds the items in a photo."""

    backend: SegmenterOptions = Field(
        default=ClassicalOptions(), discriminator="kind", description="Which segmenter, and how."
    )

    def build(self) -> Segmenter:
        """Build the segmenter; once a run, since loading a model is dear."""
        return build_segmenter(self.backend)

    def settings(self) -> dict[str, Any]:
        """What it is configured with, for the lineage: JSON values without secrets."""
        return _values(self.backend)


class RefinerResource(dg.ConfigurableResource[Refiner]):
    """Sharpens the masks of survivors."""

    backend: RefinerOptions = Field(
        default=GrabCutOptions(), discriminator="kind", description="Which refiner, and how."
    )

    def build(self) -> Refiner:
        """Build the refiner; once a run, since loading a model is dear."""
        return build_refiner(self.backend)

    def settings(self) -> dict[str, Any]:
        """What it is configured with, for the lineage: JSON values without secrets."""
        return _values(self.backend)


def _values(options: BaseModel) -> dict[str, Any]:
    return options.model_dump(mode="json")

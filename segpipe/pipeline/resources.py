"""Resources: the deal store, the segmenter and the refiner, each chosen by config."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from segpipe.flow.settings import FlowSettings, RunSettings, SharedSettings
from segpipe.pipeline.options import (
    LocalRoot,
    RefinerOptions,
    RemoteRoot,
    RootOptions,
    SegmenterOptions,
    as_options,
)
from segpipe.refiners.build_refiner import build_refiner
from segpipe.refiners.grabcut import GrabCutConfig
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.build_segmenter import DATA_FOLDER, build_segmenter
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.segmenter import Segmenter
from segpipe.settings import Settings
from segpipe.store.data_root import DataRoot
from segpipe.store.store import DealStore


class DealStoreResource(dg.ConfigurableResource[DealStore]):
    """Where deals live, and the one way to stage and promote what runs make of them."""

    root: RootOptions = Field(
        default=LocalRoot(), discriminator="kind", description="Where the deals are."
    )
    keep_commits: int = Field(
        default=20, ge=1, description="Generations of a deal that stay available for rollback."
    )

    @property
    def data_folder(self) -> Path:
        """The local folder for what runs keep beside deals: the data root where that is local."""
        return Path(self.root.path) if isinstance(self.root, LocalRoot) else DATA_FOLDER

    def open(self) -> DealStore:
        """The store itself."""
        where = self.root.path if isinstance(self.root, LocalRoot) else self.root.url
        return DealStore(where, keep_commits=self.keep_commits)


class SegmenterResource(dg.ConfigurableResource[Segmenter]):
    """Finds the items in a photo."""

    backend: SegmenterOptions = Field(
        default=as_options(ClassicalConfig()),
        discriminator="kind",
        description="Which segmenter, and how.",
    )

    def build(self, data_folder: Path) -> Segmenter:
        """Build the segmenter; once a run, since loading a model is dear.

        Args:
            data_folder: The local folder under which answers and accounts of services are kept.
        """
        return build_segmenter(self.backend, data_folder)

    def settings(self) -> Settings:
        """What it is built from."""
        return self.backend


class RefinerResource(dg.ConfigurableResource[Refiner]):
    """Sharpens the masks of survivors."""

    backend: RefinerOptions = Field(
        default=as_options(GrabCutConfig()),
        discriminator="kind",
        description="Which refiner, and how.",
    )

    def build(self) -> Refiner:
        """Build the refiner; once a run, since loading a model is dear."""
        return build_refiner(self.backend)

    def settings(self) -> Settings:
        """What it is built from."""
        return self.backend


def root_options(root: str) -> RootOptions:
    """The options of a data root that is given as a path or URL."""
    place = DataRoot.parse(root)
    return LocalRoot(path=place.place) if place.is_local else RemoteRoot(url=place.place)


def settings_of_run(
    segmenter: SegmenterResource, refiner: RefinerResource, stages: SharedSettings | None = None
) -> RunSettings:
    """All settings of a run; those of the stages are the defaults when none are given."""
    return RunSettings(segmenter.settings(), refiner.settings(), stages or FlowSettings())

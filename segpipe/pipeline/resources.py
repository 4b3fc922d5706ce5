"""Resources: the deal store, the segmenter and the refiner, each chosen by config."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from segpipe.errors import ConfigError, describe
from segpipe.pipeline.options import (
    LocalRoot,
    RefinerOptions,
    RemoteRoot,
    RootOptions,
    SavedOptions,
    SegmenterOptions,
)
from segpipe.refiners.build_refiner import build_refiner
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.build_segmenter import build_segmenter
from segpipe.segmenters.kept_data import KeptData
from segpipe.segmenters.segmenter import Segmenter
from segpipe.settings import Settings
from segpipe.store.commits import KEEP_COMMITS_VARIABLE
from segpipe.store.data_root import DataRoot
from segpipe.store.layout import ROOT_VARIABLE
from segpipe.store.shared_data import kept_data
from segpipe.store.store import DealStore


class DealStoreResource(dg.ConfigurableResource[DealStore]):
    """Where deals live, and the one way to stage and promote what runs make of them.

    A deployment has one store: see :func:`store_of_deployment`.
    """

    root: RootOptions = Field(
        default=LocalRoot(), discriminator="kind", description="Where the deals are."
    )
    keep_commits: int = Field(
        default=20, ge=1, description="Generations of a deal that stay available for rollback."
    )

    _asks_for_another: bool = PrivateAttr(default=False)

    def of_deployment(self) -> "DealStoreResource":
        """The one store of the deployment: itself, unless :func:`store_of_deployment` made it."""
        return self

    @property
    def where(self) -> str:
        """The data root, a path or a URL."""
        return self.root.path if isinstance(self.root, LocalRoot) else self.root.url

    @property
    def kept_data(self) -> KeptData:
        """Where runs keep answers and accounts beside the deals."""
        return kept_data(DataRoot.parse(self.of_deployment().where))

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Notice run config that asks for another store than that of the deployment."""
        own = self.of_deployment()
        asked = _asked_store(context.run.run_config) if context.run else {}
        self._asks_for_another = (
            "root" in asked and DataRoot.parse(self.where) != DataRoot.parse(own.where)
        ) or ("keep_commits" in asked and self.keep_commits != own.keep_commits)

    def open(self) -> DealStore:
        """The store itself.

        Raises:
            dg.Failure: Run config asks for another one; a retry would, too.
        """
        own = self.of_deployment()
        if self._asks_for_another:
            error = ConfigError(
                f"a deployment has one store, here {own.where} with {own.keep_commits} kept "
                f"generations; run config cannot name another: set {ROOT_VARIABLE} and "
                f"{KEEP_COMMITS_VARIABLE} where Dagster and segpipe run",
                field="resources.store",
            )
            raise dg.Failure(describe(error), allow_retries=False) from error
        if own is not self:
            return own.open()
        return DealStore(self.where, keep_commits=self.keep_commits)


def store_of_deployment(store: DealStoreResource) -> DealStoreResource:
    """The same store, whatever run config says of it.

    Sensors, schedules, the sweep and the IO manager know no run config. So a run that worked with
    another root or another number of kept generations would part from them. Besides, Dagster
    drops all values that a resource was built with as soon as run config sets one of its fields.
    """

    class StoreOfDeployment(DealStoreResource):
        __doc__ = store.__doc__
        __qualname__ = type(store).__qualname__  # what Dagster shows of it

        def of_deployment(self) -> DealStoreResource:
            return store

    return StoreOfDeployment(root=store.root, keep_commits=store.keep_commits)


def _asked_store(run_config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What run config says of the store."""
    section: Any = run_config
    for name in ("resources", "store", "config"):
        section = section.get(name) if isinstance(section, Mapping) else None
    return section if isinstance(section, Mapping) else {}


class SegmenterResource(dg.ConfigurableResource[Segmenter]):
    """Finds the items in a photo."""

    backend: SegmenterOptions = Field(
        default=SavedOptions(),
        discriminator="kind",
        description="Which segmenter, and how.",
    )

    def build(self, data: KeptData) -> Segmenter:
        """Build the segmenter; once a run, since loading a model is dear.

        Args:
            data: Where answers and accounts of services are kept.

        Raises:
            ConfigError: It is the saved one, which the run itself looks up.
        """
        if isinstance(self.backend, SavedOptions):
            raise _undecided()
        return build_segmenter(self.backend, data)

    def settings(self) -> Settings:
        """What it is built from."""
        return self.backend


class RefinerResource(dg.ConfigurableResource[Refiner]):
    """Sharpens the masks of survivors."""

    backend: RefinerOptions = Field(
        default=SavedOptions(),
        discriminator="kind",
        description="Which refiner, and how.",
    )

    def build(self) -> Refiner:
        """Build the refiner; once a run, since loading a model is dear."""
        if isinstance(self.backend, SavedOptions):
            raise _undecided()
        return build_refiner(self.backend)

    def settings(self) -> Settings:
        """What it is built from."""
        return self.backend


def _undecided() -> ConfigError:
    said = "which of the saved settings are used is for a run to decide: choose a backend"
    return ConfigError(said, field="backend")


def root_options(root: str) -> RootOptions:
    """The options of a data root that is given as a path or URL."""
    place = DataRoot.parse(root)
    return LocalRoot(path=place.place) if place.is_local else RemoteRoot(url=place.place)

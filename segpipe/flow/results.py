"""The one reader of current results: what the stages of a deal have given, photo by photo."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import pyarrow as pa

from segpipe.errors import NotPromotedError, StaleUpstreamError
from segpipe.flow.photo import LoadedPhoto, PhotoInfo
from segpipe.flow.stages.segmentation import IMAGES_FILE, SEGMENTATION
from segpipe.flow.stages.stage import PhotoResults, open_table
from segpipe.flow.stages.stage_registry import STAGES, AnyStage
from segpipe.store.snapshot import Snapshot
from segpipe.store.store import DealStore
from segpipe.store.tables import TableReader


class DealResults:
    """The results of some stages as they are current at one moment; a context manager.

    Each photo is read when it is asked for, one at a time in memory, and of it only the stages that
    are asked for.

    Args:
        deal: The deal.
        snapshot: What is current; None when nothing is.
        stages: The stages to read, each after those that it reads.

    Raises:
        NotPromotedError: One of them was never promoted.
        StaleUpstreamError: They do not belong together: one was made from another version of
            another than is current; or, found when it is read, an older segpipe wrote it.
        CorruptVersionError: Files are damaged; found when they are read.
    """

    def __init__(self, deal: str, snapshot: Snapshot | None, stages: Iterable[AnyStage]) -> None:
        self._deal = deal
        self._stages = {stage.name: stage for stage in stages}
        self._tables: dict[tuple[str, str], TableReader] = {}
        missing = [
            name
            for name, stage in self._stages.items()
            if not (stage.is_later or (snapshot and snapshot.has(name)))
        ]
        if missing:
            raise NotPromotedError(
                f"{', '.join(missing)} must be made first: include it in the run", deal=deal
            )
        self._snapshot = snapshot
        self._require_consistent()

    @classmethod
    def current(cls, store: DealStore, deal: str, mode: str, stages: Iterable[AnyStage]) -> Self:
        """What is current of a deal and mode; raises as the class."""
        snapshot = store.current(deal, mode)
        if snapshot is None:
            raise NotPromotedError(f"nothing of mode {mode} is promoted yet: run it", deal=deal)
        return cls(deal, snapshot, stages)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened to read; leaving the context does it too."""
        for table in self._tables.values():
            table.close()

    @property
    def snapshot(self) -> Snapshot:
        """The generation that is read; raises NotPromotedError when nothing is."""
        if self._snapshot is None:
            raise NotPromotedError("nothing is promoted yet", deal=self._deal)
        return self._snapshot

    @property
    def generation(self) -> int:
        """The generation that is read; 0 when nothing is."""
        return self._snapshot.generation if self._snapshot else 0

    @property
    def versions(self) -> dict[str, str]:
        """The name of each version that is read, by stage; not of one that the deal lacks."""
        return {name: self.snapshot.version(name).name for name in self._present()}

    @property
    def producers(self) -> dict[str, str]:
        """The segmenter or refiner of each version that is read; empty for the other stages."""
        manifests = {name: self.snapshot.manifest(name) for name in self._present()}
        return {name: manifest.info.producer or "" for name, manifest in manifests.items()}

    def reads(self, stage: AnyStage) -> bool:
        """Whether a stage is read."""
        return stage.name in self._stages

    def images(self) -> list[str]:
        """The ids of the photos, in their order."""
        first = next(iter(self._stages.values()))
        return self._table(first, next(iter(first.tables))).images()

    def __len__(self) -> int:
        """How many photos there are."""
        return len(self.images())

    def __iter__(self) -> Iterator[PhotoResults]:
        """The results of each photo; segmentation has to be among the stages."""
        yield from map(self.photo, self.images())

    def photo(self, image: str) -> PhotoResults:
        """The results of one of the photos; segmentation has to be among the stages."""
        return PhotoResults(_photo_info(self.rows(SEGMENTATION, IMAGES_FILE, image)), self.rows)

    def of(self, loaded: LoadedPhoto) -> PhotoResults:
        """The results of a photo that a run has loaded.

        Raises:
            StaleUpstreamError: It is another one now than was segmented.
        """
        if self.reads(SEGMENTATION):
            rows = self.rows(SEGMENTATION, IMAGES_FILE, loaded.info.image)
            if rows.num_rows == 0 or _photo_info(rows).digest != loaded.info.digest:
                raise StaleUpstreamError(
                    "the photo is new or changed since its segmentation: run segmentation again",
                    deal=self._deal,
                    image=loaded.info.file_name,
                )
        return PhotoResults(loaded.info, self.rows)

    def rows(self, stage: AnyStage, file: str, image: str) -> pa.Table:
        """The rows of a photo in one table of a stage; none of one that a later release added."""
        if stage.is_later and not self.snapshot.has(stage.name):
            return stage.tables[file].empty_table()
        return self._table(stage, file).read(image)

    def require_photos(self, images: Iterable[str]) -> None:
        """Raise StaleUpstreamError when photos were removed since they were segmented."""
        if not self.reads(SEGMENTATION):
            return
        segmented = set(self._table(SEGMENTATION, IMAGES_FILE).images())
        if gone := sorted(segmented.difference(images)):
            raise StaleUpstreamError(
                f"photos were removed since segmentation ({', '.join(gone)}): "
                "run segmentation again",
                deal=self._deal,
            )

    def _present(self) -> list[str]:
        """The stages that are read and that the deal has."""
        return [name for name in self._stages if self.snapshot.has(name)]

    def _table(self, stage: AnyStage, file: str) -> TableReader:
        key = (stage.name, file)
        if key not in self._tables:
            self._tables[key] = open_table(self.snapshot, stage, file)
        return self._tables[key]

    def _require_consistent(self) -> None:
        """A stage must have been made from the very versions that are read beside it."""
        read = self.versions
        for name in read:
            made_from = self.snapshot.version(name).made_from
            others = [
                above.name
                for above in self._stages[name].upstream
                if above.name in read and made_from.get(above.name) != read[above.name]
            ]
            if others:
                later = [each for each in read if each in STAGES.with_downstream({name})]
                raise StaleUpstreamError(
                    f"the current {name} was made from another {others[0]} than the current one: "
                    f"include {', '.join(later)} in the run",
                    deal=self._deal,
                )


def _photo_info(images: pa.Table) -> PhotoInfo:
    """Which photo its row in the images table is about."""
    row = images.select(["image", "file_name", "digest", "format", "width", "height"]).to_pylist()[
        0
    ]
    return PhotoInfo(**row)

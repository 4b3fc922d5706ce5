"""The current results of one deal, photo by photo."""

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from segpipe.errors import NotPromotedError, StaleUpstreamError
from segpipe.flow.refinement import REFINEMENT_FILE, RefinedImage, refined_from_table
from segpipe.flow.segmentation import (
    DETECTIONS_FILE,
    IMAGES_FILE,
    SegmentedImage,
    segmented_from_tables,
)
from segpipe.flow.stages import Stage
from segpipe.flow.table_files import open_table
from segpipe.prompt import Mode
from segpipe.store.store import DealStore


class DealResults:
    """The survivors of a deal as they are current at one moment; a context manager.

    Args:
        store: The deals.
        deal: The deal.
        mode: Whose results.

    Raises:
        NotPromotedError: Its survivors were not promoted yet.
        StaleUpstreamError: The current masks were made from another segmentation than the current.
        CorruptVersionError: Its files are damaged; found when they are read.
    """

    def __init__(self, store: DealStore, deal: str, mode: Mode) -> None:
        snapshot = store.current(deal, mode)
        if snapshot is None:
            raise NotPromotedError(f"nothing of mode {mode} is promoted yet: run it", deal=deal)
        versions = {
            stage: snapshot.version(stage) for stage in (Stage.SEGMENTATION, Stage.REFINEMENT)
        }
        if (
            versions[Stage.REFINEMENT].made_from.get(Stage.SEGMENTATION)
            != versions[Stage.SEGMENTATION].name
        ):
            raise StaleUpstreamError(
                "the current refinement was made from another segmentation than the current one: "
                "run refinement again",
                deal=deal,
            )
        self.generation = snapshot.generation
        self.versions = {stage.value: version.name for stage, version in versions.items()}
        with contextlib.ExitStack() as opened:
            self._images, self._detections, self._refinement = (
                opened.enter_context(open_table(snapshot, stage, name))
                for stage, name in (
                    (Stage.SEGMENTATION, IMAGES_FILE),
                    (Stage.SEGMENTATION, DETECTIONS_FILE),
                    (Stage.REFINEMENT, REFINEMENT_FILE),
                )
            )
            self._open = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def __len__(self) -> int:
        """How many photos there are."""
        return len(self._images.images())

    def __iter__(self) -> Iterator[tuple[SegmentedImage, RefinedImage]]:
        """Each photo: its raw detections, and the masks of its survivors."""
        for image in self._images.images():
            segmented = segmented_from_tables(
                self._images.read(image), self._detections.read(image)
            )
            yield segmented, refined_from_table(segmented, self._refinement.read(image))

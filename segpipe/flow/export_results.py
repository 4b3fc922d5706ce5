"""The current results of one deal, photo by photo."""

import contextlib
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import Self

from segpipe.errors import NotPromotedError, StaleUpstreamError
from segpipe.flow.crops import CROPS_FILE, cropped_from_table
from segpipe.flow.refinement import REFINEMENT_FILE, RefinedImage, refined_from_table
from segpipe.flow.report import SHEET_FILE
from segpipe.flow.segmentation import (
    DETECTIONS_FILE,
    IMAGES_FILE,
    SegmentedImage,
    segmented_from_tables,
)
from segpipe.flow.stages import UPSTREAM, Stage
from segpipe.flow.table_files import open_table
from segpipe.formats.labels import CutOut
from segpipe.prompt import Mode
from segpipe.store.store import DealStore

_TABLES = [
    (Stage.SEGMENTATION, IMAGES_FILE),
    (Stage.SEGMENTATION, DETECTIONS_FILE),
    (Stage.REFINEMENT, REFINEMENT_FILE),
]


class DealResults:
    """The survivors of a deal as they are current at one moment; a context manager.

    Args:
        store: The deals.
        deal: The deal.
        mode: Whose results.
        with_crops: Whether their cut-outs are wanted, too.

    Raises:
        NotPromotedError: Its survivors, or their cut-outs, were not promoted yet.
        StaleUpstreamError: The current versions do not belong together.
        CorruptVersionError: Its files are damaged; found when they are read.
    """

    def __init__(
        self, store: DealStore, deal: str, mode: Mode, *, with_crops: bool = False
    ) -> None:
        snapshot = store.current(deal, mode)
        if snapshot is None:
            raise NotPromotedError(f"nothing of mode {mode} is promoted yet: run it", deal=deal)
        self._snapshot = snapshot
        tables = [*_TABLES, (Stage.CROPS, CROPS_FILE)] if with_crops else _TABLES
        versions = {stage: snapshot.version(stage) for stage, _ in tables}
        for stage, version in versions.items():
            for above in versions.keys() & set(UPSTREAM[stage]):
                if version.made_from.get(above) != versions[above].name:
                    raise StaleUpstreamError(
                        f"the current {stage} was made from another {above} than the current one: "
                        f"run {stage} again",
                        deal=deal,
                    )
        self.generation = snapshot.generation
        self.versions = {stage.value: version.name for stage, version in versions.items()}
        with contextlib.ExitStack() as opened:
            self._images, self._detections, self._refinement, *self._crops = (
                opened.enter_context(open_table(snapshot, stage, name)) for stage, name in tables
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

    def cutouts(self, image: str) -> dict[int, CutOut]:
        """The cut-outs of a photo by detection; one that failed has none."""
        crops = cropped_from_table(image, self._crops[0].read(image)).crops
        return {
            crop.detection: CutOut(
                suffix=f".{crop.format}",
                read=partial(self._snapshot.read, Stage.CROPS, crop.file),
            )
            for crop in crops
            if crop.file
        }

    def contact_sheet(self) -> bytes | None:
        """The contact sheet, JPEG; None when there is none of these cut-outs."""
        snapshot = self._snapshot
        if not snapshot.has(Stage.DEAL_REPORT):
            return None
        made_from = snapshot.version(Stage.DEAL_REPORT).made_from
        if made_from.get(Stage.CROPS) != self.versions.get(Stage.CROPS):
            return None
        return snapshot.read(Stage.DEAL_REPORT, SHEET_FILE)

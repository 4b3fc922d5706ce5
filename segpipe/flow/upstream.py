"""What the stages of a subset run read from the current versions."""

from collections.abc import Iterable

from segpipe.errors import NotPromotedError, StaleUpstreamError
from segpipe.flow.crops import CROPS_FILE, CroppedImage, cropped_from_table
from segpipe.flow.dedup import DEDUP_FILE, DedupedImage, deduped_from_table
from segpipe.flow.photo import LoadedPhoto
from segpipe.flow.refinement import REFINEMENT_FILE, RefinedImage, refined_from_table
from segpipe.flow.segmentation import (
    DETECTIONS_FILE,
    IMAGES_FILE,
    SegmentedImage,
    segmented_from_tables,
)
from segpipe.flow.stages import UPSTREAM, Stage, in_order
from segpipe.flow.table_files import open_table
from segpipe.store.store import Snapshot
from segpipe.store.tables import TableReader


class Upstream:
    """The results that some stages read but do not make, from one snapshot of a deal.

    Args:
        deal: The deal, for errors.
        snapshot: What is current; None when nothing is.
        stages: The stages that will be made anew.

    Raises:
        NotPromotedError: A stage that is needed was never promoted.
        StaleUpstreamError: The current versions do not belong together.
    """

    def __init__(self, deal: str, snapshot: Snapshot | None, stages: Iterable[Stage]) -> None:
        made = frozenset(stages)
        self._deal = deal
        self._needed = in_order({above for stage in made for above in UPSTREAM[stage]} - made)
        self._readers: dict[tuple[Stage, str], TableReader] = {}
        self._snapshot = snapshot
        self._require_promoted()
        self._require_consistent()

    def close(self) -> None:
        """Close what was opened to read."""
        for reader in self._readers.values():
            reader.close()

    def versions(self) -> dict[Stage, str]:
        """The name of each version that is read."""
        return {stage: self._current().version(stage).name for stage in self._needed}

    def producers(self) -> dict[Stage, str]:
        """The segmenter or refiner of each version that is read; empty for the other stages."""
        manifests = {stage: self._current().manifest(stage) for stage in self._needed}
        return {stage: manifest.info.producer or "" for stage, manifest in manifests.items()}

    def needs(self, stage: Stage) -> bool:
        """Whether a stage is read from here."""
        return stage in self._needed

    def segmented(self, loaded: LoadedPhoto) -> SegmentedImage:
        """The raw detections of a photo; StaleUpstreamError when the photo is another one now."""
        image = loaded.photo.image
        rows = self._reader(Stage.SEGMENTATION, IMAGES_FILE).read(image)
        if rows.num_rows == 0 or rows["digest"][0].as_py() != loaded.digest:
            raise StaleUpstreamError(
                "the photo is new or changed since its segmentation: run segmentation again",
                deal=self._deal,
                image=loaded.photo.name,
            )
        return segmented_from_tables(
            rows, self._reader(Stage.SEGMENTATION, DETECTIONS_FILE).read(image)
        )

    def deduped(self, image: str) -> DedupedImage:
        """The survivors and rejections of a photo."""
        return deduped_from_table(image, self._reader(Stage.DEDUP, DEDUP_FILE).read(image))

    def refined(self, segmented: SegmentedImage) -> RefinedImage:
        """The coarse and refined masks of a photo."""
        table = self._reader(Stage.REFINEMENT, REFINEMENT_FILE).read(segmented.image)
        return refined_from_table(segmented, table)

    def cropped(self, image: str) -> CroppedImage:
        """The crops of a photo, without their pictures."""
        return cropped_from_table(image, self._reader(Stage.CROPS, CROPS_FILE).read(image))

    def require_same_images(self, images: Iterable[str]) -> None:
        """Raise StaleUpstreamError unless the deal still has exactly the segmented photos."""
        if not self.needs(Stage.SEGMENTATION):
            return
        segmented = set(self._reader(Stage.SEGMENTATION, IMAGES_FILE).images())
        if gone := sorted(segmented.difference(images)):
            raise StaleUpstreamError(
                f"photos were removed since segmentation ({', '.join(gone)}): "
                "run segmentation again",
                deal=self._deal,
            )

    def _reader(self, stage: Stage, name: str) -> TableReader:
        key = (stage, name)
        if key not in self._readers:
            self._readers[key] = open_table(self._current(), stage, name)
        return self._readers[key]

    def _current(self) -> Snapshot:
        if self._snapshot is None:
            raise NotPromotedError("nothing is promoted yet", deal=self._deal)
        return self._snapshot

    def _require_promoted(self) -> None:
        missing = [
            stage
            for stage in self._needed
            if self._snapshot is None or not self._snapshot.has(stage)
        ]
        if missing:
            raise NotPromotedError(
                f"{', '.join(missing)} must be made first: include it in the run", deal=self._deal
            )

    def _require_consistent(self) -> None:
        """A stage must have been made from the very versions that are read beside it."""
        read = self.versions()
        for stage in self._needed:
            made_from = self._current().version(stage).made_from
            for above in UPSTREAM[stage]:
                if above in read and made_from.get(above) != read[above]:
                    raise StaleUpstreamError(
                        f"the current {stage} was made from another {above} than the current "
                        f"one: include {stage} in the run",
                        deal=self._deal,
                    )

"""One photo after the stages of a run."""

from dataclasses import dataclass

from segpipe.flow.crops import CroppedImage
from segpipe.flow.dedup import DedupedImage
from segpipe.flow.refinement import RefinedImage
from segpipe.flow.report import ImagePreview
from segpipe.flow.segmentation import SegmentedImage
from segpipe.formats.coco import CocoPhoto
from segpipe.progress import Counts
from segpipe.store.version_info import ImageSummary


@dataclass(frozen=True, slots=True, eq=False)
class ImageResult:
    """What each stage gave for a photo; None for a stage that was neither made nor read."""

    segmented: SegmentedImage
    deduped: DedupedImage | None
    refined: RefinedImage | None
    cropped: CroppedImage | None
    coco: CocoPhoto | None
    preview: ImagePreview

    @property
    def file_name(self) -> str:
        """The photo's file name."""
        return self.segmented.file_name

    @property
    def counts(self) -> Counts:
        """How many of each thing; a stage that is None counts nothing."""
        crops = self.cropped.crops if self.cropped else ()
        written = sum(crop.file is not None for crop in crops)
        items = self.refined.items if self.refined else ()
        return Counts(
            images=1,
            detections=len(self.segmented.result.detections),
            survivors=len(self.deduped.kept) if self.deduped else 0,
            refined=sum(item.refined is not None for item in items),
            crops=written,
            failed_crops=len(crops) - written,
        )

    def summary(self) -> ImageSummary:
        """The photo's entry in the report."""
        return ImageSummary(
            image=self.segmented.image,
            file_name=self.file_name,
            digest=self.segmented.digest,
            width=self.segmented.result.image_width,
            height=self.segmented.result.image_height,
            counts=self.counts,
            warnings=self.segmented.warnings,
        )

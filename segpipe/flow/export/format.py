"""What every export format is to the one who walks over the deals."""

from contextlib import AbstractContextManager
from typing import Protocol

from segpipe.flow.export.photos import DealPhotos
from segpipe.flow.refinement import RefinedImage
from segpipe.flow.segmentation import SegmentedImage


class Format(Protocol):
    """Writes photos in one format."""

    def all_or_nothing(self) -> AbstractContextManager[None]:
        """What is added inside stays only if the inside ends without an error."""
        ...

    def add(
        self, deal: str, segmented: SegmentedImage, refined: RefinedImage, photos: DealPhotos
    ) -> None:
        """Write one photo and its survivors."""
        ...

    def finish(self) -> None:
        """Write what could not be known before; nothing is added afterwards."""
        ...

"""The export for COCO tools: one JSON of all deals, and the photos beside it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from segpipe.flow.coco import CocoWriter, coco_image
from segpipe.flow.export.photos import DealPhotos
from segpipe.flow.export.target import ExportFolder
from segpipe.flow.refinement import RefinedImage
from segpipe.flow.segmentation import SegmentedImage
from segpipe.flow.settings import CocoSettings

ANNOTATIONS_FILE = "annotations.json"
IMAGES_FOLDER = "images"


class CocoFormat:
    """Writes COCO JSON, in which a photo is called ``<deal>/<file name>``.

    Args:
        writer: Where the JSON goes.
        settings: How it says which pixels are an item's.
        folder: Where photos go, into ``images/``; None when they stay where they are.
    """

    def __init__(
        self, writer: CocoWriter, settings: CocoSettings, folder: ExportFolder | None
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._folder = folder

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is added inside stays only if the inside ends without an error."""
        with ExitStack() as both:
            both.enter_context(self._writer.all_or_nothing())
            if self._folder:
                both.enter_context(self._folder.all_or_nothing())
            yield

    def add(
        self, deal: str, segmented: SegmentedImage, refined: RefinedImage, photos: DealPhotos
    ) -> None:
        """Write one photo and its survivors."""
        name = f"{deal}/{segmented.file_name}"
        if self._folder:
            photos.place(segmented, self._folder, f"{IMAGES_FOLDER}/{name}")
        self._writer.add(coco_image(deal, segmented, refined, self._settings), file_name=name)

    def finish(self) -> None:
        """Nothing: the end of the writer completes the JSON."""

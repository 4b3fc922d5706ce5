"""The photos that go along with an export."""

from pathlib import Path

from segpipe.digests import bytes_digest
from segpipe.errors import StaleUpstreamError
from segpipe.flow.export.target import ExportFolder
from segpipe.flow.export.task import Images
from segpipe.flow.segmentation import SegmentedImage
from segpipe.store import layout
from segpipe.store.inputs import Photo
from segpipe.store.store import DealStore


class DealPhotos:
    """The photos of one deal.

    Args:
        store: The deals.
        deal: The deal.
        images: What becomes of its photos.
    """

    def __init__(self, store: DealStore, deal: str, images: Images) -> None:
        self._store = store
        self._deal = deal
        self._images = images
        self._listed: dict[str, Photo] = {}
        if images is not Images.NONE:
            self._listed = {photo.name: photo for photo in store.photos(deal)}

    @property
    def go_along(self) -> bool:
        """Whether the photos are in the export."""
        return self._images is not Images.NONE

    def path(self, segmented: SegmentedImage) -> Path:
        """Where a photo lies in the data root."""
        key = f"{layout.images_key(self._deal)}/{segmented.file_name}"
        return Path((self._store.root / key).path)

    def place(self, segmented: SegmentedImage, folder: ExportFolder, name: str) -> None:
        """Put a photo into the export, if photos go along.

        Raises:
            StaleUpstreamError: The photo is gone, or no longer the one that was segmented.
            PhotoError: It cannot be read.
        """
        if not self.go_along:
            return
        photo = self._listed.get(segmented.file_name)
        data = self._store.read_photo(self._deal, photo) if photo else b""
        if bytes_digest(data) != segmented.digest:
            raise StaleUpstreamError(
                "the photo was changed or removed since its segmentation: run the deal again",
                deal=self._deal,
                image=segmented.file_name,
            )
        if self._images is Images.LINK:
            folder.link(name, self.path(segmented))
        else:
            folder.write(name, data)

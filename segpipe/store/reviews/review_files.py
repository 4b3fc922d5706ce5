"""The reviews of deals as files: read whole, and changed so that nobody's decision is lost."""

from collections.abc import Callable, Sequence
from functools import partial

from segpipe.errors import InputError, ReviewFileError, describe
from segpipe.prompt import Mode
from segpipe.store import layout
from segpipe.store.deal_folders import is_ignored, listing_digest
from segpipe.store.edited_files import EditedFile, EditedFiles
from segpipe.store.ids import check_deal_id
from segpipe.store.reviews.review_documents import ImageReview
from segpipe.store.storage import Entry, Storage, store_errors

_NS_PER_S = 1_000_000_000


class ReviewFiles:
    """The reviews of the deals under one data root.

    Every method raises InvalidIdError for a deal's or image's id that is not allowed,
    DealNotFoundError when there is no such deal, UnsafePathError for a link that leaves the data
    root, and ReviewFileError for a file that cannot be read.

    Args:
        storage: The data root.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._files = EditedFiles(storage)

    def of_image(self, deal: str, mode: Mode, image: str) -> ImageReview:
        """The review of a photo; of generation 0 and empty when there is no file."""
        with store_errors(deal):
            file = _file(deal, mode, image)
            return self._files.read(file)[1] if self._has_folder(deal, mode) else file.empty

    def images(
        self, deal: str, mode: Mode, entries: Sequence[Entry] | None = None
    ) -> dict[str, ImageReview]:
        """The reviews of all photos that have a file, by image id, sorted.

        Args:
            deal: The deal.
            mode: The mode.
            entries: What is in the deal's folder, where that was listed just before.

        Raises:
            ReviewFileError: Several files cannot be used; it names each.
        """
        found, faults = self.look(deal, mode, entries)
        if len(faults) > 1:
            raise ReviewFileError("; ".join(map(describe, faults)), deal=deal)
        if faults:
            raise faults[0]
        return found

    def look(
        self, deal: str, mode: Mode, entries: Sequence[Entry] | None = None
    ) -> tuple[dict[str, ImageReview], tuple[InputError, ...]]:
        """The reviews of all photos whose file can be used, and why the others cannot."""
        with store_errors(deal):
            names: list[str] = []
            if self._has_folder(check_deal_id(deal), mode, entries):
                names = self._files.names(deal, layout.reviews_folder(mode))
            found, faults = self._files.look(deal, names, partial(_listed_file, mode))
        return {review.image: review for review in found}, faults

    def listing(self, deal: str, mode: Mode) -> tuple[str, float] | None:
        """What tells whether any review may have changed; opens none.

        Returns:
            A digest over the names, sizes and times of the files, and when one of them last
            changed, seconds since 1970; None when there are none.
        """
        with store_errors(deal):
            listed = self._storage.list(layout.reviews_key(check_deal_id(deal), mode))
        files = sorted((e for e in listed if not is_ignored(e.name)), key=lambda each: each.name)
        if not files:
            return None
        digest = listing_digest([(each.name, each.size, each.modified_ns) for each in files])
        return digest, max(each.changed_ns for each in files) / _NS_PER_S

    def edit(
        self, deal: str, mode: Mode, image: str, change: Callable[[ImageReview], ImageReview]
    ) -> ImageReview:
        """Change the review of a photo, and return what is there now, one generation on.

        Args:
            deal: The deal.
            mode: The mode.
            image: The image id.
            change: What to make of the present one; it may refuse by raising. Called again
                whenever somebody else's change came first. If it changes nothing, nothing is
                written. Its generation is not its business.

        Raises:
            ReviewConflictError: Others came first every time.
            ReviewFileError: What ``change`` returned makes no sense, so it was not written.
        """
        with store_errors(deal):
            file = _file(deal, mode, image)
            self._has_folder(deal, mode)
            return self._files.edit(file, change)

    def _has_folder(self, deal: str, mode: Mode, entries: Sequence[Entry] | None = None) -> bool:
        return self._files.has_folder(deal, layout.reviews_folder(mode), ImageReview, entries)


def _file(deal: str, mode: Mode, image: str) -> EditedFile[ImageReview]:
    name = layout.review_name(image)
    image = layout.image_of_review(name) or image  # in its normal form
    folder = layout.reviews_folder(mode)
    return EditedFile(check_deal_id(deal), folder, name, image, ImageReview(image=image, mode=mode))


def _listed_file(mode: Mode, deal: str, name: str) -> EditedFile[ImageReview]:
    image = layout.image_of_review(name)
    if image is None:
        folder = layout.reviews_folder(mode)
        raise ReviewFileError(
            f"{folder}/{name!r} is no review: these are named after the id of a photo and end in "
            f".json; move it out of {folder}/, or rename it",
            image=name,
        )
    return _file(deal, mode, image)

"""The prompts of deals as files: read whole, and changed so that nobody's change is lost."""

from collections.abc import Callable, Sequence

from segpipe.errors import (
    BadPromptsError,
    InputError,
    PromptConflictError,
    PromptFileError,
)
from segpipe.store import layout
from segpipe.store.edited_files import EditedFile, EditedFiles
from segpipe.store.ids import check_deal_id
from segpipe.store.prompts.prompt_documents import DealPrompts, ImagePrompts
from segpipe.store.storage import Entry, Storage, store_errors


class PromptFiles:
    """The prompts of the deals under one data root.

    Every method raises InvalidIdError for a deal's or image's id that is not allowed,
    DealNotFoundError when there is no such deal, UnsafePathError for a link that leaves the data
    root, PromptFileError for a file that cannot be read, and PromptError for a photo with the id
    ``_deal``.

    Args:
        storage: The data root.
    """

    def __init__(self, storage: Storage) -> None:
        self._files = EditedFiles(storage)

    def of_image(self, deal: str, image: str) -> ImagePrompts:
        """The prompts of a photo; of generation 0 and empty when there is no file."""
        with store_errors(deal):
            file = _image_file(deal, image)
            self._check_folder(file.deal)
            return self._files.read(file)[1]

    def of_deal(self, deal: str) -> DealPrompts:
        """The prompts for all photos; of generation 0 and empty when there is no file."""
        with store_errors(deal):
            file = _deal_file(deal)
            return self._files.read(file)[1] if self._check_folder(file.deal) else file.empty

    def deal_entries(self, deal: str) -> Sequence[Entry]:
        """What is in the deal's folder, for those who ask for prompts and reviews of one moment."""
        with store_errors(deal):
            return self._files.deal_entries(check_deal_id(deal))

    def both(
        self, deal: str, entries: Sequence[Entry] | None = None
    ) -> tuple[DealPrompts, dict[str, ImagePrompts]]:
        """What :meth:`of_deal` and :meth:`images` give; one listing where there are none.

        Args:
            deal: The deal.
            entries: What :meth:`deal_entries` gave just before; then not even that one.
        """
        with store_errors(deal):
            if not self._check_folder(check_deal_id(deal), entries):
                return _deal_file(deal).empty, {}
        return self.of_deal(deal), self.images(deal)

    def images(self, deal: str) -> dict[str, ImagePrompts]:
        """The prompts of all photos that have a file, by image id, sorted.

        Raises:
            BadPromptsError: Several files cannot be used; it has each.
        """
        found, faults = self.look(deal)
        if len(faults) > 1:
            raise BadPromptsError(faults)
        if faults:
            raise faults[0]
        return found

    def look(self, deal: str) -> tuple[dict[str, ImagePrompts], tuple[InputError, ...]]:
        """The prompts of all photos whose file can be used, and why the others cannot."""
        with store_errors(deal):
            names: list[str] = []
            if self._check_folder(check_deal_id(deal)):
                listed = self._files.names(deal, layout.PROMPTS)
                names = [name for name in listed if name != layout.deal_prompts_name()]
            found, faults = self._files.look(deal, names, _listed_file)
        return {prompts.image: prompts for prompts in found}, faults

    def edit_image(
        self, deal: str, image: str, change: Callable[[ImagePrompts], ImagePrompts]
    ) -> ImagePrompts:
        """Change the prompts of a photo, and return what is there now, one generation on.

        Args:
            deal: The deal.
            image: The image id.
            change: What to make of the present ones; it may refuse by raising. Called again
                whenever somebody else's change came first. If it changes nothing, nothing is
                written. Their generation is not its business.

        Raises:
            PromptConflictError: Others came first every time.
            PromptFileError: What ``change`` returned makes no sense, so it was not written.
        """
        with store_errors(deal):
            file = _image_file(deal, image)
            self._check_folder(file.deal)
            return self._files.edit(file, change)

    def edit_deal(self, deal: str, change: Callable[[DealPrompts], DealPrompts]) -> DealPrompts:
        """Change the prompts for all photos; as :meth:`edit_image`."""
        with store_errors(deal):
            file = _deal_file(deal)
            self._check_folder(file.deal)
            return self._files.edit(file, change)

    def save_image(
        self, deal: str, prompts: ImagePrompts, *, read_digest: str | None = None
    ) -> ImagePrompts:
        """Write the prompts of a photo as an editor left them, and return them as they are now.

        Args:
            deal: The deal.
            prompts: All prompts of the photo, with the generation that the editor read.
            read_digest: The :meth:`~segpipe.store.prompts.ImagePrompts.digest` of what the editor
                read. With it a change by hand, which leaves the generation as it is, is noticed.

        Raises:
            PromptConflictError: Another generation is current, or its content is another.
            PromptFileError: The prompts make no sense, so they were not written.
        """

        def take(present: ImagePrompts) -> ImagePrompts:
            if present.generation != prompts.generation:
                raise PromptConflictError(
                    f"generation {prompts.generation} of the prompts was edited, and generation "
                    f"{present.generation} is current: read that and edit it",
                    image=prompts.image,
                )
            if read_digest not in {None, present.digest()}:
                raise PromptConflictError(
                    f"generation {present.generation} of the prompts was changed by hand after it "
                    "was read: read it again and edit it",
                    image=prompts.image,
                )
            return prompts

        return self.edit_image(deal, prompts.image, take)

    def _check_folder(self, deal: str, entries: Sequence[Entry] | None = None) -> bool:
        return self._files.has_folder(deal, layout.PROMPTS, ImagePrompts, entries)


def _image_file(deal: str, image: str) -> EditedFile[ImagePrompts]:
    name = layout.prompts_name(image)
    image = layout.image_of_prompts(name) or image  # in its normal form
    return EditedFile(check_deal_id(deal), layout.PROMPTS, name, image, ImagePrompts(image=image))


def _deal_file(deal: str) -> EditedFile[DealPrompts]:
    return EditedFile(
        check_deal_id(deal), layout.PROMPTS, layout.deal_prompts_name(), None, DealPrompts()
    )


def _listed_file(deal: str, name: str) -> EditedFile[ImagePrompts]:
    image = layout.image_of_prompts(name)
    if image is None:
        raise PromptFileError(
            f"{layout.PROMPTS}/{name!r} is no prompts file: these are named after the id of a "
            "photo and end in .json; move it out of prompts/, or rename it",
            image=name,
        )
    return _image_file(deal, image)

"""The prompts of deals as files: read whole, and changed so that nobody's change is lost.

Whoever changes a file reads it, and puts the changed one in its place only if the very bytes that
were read are still there: an editor, a run and somebody's text editor may all be at work.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from segpipe.errors import (
    BadPromptsError,
    InputError,
    PromptConflictError,
    PromptFileError,
)
from segpipe.store import layout
from segpipe.store.deal_folders import check_deal, check_inside, is_ignored
from segpipe.store.ids import check_deal_id
from segpipe.store.prompts.prompt_documents import DealPrompts, ImagePrompts
from segpipe.store.storage import Entry, Kind, Storage, store_errors

MAX_BYTES = 4 * 1024 * 1024
_MAX_TRIES = 64
_PAUSE_S = 0.001
_MAX_PAUSE_S = 0.1
_UNREADABLE = {
    Kind.FOLDER: "is a folder, not a file; move it out of prompts/",
    Kind.BROKEN_LINK: "is a link to nothing; restore what it points to, or remove it",
    Kind.SPECIAL: "is a FIFO, socket or device, not a file; remove it",
}

_Prompts = TypeVar("_Prompts", ImagePrompts, DealPrompts)


@dataclass(frozen=True, slots=True)
class _File(Generic[_Prompts]):
    """A prompts file.

    Attributes:
        deal: The deal.
        name: Its name in ``prompts/``.
        image: The image id; None when it is for all photos.
        empty: What it is while it is not there.
    """

    deal: str
    name: str
    image: str | None
    empty: _Prompts

    @property
    def key(self) -> str:
        return f"{layout.prompts_key(self.deal)}/{self.name}"

    @property
    def shown(self) -> str:
        """What errors call it."""
        return f"{layout.PROMPTS}/{self.name}"


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
        self._storage = storage

    def of_image(self, deal: str, image: str) -> ImagePrompts:
        """The prompts of a photo; of generation 0 and empty when there is no file."""
        with store_errors(deal):
            file = _image_file(deal, image)
            self._check_folder(file.deal)
            return self._read(file)[1]

    def of_deal(self, deal: str) -> DealPrompts:
        """The prompts for all photos; of generation 0 and empty when there is no file."""
        with store_errors(deal):
            file = _deal_file(deal)
            return self._read(file)[1] if self._check_folder(file.deal) else file.empty

    def both(self, deal: str) -> tuple[DealPrompts, dict[str, ImagePrompts]]:
        """What :meth:`of_deal` and :meth:`images` give; one listing where there are none."""
        with store_errors(deal):
            if not self._check_folder(check_deal_id(deal)):
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
        found: dict[str, ImagePrompts] = {}
        faults: list[InputError] = []
        with store_errors(deal):
            self._check_folder(check_deal_id(deal))
            for name in self._names(deal):
                try:
                    with store_errors(deal):
                        file = _listed_file(deal, name)
                        data, prompts = self._read(file)
                        if data is not None:  # else it was removed since it was listed
                            found[prompts.image] = prompts
                except InputError as fault:
                    faults.append(fault)
        return found, tuple(faults)

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
            return self._edit(_image_file(deal, image), change)

    def edit_deal(self, deal: str, change: Callable[[DealPrompts], DealPrompts]) -> DealPrompts:
        """Change the prompts for all photos; as :meth:`edit_image`."""
        with store_errors(deal):
            return self._edit(_deal_file(deal), change)

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

    def _edit(self, file: _File[_Prompts], change: Callable[[_Prompts], _Prompts]) -> _Prompts:
        self._check_folder(file.deal)
        for number in range(_MAX_TRIES):
            expected, present = self._read(file)
            wanted = change(present).model_copy(update={"generation": present.generation + 1})
            # Copies of pydantic's models are not validated, and what is written has to be readable.
            written = type(file.empty).from_values(
                wanted.model_dump(warnings="none"), file=file.shown, image=file.image
            )
            if written.model_copy(update={"generation": present.generation}) == present:
                return present
            data = written.to_bytes()
            _check_size(file, len(data))
            if self._storage.swap(file.key, expected, data):
                return written
            # Whoever came first is perhaps about to come first again.
            longest = min(_PAUSE_S * 2**number, _MAX_PAUSE_S)
            time.sleep(random.uniform(0, longest))  # noqa: S311 - no secret
        raise PromptConflictError(
            f"{_MAX_TRIES} other changes of {file.shown} came first; try again", image=file.image
        )

    def _check_folder(self, deal: str) -> bool:
        """Whether a deal has a folder of prompts; the deal is there, and nothing else so called."""
        for entry in check_deal(self._storage, deal):
            if entry.name == layout.PROMPTS:
                check_inside(entry)
                if entry.kind is not Kind.FOLDER:
                    raise PromptFileError(f"{layout.PROMPTS!r} in the deal is no folder; remove it")
                return True
        return False

    def _names(self, deal: str) -> list[str]:
        listed = (entry.name for entry in self._storage.list(layout.prompts_key(deal)))
        return sorted(
            name for name in listed if not is_ignored(name) and name != layout.deal_prompts_name()
        )

    def _read(self, file: _File[_Prompts]) -> tuple[bytes | None, _Prompts]:
        """The bytes of a file, None when there is none, and what they say."""
        entry = self._storage.entry(file.key)
        if entry is None:
            return None, file.empty
        _check_readable(file, entry)
        try:
            data, entry = self._storage.read_input(file.key)
        except FileNotFoundError:
            return None, file.empty
        _check_readable(file, entry)
        return data, type(file.empty).from_bytes(data, file=file.shown, image=file.image)


def _image_file(deal: str, image: str) -> _File[ImagePrompts]:
    name = layout.prompts_name(image)
    image = layout.image_of_prompts(name) or image  # in its normal form
    return _File(check_deal_id(deal), name, image, ImagePrompts(image=image))


def _deal_file(deal: str) -> _File[DealPrompts]:
    return _File(check_deal_id(deal), layout.deal_prompts_name(), None, DealPrompts())


def _listed_file(deal: str, name: str) -> _File[ImagePrompts]:
    image = layout.image_of_prompts(name)
    if image is None:
        raise PromptFileError(
            f"{layout.PROMPTS}/{name!r} is no prompts file: these are named after the id of a "
            "photo and end in .json; move it out of prompts/, or rename it",
            image=name,
        )
    return _image_file(deal, image)


def _check_readable(file: _File[_Prompts], entry: Entry) -> None:
    check_inside(entry, file.image)
    if entry.kind is not Kind.FILE:
        raise PromptFileError(f"{file.shown} {_UNREADABLE[entry.kind]}", image=file.image)
    _check_size(file, entry.size)


def _check_size(file: _File[_Prompts], size: int) -> None:
    if size > MAX_BYTES:
        raise PromptFileError(
            f"{file.shown} has {size:,} bytes, more than the {MAX_BYTES:,} that prompts may have",
            image=file.image,
        )

"""Documents of deals as files: read whole, and changed so that nobody's change is lost.

Whoever changes a file reads it, and puts the changed one in its place only if the very bytes that
were read are still there: an editor, a run and somebody's text editor may all be at work.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from segpipe.errors import InputError
from segpipe.store import layout
from segpipe.store.deal_folders import check_deal, check_inside, is_ignored
from segpipe.store.edited_documents import EditedDocument
from segpipe.store.storage import Entry, Kind, Storage, store_errors

_MAX_TRIES = 64
_PAUSE_S = 0.001
_MAX_PAUSE_S = 0.1
_UNREADABLE = {
    Kind.FOLDER: "is a folder, not a file; move it out of {folder}/",
    Kind.BROKEN_LINK: "is a link to nothing; restore what it points to, or remove it",
    Kind.SPECIAL: "is a FIFO, socket or device, not a file; remove it",
}

Edited = TypeVar("Edited", bound=EditedDocument)


@dataclass(frozen=True, slots=True)
class EditedFile(Generic[Edited]):
    """The file of a document.

    Attributes:
        deal: The deal.
        folder: Its folder in that of the deal: ``prompts``, ``reviews/find_all``.
        name: Its name there.
        image: The image id; None when it is for all photos.
        empty: What it is while it is not there.
    """

    deal: str
    folder: str
    name: str
    image: str | None
    empty: Edited

    @property
    def key(self) -> str:
        """Where it lies in the storage."""
        return f"{layout.deal_key(self.deal)}/{self.shown}"

    @property
    def shown(self) -> str:
        """What errors call it."""
        return f"{self.folder}/{self.name}"

    def error(self, message: str) -> InputError:
        """That it cannot be used, and why."""
        return self.empty.file_error(f"{self.shown} {message}", image=self.image)


class EditedFiles:
    """The files of documents under one data root.

    Args:
        storage: The data root.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def deal_entries(self, deal: str) -> Sequence[Entry]:
        """What is in a deal's folder; raises DealNotFoundError and UnsafePathError."""
        return check_deal(self._storage, deal)

    def has_folder(
        self,
        deal: str,
        folder: str,
        kind: type[EditedDocument],
        entries: Sequence[Entry] | None = None,
    ) -> bool:
        """Whether a deal has a folder of documents; the deal is there, and nothing else so called.

        Args:
            deal: The deal.
            folder: The folder in that of the deal.
            kind: What is in it.
            entries: What is in the deal's folder, where that was listed just before.

        Raises:
            DealNotFoundError: There is no such deal.
            UnsafePathError: It is a link that leaves the data root.
            InputError: It is no folder; of the kind that the documents' are.
        """
        entries = self.deal_entries(deal) if entries is None else entries
        parts = folder.split("/")
        for depth, part in enumerate(parts, start=1):
            found = next((entry for entry in entries if entry.name == part), None)
            if found is None:
                return False
            check_inside(found)
            above = "/".join(parts[:depth])
            if found.kind is not Kind.FOLDER:
                raise kind.file_error(f"{above!r} in the deal is no folder; remove it")
            if depth < len(parts):
                entries = self._storage.list(f"{layout.deal_key(deal)}/{above}")
        return True

    def names(self, deal: str, folder: str) -> list[str]:
        """What a folder holds but for litter, sorted."""
        listed = self._storage.list(f"{layout.deal_key(deal)}/{folder}")
        return sorted(entry.name for entry in listed if not is_ignored(entry.name))

    def read(self, file: EditedFile[Edited]) -> tuple[bytes | None, Edited]:
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

    def look(
        self, deal: str, names: Sequence[str], file_of: Callable[[str, str], EditedFile[Edited]]
    ) -> tuple[list[Edited], tuple[InputError, ...]]:
        """The documents of the files that can be used, and why the others cannot.

        Args:
            deal: The deal.
            names: The names of the files.
            file_of: The file of a name; it raises InputError for one that is none.
        """
        faults: list[InputError] = []

        def each() -> Iterator[Edited]:
            for name in names:
                try:
                    with store_errors(deal):
                        data, document = self.read(file_of(deal, name))
                        if data is not None:  # else it was removed since it was listed
                            yield document
                except InputError as fault:
                    faults.append(fault)

        return list(each()), tuple(faults)

    def edit(self, file: EditedFile[Edited], change: Callable[[Edited], Edited]) -> Edited:
        """Change a document, and return what is there now, one generation on.

        Args:
            file: Its file.
            change: What to make of the present one; it may refuse by raising. Called again
                whenever somebody else's change came first. If it changes nothing, nothing is
                written. The generation is not its business.

        Raises:
            StoreError: Others came first every time; of the kind that the document's conflicts are.
            InputError: What ``change`` returned makes no sense, so it was not written; as above.
        """
        for number in range(_MAX_TRIES):
            expected, present = self.read(file)
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
        raise file.empty.conflict_error(
            f"{_MAX_TRIES} other changes of {file.shown} came first; try again", image=file.image
        )


def _check_readable(file: EditedFile[Edited], entry: Entry) -> None:
    check_inside(entry, file.image)
    if entry.kind is not Kind.FILE:
        raise file.error(_UNREADABLE[entry.kind].format(folder=file.folder))
    _check_size(file, entry.size)


def _check_size(file: EditedFile[Edited], size: int) -> None:
    most = file.empty.max_bytes
    if size > most:
        raise file.error(
            f"has {size:,} bytes, more than the {most:,} that {file.empty.what} may have"
        )

"""Which folders under the data root are deals, and a quick look at each for who waits for new ones.

A deal is a folder with something in it beside records of failures: what is left when somebody
removed a deal during its run, or when the disk was full as one was added, is none.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from segpipe.errors import (
    DealNotFoundError,
    InputError,
    InvalidIdError,
    StoreError,
    UnsafePathError,
)
from segpipe.store import layout
from segpipe.store.ids import check_deal_id
from segpipe.store.storage import Entry, Kind, Storage, store_errors

# What a deal has beside photos, prompts or versions; without these it is no deal.
_NEVER_ALONE = frozenset({layout.FAILURES, layout.CURRENT})
_NS_PER_S = 1_000_000_000
_AT_ONCE, _CHUNK = 32, 512
ResultT = TypeVar("ResultT")
# What file managers leave in every folder that they show.
_LITTER = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class ScannedDeal:
    """A deal folder as it was found.

    Attributes:
        deal: Its id.
        version: A digest over its photos' names, sizes and times; for a deal whose photos can
            all be listed it is their :func:`~segpipe.store.inputs.fingerprint`.
        changed_at: When anything about its photos or prompts last changed, seconds since 1970.
        photos: How many photos it seems to have.
        is_complete: Whether its ``_COMPLETE`` marker is there.
        fault: Why it could not be listed; the other fields then say nothing.
        prompts: How many files of prompts it seems to have.
        prompts_listing: A digest over their names, sizes and times; empty when there are none.
            Equal ones say that no prompts changed, others that some may have.
    """

    deal: str
    version: str
    changed_at: float
    photos: int
    is_complete: bool
    fault: str | None = None
    prompts: int = 0
    prompts_listing: str = ""

    @property
    def state(self) -> str:
        """Another one says that photos or prompts may have changed."""
        return f"{self.version} {self.prompts_listing}".rstrip()


class DealFolders:
    """A look at many deals at once; opens and checks no file.

    Args:
        storage: The data root.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def names(self, known: Set[str] = frozenset()) -> list[str]:
        """The sorted folders whose names are ids, some of which may be no deal; one listing."""
        return list_folders(self._storage, known)[0]

    def changed_ns(self) -> int | None:
        """When a folder last came or went, nanoseconds since 1970; None where nothing tells."""
        with store_errors():
            found = self._storage.entry(layout.DEALS) if self._storage.local_root else None
        return found.modified_ns if found else None

    def scan(self, deals: Iterable[str] | None = None) -> Iterator[ScannedDeal]:
        """A quick look at every deal that has an ``images/`` folder.

        Many at once where each takes requests. A deal that cannot be listed has a ``fault``.

        Args:
            deals: The deals to look at; None for all.

        Raises:
            StoreError: The root cannot be listed.
        """
        named = self.names() if deals is None else deals
        for scanned in map_deals(self._storage, self._scan, named):
            if scanned:
                yield scanned

    def map(self, work: Callable[[str], ResultT], deals: Iterable[str]) -> Iterator[ResultT]:
        """The result for each deal, in order: see :func:`map_deals`."""
        return map_deals(self._storage, work, deals)

    def _scan(self, deal: str) -> ScannedDeal | None:
        try:
            with store_errors(deal):
                return scan_deal(self._storage, deal)
        except StoreError as error:
            return ScannedDeal(deal, "", 0.0, 0, is_complete=False, fault=error.message)


def map_deals(
    storage: Storage, work: Callable[[str], ResultT], deals: Iterable[str]
) -> Iterator[ResultT]:
    """The result for each deal in order: of many at once where work waits for a network."""
    if not storage.prefers_few_files:
        yield from map(work, deals)
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        left = iter(deals)
        while chunk := list(islice(left, _CHUNK)):
            yield from pool.map(work, chunk)


def find_deals(storage: Storage, known: Set[str] = frozenset()) -> list[str]:
    """The sorted ids of all deals; into the folders of known ones nobody looks."""
    names, _ = list_folders(storage, known)
    return [name for name in names if name in known or _may_be_deal(storage, name)]


def list_folders(
    storage: Storage, known: Set[str] = frozenset()
) -> tuple[list[str], dict[str, InputError]]:
    """The sorted folders whose names are ids, and those that cannot be a deal, with the reason.

    Names that are known to be ids are not checked again.
    """
    valid: list[str] = []
    invalid: dict[str, InputError] = {}
    with store_errors():
        for entry in storage.list(layout.DEALS):
            is_known = entry.kind is Kind.FOLDER and entry.name in known
            fault = None if is_known else _deal_fault(entry)
            if fault:
                invalid[entry.name] = fault
            elif entry.kind is Kind.FOLDER:
                valid.append(entry.name)
    return sorted(valid), invalid


def check_deal(storage: Storage, deal: str) -> list[Entry]:
    """What is in a deal's folder.

    Raises:
        DealNotFoundError: There is no such deal.
        UnsafePathError: Its folder leaves the data root.
    """
    key = layout.deal_key(deal)
    check_stays_inside(storage, key)
    entries = list_if_folder(storage, key)
    if not _holds_deal(entries):
        raise DealNotFoundError("there is no such deal under the data root; add it first")
    return entries


def remove_deal(storage: Storage, deal: str) -> int:
    """Remove all that is in a deal's folder, and the folder; how many files that were.

    Commits go first: so nobody finds something current of which files are gone. Links are removed,
    not what they point to.

    Raises:
        DealNotFoundError: There is no such deal.
        UnsafePathError: Its folder is a link, so what is behind it is not the deal's own.
    """
    check_deal(storage, deal)
    folder = layout.deal_key(deal)
    if storage.local_root and (storage.local_root / folder).is_symlink():
        raise _unsafe(deal, None)
    removed: list[str] = []
    for key in (layout.commits_key(deal), folder):
        for entry in storage.walk(key):
            if entry.kind is Kind.FOLDER:
                storage.remove_folder(f"{key}/{entry.name}")
            else:
                storage.remove(f"{key}/{entry.name}")
                removed.append(f"{key}/{entry.name}")
        if storage.keeps_empty_folders:
            storage.remove_folder(key)
    if not storage.keeps_empty_folders:
        for key in sorted(layout.folders_above(removed, folder), key=len, reverse=True):
            storage.remove_folder(key)
    return len(removed)


def list_if_folder(storage: Storage, key: str) -> list[Entry]:
    """What a folder holds; nothing when there is a file in its place, or nothing."""
    try:
        return storage.list(key)
    except NotADirectoryError:
        return []


def check_stays_inside(storage: Storage, *keys: str) -> None:
    """Raise UnsafePathError if one of these is a link that leaves the data root."""
    for key in keys:
        if storage.leaves_root(key):
            raise _unsafe(key.rpartition("/")[2], None)


def check_inside(entry: Entry, image: str | None = None) -> None:
    """Raise UnsafePathError if an entry is a link that leaves the data root."""
    if entry.kind is Kind.ESCAPING_LINK:
        raise _unsafe(entry.name, image)


def is_ignored(name: str) -> bool:
    """Whether a file in ``images/`` is no photo but litter: a dot file, or a file manager's."""
    return name.startswith(".") or name.lower() in _LITTER


def listing_digest(listing: Sequence[tuple[str, int, int]]) -> str:
    """The sha256 of a listing of files: name, size and time of each."""
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def scan_deal(storage: Storage, deal: str) -> ScannedDeal | None:
    """Look at one deal, without opening a file; None when it has no ``images/`` folder yet."""
    folder = layout.deal_key(deal)
    inside = {entry.name: entry for entry in storage.list(folder)}
    images = inside.get(layout.IMAGES)
    if images is None or images.kind is not Kind.FOLDER:
        return None
    photos = _files(storage, f"{folder}/{layout.IMAGES}")
    changed = [images, *photos]
    prompts: list[Entry] = []
    drawn = inside.get(layout.PROMPTS)
    if drawn and drawn.kind is Kind.FOLDER:
        prompts = _files(storage, f"{folder}/{layout.PROMPTS}")
        changed += [drawn, *prompts]
    return ScannedDeal(
        deal=deal,
        version=_digest(photos),
        changed_at=max(entry.changed_ns for entry in changed) / _NS_PER_S,
        photos=len(photos),
        is_complete=layout.COMPLETE in inside,
        prompts=len(prompts),
        prompts_listing=_digest(prompts) if prompts else "",
    )


def _deal_fault(entry: Entry) -> InputError | None:
    """Why a name under ``deals/`` cannot be a deal."""
    try:
        if check_deal_id(entry.name) != entry.name:
            return InvalidIdError(
                f"{entry.name!r} is not in Unicode's NFC form; rename the folder", field="deal"
            )
        check_inside(entry)
    except InputError as error:
        return error
    return None


def _may_be_deal(storage: Storage, deal: str) -> bool:
    # On an object store a folder is there by what it holds; to list each would cost a request.
    if not storage.keeps_empty_folders:
        return True
    try:
        return _holds_deal(storage.list(layout.deal_key(deal)))
    except OSError:  # who works on it is told why
        return True


def _holds_deal(entries: Iterable[Entry]) -> bool:
    return any(not is_ignored(entry.name) and entry.name not in _NEVER_ALONE for entry in entries)


def _unsafe(name: str, image: str | None) -> UnsafePathError:
    return UnsafePathError(
        f"{name!r} is a link that leaves the data root; copy what it points to instead",
        image=image,
    )


def _files(storage: Storage, folder: str) -> list[Entry]:
    """What a folder holds but for litter, by name."""
    found = [entry for entry in storage.list(folder) if not is_ignored(entry.name)]
    return sorted(found, key=lambda entry: entry.name)


def _digest(entries: Sequence[Entry]) -> str:
    return listing_digest([(entry.name, entry.size, entry.modified_ns) for entry in entries])

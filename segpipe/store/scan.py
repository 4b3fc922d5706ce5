"""A quick look at a deal, for those who wait for new ones: no file is opened or checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from segpipe.store import layout
from segpipe.store.inputs import is_ignored, listing_digest
from segpipe.store.storage import Entry, Kind, Storage

_NS_PER_S = 1_000_000_000


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


def scan_deal(storage: Storage, deal: str) -> ScannedDeal | None:
    """Look at one deal; None when it has no ``images/`` folder yet."""
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
    marker = inside.get(layout.COMPLETE)
    return ScannedDeal(
        deal=deal,
        version=_digest(photos),
        changed_at=max(entry.changed_ns for entry in changed) / _NS_PER_S,
        photos=len(photos),
        is_complete=marker is not None,
        prompts=len(prompts),
        prompts_listing=_digest(prompts) if prompts else "",
    )


def _files(storage: Storage, folder: str) -> list[Entry]:
    """What a folder holds but for litter, by name."""
    found = [entry for entry in storage.list(folder) if not is_ignored(entry.name)]
    return sorted(found, key=lambda entry: entry.name)


def _digest(entries: Sequence[Entry]) -> str:
    return listing_digest([(entry.name, entry.size, entry.modified_ns) for entry in entries])

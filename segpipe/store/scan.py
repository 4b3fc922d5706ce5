"""A quick look at a deal, for those who wait for new ones: no photo is opened or checked."""

from dataclasses import dataclass

from segpipe.store import layout
from segpipe.store.inputs import is_ignored, listing_digest
from segpipe.store.storage import Kind, Storage

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ScannedDeal:
    """A deal folder as it was found.

    Attributes:
        deal: Its id.
        version: A digest over its photos' names, sizes and times; for a deal whose photos can
            all be listed it is their :func:`~segpipe.store.inputs.fingerprint`.
        changed_at: When anything about its photos last changed, seconds since 1970.
        photos: How many photos it seems to have.
        is_complete: Whether its ``_COMPLETE`` marker is there.
        fault: Why it could not be listed; the other fields then say nothing.
    """

    deal: str
    version: str
    changed_at: float
    photos: int
    is_complete: bool
    fault: str | None = None


def scan_deal(storage: Storage, deal: str) -> ScannedDeal | None:
    """Look at one deal; None when it has no ``images/`` folder yet."""
    folder = layout.deal_key(deal)
    inside = {entry.name: entry for entry in storage.list(folder)}
    images = inside.get(layout.IMAGES)
    if images is None or images.kind is not Kind.FOLDER:
        return None
    listed = storage.list(f"{folder}/{layout.IMAGES}")
    photos = [entry for entry in listed if not is_ignored(entry.name)]
    photos.sort(key=lambda entry: entry.name)
    marker = inside.get(layout.COMPLETE)
    times = [entry.changed_ns for entry in (images, *photos)]
    return ScannedDeal(
        deal=deal,
        version=listing_digest([(entry.name, entry.size, entry.modified_ns) for entry in photos]),
        changed_at=max(times) / _NS_PER_S,
        photos=len(photos),
        is_complete=marker is not None,
    )

"""What a run of a deal starts from: its photos and prompts, told apart from others by digests."""

from dataclasses import dataclass

from segpipe.digests import bytes_digest
from segpipe.errors import DealNotFoundError, InputError
from segpipe.flow.mode_prompts import read_prompts_version
from segpipe.prompt import Mode
from segpipe.store.inputs import fingerprint
from segpipe.store.store import DealStore


def photos_version(digests: dict[str, str]) -> str:
    """The data version of a deal's photos: a digest over file names and content digests."""
    listing = "\n".join(f"{digest} {name}" for name, digest in sorted(digests.items()))
    return bytes_digest(listing.encode())


def read_photos_version(store: DealStore, deal: str) -> str:
    """The data version of the photos that a deal has now, one photo in memory at a time."""
    photos = store.photos(deal)
    return photos_version(
        {photo.name: bytes_digest(store.read_photo(deal, photo)) for photo in photos}
    )


@dataclass(frozen=True, slots=True)
class InputsMark:
    """What a run of a mode starts from, as it is recorded with a failure.

    Attributes:
        photos: The fingerprint of the photos; "" when they cannot be listed.
        prompts: The version of the mode's prompts; "" when they cannot be read.
    """

    photos: str
    prompts: str


def current_inputs(store: DealStore, deal: str, mode: Mode) -> InputsMark:
    """What a run of a mode would start from now; raises DealNotFoundError."""
    try:
        photos = fingerprint(store.photos(deal))
    except DealNotFoundError:
        raise
    except InputError:
        photos = ""
    try:
        prompts = read_prompts_version(store, deal, mode)
    except InputError:
        prompts = ""
    return InputsMark(photos, prompts)

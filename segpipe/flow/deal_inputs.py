"""What a run of a deal starts from: photos, prompts, reviews, told from others by digests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from segpipe.digests import bytes_digest
from segpipe.errors import DealNotFoundError, InputError, ReviewError
from segpipe.flow.mode_prompts import read_prompts_version
from segpipe.prompt import Mode
from segpipe.store.inputs import Photo, fingerprint
from segpipe.store.reviews import NO_REVIEWS_VERSION, ImageReview, reviews_version
from segpipe.store.storage import Entry
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
class ModeReviews:
    """What people decided about the items of a deal in one mode.

    Attributes:
        version: The data version of it all.
        images: The reviews of photos that have one, by image id.
    """

    version: str = NO_REVIEWS_VERSION
    images: Mapping[str, ImageReview] = field(default_factory=dict)


NO_REVIEWS = ModeReviews()


def read_reviews(
    store: DealStore,
    deal: str,
    mode: Mode,
    photos: Sequence[Photo],
    entries: Sequence[Entry] | None = None,
) -> ModeReviews:
    """The reviews of a deal for its photos; ``entries`` are what its folder was just seen to hold.

    Raises:
        ReviewError: A file of them cannot be used, or has an item that somebody drew in a photo
            that the deal has not.
    """
    images = store.reviews.images(deal, mode, entries)
    there = {photo.image for photo in photos}
    for image, review in images.items():
        if image not in there and any(decision.is_human for decision in review.decisions):
            raise ReviewError(
                f"somebody drew items in {image!r}, but there is no such photo; rename the file "
                "of the review as the photo, or remove it",
                image=image,
            )
    return ModeReviews(reviews_version(images), images)


def read_reviews_version(store: DealStore, deal: str, mode: Mode) -> str:
    """The data version of what people decided until now; raises ReviewFileError."""
    return reviews_version(store.reviews.images(deal, mode))


@dataclass(frozen=True, slots=True)
class InputsMark:
    """What a run of a mode starts from, as it is recorded with a failure.

    Attributes:
        photos: The fingerprint of the photos; "" when they cannot be listed.
        prompts: The version of the mode's prompts; "" when they cannot be read.
        reviews: The version of the mode's reviews; "" when there are none, or cannot be read.
    """

    photos: str
    prompts: str
    reviews: str = ""


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
    try:
        reviews = read_reviews_version(store, deal, mode)
    except InputError:
        reviews = ""
    return InputsMark(photos, prompts, "" if reviews == NO_REVIEWS_VERSION else reviews)

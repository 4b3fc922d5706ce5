"""A tag of a photo's content, for addresses of its pictures that may be kept for ever."""

from segpipe.store.inputs import fingerprint
from segpipe.store.store import Photo

_TAG_DIGITS = 16


def photo_tag(photo: Photo) -> str:
    """Another one whenever the photo's name, size or time is; no photo is opened.

    >>> photo_tag(Photo("a", "a.jpg", 1_000, 1_700_000_000_000_000_000))
    '206b0c48c3f07b4a'
    """
    return fingerprint([photo])[:_TAG_DIGITS]

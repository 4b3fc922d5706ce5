"""Uploads to pixels, with the last few kept: set once, many prompts."""

from collections import OrderedDict

from segpipe.digests import bytes_digest
from segpipe.vision.image import DecodedImage, decode_image


class PhotoShelf:
    """Decodes uploads, and keeps the last decoded photos by the digest of their bytes.

    Args:
        max_pixels: Largest photo, by its header.
        kept_pixels: Pixels of all the photos that are kept; 0 keeps none.
    """

    def __init__(self, *, max_pixels: int, kept_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._kept_pixels = kept_pixels
        self._kept: OrderedDict[str, DecodedImage] = OrderedDict()

    def find(self, digest: str) -> DecodedImage | None:
        """The kept photo of that digest, which is now the last one used."""
        photo = self._kept.get(digest)
        if photo is not None:
            self._kept.move_to_end(digest)
        return photo

    def decode(self, data: bytes) -> DecodedImage:
        """Decode an upload; its pixels are read-only. Safe in a worker thread.

        Raises:
            PhotoError: It is no photo that can be used.
        """
        photo = decode_image(data, max_pixels=self._max_pixels)
        photo.rgb.setflags(write=False)
        return photo

    def keep(self, digest: str, photo: DecodedImage) -> None:
        """Keep a photo, and let go of those used longest ago when there are too many."""
        self._kept[digest] = photo
        self._kept.move_to_end(digest)
        while sum(map(_pixels, self._kept.values())) > self._kept_pixels:
            self._kept.popitem(last=False)


def digest_of(data: bytes) -> str:
    """What an upload is kept by."""
    return bytes_digest(data)


def _pixels(photo: DecodedImage) -> int:
    height, width = photo.rgb.shape[:2]
    return int(height * width)

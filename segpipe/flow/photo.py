"""One photo of a deal, read and decoded."""

import asyncio
from dataclasses import dataclass

from segpipe.digests import bytes_digest
from segpipe.flow.settings import PhotoSettings
from segpipe.store.inputs import Photo
from segpipe.store.store import DealStore
from segpipe.vision.image import DecodedImage, decode_image

_PIXELS_PER_MEGAPIXEL = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPhoto:
    """A photo in memory: where it came from, the sha256 of its bytes, and its picture."""

    photo: Photo
    digest: str
    decoded: DecodedImage


async def load_photo(
    store: DealStore, deal: str, photo: Photo, settings: PhotoSettings
) -> LoadedPhoto:
    """Read and decode one photo; raises a :class:`~segpipe.errors.PhotoError` when it is bad."""
    data = await asyncio.to_thread(store.read_photo, deal, photo)
    max_pixels = round(settings.max_megapixels * _PIXELS_PER_MEGAPIXEL)
    decoded, digest = await asyncio.gather(
        asyncio.to_thread(decode_image, data, max_pixels=max_pixels),
        asyncio.to_thread(bytes_digest, data),
    )
    return LoadedPhoto(photo=photo, digest=digest, decoded=decoded)

"""One photo of a deal, read and decoded."""

import asyncio
from dataclasses import dataclass

from pydantic import Field

from segpipe.digests import bytes_digest
from segpipe.settings import Settings
from segpipe.store.inputs import Photo
from segpipe.store.store import DealStore
from segpipe.vision.image import DecodedImage, decode_image

_PIXELS_PER_MEGAPIXEL = 1_000_000


class PhotoSettings(Settings):
    """How photos are read."""

    max_megapixels: float = Field(
        default=100.0,
        gt=0,
        description="A photo with more pixels, in 10^6, is refused before decoding: 200 for those "
        "of a phone's 200 megapixels, which take 0.7 to 1.2 GB while they are decoded.",
    )
    images_in_flight: int = Field(
        default=0,
        ge=0,
        description="Photos of a deal that are worked on at the same time; 0 is as many as keep "
        "the segmenter busy.",
    )

    @property
    def max_pixels(self) -> int:
        """Pixels of a photo at most."""
        return round(self.max_megapixels * _PIXELS_PER_MEGAPIXEL)


@dataclass(frozen=True, slots=True)
class PhotoInfo:
    """Which photo it is.

    Attributes:
        image: Its id, unique in the deal.
        file_name: Its name.
        digest: The sha256 of its bytes.
        format: Its file format.
        width: Pixels of the upright photo.
        height: Pixels of the upright photo.
    """

    image: str
    file_name: str
    digest: str
    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class LoadedPhoto:
    """A photo in memory."""

    info: PhotoInfo
    decoded: DecodedImage


async def load_photo(
    store: DealStore, deal: str, photo: Photo, settings: PhotoSettings
) -> LoadedPhoto:
    """Read and decode one photo; raises a :class:`~segpipe.errors.PhotoError` when it is bad."""
    data = await asyncio.to_thread(store.read_photo, deal, photo)
    decoded, digest = await asyncio.gather(
        asyncio.to_thread(decode_image, data, max_pixels=settings.max_pixels),
        asyncio.to_thread(bytes_digest, data),
    )
    height, width = decoded.rgb.shape[:2]
    info = PhotoInfo(photo.image, photo.name, digest, decoded.format, width, height)
    return LoadedPhoto(info, decoded)

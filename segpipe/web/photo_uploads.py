"""Uploads to pixels: data URLs, and the last few photos kept, set once for many prompts.

L. Masinter: "The "data" URL scheme", RFC 2397, https://www.rfc-editor.org/rfc/rfc2397
"""

import asyncio
import binascii
import ctypes
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

from cachetools import LRUCache

from segpipe.digests import bytes_digest
from segpipe.errors import ImageTooLargeError
from segpipe.threads import finish_in_thread
from segpipe.vision.image import DecodedImage, decode_image, decoding_bytes, upright_size
from segpipe.web.problems import BAD_REQUEST, RefusedError
from segpipe.wire.outlines import DATA_URL

_FIELD = "image_url"
_PIECE = 1 << 20  # characters; 4 of them are 3 bytes
_PIECE_BYTES = _PIECE // 4 * 3
_MEGABYTE = 1_000_000
_RGBA_BYTES = 4
_SHARE_OF_SMALL = 0.25
_MMAP_THRESHOLD = -3  # malloc.h's M_MMAP_THRESHOLD
_WORTH_TRIMMING = 32 * _MEGABYTE


def read_data_url(url: str) -> Iterator[bytes]:
    """The bytes of a data URL of a picture, in pieces.

    Raises:
        RefusedError: It is not in base64, or empty (400).
    """
    prefix = DATA_URL.match(url)
    start = prefix.end() if prefix else 0
    if start == len(url):
        raise _refused("the data URL holds no photo: there is nothing after the comma")
    # Piece by piece: decoding lets no other thread run.
    for place in range(start, len(url), _PIECE):
        try:
            data = binascii.a2b_base64(url[place : place + _PIECE], strict_mode=True)
        except ValueError as error:
            raise _not_base64(str(error)) from error
        if place + _PIECE < len(url) and len(data) < _PIECE_BYTES:
            raise _not_base64("Padding before the end")
        yield data


def _not_base64(reason: str) -> RefusedError:
    return _refused(
        f"the photo's base64 cannot be decoded ({reason}); send the standard alphabet with its "
        "padding, without line breaks"
    )


def _refused(detail: str) -> RefusedError:
    return RefusedError(BAD_REQUEST, "InvalidRequest", detail, field=_FIELD)


ReadUpload = Callable[[], Awaitable[bytes]]
"""Gives the bytes of a photo, which wait on disk until there is room for its pixels."""
Place = Callable[[], AbstractAsyncContextManager[None]]
"""What a photo has to wait for beside memory, and holds while it is in use."""


@dataclass(frozen=True, slots=True, eq=False)
class UploadedPhoto:
    """A photo in memory.

    Attributes:
        digest: The sha256 of the bytes that it came in.
        decoded: Its pixels, read-only.
        was_kept: Whether it was in memory already.
    """

    digest: str
    decoded: DecodedImage
    was_kept: bool


class PhotoShelf:
    """Holds uploaded photos decoded within a bound of memory, and keeps the last ones.

    All that is being decoded, in use and kept counts, in bytes. A photo that has to wait for room
    waits on disk; while one of the large ones does, the small ones share a quarter of the memory,
    so that neither is kept from its turn by the other.

    Args:
        max_pixels: Largest photo, by its header.
        kept_pixels: Pixels of all the photos that are kept for further requests; 0 keeps none.
        max_bytes: Memory for pixels, by :func:`~segpipe.vision.image.decoding_bytes`; a photo that
            takes more is refused.
        work_bytes_per_pixel: Memory that work on a photo takes for each of its pixels; a photo for
            which that is too much is alone while it is worked on.
    """

    def __init__(
        self,
        *,
        max_pixels: int,
        kept_pixels: int,
        max_bytes: int,
        work_bytes_per_pixel: float = 0,
    ) -> None:
        self._max_pixels = max_pixels
        self._max_bytes = max_bytes
        self._work_bytes_per_pixel = work_bytes_per_pixel
        self._kept: LRUCache[str, DecodedImage] = LRUCache(kept_pixels, getsizeof=_pixels)
        self._rooms: set[_Room] = set()
        self._large_waiting = 0
        self._room_was_made = asyncio.Event()
        self._one_is_read = asyncio.Lock()
        self._one_large_waits = asyncio.Lock()

    @asynccontextmanager
    async def photo(self, read_upload: ReadUpload, place: Place) -> AsyncIterator[UploadedPhoto]:
        """Wait for room for a photo, and hold it decoded.

        Args:
            read_upload: Gives its bytes, perhaps twice.
            place: What else it has to wait for, once there is room for it, and holds.

        Raises:
            PhotoError: It is no photo that can be used.
        """
        room = await self._room_for(read_upload)
        photo = None
        try:
            async with place():
                photo = await self._decoded(read_upload, room)
                yield photo
        finally:
            self._give_back(room, photo)

    def decode(self, data: bytes) -> DecodedImage:
        """Decode an upload; its pixels are read-only. Safe in a worker thread.

        Raises:
            PhotoError: It is no photo that can be used.
        """
        photo = decode_image(data, max_pixels=self._max_pixels)
        photo.rgb.setflags(write=False)
        return photo

    async def _room_for(self, read_upload: ReadUpload) -> "_Room":
        # Of those that do not know yet whether there is room for them, one is in memory.
        async with self._one_is_read:
            data = await read_upload()
            digest = await asyncio.to_thread(bytes_digest, data)
            kept = self._kept.get(digest)
            needed = self._in_work(kept) if kept else await asyncio.to_thread(self._needed, data)
            del data
            is_small = needed <= self._max_bytes * _SHARE_OF_SMALL
            room = _Room(digest, needed, is_small)
            if is_small:
                await self._wait_for(room)
        if not is_small:
            async with self._one_large_waits:
                await self._wait_for(room)
        return room

    async def _decoded(self, read_upload: ReadUpload, room: "_Room") -> UploadedPhoto:
        if kept := self._kept.get(room.digest):
            return UploadedPhoto(room.digest, kept, was_kept=True)
        photo = await finish_in_thread(self.decode, await read_upload())
        room.bytes = self._in_work(photo)
        self._keep(room.digest, photo)
        self._room_was_made.set()
        return UploadedPhoto(room.digest, photo, was_kept=False)

    def _needed(self, data: bytes) -> int:
        needed = decoding_bytes(data, max_pixels=self._max_pixels)
        if needed > self._max_bytes:
            raise ImageTooLargeError(
                f"it takes about {needed // _MEGABYTE} MB to decode this photo, more than the "
                f"{self._max_bytes // _MEGABYTE} MB that there are for pixels: make it smaller, "
                "save it as a JPEG, or raise max_photo_memory_mb"
            )
        width, height = upright_size(data)
        return max(needed, self._with_work(width * height * _RGBA_BYTES, width * height))

    def _in_work(self, photo: DecodedImage) -> int:
        return self._with_work(_bytes_of(photo), _pixels(photo))

    def _with_work(self, photo_bytes: int, pixels: int) -> int:
        return min(photo_bytes + round(pixels * self._work_bytes_per_pixel), self._max_bytes)

    async def _wait_for(self, room: "_Room") -> None:
        self._large_waiting += not room.is_small
        try:
            while not self._fits(room):
                self._room_was_made.clear()
                await self._room_was_made.wait()
        finally:
            self._large_waiting -= not room.is_small
        self._rooms.add(room)

    def _fits(self, room: "_Room") -> bool:
        """Whether there is room now, after letting go of as many kept photos as it takes."""
        of_small = sum(one.bytes for one in self._rooms if one.is_small)
        share = self._max_bytes * _SHARE_OF_SMALL
        if room.is_small and self._large_waiting and of_small + room.bytes > share:
            return False
        while self._free() < room.bytes and self._kept:
            self._kept.popitem()
        return self._free() >= room.bytes

    def _free(self) -> int:
        kept = sum(map(_bytes_of, self._kept.values()))
        return self._max_bytes - kept - sum(one.bytes for one in self._rooms)

    def _keep(self, digest: str, photo: DecodedImage) -> None:
        if digest not in self._kept and self._free() >= _bytes_of(photo):
            with suppress(ValueError):  # it has more pixels than all that is kept
                self._kept[digest] = photo

    def _give_back(self, room: "_Room", photo: UploadedPhoto | None) -> None:
        self._rooms.discard(room)
        if photo:
            self._keep(photo.digest, photo.decoded)
        self._room_was_made.set()
        if room.bytes > _WORTH_TRIMMING and _trim:
            asyncio.get_running_loop().run_in_executor(None, _trim, 0)


@dataclass(slots=True, eq=False)
class _Room:
    """Memory that a photo takes, or will."""

    digest: str
    bytes: int
    is_small: bool


def _malloc_trim() -> Callable[[int], int] | None:
    """glibc's, which gives the system back what was freed in pieces; other allocators need none."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return trim


_trim = _malloc_trim()


def _bytes_of(photo: DecodedImage) -> int:
    return photo.rgb.nbytes + (0 if photo.alpha is None else photo.alpha.nbytes)


def _pixels(photo: DecodedImage) -> int:
    height, width = photo.rgb.shape[:2]
    return int(height * width)


def give_large_blocks_back() -> None:
    """Have memory of pictures go back to the system as soon as they are gone; for a whole process.

    By itself glibc learns to keep blocks of up to 32 MB, which pile up between photos. Other
    libraries of C have no such setting, and nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _MEGABYTE)

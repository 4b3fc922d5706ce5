"""Uploads to pixels: data URLs, and the last few photos kept, set once for many prompts.

L. Masinter: "The "data" URL scheme", RFC 2397, https://www.rfc-editor.org/rfc/rfc2397
"""

import asyncio
import binascii
import ctypes
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
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
_RGB_BYTES, _ALPHA_BYTES = 3, 1
_SHARE_OF_SMALL = 0.25
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
        self._in_use: dict[str, _InUse] = {}
        self._rooms: set[_Room] = set()
        self._large_waiting = 0
        self._room_was_made = asyncio.Event()
        self._one_is_read = asyncio.Lock()
        self._one_large_waits = asyncio.Lock()

    @asynccontextmanager
    async def photo(self, read_upload: ReadUpload) -> AsyncIterator[UploadedPhoto]:
        """Wait for room for a photo, and hold it decoded; it is read only then.

        Raises:
            PhotoError: It is no photo that can be used.
        """
        photo = await self._take(read_upload)
        try:
            yield photo
        finally:
            self._let_go(photo.digest)

    def decode(self, data: bytes) -> DecodedImage:
        """Decode an upload; its pixels are read-only. Safe in a worker thread.

        Raises:
            PhotoError: It is no photo that can be used.
        """
        photo = decode_image(data, max_pixels=self._max_pixels)
        photo.rgb.setflags(write=False)
        return photo

    async def _take(self, read_upload: ReadUpload) -> UploadedPhoto:
        # Of those that do not know yet whether there is room for them, one is in memory.
        async with self._one_is_read:
            data = await read_upload()
            digest = await asyncio.to_thread(bytes_digest, data)
            if photo := self._find(digest):
                return photo
            needed = await asyncio.to_thread(self._needed, data)
            is_small = needed <= self._max_bytes * _SHARE_OF_SMALL
            room = await self._room(needed, is_small=True) if is_small else None
        if room is None:
            data = b""
            async with self._one_large_waits:
                room = await self._room(needed, is_small=False)
        try:
            decoded = await finish_in_thread(self.decode, data or await read_upload())
        except BaseException:
            self._give_back(room)
            raise
        return self._use(digest, decoded, room)

    def _needed(self, data: bytes) -> int:
        needed = decoding_bytes(data, max_pixels=self._max_pixels)
        if needed > self._max_bytes:
            raise ImageTooLargeError(
                f"it takes about {needed // _MEGABYTE} MB to decode this photo, more than the "
                f"{self._max_bytes // _MEGABYTE} MB that there are for pixels: make it smaller, "
                "save it as a JPEG, or raise the limit"
            )
        width, height = upright_size(data)
        return max(needed, self._in_work(width * height * (_RGB_BYTES + _ALPHA_BYTES), width * height))

    def _in_work(self, photo_bytes: int, pixels: int) -> int:
        return min(photo_bytes + round(pixels * self._work_bytes_per_pixel), self._max_bytes)

    async def _room(self, needed: int, *, is_small: bool) -> "_Room":
        room = _Room(needed, is_small)
        self._large_waiting += not is_small
        try:
            while not self._fits(room):
                self._room_was_made.clear()
                await self._room_was_made.wait()
        finally:
            self._large_waiting -= not is_small
        self._rooms.add(room)
        return room

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

    def _find(self, digest: str) -> UploadedPhoto | None:
        if use := self._in_use.get(digest):
            use.users += 1
            return UploadedPhoto(digest, use.photo, was_kept=True)
        if photo := self._kept.pop(digest, None):
            room = _Room(self._in_work(_bytes_of(photo), _pixels(photo)), is_small=True)
            self._rooms.add(room)
            self._in_use[digest] = _InUse(photo, room)
            return UploadedPhoto(digest, photo, was_kept=True)
        return None

    def _use(self, digest: str, photo: DecodedImage, room: "_Room") -> UploadedPhoto:
        if use := self._in_use.get(digest):  # somebody sent the same meanwhile
            self._give_back(room)
            use.users += 1
            return UploadedPhoto(digest, use.photo, was_kept=False)
        room.bytes = self._in_work(_bytes_of(photo), _pixels(photo))
        self._room_was_made.set()
        self._in_use[digest] = _InUse(photo, room)
        return UploadedPhoto(digest, photo, was_kept=False)

    def _let_go(self, digest: str) -> None:
        use = self._in_use[digest]
        use.users -= 1
        if use.users:
            return
        del self._in_use[digest]
        if self._free() >= 0:  # its room, which is given back, is what it takes among those kept
            with suppress(ValueError):  # larger than all that is kept
                self._kept[digest] = use.photo
        self._give_back(use.room)

    def _give_back(self, room: "_Room") -> None:
        self._rooms.discard(room)
        self._room_was_made.set()
        if room.bytes > _WORTH_TRIMMING and _trim:
            asyncio.get_running_loop().run_in_executor(None, _trim, 0)


@dataclass(slots=True, eq=False)
class _Room:
    """Memory that is spoken for."""

    bytes: int
    is_small: bool


@dataclass(slots=True, eq=False)
class _InUse:
    """A photo that requests are at work on."""

    photo: DecodedImage
    room: _Room
    users: int = 1


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

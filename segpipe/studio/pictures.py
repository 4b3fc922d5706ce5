"""Pictures for pages: photos reduced, regions of them, cut-outs; all encoded anew by us.

What somebody put into a deal never reaches a browser as it is. A picture is made once and kept in
memory within a bound; few are made at once, and the others wait. Its address holds a tag of the
photo's content, or the generation, so that browsers may keep it for ever.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from segpipe.errors import InputError, NotPromotedError, VersionNotFoundError
from segpipe.flow.stages.crop_files import read_crop
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.crops_table import CROPS_FILE, crops_from_table
from segpipe.flow.stages.report import PREVIEWS_FOLDER, REPORT, SHEET_FILE, read_preview
from segpipe.flow.stages.stage import open_table
from segpipe.store.ids import check_id
from segpipe.store.inputs import fingerprint
from segpipe.store.store import DealStore, Photo, Snapshot
from segpipe.vision.encode import encode_jpeg, encode_png
from segpipe.vision.image import DecodedImage, RgbImage, decode_image
from segpipe.web.problems import FullError, RefusedError

SIZES = (160, 320, 640, 1280, 2560)
"""The longest sides, pixels, in which pictures are made; beside these, photos in full."""
FULL = 0
_NOT_FOUND = 404
_QUALITY = 84
_MAX_WAITING = 400
_KEPT_PIXELS = 40_000_000
_RETRY_AFTER_S = 1
_TAG_DIGITS = 16


def photo_tag(photo: Photo) -> str:
    """What addresses of a photo's pictures, which may be kept for ever, tell its content by.

    It is another one whenever the photo's name, size or time is; no photo is opened.

    >>> photo_tag(Photo("a", "a.jpg", 1_000, 1_700_000_000_000_000_000))
    '206b0c48c3f07b4a'
    """
    return fingerprint([photo])[:_TAG_DIGITS]


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a photo: pixels of the upright one."""

    x: int
    y: int
    width: int
    height: int


class Pictures:
    """Makes pictures of what is in the store, and keeps the last ones.

    Args:
        store: The deals.
        memory_bytes: Of the encoded pictures that are kept.
        at_once: How many are made at once.
    """

    def __init__(self, store: DealStore, *, memory_bytes: int, at_once: int) -> None:
        self._store = store
        self._kept: LRUCache[str, Picture] = LRUCache(
            memory_bytes, getsizeof=lambda picture: len(picture.data)
        )
        self._decoded: LRUCache[str, DecodedImage] = LRUCache(
            _KEPT_PIXELS, getsizeof=lambda photo: photo.rgb.shape[0] * photo.rgb.shape[1]
        )
        self._being_made: dict[str, asyncio.Task[Picture]] = {}
        self._places = asyncio.Semaphore(at_once)

    async def photo(
        self, deal: str, image: str, tag: str, side: int, region: Region | None = None
    ) -> Picture:
        """A photo, or a region of it, with its longest side reduced.

        Args:
            deal: The deal.
            image: The photo's image id.
            tag: What :func:`~segpipe.studio.pictures.photo_tag` says of it.
            side: Pixels of the longest side at most, one of :data:`SIZES`; :data:`FULL` as it is.
            region: What of it; all by default.

        Raises:
            RefusedError: There is no such photo, or no longer, or no such size (404); there is no
                place to make it now (503).
            PhotoError: It cannot be decoded.
        """
        if side != FULL and side not in SIZES:
            raise _not_found(f"pictures have one of the sizes {SIZES}, or 0 for all of it")

        def make() -> Picture:
            photo = self._find(deal, image, tag)
            decoded = self._decode(f"{deal}/{image}/{tag}", deal, photo)
            rgb = decoded.rgb if region is None else _cut(decoded.rgb, region)
            return Picture(encode_jpeg(_reduced(rgb, side), quality=_QUALITY), "image/jpeg")

        return await self._made(f"photo/{deal}/{image}/{tag}/{side}/{region}", make)

    async def crop(
        self, deal: str, mode: str, generation: int, image: str, detection: int, side: int
    ) -> Picture:
        """The cut-out of a detection, transparent where it is.

        Raises:
            RefusedError: There is none, or no such size (404); no place to make it now (503).
        """

        def read(snapshot: Snapshot) -> bytes:
            with open_table(snapshot, CROPS, CROPS_FILE) as table:
                crops = crops_from_table(table.read(image))
            for crop in crops:
                if crop.detection == detection and crop.file:
                    return read_crop(snapshot, CROPS.name, crop)
            raise _not_found("there is no such cut-out")

        return await self._result(deal, mode, generation, f"crop/{image}/{detection}", read, side)

    async def preview(
        self, deal: str, mode: str, generation: int, image: str, side: int
    ) -> Picture:
        """A photo with what was found drawn in, as the report has it; raises as :meth:`crop`."""
        what = f"{PREVIEWS_FOLDER}/{check_id(image, field='image')}"
        read = partial(read_preview, image=image)
        return await self._result(deal, mode, generation, what, read, side)

    async def contact_sheet(self, deal: str, mode: str, generation: int, side: int) -> Picture:
        """The contact sheet of a report; raises as :meth:`crop`."""

        def read(snapshot: Snapshot) -> bytes:
            return snapshot.read(REPORT.name, SHEET_FILE)

        return await self._result(deal, mode, generation, SHEET_FILE, read, side)

    async def _result(
        self,
        deal: str,
        mode: str,
        generation: int,
        what: str,
        read: Callable[[Snapshot], bytes],
        side: int,
    ) -> Picture:
        """A picture that a run made: how it is read, and the word that it is kept under."""
        if side not in SIZES:
            raise _not_found(f"pictures have one of the sizes {SIZES}")

        def make() -> Picture:
            snapshot = self._store.snapshot(deal, mode, generation)
            decoded = decode_image(read(snapshot), max_pixels=None)
            rgb = _reduced(decoded.rgb, side)
            if decoded.alpha is None:
                return Picture(encode_jpeg(rgb, quality=_QUALITY), "image/jpeg")
            alpha = _reduced(decoded.alpha, side)
            return Picture(encode_png(np.dstack([rgb, alpha])), "image/png")

        return await self._made(f"{deal}/{mode}/{generation}/{what}/{side}", make)

    async def _made(self, key: str, make: Callable[[], Picture]) -> Picture:
        if kept := self._kept.get(key):
            return kept
        task = self._being_made.get(key)
        if task is None:
            if len(self._being_made) >= _MAX_WAITING:
                raise FullError("many pictures are being made", retry_after_s=_RETRY_AFTER_S)
            task = asyncio.ensure_future(self._make(key, make))
            self._being_made[key] = task
            task.add_done_callback(lambda _: self._being_made.pop(key, None))
        # Who leaves does not take the picture from others who wait for it.
        return await asyncio.shield(task)

    async def _make(self, key: str, make: Callable[[], Picture]) -> Picture:
        async with self._places:
            try:
                picture = await asyncio.to_thread(make)
            except (VersionNotFoundError, NotPromotedError) as error:
                raise _not_found(error.message) from error
        if len(picture.data) <= self._kept.maxsize:
            self._kept[key] = picture
        return picture

    def _find(self, deal: str, image: str, tag: str) -> Photo:
        for photo in self._store.photos(deal):
            if photo.image == image:
                if photo_tag(photo) != tag:
                    raise _not_found("the photo has changed since the page was made: load it again")
                return photo
        raise _not_found("there is no such photo in the deal")

    def _decode(self, key: str, deal: str, photo: Photo) -> DecodedImage:
        # Threads may each decode the same photo; what is kept is whole all the same.
        if kept := self._decoded.get(key):
            return kept
        decoded = decode_image(self._store.read_photo(deal, photo))
        height, width = decoded.rgb.shape[:2]
        if height * width <= self._decoded.maxsize:
            self._decoded[key] = decoded
        return decoded


def _cut(rgb: RgbImage, region: Region) -> RgbImage:
    height, width = rgb.shape[:2]
    cut = rgb[
        max(region.y, 0) : min(region.y + region.height, height),
        max(region.x, 0) : min(region.x + region.width, width),
    ]
    if cut.size == 0:
        raise InputError(
            f"the region lies outside the photo, which has {width} x {height} pixels",
            field="region",
        )
    return cut


def _reduced(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if side == FULL or scale >= 1:
        return np.ascontiguousarray(pixels)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    reduced: NDArray[np.uint8] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return reduced


def _not_found(detail: str) -> RefusedError:
    return RefusedError(_NOT_FOUND, "NotFound", detail)

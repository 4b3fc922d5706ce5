"""Pixels turned upright: at speed, and of a large photo with little memory beside its own.

EXIF says how by a number, 1 to 8 (EXIF 3.0, tag 0x0112); 1 and nonsense need no turn.
"""

import mmap
from collections import deque
from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.threads import share_range

Pixels = NDArray[np.uint8]
"""Shape (h, w) or (h, w, c)."""

_MIRRORS = {2: 1, 3: -1, 4: 0}
"""Orientations that a mirror makes upright, to OpenCV's code of it."""
_MIRRORS_AFTER_TRANSPOSE = {5: None, 6: 1, 7: -1, 8: 0}
ON_ITS_SIDE = frozenset(_MIRRORS_AFTER_TRANSPOSE)
"""The orientations whose turn swaps width and height."""

_FIRST_COLUMN_ON_TOP = frozenset({5, 6})
_FIRST_ROW_LEFT = frozenset({5, 8})
_BAND_COLUMNS = 64
_LEAST_COLUMNS = 512
"""What is worth a thread."""

LARGE_PX = 64_000_000
"""From here on memory counts for more than the time of its pages."""
_STRIPS = 16
_PAGE = mmap.PAGESIZE
_MOST_KEPT_BYTES = 80_000_000
_kept_memory: deque[NDArray[np.uint8]] = deque(maxlen=1)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Give pixels, (h, w) or (h, w, 3) and C-contiguous, turned as EXIF asks.

    A mirror changes them in their place.
    """
    if orientation in _MIRRORS:
        cv2.flip(pixels, _MIRRORS[orientation], dst=pixels)
        return pixels
    if orientation not in ON_ITS_SIDE:
        return pixels
    height, width = pixels.shape[:2]
    turned = np.empty((width, height, *pixels.shape[2:]), np.uint8)
    mirror = _MIRRORS_AFTER_TRANSPOSE[orientation]

    def turn_columns(first: int, last: int) -> None:
        # Band by band, of which the copy that is to be mirrored stays in a core's cache.
        room = np.empty((_BAND_COLUMNS, height, *pixels.shape[2:]), np.uint8)
        for start in range(first, last, _BAND_COLUMNS):
            stop = min(start + _BAND_COLUMNS, last)
            is_on_top = orientation in _FIRST_COLUMN_ON_TOP
            band = turned[start:stop] if is_on_top else turned[width - stop : width - start]
            if mirror is None:
                cv2.transpose(pixels[:, start:stop], dst=band)
            else:
                transposed = room[: stop - start]
                cv2.transpose(pixels[:, start:stop], dst=transposed)
                cv2.flip(transposed, mirror, dst=band)

    share_range(turn_columns, width, least=_LEAST_COLUMNS)
    return turned


class TurningRoom:
    """Room for the pixels of a photo that lies on its side, while it is decoded and turned.

    The memory of the last one is used again: new pages take a seventh of the time of a decoder.
    A large photo is turned strip by strip instead, and the pages of each strip go back to the
    system at once, so that photo and turned photo are never whole at the same time.

    Attributes:
        pixels: Shape (h, w, 3) uint8, to be filled before the turn; not to be used after it.
    """

    def __init__(self, width: int, height: int) -> None:
        size = 3 * width * height
        self._pages = _new_pages(size) if goes_in_strips(width, height) else None
        self._memory = np.frombuffer(self._pages, np.uint8) if self._pages else _memory_of(size)
        self.pixels = self._memory[:size].reshape(height, width, 3)

    def turn(self, orientation: int) -> Pixels:
        """The pixels turned as EXIF asks, (w, h, 3) and C-contiguous; this room is empty then."""
        if self._pages is not None:
            return self._turn_strips(self._pages, orientation)
        turned = upright(self.pixels, orientation)
        if self._memory.size <= _MOST_KEPT_BYTES:
            _kept_memory.append(self._memory)
        return turned

    def _turn_strips(self, pages: mmap.mmap, orientation: int) -> Pixels:
        height, width = self.pixels.shape[:2]
        turned = np.frombuffer(_new_pages(self.pixels.size), np.uint8)
        turned = turned.reshape(width, height, 3)
        strips = min(_STRIPS, height)
        for strip in range(strips):
            top, bottom = height * strip // strips, height * (strip + 1) // strips
            is_left = orientation in _FIRST_ROW_LEFT
            left, right = (top, bottom) if is_left else (height - bottom, height - top)
            turned[:, left:right] = upright(self.pixels[top:bottom], orientation)
            first, last = -(-3 * width * top // _PAGE), 3 * width * bottom // _PAGE
            if last > first:
                pages.madvise(mmap.MADV_DONTNEED, first * _PAGE, (last - first) * _PAGE)
        return turned


def goes_in_strips(width: int, height: int) -> bool:
    """Whether a photo is so large that it is turned strip by strip, and the system can do that."""
    return width * height >= LARGE_PX and hasattr(mmap, "MADV_NOHUGEPAGE")


def _memory_of(size: int) -> NDArray[np.uint8]:
    """What was kept, if it is enough and nobody else has it, or new memory."""
    with suppress(IndexError):
        kept = _kept_memory.pop()
        if kept.size >= size:
            return kept
    return np.empty(size, np.uint8)


def _new_pages(size: int) -> mmap.mmap:
    """Memory of small pages: a large one would be taken whole for the few rows that are filled."""
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_NOHUGEPAGE)
    return pages

"""The pages of a TIFF, which is the main one, and the raw files of cameras.

Sources: TIFF 6.0, BigTIFF, TIFF/EP (ISO 12234-2), DNG 1.7.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_COMPRESSION, _PHOTOMETRIC = 259, 262
_SUB_IFDS = 330
_CFA_PATTERN_SIZE, _CFA_PATTERN = 33421, 33422
_DNG_VERSION = 50706
_READ_TAGS = frozenset(
    {
        *(_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _COMPRESSION, _PHOTOMETRIC, _SUB_IFDS),
        *(_CFA_PATTERN_SIZE, _CFA_PATTERN, _DNG_VERSION),
    }
)
_REDUCED, _TRANSPARENCY_MASK = 1, 4
"""Bits of NewSubfileType: a smaller version of, and a mask for, another page."""
_OLD_REDUCED = 2
"""Of SubfileType."""

_SENSOR_PHOTOMETRICS = frozenset({32803, 34892})
"""Colour filter array, linear raw."""
_SENSOR_COMPRESSIONS = frozenset({32767, 32770, 34713, 34892, 65000, 65535})
"""Sony, Samsung, Nikon, lossy DNG, Kodak, Pentax."""

_RAW_SIGNATURES = (
    ("CR2", re.compile(rb"II\*\0.{4}CR", re.DOTALL)),
    ("CR3", re.compile(rb".{4}ftypcrx ", re.DOTALL)),
    ("CRW", re.compile(rb"(II|MM).{4}HEAPCCDR", re.DOTALL)),
    ("ORF", re.compile(rb"IIR[OS]|MMOR")),
    ("RW2", re.compile(rb"IIU\0")),
    ("RAF", re.compile(rb"FUJIFILMCCD-RAW")),
    ("X3F", re.compile(rb"FOVb")),
    ("MRW", re.compile(rb"\0MR[MI]")),
    ("IIQ", re.compile(rb"II\*\0.{4}IIII|MM\0\*.{4}MMMM", re.DOTALL)),
)
_TIFF = re.compile(rb"II[*+]\0|MM\0[*+]")
_BIG = 43
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Field types that hold whole numbers, as struct names them."""
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BYTES |= {16: 8, 17: 8, 18: 8}
"""What a value of each field type takes."""
_NO_TYPE = b"\0\0"
_PIXEL_TAGS = frozenset(
    {
        *(256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 301, 317, 320),
        *(322, 323, 324, 325, 332, 333, 334, 336, 338, 339, 340, 341, 347),
        *(512, 513, 514, 515, 517, 519, 520, 521, 529, 530, 531, 532),
    }
)
_COLOUR_PROFILE = 34675
_MOST_ENTRIES = 200_000
"""Of all pages together: a page costs next to nothing to write and time to read."""
_MOST_VALUES = 64


class TiffFile(NamedTuple):
    """A TIFF to be decoded: its main page comes first.

    Attributes:
        data: The file.
        pages: How many pages it has.
        notes: What was given up, in words.
    """

    data: bytes
    pages: int
    notes: tuple[str, ...]


class _Page(NamedTuple):
    """One directory: where it lies, the tags that are read here, and its damaged entries.

    An entry is damaged, by its tag and place, whose data would lie outside the file.
    """

    offset: int
    tags: dict[int, tuple[int, ...]]
    damaged: dict[int, int]

    def value(self, tag: int) -> int | None:
        values = self.tags.get(tag)
        return values[0] if values else None

    @property
    def is_whole(self) -> bool:
        """Whether it is a picture in its own right."""
        kind = self.value(_NEW_SUBFILE_TYPE) or 0
        is_part = kind & (_REDUCED | _TRANSPARENCY_MASK)
        return not is_part and self.value(_SUBFILE_TYPE) != _OLD_REDUCED

    @property
    def is_of_sensor(self) -> bool:
        return (
            self.value(_PHOTOMETRIC) in _SENSOR_PHOTOMETRICS
            or self.value(_COMPRESSION) in _SENSOR_COMPRESSIONS
            or not self.tags.keys().isdisjoint({_CFA_PATTERN_SIZE, _CFA_PATTERN, _DNG_VERSION})
        )


def camera_raw_name(data: bytes) -> str | None:
    """Name the kind of a camera's raw file, by its content; None when it is none.

    "raw" is the name of those that are a TIFF of the sensor's samples: NEF, ARW, PEF, SRW, ….
    """
    for name, signature in _RAW_SIGNATURES:
        if signature.match(data):
            return name
    if not _TIFF.match(data):
        return None
    reader = _Reader(data)
    pages = list(reader.chain(reader.first))
    inner = [
        page
        for outer in pages
        for offset in outer.tags.get(_SUB_IFDS, ())
        for page in reader.chain(offset)
    ]
    if any(_DNG_VERSION in page.tags for page in pages):
        return "DNG"
    # What has its whole picture only inside of another page's is no plain TIFF.
    is_hidden = bool(inner) and not any(page.is_whole for page in pages)
    return "raw" if is_hidden or any(page.is_of_sensor for page in [*pages, *inner]) else None


def read_tiff(data: bytes) -> TiffFile:
    """Put the main page of a TIFF first: the first that is no thumbnail or mask of another.

    Damaged entries that concern no pixel are left out: Pillow reads none of those behind them.
    """
    reader = _Reader(data)
    pages = list(reader.chain(reader.first))
    main = next((page for page in pages if page.is_whole), pages[0] if pages else None)
    if main is None:
        return TiffFile(data, 0, ())
    changes = {} if main.offset == reader.first else reader.first_page(main.offset)
    notes = []
    for tag, place in main.damaged.items():
        if tag not in _PIXEL_TAGS:
            changes[place + 2] = _NO_TYPE
            lost = ": colour profile ignored" if tag == _COLOUR_PROFILE else ""
            notes.append(f"TIFF tag {tag} is damaged and left out{lost}")
    return TiffFile(_changed(data, changes), len(pages), tuple(notes))


def _changed(data: bytes, changes: dict[int, bytes]) -> bytes:
    """The file with other bytes at some places."""
    if not changes:
        return data
    file = bytearray(data)
    for place, content in changes.items():
        file[place : place + len(content)] = content
    return bytes(file)


class _Reader:
    """Reads directories of a TIFF as far as they are sound; each is read once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data.startswith(b"II") else ">"
        self._is_big = data[2:4] in {bytes((_BIG, 0)), bytes((0, _BIG))}
        self._word = "Q" if self._is_big else "I"
        self._entries_left = _MOST_ENTRIES
        self._first_at = 8 if self._is_big else 4
        try:
            (self.first,) = self._unpack(self._word, self._first_at)
        except struct.error:
            self.first = 0

    def first_page(self, offset: int) -> dict[int, bytes]:
        """What to write where, to put another directory first."""
        return {self._first_at: struct.pack(self._order + self._word, offset)}

    def chain(self, offset: int) -> Iterator[_Page]:
        """A directory and those after it."""
        seen: set[int] = set()
        while offset and offset not in seen:
            seen.add(offset)
            try:
                page, offset = self._page(offset)
            except struct.error:
                return
            yield page

    def _page(self, offset: int) -> tuple[_Page, int]:
        (count,) = self._unpack("Q" if self._is_big else "H", offset)
        entry_bytes = 20 if self._is_big else 12
        self._entries_left -= count + 1
        if self._entries_left < 0:
            raise struct.error("more entries than any photo has")
        start = offset + (8 if self._is_big else 2)
        tags, damaged = {}, {}
        for at in range(start, start + count * entry_bytes, entry_bytes):
            tag, kind, values = self._unpack("HH" + self._word, at)
            place = self._place(at, kind, values)
            if place + values * _BYTES.get(kind, 0) > len(self._data):
                damaged[tag] = at
            elif tag in _READ_TAGS and kind in _INTEGERS:
                layout = f"{min(values, _MOST_VALUES)}{_INTEGERS[kind]}"
                tags[tag] = self._unpack(layout, place)
        (following,) = self._unpack(self._word, start + count * entry_bytes)
        return _Page(offset, tags, damaged), following

    def _place(self, at: int, kind: int, values: int) -> int:
        """Where the values of an entry lie: in the entry itself, or where it says."""
        place = at + (12 if self._is_big else 8)
        if values * _BYTES.get(kind, 0) > struct.calcsize(f"={self._word}"):
            (place,) = self._unpack(self._word, place)
        return place

    def _unpack(self, layout: str, at: int) -> tuple[int, ...]:
        if at > len(self._data):
            raise struct.error("outside the file")
        return struct.unpack_from(self._order + layout, self._data, at)

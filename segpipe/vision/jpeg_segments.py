"""A JPEG without what could refuse its picture: ITU-T T.81, annex B.

Segments that concern pixels stay as they are. Of the others, the colour profile is read here, what
may turn the picture stays, and the rest is left out.
"""

import re
from typing import NamedTuple

_START, _END = b"\xff\xd8", b"\xff\xd9"
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
"""B.1.1.2."""
_SCAN = 0xDA
_APPLICATION = range(0xE0, 0xF0)
_COMMENT = 0xFE
_ORIENTATION = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")
_COLOUR_SEGMENTS = ((0xE0, b"JFIF\0", 14), (0xEE, b"Adobe", 12))
"""Marker, beginning and least bytes of the segments that tell libjpeg the colour space."""
_JFIF_VERSION = b"\x01\x02"
"""Behind the beginning: 1.02."""
_PROFILE = 0xE2, b"ICC_PROFILE\0"
_PROFILE_HEAD = len(_PROFILE[1]) + 2


class JpegFile(NamedTuple):
    """A JPEG to be decoded.

    Attributes:
        data: The file without segments and padding that its pixels do not need.
        scan: Where in data the first scan starts; 0 when there is none.
        profile: The ICC profile of its colours, None when it has none.
        notes: What was given up, in words.
    """

    data: bytes
    scan: int
    profile: bytes | None
    notes: tuple[str, ...]


def read_jpeg(data: bytes) -> JpegFile:
    """Go through the header of a JPEG, and leave out what its pixels do not need.

    What lies between the segments is left out as well: cameras pad with it.
    """
    kept, pieces, after = [_START], [], len(_START)
    while (marker := _MARKER.search(data, after)) and marker[1][0] != _SCAN:
        after = marker.end() + max(1, int.from_bytes(data[marker.end() : marker.end() + 2], "big"))
        code, body = marker[1][0], data[marker.end() + 2 : after]
        if code == _PROFILE[0] and body.startswith(_PROFILE[1]):
            pieces.append(body)
        elif _is_needed(code, body):
            kept.append(
                b"\xff" + data[marker.start(1) : marker.end() + 2] + _understood(code, body)
            )
    if marker is None:
        return JpegFile(data, 0, None, ())
    header = b"".join(kept)
    profile, notes = _join_profile(pieces)
    whole = b"".join([header, memoryview(data)[marker.end() - 2 :]])
    return JpegFile(whole, len(header), profile, notes)


def without_end_padding(jpeg: JpegFile) -> bytes:
    """Leave out the zeros before the end of a JPEG, with which cameras pad.

    Zeros that fill the place of pixels are left out as well: what then decodes whole has all of
    its pixels.
    """
    end = jpeg.data.find(_END, jpeg.scan)
    if not jpeg.scan or end < 0:
        return jpeg.data
    scans = jpeg.data[jpeg.scan : end].rstrip(b"\xff").rstrip(b"\0")
    if scans.endswith(b"\xff"):
        scans += b"\0"  # the two are one byte of pixels
    return jpeg.data[: jpeg.scan] + scans + jpeg.data[end:]


def _is_needed(code: int, body: bytes) -> bool:
    if code != _COMMENT and code not in _APPLICATION:
        return True
    if code == _APPLICATION[1]:
        return body.startswith(_ORIENTATION)
    return any(
        code == marker and body.startswith(start) and len(body) >= least
        for marker, start, least in _COLOUR_SEGMENTS
    )


def _understood(code: int, body: bytes) -> bytes:
    """The segment with a version that libjpeg knows, which takes another for damage."""
    if code == _COLOUR_SEGMENTS[0][0]:
        return body[:5] + _JFIF_VERSION + body[7:]
    return body


def _join_profile(pieces: list[bytes]) -> tuple[bytes | None, tuple[str, ...]]:
    """The profile that the pieces make, each with its number and how many there are.

    ICC.1:2022, annex B.4.
    """
    if not pieces:
        return None, ()
    head = len(_PROFILE[1])
    numbers = sorted(piece[head:_PROFILE_HEAD] for piece in pieces)
    wanted = [bytes((number + 1, len(pieces))) for number in range(min(len(pieces), 255))]
    if numbers != wanted:
        return None, ("colour profile ignored: pieces are missing, double or wrongly numbered",)
    return b"".join(piece[_PROFILE_HEAD:] for piece in sorted(pieces)), ()

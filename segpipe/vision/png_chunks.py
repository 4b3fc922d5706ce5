"""A PNG without what could refuse its picture: https://www.w3.org/TR/png-3/.

Chunks that concern pixels must be sound. Of the others, those that say how to show the picture are
read here, the rest is left out, and a damaged one is a note.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from segpipe.errors import CorruptImageError
from segpipe.vision.colour_codes import Chromaticities, CodedColours, coded_colours, gamma_colours

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXEL_KINDS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_END = b"IEND"
_AROUND_BODY = 12
"""Bytes of a chunk besides its body: length, kind, checksum."""
_HEADER_BYTES = 13
_ANIMATION_BYTES = 8
_CICP_BYTES = 4
_GREY, _RGB, _PALETTE = 0, 2, 3
_DEEP_BITS, _BYTE_BITS = 16, 8
_FRACTION = 100_000
"""gAMA and cHRM hold hundred-thousandths."""

_ANY_OF_USE = re.compile(b"PLTE|tRNS|IDAT|IEND")
_MOST_TRIES = 16
"""Places that may be tried as the next chunk; each try reads the chunk through."""
_MAX_PROFILE_BYTES = 16 * 2**20
_MAX_TEXT_BYTES = 2**20
"""What Pillow unpacks of a compressed text (PngImagePlugin.MAX_TEXT_CHUNK)."""
_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTATION_TEXTS = (b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Keys of texts in which Pillow looks for an orientation, beside the chunk eXIf."""


class PngFile(NamedTuple):
    """A PNG to be decoded.

    Attributes:
        data: A PNG of the pixels and their orientation alone.
        profile: The ICC profile of its colours; None for sRGB.
        frames: Pictures in the file; more than 1 in an animation.
        notes: What was given up, in words.
    """

    data: bytes
    profile: bytes | None
    frames: int
    notes: tuple[str, ...]


class _Chunk(NamedTuple):
    kind: bytes
    body: memoryview
    whole: memoryview
    is_sound: bool


def read_png(data: bytes) -> PngFile:
    """Check the chunks of a PNG, and leave out what its pixels do not need.

    Raises:
        CorruptImageError: A chunk that concerns pixels is damaged or missing.
    """
    notes: list[str] = []
    chunks = list(_sound_chunks(memoryview(data), notes))
    first = {chunk.kind: chunk for chunk in reversed(chunks)}
    header = first.get(b"IHDR")
    if header is None or len(header.body) != _HEADER_BYTES or b"IDAT" not in first:
        raise CorruptImageError("this PNG file has no header or no pixels: copy it again")
    if header.body[9] == _PALETTE and b"PLTE" not in first:
        raise CorruptImageError("this PNG file has no palette: copy it again")

    kept: list[bytes | memoryview] = [header.whole]
    kept += [first[kind].whole for kind in (b"PLTE",) if kind in first]
    kept += [_transparency(first[b"tRNS"], header)] if b"tRNS" in first else []
    kept += [chunk.whole for chunk in chunks if _may_turn(chunk)]
    kept += [chunk.whole for chunk in chunks if chunk.kind == b"IDAT"]
    colours = _colours(first)
    return PngFile(
        b"".join([_SIGNATURE, *kept, _chunk(_END, b"")]),
        colours.profile,
        _frames(chunks),
        (*notes, *colours.notes),
    )


def deep_alpha(data: bytes) -> NDArray[np.uint8] | None:
    """The alpha, (h, w) uint8, of a 16-bit RGB PNG with a transparent colour; None for others.

    Pillow reduces samples to 8 bits before it compares them with that colour.
    """
    bits, kind = data[24], data[25]
    if (bits, kind) != (_DEEP_BITS, _RGB) or b"tRNS" not in data[: data.index(b"IDAT")]:
        return None
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    samples = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags))
    alpha: NDArray[np.uint8] = (samples[:, :, 3] >> _BYTE_BITS).astype(np.uint8)
    return alpha


def _sound_chunks(data: memoryview, notes: list[str]) -> Iterator[_Chunk]:
    """The chunks in order; a note for each damaged one that concerns no pixel."""
    at = len(_SIGNATURE)
    while True:
        chunk = _chunk_at(data, at)
        kind = bytes(data[at + 4 : at + 8])
        if chunk is not None and (chunk.is_sound or kind == _END):
            yield chunk
            at += len(chunk.whole)
            if kind != _END:
                continue
            if not chunk.is_sound:
                notes.append("PNG chunk IEND is damaged")
            return
        if kind in _PIXEL_KINDS or _is_critical(kind) or (chunk and _was_of_pixels(chunk)):
            raise CorruptImageError(
                f"this PNG file is truncated, or damaged in its chunk {_name(kind)}, which "
                "concerns its pixels: copy it again"
            )
        at = _next_chunk(data, at, chunk)
        notes.append(_damage(kind))


def _chunk_at(data: memoryview, at: int) -> _Chunk | None:
    """The chunk that starts there; None when the file ends inside of it."""
    if at + _AROUND_BODY > len(data):
        return None
    (length,) = struct.unpack_from(">I", data, at)
    whole = data[at : at + _AROUND_BODY + length]
    if len(whole) < _AROUND_BODY + length:
        return None
    (checksum,) = struct.unpack_from(">I", whole, len(whole) - 4)
    is_sound = isal_zlib.crc32(whole[4:-4]) == checksum
    return _Chunk(bytes(whole[4:8]), whole[8:-4], whole, is_sound)


def _is_critical(kind: bytes) -> bool:
    """Whether a reader that does not know this kind must not show the picture (5.4)."""
    return kind[:1].isupper()


def _was_of_pixels(chunk: _Chunk) -> bool:
    """Whether a damaged chunk is one that concerns pixels, with damage in its kind alone."""
    (checksum,) = struct.unpack_from(">I", chunk.whole, len(chunk.whole) - 4)
    return any(
        isal_zlib.crc32(chunk.body, isal_zlib.crc32(kind)) == checksum for kind in _PIXEL_KINDS
    )


def _next_chunk(data: memoryview, at: int, damaged: _Chunk | None) -> int:
    """Where the chunk after a damaged one starts, also when its length is what is damaged."""
    if damaged is not None:
        behind = at + len(damaged.whole)
        following = _chunk_at(data, behind)
        if following is not None and following.is_sound:
            return behind
    for tries, found in enumerate(_ANY_OF_USE.finditer(data, at + 8)):
        following = _chunk_at(data, found.start() - 4)
        if following is not None and following.is_sound:
            return found.start() - 4
        if tries >= _MOST_TRIES:
            break
    raise CorruptImageError(f"this PNG file breaks off in its chunk {_name(data[at + 4 : at + 8])}")


def _damage(kind: bytes) -> str:
    note = f"PNG chunk {_name(kind)} is damaged and left out"
    if kind == b"iCCP":
        return f"{note}: colour profile ignored"
    return f"{note}: the photo may lie on its side" if kind == b"eXIf" else note


def _name(kind: bytes | memoryview) -> str:
    return bytes(kind).decode("ascii", "backslashreplace")


def _transparency(chunk: _Chunk, header: _Chunk) -> bytes | memoryview:
    """The chunk tRNS as Pillow reads it: of few bits a sample, Pillow does not scale its grey."""
    bits, colour = header.body[8], header.body[9]
    if colour == _PALETTE or bits == _DEEP_BITS:
        return chunk.whole
    values = [
        value & (2**bits - 1)
        for (value,) in struct.iter_unpack(">H", chunk.body[: len(chunk.body) // 2 * 2])
    ]
    if colour == _GREY and 1 < bits < _BYTE_BITS:
        values = [value * (2**_BYTE_BITS - 1) // (2**bits - 1) for value in values]
    return _chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = isal_zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def _may_turn(chunk: _Chunk) -> bool:
    """Whether it may hold the orientation, and is none that Pillow would refuse."""
    if chunk.kind == b"eXIf":
        return True
    if chunk.kind not in _TEXT_KINDS or len(chunk.body) > _MAX_TEXT_BYTES:
        return False
    key, _, rest = bytes(chunk.body).partition(b"\0")
    if key not in _ORIENTATION_TEXTS:
        return False
    if chunk.kind == b"zTXt":
        return rest[:1] == b"\0" and _fits(rest[1:])
    if chunk.kind == b"iTXt" and rest[:1] != b"\0":
        return rest[1:2] == b"\0" and _fits(rest[2:].split(b"\0", 2)[-1])
    return True


def _fits(packed: bytes) -> bool:
    return _unpack(packed, _MAX_TEXT_BYTES) is not None


def _unpack(packed: bytes, most: int) -> bytes | None:
    """What was compressed; None when it is damaged, or more than ``most`` bytes."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, most)
    except zlib.error:
        return None
    return content if unpacker.eof else None


def _frames(chunks: list[_Chunk]) -> int:
    """How many pictures the file has; one of them may stand outside the animation."""
    kinds = [chunk.kind for chunk in chunks]
    control = next((chunk.body for chunk in chunks if chunk.kind == b"acTL"), b"")
    if len(control) < _ANIMATION_BYTES:
        return 1
    (frames,) = struct.unpack_from(">I", control)
    return int(frames) + (b"fcTL" not in kinds[: kinds.index(b"IDAT")])


def _colours(chunks: dict[bytes, _Chunk]) -> CodedColours:
    """What the colours are, by the first of the chunks that count (4.3)."""
    body = {kind: bytes(chunk.body) for kind, chunk in chunks.items() if kind != b"IDAT"}
    if len(codes := body.get(b"cICP", b"")) == _CICP_BYTES:
        return coded_colours(primaries=codes[0], transfer=codes[1])
    if b"iCCP" in body:
        _, _, packed = body[b"iCCP"].partition(b"\0")
        profile = _unpack(packed[1:], _MAX_PROFILE_BYTES) if packed[:1] == b"\0" else None
        if profile is None:
            return CodedColours(None, ("colour profile ignored: damaged, or far too long",))
        return CodedColours(profile, ())
    if b"sRGB" in body:
        return CodedColours(None, ())
    gamma = _hundred_thousandths(body.get(b"gAMA", b""), 1)
    points = _hundred_thousandths(body.get(b"cHRM", b""), 8)
    places = Chromaticities(*zip(points[::2], points[1::2], strict=True)) if points else None
    return gamma_colours(gamma[0] if gamma else None, places)


def _hundred_thousandths(body: bytes, count: int) -> tuple[float, ...]:
    if len(body) != 4 * count:
        return ()
    return tuple(value / _FRACTION for value in struct.unpack(f">{count}I", body))

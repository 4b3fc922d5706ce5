"""What an answer is kept under: everything that decides it, as one digest."""

import hashlib
import json
import struct
import zlib
from dataclasses import asdict
from itertools import accumulate
from typing import Any

import numpy as np
from isal import isal_zlib

from segpipe.detection import Detection, PassStats, SegmentationResult, Usage
from segpipe.errors import InputError
from segpipe.prompt import Prompt
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import pack_bits, unpack_bits

FORMAT_VERSION = 1
"""Counts up when keys or entries change, so that older entries are no longer found."""


def pixels_digest(image: RgbImage) -> str:
    """The sha256 of the shape and the pixels of an image, 64 hex digits.

    The GIL is released while it runs. The way the pixels lie in memory does not matter.
    """
    digest = hashlib.sha256(f"{image.shape} {image.dtype.str}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def answer_key(
    *, pixels: str, prompt: Prompt, segmenter_id: str, identity: str, revision: str | None
) -> str:
    """The key of an answer, 64 hex digits.

    Args:
        pixels: The digest of the image, of :func:`pixels_digest`.
        prompt: What was asked.
        segmenter_id: Who was asked.
        identity: The digest of the settings that decide the answer.
        revision: What names the model's weights, where the segmenter knows.
    """
    parts = [FORMAT_VERSION, pixels, prompt.to_json(), segmenter_id, identity, revision]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


_MAGIC = b"segpipe answer %d\n" % FORMAT_VERSION
_LENGTH = struct.Struct("<Q")
_DEFLATE_LEVEL = 1
_HEADER_BYTES = len(_MAGIC) + hashlib.sha256().digest_size
_BYTE_BITS = 8


class DamagedEntryError(Exception):
    """The bytes are not the entry of this key: truncated, changed, or something else's."""


def encode_answer(key: str, result: SegmentationResult) -> bytes:
    """The entry of an answer; its usage is left out, since it was paid for once."""
    document = {
        "width": result.image_width,
        "height": result.image_height,
        "segmenter_id": result.segmenter_id,
        "elapsed_ms": float(result.elapsed_ms),
        "pass_stats": [asdict(stats) for stats in result.pass_stats],
        "notes": list(result.notes),
        "detections": [_to_row(detection) for detection in result.detections],
    }
    head = json.dumps(document, separators=(",", ":")).encode()
    masks = [pack_bits(one.mask) for one in result.detections if one.mask is not None]
    body = isal_zlib.compress(b"".join([_LENGTH.pack(len(head)), head, *masks]), _DEFLATE_LEVEL)
    return _MAGIC + _digest(key, body) + body


def decode_answer(key: str, entry: bytes) -> SegmentationResult:
    """The answer of an entry, with a usage of one cached answer.

    Raises:
        DamagedEntryError: The entry is not what :func:`encode_answer` wrote for this key.
    """
    header, body = entry[:_HEADER_BYTES], entry[_HEADER_BYTES:]
    if header != _MAGIC + _digest(key, body):
        raise DamagedEntryError(f"{len(entry)} bytes that are no answer to {key}")
    try:
        return _decode_body(isal_zlib.decompress(body))
    except (InputError, ValueError, LookupError, TypeError, struct.error, zlib.error) as error:
        raise DamagedEntryError(f"an entry of another make: {error}") from error


def _decode_body(body: bytes) -> SegmentationResult:
    (length,) = _LENGTH.unpack_from(body)
    start = _LENGTH.size + length
    document = json.loads(body[_LENGTH.size : start])
    size = (document["width"], document["height"])
    rows = document["detections"]
    ends = list(accumulate((_packed_size(row["mask"]) for row in rows), initial=start))
    return SegmentationResult(
        detections=tuple(
            _from_row(row, body[begin:end], size)
            for row, begin, end in zip(rows, ends, ends[1:], strict=False)
        ),
        image_width=size[0],
        image_height=size[1],
        segmenter_id=document["segmenter_id"],
        elapsed_ms=document["elapsed_ms"],
        pass_stats=tuple(PassStats(**stats) for stats in document["pass_stats"]),
        usage=Usage(cached=1),
        notes=tuple(document["notes"]),
    )


def _to_row(detection: Detection) -> dict[str, Any]:
    mask = detection.mask
    row = {
        "box": [float(value) for value in detection.box],
        "score": float(detection.score),
        "label": detection.label,
        "pass_index": detection.pass_index,
        "mask": None if mask is None else [mask.x, mask.y, *reversed(mask.bits.shape)],
    }
    # Most answers know no traces: their entries stay as they were before there were any.
    return row if detection.trace_of is None else {**row, "trace_of": detection.trace_of}


def _from_row(row: dict[str, Any], packed: bytes, size: tuple[int, int]) -> Detection:
    mask = None if row["mask"] is None else _mask(row["mask"], packed, size)
    return Detection(
        Box(*row["box"]),
        row["score"],
        row["label"],
        mask,
        row["pass_index"],
        row.get("trace_of"),
    )


def _mask(where: list[int], packed: bytes, size: tuple[int, int]) -> Mask:
    x, y, width, height = where
    image_width, image_height = size
    return unpack_bits(
        packed,
        x=x,
        y=y,
        width=width,
        height=height,
        image_width=image_width,
        image_height=image_height,
    )


def _packed_size(where: list[int] | None) -> int:
    if where is None:
        return 0
    _, _, width, height = where
    return -(-width * height // _BYTE_BITS)


def _digest(key: str, body: bytes) -> bytes:
    # With the key in it, an entry under another's name is damaged too.
    return hashlib.sha256(key.encode() + body).digest()

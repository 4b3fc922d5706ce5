"""An entry gives back the answer to the last bit, or is known to be damaged."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from segpipe.detection import SegmentationResult, Usage
from segpipe.segmenters.cache.codec import DamagedEntryError, decode_answer, encode_answer
from segpipe_tests.segmenters.cache.answers import answer, facts, picture, results

KEY = "a" * 64
ENTRY = encode_answer(KEY, answer(picture()))


@given(results)
def test_an_answer_comes_back_as_it_was(result: SegmentationResult) -> None:
    back = decode_answer(KEY, encode_answer(KEY, result))
    assert facts(back) == facts(result)
    assert back.usage == Usage(cached=1)


@given(st.integers(0, len(ENTRY) - 1))
def test_a_truncated_entry_is_damaged(length: int) -> None:
    with pytest.raises(DamagedEntryError):
        decode_answer(KEY, ENTRY[:length])


@given(st.integers(0, len(ENTRY) - 1), st.integers(1, 255))
def test_a_changed_byte_is_damage(place: int, change: int) -> None:
    changed = bytearray(ENTRY)
    changed[place] ^= change
    with pytest.raises(DamagedEntryError):
        decode_answer(KEY, bytes(changed))


@given(st.binary())
def test_foreign_bytes_are_damage(data: bytes) -> None:
    with pytest.raises(DamagedEntryError):
        decode_answer(KEY, data)


def test_the_entry_of_another_key_is_damage() -> None:
    with pytest.raises(DamagedEntryError):
        decode_answer("b" * 64, ENTRY)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 8, b"\2\0\0\0\0\0\0\0[]", b"\2\0\0\0\0\0\0\0{}", b"\x01\0\0\0\0\0\0\0{"],
)
def test_a_body_of_another_make_is_damage_though_its_checksum_is_right(content: bytes) -> None:
    body = isal_zlib.compress(content)
    magic = ENTRY[: ENTRY.index(b"\n") + 1]
    forged = magic + hashlib.sha256(KEY.encode() + body).digest() + body
    with pytest.raises(DamagedEntryError):
        decode_answer(KEY, forged)

"""Data URLs to bytes."""

import base64
import binascii
from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segpipe.web import photo_uploads
from segpipe.web.photo_uploads import read_data_url
from segpipe.web.problems import RefusedError

PREFIX = "data:image/png;base64,"
PIECE_BYTES = 6


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_uploads, "_PIECE", PIECE_BYTES // 3 * 4)
    monkeypatch.setattr(photo_uploads, "_PIECE_BYTES", PIECE_BYTES)


def test_bytes_come_back_whatever_their_number() -> None:
    for count in range(1, 4 * PIECE_BYTES):
        data = bytes(range(count))
        url = PREFIX + base64.b64encode(data).decode()
        assert b"".join(read_data_url(url)) == data


@pytest.mark.parametrize(
    "text",
    ["", "A", "AA", "AAA", "====", "AA==AAAA", "AAAAAAA=AAAA", "AAAA\n", "AA-_", "AAAAAAAA="],
)
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        list(read_data_url(PREFIX + text))
    assert caught.value.status == 400
    assert caught.value.problem.field == "image_url"


@given(text=st.text(st.sampled_from("ABz09+/=-_ \n"), max_size=4 * PIECE_BYTES))
@example("AAAAAA==AAAAAA==")
def test_pieces_are_as_strict_as_the_whole(text: str) -> None:
    assert decoded_or_none(read_data_url, PREFIX + text) == decoded_or_none(whole, text)


def whole(text: str) -> list[bytes]:
    return [binascii.a2b_base64(text, strict_mode=True)]


def decoded_or_none(read: Callable[[str], Iterable[bytes]], text: str) -> bytes | None:
    """What was read; None when it was refused, or there was nothing."""
    try:
        return b"".join(read(text)) or None
    except (RefusedError, binascii.Error):
        return None

"""Masks on the wire."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import InputError
from segpipe.vision.mask import Mask
from segpipe.wire.inference import Encoding, WireRle, decode_mask, encode_mask


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    height, width = draw(st.tuples(*[st.integers(1, 12)] * 2))
    pixels = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    return Mask.from_full(np.array(pixels).reshape(height, width))


@given(mask=masks(), encoding=st.sampled_from(["rle", "png"]))
def test_a_mask_comes_back_as_it_was_sent(mask: Mask, encoding: Encoding) -> None:
    sent = encode_mask(mask, encoding)
    back = decode_mask(sent, image_width=mask.image_width, image_height=mask.image_height)

    assert isinstance(sent, str) == (encoding == "png")
    assert back.window == mask.window
    assert np.array_equal(back.bits, mask.bits)


@given(counts=st.text(max_size=40), size=st.lists(st.integers(-2, 12), min_size=2, max_size=2))
def test_any_rle_is_a_mask_of_the_image_or_an_input_error(counts: str, size: list[int]) -> None:
    try:
        mask = decode_mask(WireRle(size=size, counts=counts), image_width=5, image_height=4)
    except InputError:
        return
    assert (mask.image_width, mask.image_height) == (5, 4)


@given(text=st.text(max_size=40) | st.binary(max_size=40).map(lambda data: data.hex()))
def test_any_text_is_no_mask_but_an_input_error(text: str) -> None:
    with pytest.raises(InputError):
        decode_mask(text, image_width=5, image_height=4)


def test_a_mask_larger_than_the_image_is_refused_before_room_is_made_for_it() -> None:
    with pytest.raises(InputError, match="more than 20 pixels"):
        decode_mask(WireRle(size=[10**6, 10**6], counts="0"), image_width=5, image_height=4)

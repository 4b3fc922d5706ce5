import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from segpipe.errors import InputError
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import (
    CocoRle,
    from_base64,
    from_coco_rle,
    from_png,
    pack_bits,
    to_base64,
    to_coco_rle,
    to_png,
    unpack_bits,
)

Full = NDArray[np.uint8]

fulls = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.integers(0, 1)
)


def disc_in_a_large_image() -> Mask:
    rows, columns = np.ogrid[:300, :300]
    disc = ((rows - 150) ** 2 + (columns - 150) ** 2 < 140**2).astype(np.uint8)
    return Mask(1234, 1700, disc, image_width=2000, image_height=2000)


def rows_of_every_pattern(height: int) -> list[Full]:
    """Two columns of every pattern: every way in which runs meet the edges of the image."""
    numbers = np.arange(4**height)
    patterns = (numbers[:, None] >> np.arange(2 * height)) & 1
    return list(patterns.reshape(-1, height, 2).astype(np.uint8))


def png_of(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@given(fulls)
def test_packed_bits_come_back(full: Full) -> None:
    height, width = full.shape
    mask = Mask(2, 3, full, width + 5, height + 7)
    data = pack_bits(mask)
    back = unpack_bits(
        data,
        x=2,
        y=3,
        width=width,
        height=height,
        image_width=width + 5,
        image_height=height + 7,
    )
    assert len(data) == -(-full.size // 8)
    assert np.array_equal(back.to_full(), mask.to_full())
    assert back.window == mask.window


def test_packed_bits_are_row_after_row_highest_bit_first() -> None:
    assert pack_bits(Mask(0, 0, np.array([[1, 0, 0], [0, 0, 1]], np.uint8), 3, 2)) == b"\x84"


@pytest.mark.parametrize(
    ("data", "width", "height"),
    [
        (b"", 2, 2),
        (b"\x00\x00", 2, 2),
        (b"\x08", 2, 2),
        (b"", -1, 3),
        (b"", 3, -1),
        (b"\x00" * 3, 8, 3),
    ],
    ids=["short", "long", "bits after the end", "width", "height", "outside the image"],
)
def test_damaged_packed_bits_are_refused(data: bytes, width: int, height: int) -> None:
    with pytest.raises(InputError):
        unpack_bits(data, x=0, y=0, width=width, height=height, image_width=4, image_height=4)


@given(fulls)
def test_coco_rle_is_that_of_pycocotools(full: Full) -> None:
    rle = to_coco_rle(Mask.from_full(full))
    assert rle == coco.encode(np.asfortranarray(full))
    assert np.array_equal(from_coco_rle(rle).to_full(), full)


@pytest.mark.parametrize("full", rows_of_every_pattern(3))
def test_coco_rle_joins_runs_over_the_edges_as_pycocotools_does(full: Full) -> None:
    rle = to_coco_rle(Mask.from_full(full))
    assert rle == coco.encode(np.asfortranarray(full))
    assert np.array_equal(from_coco_rle(rle).to_full(), full)


def test_coco_rle_of_a_large_image_is_that_of_pycocotools() -> None:
    mask = disc_in_a_large_image()
    rle = to_coco_rle(mask)
    assert rle == coco.encode(np.asfortranarray(mask.to_full()))
    back = from_coco_rle(rle)
    assert back.window == mask.tight().window
    assert np.array_equal(back.bits, mask.tight().bits)


def test_coco_rle_reads_what_pycocotools_writes_for_many_runs() -> None:
    full = np.random.default_rng(5).integers(0, 2, (61, 67), dtype=np.uint8)
    rle = coco.encode(np.asfortranarray(full))
    assert np.array_equal(from_coco_rle(rle).to_full(), full)


@pytest.mark.parametrize(
    ("rle", "field"),
    [
        ({"size": [2, 2], "counts": b"3"}, "counts"),
        ({"size": [2, 2], "counts": b"5"}, "counts"),
        ({"size": [2, 2], "counts": b""}, "counts"),
        ({"size": [2, 2], "counts": b"d"}, "counts"),
        ({"size": [2, 2], "counts": b"T" + b"P" * 10 + b"0"}, "counts"),
        ({"size": [2, 2], "counts": b"\xff"}, "counts"),
        ({"size": [2, 2], "counts": b"5O"}, "counts"),
        ({"size": [2, 2], "counts": "4"}, "counts"),
        ({"size": [2, 2]}, "counts"),
        ({"size": [0, 2], "counts": b"0"}, "size"),
        ({"size": [2], "counts": b"2"}, "size"),
        ({"size": "22", "counts": b"4"}, "size"),
        ({"counts": b"4"}, "size"),
        ({"size": [20_000, 20_000], "counts": b"4"}, "size"),
    ],
    ids=[
        "too few pixels",
        "too many pixels",
        "no runs",
        "cut off",
        "endless number",
        "strange character",
        "negative run",
        "text",
        "no counts",
        "no height",
        "one number",
        "no numbers",
        "no size",
        "too large",
    ],
)
def test_a_damaged_coco_rle_is_refused(rle: CocoRle, field: str) -> None:
    with pytest.raises(InputError) as caught:
        from_coco_rle(rle)
    assert caught.value.field == field


@given(st.binary(max_size=24))
def test_any_counts_give_a_whole_mask_or_a_typed_error(counts: bytes) -> None:
    try:
        mask = from_coco_rle({"size": [5, 6], "counts": counts})
    except InputError:
        return
    assert mask.to_full().shape == (5, 6)
    assert np.array_equal(mask.to_full(), coco.decode({"size": [5, 6], "counts": counts}))


@given(fulls)
def test_png_and_base64_come_back(full: Full) -> None:
    mask = Mask.from_full(full)
    assert np.array_equal(from_png(to_png(mask)).to_full(), full)
    assert np.array_equal(from_base64(to_base64(mask)).to_full(), full)


def test_a_png_has_one_channel_of_0_and_255() -> None:
    mask = disc_in_a_large_image()
    image = Image.open(io.BytesIO(to_png(mask)))
    assert (image.mode, image.size) == ("L", (2000, 2000))
    assert np.array_equal(np.asarray(image), mask.to_full() * 255)
    assert base64.b64decode(to_base64(mask)) == to_png(mask)


def test_a_png_of_one_bit_a_pixel_is_read() -> None:
    full = np.eye(5, dtype=np.uint8)
    assert np.array_equal(
        from_png(png_of(Image.fromarray(full * 255).convert("1"))).to_full(), full
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16", "LA"])
def test_a_png_of_another_kind_is_refused(mode: str) -> None:
    with pytest.raises(InputError, match=re.escape(mode)):
        from_png(png_of(Image.new(mode, (4, 4))))


def test_a_png_with_grey_values_is_refused() -> None:
    with pytest.raises(InputError, match="threshold"):
        from_png(png_of(Image.new("L", (4, 4), 128)))


def test_a_png_beyond_the_pixel_limit_is_refused_before_it_is_decoded() -> None:
    png = png_of(Image.new("L", (40, 40)))
    assert from_png(png, max_pixels=1600).is_empty
    with pytest.raises(InputError, match="1599"):
        from_png(png, max_pixels=1599)


def test_every_cut_of_a_png_is_refused() -> None:
    png = to_png(Mask.from_full(np.random.default_rng(3).integers(0, 2, (40, 40))))
    # The last chunk is empty: all the pixels are there without it.
    for length in range(len(png) - 12):
        with pytest.raises(InputError):
            from_png(png[:length])


def test_no_flipped_bit_of_a_png_gives_another_mask() -> None:
    full = np.random.default_rng(4).integers(0, 2, (20, 20), dtype=np.uint8)
    png = to_png(Mask.from_full(full))
    for position in range(len(png)):
        damaged = bytearray(png)
        damaged[position] ^= 0x10
        try:
            mask = from_png(bytes(damaged))
        except InputError:
            continue
        assert np.array_equal(mask.to_full(), full)


@pytest.mark.parametrize("text", ["", "no base64!", "é", "QUJD", "iVBORw0KGgo"])
def test_text_that_is_no_png_in_base64_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        from_base64(text)

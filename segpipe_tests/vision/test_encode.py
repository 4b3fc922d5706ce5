import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from segpipe.errors import ConfigError, InputError
from segpipe.vision.encode import encode_jpeg, encode_png
from segpipe.vision.image import RgbImage

any_pixels = st.sampled_from([1, 3, 4]).flatmap(
    lambda channels: hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(channels))
    )
)


def coffee() -> RgbImage:
    return np.asarray(data.coffee(), np.uint8)  # type: ignore[no-untyped-call]


def decoded(encoded: bytes) -> NDArray[np.uint8]:
    """What Pillow reads, whole, always (h, w, c)."""
    with Image.open(io.BytesIO(encoded)) as picture:
        pixels = np.asarray(picture)
    return pixels[..., None] if picture.mode == "L" else pixels


@given(any_pixels)
def test_png_is_lossless(pixels: NDArray[np.uint8]) -> None:
    assert np.array_equal(decoded(encode_png(pixels)), pixels)


@given(any_pixels)
def test_opencv_reads_the_same_png(pixels: NDArray[np.uint8]) -> None:
    buffer = np.frombuffer(encode_png(pixels), np.uint8)
    seen = np.asarray(cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)).reshape(pixels.shape)
    to_bgr = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    assert np.array_equal(seen, pixels[..., to_bgr])


@pytest.mark.parametrize("kind", ["slice", "mirrored", "fortran", "read-only"])
def test_png_of_any_memory_layout_is_lossless(kind: str) -> None:
    whole = coffee()
    pixels = {
        "slice": whole[10:50, 20:90],
        "mirrored": whole[:40, 60::-1],
        "fortran": np.asfortranarray(whole[:30, :30]),
        "read-only": whole[:30, :30].copy(),
    }[kind]
    pixels.flags.writeable = False
    assert np.array_equal(decoded(encode_png(pixels)), pixels)


def test_png_of_a_photo_stays_near_the_size_of_pillows() -> None:
    pixels = coffee()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert len(encode_png(pixels)) < 1.5 * len(buffer.getvalue())


def test_jpeg_looks_like_the_picture_in_the_right_colours() -> None:
    rgb = coffee()
    difference = decoded(encode_jpeg(rgb)).astype(int) - rgb
    assert np.abs(difference).mean() < 3


def test_jpeg_of_a_slice_is_that_of_its_copy() -> None:
    part = coffee()[5:77, 9:101]
    assert encode_jpeg(part) == encode_jpeg(part.copy())


def test_jpeg_quality_trades_size() -> None:
    rgb = coffee()
    assert len(encode_jpeg(rgb, quality=40)) < len(encode_jpeg(rgb)) / 2


@pytest.mark.parametrize("quality", [0, 101, -1])
def test_jpeg_quality_out_of_range_is_named(quality: int) -> None:
    with pytest.raises(ConfigError, match=f"1 to 100, got {quality}") as caught:
        encode_jpeg(np.zeros((4, 4, 3), np.uint8), quality=quality)
    assert caught.value.field == "quality"


def test_picture_too_wide_for_jpeg_is_an_error_that_says_what_to_use() -> None:
    wide = np.zeros((1, 65_501, 3), np.uint8)
    with pytest.raises(InputError, match="65501x1: use PNG"):
        encode_jpeg(wide)
    assert decoded(encode_png(wide)).shape == wide.shape


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 0, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 2), np.uint8),
        np.zeros((5, 5, 3), np.uint16),
        np.zeros((5, 5, 3), np.float64),
    ],
    ids=lambda pixels: f"{pixels.shape}-{pixels.dtype}",
)
def test_what_is_no_picture_is_an_error_that_shows_it(pixels: NDArray[np.uint8]) -> None:
    for encode in (encode_png, encode_jpeg):
        with pytest.raises(InputError) as caught:
            encode(pixels)
        assert f"{pixels.shape} {pixels.dtype}" in str(caught.value)


def test_jpeg_refuses_alpha() -> None:
    with pytest.raises(InputError, match=r"\(h, w, 3\) uint8"):
        encode_jpeg(np.zeros((4, 4, 4), np.uint8))

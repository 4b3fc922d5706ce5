import re
import struct
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segpipe.vision.image import DecodedImage, decode_image
from segpipe_tests.vision.icc import DISPLAY_P3_PRIMARIES, rgb_profile
from segpipe_tests.vision.photos import corners, encode, png_chunk, with_chunk

PICTURE = corners()
PLAIN = encode(PICTURE, "PNG")
SRGB_PLACES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_PLACES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
_NAMED_CODES = re.compile(rb"(colrnclx).{4}", re.DOTALL)
WAYS = ("PNG", "HEIF", "AVIF")


def _coded(picture: NDArray[np.uint8], name: str, primaries: int, transfer: int) -> bytes:
    """The picture as a file whose colours are named by code points."""
    if name == "PNG":
        chunk = png_chunk(b"cICP", bytes((primaries, transfer, 0, 1)))
        return with_chunk(encode(picture, name), chunk)
    codes = struct.pack(">HH", primaries, transfer)
    return _NAMED_CODES.sub(lambda found: found[1] + codes, encode(picture, name))


def _one_colour(name: str, primaries: int, transfer: int, *levels: int) -> DecodedImage:
    picture = np.full((16, 16, 3), levels, np.uint8)
    return decode_image(_coded(picture, name, primaries, transfer))


def _srgb(light: float) -> float:
    return 255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("name", WAYS)
def test_display_p3_by_its_code_is_what_its_profile_makes(name: str) -> None:
    by_profile = encode(PICTURE, "PNG", icc_profile=rgb_profile(DISPLAY_P3_PRIMARIES))
    expected = decode_image(by_profile).rgb.astype(int)

    decoded = decode_image(_coded(PICTURE, name, 12, 13))

    np.testing.assert_allclose(decoded.rgb, expected, atol=2 if name == "PNG" else 20)
    assert decoded.warnings == ()


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("codes", [(1, 13), (1, 1), (2, 2), (1, 6)])
def test_codes_of_srgb_and_its_like_change_nothing(name: str, codes: tuple[int, int]) -> None:
    decoded = decode_image(_coded(PICTURE, name, *codes))

    np.testing.assert_array_equal(decoded.rgb, decode_image(encode(PICTURE, name)).rgb)
    assert decoded.warnings == ()


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize(
    ("transfer", "hdr", "white", "middle"),
    # The signal of 203 nits (Rep. ITU-R BT.2408, table 1), and half of its light.
    [(16, "PQ", 148, 130), (18, "HLG", 191, 161)],
)
def test_hdr_is_brought_to_paper_white_with_a_note(
    name: str, transfer: int, hdr: str, white: int, middle: int
) -> None:
    for level, light in ((0, 0.0), (middle, 0.5), (white, 1.0), (255, 1.0)):
        decoded = _one_colour(name, 9, transfer, level, level, level)

        np.testing.assert_allclose(decoded.rgb[8, 8], _srgb(light), atol=6)
        assert decoded.warnings == (
            f"HDR ({hdr}): what is brighter than the white of paper is cut off",
        )


def test_bt2020_is_converted() -> None:
    # Inside of sRGB: BT.2020's grey with a little red, by the matrix of Rep. ITU-R BT.2407.
    matrix = np.array(
        [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    )
    levels = (150, 110, 100)
    light = [((level / 255 + 0.055) / 1.055) ** 2.4 for level in levels]
    expected = [_srgb(part) for part in matrix @ light]

    np.testing.assert_allclose(_one_colour("PNG", 9, 13, *levels).rgb[0, 0], expected, atol=2)


@pytest.mark.parametrize("name", WAYS)
def test_codes_that_nobody_knows_are_a_note(name: str) -> None:
    decoded = decode_image(_coded(PICTURE, name, 22, 17))

    np.testing.assert_array_equal(decoded.rgb, decode_image(encode(PICTURE, name)).rgb)
    assert [note for note in decoded.warnings if "22" in note]
    assert [note for note in decoded.warnings if "17" in note]


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
@pytest.mark.parametrize("gamma", [100_000, 55_556, 35_000])
def test_a_pngs_gamma_is_applied(mode: str, gamma: int) -> None:
    picture = Image.new("RGB", (4, 4), (100, 100, 100)).convert(mode)
    data = with_chunk(encode(picture, "PNG"), png_chunk(b"gAMA", struct.pack(">I", gamma)))
    if mode == "P":
        data = with_chunk(
            encode(picture, "PNG"), png_chunk(b"gAMA", struct.pack(">I", gamma)), before=b"PLTE"
        )
    expected = _srgb((100 / 255) ** (100_000 / gamma))

    np.testing.assert_allclose(decode_image(data).rgb[0, 0], expected, atol=2)


def test_a_gamma_and_places_of_srgb_change_nothing() -> None:
    data = with_chunk(PLAIN, png_chunk(b"cHRM", struct.pack(">8I", *SRGB_PLACES)))
    data = with_chunk(data, png_chunk(b"gAMA", struct.pack(">I", 45_455)))

    np.testing.assert_array_equal(decode_image(data).rgb, PICTURE)
    assert decode_image(data).warnings == ()


def test_the_places_of_primaries_in_a_png_are_applied() -> None:
    data = with_chunk(PLAIN, png_chunk(b"cHRM", struct.pack(">8I", *P3_PLACES)))
    by_profile = encode(PICTURE, "PNG", icc_profile=rgb_profile(DISPLAY_P3_PRIMARIES))

    np.testing.assert_allclose(
        decode_image(data).rgb.astype(int), decode_image(by_profile).rgb, atol=2
    )


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"gAMA", bytes(4)),
        png_chunk(b"cHRM", bytes(32)),
        png_chunk(b"cHRM", struct.pack(">8I", *[50_000] * 8)),
        png_chunk(b"cHRM", b"\xff" * 32),
        png_chunk(b"gAMA", b"\xff" * 4),
        png_chunk(b"gAMA", struct.pack(">I", 1)),
    ],
    ids=["gamma-0", "places-0", "one-place", "far-places", "gamma-high", "gamma-low"],
)
def test_colours_that_make_no_sense_refuse_no_picture(chunk: bytes) -> None:
    assert decode_image(with_chunk(PLAIN, chunk)).rgb.shape == PICTURE.shape


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda: png_chunk(b"cICP", bytes((1, 13, 0, 1))), b"gAMA"),
        (lambda: png_chunk(b"sRGB", b"\0"), b"gAMA"),
    ],
)
def test_gamma_counts_only_where_nothing_better_is_said(
    first: Callable[[], bytes], second: bytes
) -> None:
    data = with_chunk(PLAIN, first() + png_chunk(second, struct.pack(">I", 100_000)))

    np.testing.assert_array_equal(decode_image(data).rgb, PICTURE)

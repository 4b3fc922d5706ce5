import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from segpipe.errors import CorruptImageError
from segpipe.vision import colour
from segpipe.vision.colour import needs_conversion, to_srgb
from segpipe.vision.image import decode_image
from segpipe_tests.vision.icc import (
    ADOBE_RGB_PRIMARIES,
    DISPLAY_P3_PRIMARIES,
    SRGB_CURVE,
    SRGB_PRIMARIES,
    cmyk_profile,
    grey_profile,
    rgb_profile,
)
from segpipe_tests.vision.photos import encode, png, tiff

ADOBE_GAMMA = 2.19921875
LITTLE_CMS_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

Triple = tuple[float, float, float]


def _one_colour(mode: str, colour: float | tuple[int, ...]) -> Image.Image:
    return Image.new(mode, (3, 2), colour)


def _pixel(picture: Image.Image, profile: bytes | None = None) -> list[int]:
    pixel: list[int] = to_srgb(picture, profile)[0][0, 0].tolist()
    return pixel


def _encode_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _decode_srgb(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    part = levels / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize(
    ("primaries", "gamma"),
    [(DISPLAY_P3_PRIMARIES, None), (ADOBE_RGB_PRIMARIES, ADOBE_GAMMA)],
    ids=["display-p3", "adobe-rgb"],
)
@pytest.mark.parametrize("colour", [(200, 100, 50), (30, 120, 60), (90, 90, 90), (255, 255, 255)])
def test_wide_gamut_colours_become_what_the_matrices_say(
    primaries: tuple[Triple, ...], gamma: float | None, colour: tuple[int, int, int]
) -> None:
    levels = np.array(colour, np.float64)
    linear = _decode_srgb(levels) if gamma is None else (levels / 255) ** gamma
    to_linear_srgb = np.linalg.inv(np.transpose(SRGB_PRIMARIES)) @ np.transpose(primaries)
    expected = _encode_srgb(to_linear_srgb @ linear)

    profile = rgb_profile(primaries, SRGB_CURVE if gamma is None else (gamma,))

    assert needs_conversion(profile)
    np.testing.assert_allclose(_pixel(_one_colour("RGB", colour), profile), expected, atol=2)


@pytest.mark.parametrize(
    "profile",
    [None, b"", LITTLE_CMS_SRGB, rgb_profile(SRGB_PRIMARIES)],
    ids=["none", "empty", "little-cms", "by-hand"],
)
def test_srgb_needs_no_conversion_and_is_left_exactly_as_it_is(profile: bytes | None) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)

    rgb, _, notes = to_srgb(Image.fromarray(samples), profile)

    assert not needs_conversion(profile)
    np.testing.assert_array_equal(rgb, samples)
    assert notes == ()


def test_grey_goes_through_its_grey_profile() -> None:
    expected = _encode_srgb(np.full(3, (100 / 255) ** 1.0))

    np.testing.assert_allclose(_pixel(_one_colour("L", 100), grey_profile(1.0)), expected, atol=2)


def test_grey_under_an_rgb_profile_is_converted_as_rgb() -> None:
    profile = rgb_profile(SRGB_PRIMARIES, (1.0,))
    expected = _encode_srgb(np.full(3, 100 / 255))

    np.testing.assert_allclose(_pixel(_one_colour("L", 100), profile), expected, atol=2)


def test_cmyk_goes_through_its_profile() -> None:
    # L* = 50 without colour is sRGB grey 119, however cyan the ink sounds.
    profile = cmyk_profile(cyan_lab=(50, 0, 0))

    rgb, _, notes = to_srgb(_one_colour("CMYK", (255, 0, 0, 0)), profile)

    np.testing.assert_allclose(rgb[0, 0], 119, atol=2)
    np.testing.assert_allclose(_pixel(_one_colour("CMYK", (0, 0, 0, 0)), profile), 255, atol=1)
    assert notes == ()


def test_cmyk_without_a_profile_is_converted_by_formula_and_says_so() -> None:
    rgb, _, notes = to_srgb(_one_colour("CMYK", (255, 0, 0, 0)), None)

    assert rgb[0, 0].tolist() == [0, 255, 255]
    assert notes == ("CMYK without a colour profile: colours are a guess",)


@pytest.mark.parametrize(
    ("mode", "profile", "reason"),
    [
        ("RGB", b"not a profile at all", "not one for RGB"),
        ("RGB", LITTLE_CMS_SRGB[:200], "damaged"),
        ("RGB", rgb_profile(DISPLAY_P3_PRIMARIES)[:150], "damaged"),
        ("RGB", grey_profile(1.8), "not one for RGB"),
        ("L", cmyk_profile((50, 0, 0)), "not one for L"),
        ("CMYK", rgb_profile(DISPLAY_P3_PRIMARIES), "not one for CMYK"),
    ],
)
def test_an_unusable_profile_is_ignored_with_a_warning(
    mode: str, profile: bytes, reason: str
) -> None:
    picture = _one_colour(mode, 77 if mode == "L" else 0)

    rgb, _, notes = to_srgb(picture, profile)

    np.testing.assert_array_equal(rgb, np.asarray(picture.convert("RGB")))
    assert len(notes) == 1
    assert "colour profile ignored" in notes[0]
    assert reason in notes[0]


def test_colours_are_converted_before_they_are_laid_on_white() -> None:
    profile = rgb_profile(DISPLAY_P3_PRIMARIES)
    opaque = np.array(_pixel(_one_colour("RGB", (200, 100, 50)), profile))

    half = _pixel(_one_colour("RGBA", (200, 100, 50, 128)), profile)

    np.testing.assert_allclose(half, opaque * 128 / 255 + 255 * 127 / 255, atol=1)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("1", 0, [0, 0, 0]),
        ("L", 90, [90, 90, 90]),
        ("LA", (90, 255), [90, 90, 90]),
        ("LA", (90, 0), [255, 255, 255]),
        ("La", (64, 128), [191, 191, 191]),
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
        ("RGBa", (10, 20, 30, 0), [255, 255, 255]),
        ("YCbCr", (255, 128, 128), [255, 255, 255]),
    ],
)
def test_every_mode_becomes_rgb_on_white(
    mode: str, colour: int | tuple[int, ...], expected: list[int]
) -> None:
    np.testing.assert_allclose(_pixel(_one_colour(mode, colour)), expected, atol=1)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_a_colour_named_transparent_shows_white(mode: str) -> None:
    picture = _one_colour(mode, 0)
    picture.info["transparency"] = (0, 0, 0) if mode == "RGB" else 0

    assert _pixel(picture) == [255, 255, 255]


def test_a_palette_gives_its_colours() -> None:
    picture = _one_colour("P", 1)
    picture.putpalette([0, 0, 0, 12, 34, 56])

    assert _pixel(picture) == [12, 34, 56]


def test_16_bits_are_scaled_over_the_whole_range() -> None:
    samples = np.array([[0, 128, 129, 257, 32768, 65279, 65535]], np.uint16)

    rgb, _, notes = to_srgb(Image.frombuffer("I;16", (7, 1), samples), None)

    assert rgb[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255]
    assert notes == ()


def test_floats_of_0_to_1_are_scaled_as_they_are() -> None:
    samples = np.array([[0.0, 0.25, 0.5]], np.float32)

    rgb, _, notes = to_srgb(Image.fromarray(samples), None)

    assert rgb[0, :, 0].tolist() == [0, 64, 128]
    assert notes == ()


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([[-1, 0, 3]], np.float32), [0, 64, 255]),
        (np.array([[1000, 2000, 3000]], np.float32), [0, 128, 255]),
        (np.array([[7, 7, 7]], np.float32), [0, 0, 0]),
        (np.array([[0, 1_000_000, 2_000_000_000]], np.int32), [0, 0, 255]),
    ],
)
def test_numbers_without_an_agreed_white_are_stretched_with_a_warning(
    samples: NDArray[np.float32 | np.int32], expected: list[int]
) -> None:
    rgb, _, notes = to_srgb(Image.fromarray(samples), None)

    assert rgb[0, :, 0].tolist() == expected
    assert len(notes) == 1
    assert "no agreed white" in notes[0]


def test_floats_that_are_no_number_become_black_or_white_with_a_warning() -> None:
    samples = np.array([[np.nan, np.inf, -np.inf, 0.5]], np.float32)

    rgb, _, notes = to_srgb(Image.fromarray(samples), None)

    assert rgb[0, :, 0].tolist() == [0, 255, 0, 128]
    assert notes == ("values that are no finite number: shown as black or white",)


def test_the_array_is_writable_and_contiguous() -> None:
    rgb, _, _ = to_srgb(_one_colour("L", 3), None)

    assert rgb.dtype == np.uint8
    assert rgb.shape == (2, 3, 3)
    assert rgb.flags.c_contiguous
    assert rgb.flags.writeable


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_grey_tiff_is_scaled_not_clipped(byteorder: str, compression: str | None) -> None:
    samples = np.array([[0, 255, 256, 32768, 65535]], np.uint16)

    data = tiff(samples, byteorder=byteorder, compression=compression, photometric="minisblack")

    assert decode_image(data).rgb[0, :, 0].tolist() == [0, 1, 1, 128, 255]


def test_16_bit_grey_png_is_scaled_not_clipped() -> None:
    samples = np.array([[0, 255, 256, 32768, 65535]], np.uint16)

    data = encode(Image.frombuffer("I;16", (5, 1), samples), "PNG")

    assert decode_image(data).rgb[0, :, 0].tolist() == [0, 1, 1, 128, 255]


def _png_16_bit_rgb(samples: NDArray[np.uint16]) -> bytes:
    rows = [row.astype(">u2").tobytes() for row in samples]
    return png(rows, samples.shape[1], bits=16, colour=2)


@pytest.mark.parametrize(
    "encoded",
    [
        _png_16_bit_rgb,
        lambda samples: tiff(samples, photometric="rgb"),
        lambda samples: tiff(samples, photometric="rgb", byteorder=">", compression="zlib"),
    ],
    ids=["png", "tiff", "big-endian-tiff"],
)
def test_16_bit_rgb_is_scaled_not_clipped(encoded: object) -> None:
    samples = np.linspace(0, 65535, 60).astype(np.uint16).reshape(4, 5, 3)

    rgb = decode_image(encoded(samples)).rgb  # type: ignore[operator]

    np.testing.assert_allclose(rgb.astype(float), samples / 257, atol=1)
    assert rgb.max() == 255


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 5, 10]], np.float32), [0, 128, 255]),
        (np.array([[-100, 0, 155]], np.int32), [0, 100, 255]),
        (np.array([[-100, 0, 155]], np.int16), [0, 100, 255]),
        (np.array([[0, 2**31, 2**32 - 1]], np.uint32), [0, 128, 255]),
    ],
    ids=["float-unit", "float", "int32", "int16", "uint32"],
)
def test_tiffs_of_numbers_become_grey(samples: NDArray[np.generic], expected: list[int]) -> None:
    decoded = decode_image(tiff(samples, photometric="minisblack"))

    assert decoded.rgb[0, :, 0].tolist() == expected
    assert bool(decoded.warnings) == (samples.max() > 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_tiff_whose_white_is_zero_is_not_a_negative(dtype: type[np.generic]) -> None:
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max  # type: ignore[type-var]

    data = tiff(np.array([[0, white]], dtype), photometric="miniswhite")

    assert decode_image(data).rgb[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize(
    "data",
    [
        tiff(np.ones((3, 8, 8), np.uint16), photometric="rgb", planarconfig="separate"),
        tiff(np.ones((8, 8), np.float32), byteorder=">", compression="zlib"),
        tiff(np.ones((8, 8), np.float64)),
    ],
    ids=["planar-16-bit", "packed-big-endian-float", "float64"],
)
def test_a_tiff_that_would_be_read_wrongly_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptImageError, match="cannot be read"):
        decode_image(data)


def test_a_picture_that_is_converted_in_bands_is_the_one_that_is_converted_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 23, 4), np.uint8)
    pixels[:20, :, 3] = 255
    picture = Image.fromarray(pixels)
    modes = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")
    pictures = [picture.convert("RGB").convert(mode) for mode in modes[:-2]] + [picture]
    pictures += [picture.convert("RGB").convert("CMYK")]
    pictures[3].info["transparency"] = 3
    whole = [to_srgb(one, None) for one in pictures]
    monkeypatch.setattr(colour, "_BAND_PX", 50)
    for one, expected in zip(pictures, whole, strict=True):
        found = to_srgb(one, None)
        assert np.array_equal(found.rgb, expected.rgb), one.mode
        assert (found.alpha is None, found.notes) == (expected.alpha is None, expected.notes)
        if found.alpha is not None and expected.alpha is not None:
            assert np.array_equal(found.alpha, expected.alpha), one.mode

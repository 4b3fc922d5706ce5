import io
import os
import pickle
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile

from segpipe.errors import (
    CorruptImageError,
    ImageTooLargeError,
    PhotoError,
    UnsupportedFormatError,
)
from segpipe.vision.image import decode_image, upright_size
from segpipe.vision.image_formats import FORMATS
from segpipe_tests.vision.icc import DISPLAY_P3_PRIMARIES, cmyk_profile, rgb_profile
from segpipe_tests.vision.photos import corners, encode, png, tiff, with_orientation

PICTURE = corners()
LEVELS_LOST = {"JPEG": 6, "GIF": 60, "AVIF": 8, "HEIF": 6}
"""How far a decoded sample may be from the original; other formats lose nothing."""
TURNED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}
FILES = {name: encode(PICTURE, name) for name in FORMATS} | {
    "progressive": encode(PICTURE, "JPEG", progressive=True),
    "grey": encode(Image.fromarray(PICTURE).convert("L"), "JPEG"),
    "cmyk": encode(Image.fromarray(PICTURE).convert("CMYK"), "JPEG"),
    "turned": with_orientation(PICTURE, "JPEG", 6),
    "profile": encode(PICTURE, "JPEG", icc_profile=rgb_profile(DISPLAY_P3_PRIMARIES)),
    "packed tiff": encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "deep tiff": tiff(np.arange(600, dtype=np.uint16).reshape(20, 30)),
    "palette": encode(Image.fromarray(PICTURE).convert("P"), "PNG", transparency=3),
    "animation": encode(PICTURE, "GIF", save_all=True, append_images=[Image.new("RGB", (48, 32))]),
}


def _close(rgb: NDArray[np.uint8], expected: NDArray[np.uint8], name: str) -> None:
    assert rgb.shape == expected.shape
    np.testing.assert_allclose(rgb.astype(int), expected, atol=LEVELS_LOST.get(name, 0))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_its_picture(name: str) -> None:
    decoded = decode_image(encode(PICTURE, name))

    _close(decoded.rgb, PICTURE, name)
    assert decoded.format == name
    assert decoded.warnings == ()
    assert decoded.rgb.dtype == np.uint8
    assert decoded.rgb.flags.c_contiguous
    assert decoded.rgb.flags.writeable


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_the_smallest_pictures_keep_their_shape(name: str, size: tuple[int, int]) -> None:
    width, height = size

    assert decode_image(encode(corners(*size), name)).rgb.shape == (height, width, 3)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_of_one_pixel_keeps_its_shape(mode: str) -> None:
    assert decode_image(encode(Image.new(mode, (1, 1)), "JPEG")).rgb.shape == (1, 1, 3)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_what_pillow_gives(mode: str, subsampling: int, progressive: bool) -> None:
    image = Image.fromarray(corners(301, 203)).convert(mode)
    data = encode(image, "JPEG", quality=85, subsampling=subsampling, progressive=progressive)

    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(opened.convert("RGB"))

    np.testing.assert_allclose(decode_image(data).rgb.astype(int), expected, atol=1)


def test_a_jpeg_of_rgb_samples_is_not_taken_for_ycc() -> None:
    _close(decode_image(encode(PICTURE, "JPEG", keep_rgb=True)).rgb, PICTURE, "JPEG")


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("AVIF", {}),
        ("HEIF", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value.values()),
)
def test_orientation_is_applied_once(
    name: str, options: dict[str, object], orientation: int
) -> None:
    decoded = decode_image(with_orientation(PICTURE, name, orientation, **options))

    _close(decoded.rgb, TURNED[orientation](PICTURE), name)
    assert decoded.rgb.flags.c_contiguous


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_orientation_is_applied_to_jpegs_of_any_colours(mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.new(mode, (5, 3)), "JPEG", exif=exif.tobytes())

    assert decode_image(data).rgb.shape == (5, 3, 3)


@pytest.mark.parametrize("orientation", [*TURNED, 0, 9])
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "BMP"])
def test_the_size_is_known_without_decoding(name: str, orientation: int) -> None:
    data = encode(PICTURE, name) if name == "GIF" else with_orientation(PICTURE, name, orientation)
    height, width, _ = decode_image(data).rgb.shape
    assert upright_size(data) == (width, height)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_that_decodes_has_its_size(name: str) -> None:
    height, width, _ = decode_image(FILES[name]).rgb.shape
    assert upright_size(FILES[name]) == (width, height)


def test_no_size_is_told_of_what_is_no_photo_or_too_large() -> None:
    with pytest.raises(UnsupportedFormatError):
        upright_size(b"no photo")
    with pytest.raises(CorruptImageError):
        upright_size(FILES["JPEG"][:20])
    with pytest.raises(ImageTooLargeError):
        upright_size(FILES["JPEG"], max_pixels=100)


@pytest.mark.parametrize("name", ["JPEG", "progressive", "PNG", "TIFF", "BMP", "GIF"])
def test_a_size_has_no_limit_unless_one_is_set(name: str) -> None:
    assert upright_size(_bombs(12_000)[name]) == (12_000, 12_000)


@pytest.mark.parametrize("orientation", [0, 9, 1000])
def test_an_orientation_without_meaning_changes_nothing(orientation: int) -> None:
    _close(decode_image(with_orientation(PICTURE, "PNG", orientation)).rgb, PICTURE, "PNG")


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\x7f"])
def test_damaged_exif_is_ignored_with_a_warning(exif: bytes, name: str) -> None:
    decoded = decode_image(encode(PICTURE, name, exif=exif))

    _close(decoded.rgb, PICTURE, name)
    assert decoded.warnings == ("EXIF data without a readable tag: the photo may lie on its side",)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_wide_gamut_profile_is_applied(name: str) -> None:
    image = Image.new("RGB", (16, 16), (200, 100, 50))

    decoded = decode_image(encode(image, name, icc_profile=rgb_profile(DISPLAY_P3_PRIMARIES)))

    # The same colour in sRGB, by the matrices of the two spaces.
    np.testing.assert_allclose(decoded.rgb[8, 8], (215, 93, 31), atol=6)
    assert decoded.warnings == ()


def test_an_srgb_profile_leaves_a_jpeg_as_it_is() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    with_profile = decode_image(encode(PICTURE, "JPEG", icc_profile=profile))

    np.testing.assert_array_equal(with_profile.rgb, decode_image(FILES["JPEG"]).rgb)
    assert with_profile.warnings == ()


def test_a_damaged_profile_is_ignored_with_a_warning() -> None:
    decoded = decode_image(encode(PICTURE, "JPEG", icc_profile=b"rubbish" * 30))

    np.testing.assert_array_equal(decoded.rgb, decode_image(FILES["JPEG"]).rgb)
    assert len(decoded.warnings) == 1
    assert "colour profile ignored" in decoded.warnings[0]


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_photos_use_their_profile(name: str) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))

    decoded = decode_image(encode(cyan, name, icc_profile=cmyk_profile((50, 0, 0))))

    np.testing.assert_allclose(decoded.rgb[8, 8], 119, atol=3)
    assert decoded.warnings == ()


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


def test_one_bit_and_palette_and_transparent_photos_lie_on_white() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])

    assert decode_image(encode(Image.new("1", (4, 4), 1), "PNG")).rgb.min() == 255
    assert decode_image(encode(palette, "PNG")).rgb[0, 0].tolist() == [10, 20, 30]
    assert decode_image(encode(palette, "PNG", transparency=1)).rgb.min() == 255
    assert decode_image(encode(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "WEBP")).rgb.min() == 255


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "AVIF"])
def test_only_the_first_frame_of_an_animation_is_used_with_a_warning(name: str) -> None:
    others = [Image.new("RGB", (48, 32), colour) for colour in ("red", "blue")]

    decoded = decode_image(encode(PICTURE, name, save_all=True, append_images=others))

    _close(decoded.rgb, PICTURE, name)
    assert decoded.warnings == ("animated: only the first of 3 frames is used",)


def test_only_the_first_page_of_a_tiff_is_used_with_a_warning() -> None:
    pages = [Image.new("RGB", (5, 5), "red")]

    decoded = decode_image(encode(PICTURE, "TIFF", save_all=True, append_images=pages))

    _close(decoded.rgb, PICTURE, "TIFF")
    assert decoded.warnings == ("2 pictures in one file: only the main one is used",)


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"this is text", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF", b"BM and more text"],
)
def test_bytes_that_are_no_photo_are_refused_as_such(data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match="give one of JPEG, PNG"):
        decode_image(data)


@pytest.mark.parametrize("name", ["EPS", "ICO", "PPM", "TGA", "JPEG2000", "PCX"])
def test_formats_that_pillow_knows_and_we_do_not_open_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedFormatError):
        decode_image(encode(PICTURE, name))


@pytest.mark.parametrize("kept", [0.02, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", sorted(FILES.keys() - {"animation"}))
@pytest.mark.parametrize("pillow_tolerates", [False, True])
def test_a_truncated_file_is_an_error(
    name: str, kept: float, pillow_tolerates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", pillow_tolerates)
    data = FILES[name]

    with pytest.raises((CorruptImageError, UnsupportedFormatError)):
        decode_image(data[: int(len(data) * kept)])


def test_an_animation_that_breaks_off_after_its_first_frame_still_gives_that_frame() -> None:
    _close(decode_image(FILES["animation"][:-100]).rgb, PICTURE, "GIF")


@pytest.mark.parametrize("name", [*FORMATS, "progressive", "packed tiff", "cmyk"])
def test_a_file_cut_short_by_a_few_bytes_is_an_error(name: str) -> None:
    cut = 4 if name == "GIF" else 1  # a GIF ends with two bytes that hold no pixel

    with pytest.raises(CorruptImageError):
        decode_image(FILES[name][:-cut])


@pytest.mark.parametrize("name", FORMATS)
def test_more_pixels_than_the_limit_are_refused_and_as_many_are_not(name: str) -> None:
    data = encode(corners(128, 64), name)  # no encoder pads these sides

    assert decode_image(data, max_pixels=128 * 64).rgb.shape == (64, 128, 3)
    with pytest.raises(ImageTooLargeError, match=re.escape("128 x 64 pixels")):
        decode_image(data, max_pixels=128 * 64 - 1)


def _bombs(side: int = 40_000) -> dict[str, bytes]:
    """A small file of each format whose header announces side x side pixels."""
    size = (side, side)
    png, bmp, gif = (bytearray(FILES[name]) for name in ("PNG", "BMP", "GIF"))
    png[16:24] = struct.pack(">II", *size)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    bmp[18:26] = struct.pack("<ii", *size)
    gif[6:10] = struct.pack("<HH", *size)
    jpegs = {}
    for name in ("JPEG", "progressive"):
        start = re.search(rb"\xff[\xc0\xc2]\0\x11\x08", FILES[name])
        assert start is not None
        jpeg = bytearray(FILES[name])
        jpeg[start.end() : start.end() + 4] = struct.pack(">HH", *size)
        jpegs[name] = bytes(jpeg)
    canvas = (side - 1).to_bytes(3, "little")
    webp = b"VP8X" + struct.pack("<II", 10, 0) + canvas + canvas + FILES["WEBP"][12:]
    extents = {
        name: re.sub(
            rb"(ispe\0{4}).{8}",
            lambda m: m[1] + struct.pack(">II", *size),
            FILES[name],
            flags=re.DOTALL,
        )
        for name in ("AVIF", "HEIF")
    }
    tags = struct.pack("<4sIH", b"II*\0", 8, 8)
    for tag, value in ((256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1)):
        tags += struct.pack("<HHII", tag, 4, 1, value)
    tags += struct.pack("<HHIII", 279, 4, 1, side * side, 0)
    return (
        jpegs
        | extents
        | {
            "PNG": bytes(png),
            "BMP": bytes(bmp),
            "GIF": bytes(gif),
            "WEBP": b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp,
            "TIFF": tags,
        }
    )


@pytest.mark.parametrize("name", [*FORMATS, "progressive"])
def test_a_header_bomb_is_refused(name: str) -> None:
    with pytest.raises(ImageTooLargeError, match=re.escape("40000 x 40000 pixels")):
        decode_image(_bombs()[name])


@pytest.mark.parametrize("name", [*FORMATS, "progressive"])
def test_a_bomb_below_pillows_own_alarm_is_refused_too(name: str) -> None:
    with pytest.raises(ImageTooLargeError, match=re.escape("10001 x 10001 pixels")):
        decode_image(_bombs(10_001)[name])


_REFUSE_ALL_IN_LITTLE_MEMORY = """
import pickle, resource, sys
from segpipe.errors import ImageTooLargeError
from segpipe.vision.image import decode_image, upright_size
bombs, harmless = pickle.load(sys.stdin.buffer)
for data in harmless:
    decode_image(data)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 64 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for data in bombs:
    try:
        decode_image(data)
    except ImageTooLargeError as error:
        assert "more than the limit" in str(error), error
    else:
        raise AssertionError("decoded")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and needs RLIMIT_AS")
def test_refusing_a_bomb_needs_next_to_no_memory() -> None:
    bombs = [*_bombs().values(), *_bombs(10_001).values()]

    subprocess.run(
        [sys.executable, "-c", _REFUSE_ALL_IN_LITTLE_MEMORY],
        input=pickle.dumps((bombs, list(FILES.values()))),
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        check=True,
    )


@pytest.mark.parametrize("name", FORMATS)
def test_pillows_alarm_for_large_photos_is_not_heard(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PICTURE.size // 3 - 1)

    _close(decode_image(FILES[name]).rgb, PICTURE, name)


def test_a_photo_above_the_default_limit_is_decoded_where_a_setting_allows_it() -> None:
    data = encode(Image.new("1", (10_100, 10_000), 1), "PNG")

    with pytest.raises(ImageTooLargeError, match="100,000,000"):
        decode_image(data)
    assert decode_image(data, max_pixels=101_000_000).rgb.shape == (10_000, 10_100, 3)


@pytest.mark.parametrize("name", [*FORMATS, "animation", "packed tiff"])
def test_no_limit_counts_but_the_one_that_is_set(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pillow refuses what is twice as large as its own limit, by default 178 million pixels.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    assert decode_image(FILES[name]).rgb.shape == PICTURE.shape
    assert Image.MAX_IMAGE_PIXELS == 100


def test_threads_may_decode_at_once() -> None:
    expected = {name: decode_image(data).rgb for name, data in FILES.items()}

    with ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(lambda name: (name, decode_image(FILES[name])), [*FILES] * 5))

    for name, image in decoded:
        np.testing.assert_array_equal(image.rgb, expected[name])


def _rgb_or_refused(data: bytes) -> None:
    try:
        decoded = decode_image(data, max_pixels=1_000_000)
    except PhotoError:
        return
    assert decoded.rgb.ndim == 3
    assert decoded.rgb.dtype == np.uint8
    assert decoded.rgb.flags.c_contiguous


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_a_mutated_file_is_decoded_or_refused_and_nothing_else(
    name: str, data: st.DataObject
) -> None:
    original = FILES[name]
    mutated = bytearray(original)
    # Most of what can be misunderstood is in the header.
    place = st.integers(0, min(700, len(original) - 1)) | st.integers(0, len(original) - 1)
    for at, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=8)):
        mutated[at] = value
    end = data.draw(st.just(len(original)) | place)

    _rgb_or_refused(bytes(mutated[:end]))


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(sorted(FILES)), kept=st.integers(4, 64), tail=st.binary(max_size=300))
def test_rubbish_behind_a_true_beginning_is_refused_and_nothing_else(
    name: str, kept: int, tail: bytes
) -> None:
    _rgb_or_refused(FILES[name][:kept] + tail)


@pytest.mark.parametrize(
    ("tags", "warns"),
    [
        ({0xA001: 0xFFFF, 0xA005: {1: "R03"}}, True),
        ({0xA001: 2}, True),
        ({0xA001: 0xFFFF, 0xA005: {1: "R98"}}, False),
        ({0xA001: 1}, False),
        ({}, False),
    ],
)
def test_adobe_rgb_that_only_exif_names_is_a_warning(tags: dict[int, object], warns: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    exif.get_ifd(0x8769).update(tags)
    data = encode(PICTURE, "JPEG", exif=exif.tobytes())
    assert any("Adobe RGB" in warning for warning in decode_image(data).warnings) is warns

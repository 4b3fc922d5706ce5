import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from segpipe.errors import (
    CorruptImageError,
    ImageTooLargeError,
    PhotoError,
    UnsupportedFormatError,
)
from segpipe.vision.image import decode_image, decoding_bytes, upright_size
from segpipe.vision.image_formats import FORMATS
from segpipe_tests.vision.icc import DISPLAY_P3_PRIMARIES, cmyk_profile, rgb_profile
from segpipe_tests.vision.photos import (
    FILES,
    PICTURE,
    assert_close,
    corners,
    encode,
    with_orientation,
)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_its_picture(name: str) -> None:
    decoded = decode_image(encode(PICTURE, name))

    assert_close(decoded.rgb, PICTURE, name)
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
    assert_close(decode_image(encode(PICTURE, "JPEG", keep_rgb=True)).rgb, PICTURE, "JPEG")


@pytest.mark.parametrize("orientation", range(10))
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


def test_one_bit_and_palette_and_transparent_photos_lie_on_white() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])

    assert decode_image(encode(Image.new("1", (4, 4), 1), "PNG")).rgb.min() == 255
    assert decode_image(encode(palette, "PNG")).rgb[0, 0].tolist() == [10, 20, 30]
    assert decode_image(encode(palette, "PNG", transparency=1)).rgb.min() == 255
    assert decode_image(encode(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "WEBP")).rgb.min() == 255


def test_the_alpha_of_a_photo_is_kept_and_turned_with_it() -> None:
    alpha = np.zeros((32, 48), np.uint8)
    alpha[5:20, 10:30] = 255
    rgba = np.dstack([np.full((32, 48, 3), 255, np.uint8), alpha])

    for name in ("PNG", "WEBP", "TIFF"):
        decoded = decode_image(encode(Image.fromarray(rgba), name))
        assert decoded.alpha is not None
        np.testing.assert_array_equal(decoded.alpha, alpha)
        assert decoded.rgb.min() == 255
    turned = with_orientation(rgba, "PNG", 6)
    np.testing.assert_array_equal(decode_image(turned).alpha, np.rot90(alpha, -1))


def test_a_photo_that_is_opaque_throughout_has_no_alpha() -> None:
    assert decode_image(FILES["PNG"]).alpha is None
    opaque = Image.fromarray(PICTURE).convert("RGBA")
    assert decode_image(encode(opaque, "PNG")).alpha is None


@pytest.mark.parametrize("is_transparent", [False, True])
def test_alpha_that_is_0_everywhere_in_a_bmp_means_opaque(is_transparent: bool) -> None:
    height, width = 32, 48
    alpha = np.zeros((height, width), np.uint8)
    if is_transparent:
        alpha[3:9, 4:20] = 255
    bgra = np.dstack([PICTURE[..., ::-1], alpha])[::-1]
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 32, 3, bgra.nbytes, 0, 0, 0, 0)
    head = (info + masks).ljust(124, b"\0")
    data = struct.pack("<2sIHHI", b"BM", 138 + bgra.nbytes, 0, 0, 138) + head + bgra.tobytes()

    decoded = decode_image(data)

    if is_transparent:
        assert decoded.alpha is not None
        np.testing.assert_array_equal(decoded.alpha, alpha)
        np.testing.assert_array_equal(decoded.rgb[alpha == 255], PICTURE[alpha == 255])
        assert decoded.rgb[alpha == 0].min() == 255
    else:
        assert decoded.alpha is None
        np.testing.assert_array_equal(decoded.rgb, PICTURE)


def test_a_png_whose_alpha_is_0_everywhere_is_transparent() -> None:
    decoded = decode_image(encode(Image.new("RGBA", (5, 4), (9, 9, 9, 0)), "PNG"))

    assert decoded.rgb.min() == 255
    assert decoded.alpha is not None
    assert decoded.alpha.max() == 0


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "AVIF"])
def test_only_the_first_frame_of_an_animation_is_used_with_a_warning(name: str) -> None:
    others = [Image.new("RGB", (48, 32), colour) for colour in ("red", "blue")]

    decoded = decode_image(encode(PICTURE, name, save_all=True, append_images=others))

    assert_close(decoded.rgb, PICTURE, name)
    assert decoded.warnings == ("animated: only the first of 3 frames is used",)


def test_only_the_first_page_of_a_tiff_is_used_with_a_warning() -> None:
    pages = [Image.new("RGB", (5, 5), "red")]

    decoded = decode_image(encode(PICTURE, "TIFF", save_all=True, append_images=pages))

    assert_close(decoded.rgb, PICTURE, "TIFF")
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
    assert_close(decode_image(FILES["animation"][:-100]).rgb, PICTURE, "GIF")


@pytest.mark.parametrize("name", [*FORMATS, "progressive", "packed tiff", "cmyk"])
def test_a_file_cut_short_by_a_few_bytes_is_an_error(name: str) -> None:
    cut = 4 if name == "GIF" else 1  # a GIF ends with two bytes that hold no pixel

    with pytest.raises(CorruptImageError):
        decode_image(FILES[name][:-cut])


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


def test_the_memory_that_decoding_takes_is_told_by_the_header_whatever_the_file() -> None:
    for name in FORMATS:
        data = encode(corners(128, 64), name)
        height, width = decode_image(data).rgb.shape[:2]
        assert 3 * width * height <= decoding_bytes(data) <= 40 * 128 * 64, name
    with pytest.raises(ImageTooLargeError):
        decoding_bytes(data, max_pixels=128 * 64 - 1)

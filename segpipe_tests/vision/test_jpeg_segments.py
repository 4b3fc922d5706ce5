import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segpipe.errors import CorruptImageError
from segpipe.vision.image import decode_image
from segpipe_tests.vision.icc import DISPLAY_P3_PRIMARIES, rgb_profile
from segpipe_tests.vision.photos import corners, encode, with_orientation, with_segment

PICTURE = corners()
PROFILE = rgb_profile(DISPLAY_P3_PRIMARIES)
FILES = {
    "JPEG": encode(PICTURE, "JPEG"),
    "progressive": encode(PICTURE, "JPEG", progressive=True),
    "grey": encode(Image.fromarray(PICTURE).convert("L"), "JPEG"),
    "cmyk": encode(Image.fromarray(PICTURE).convert("CMYK"), "JPEG"),
    "turned": with_orientation(PICTURE, "JPEG", 6),
    "profile": encode(PICTURE, "JPEG", icc_profile=PROFILE),
}
PLAIN = decode_image(FILES["JPEG"]).rgb


def _with_profile_pieces(*numbers: tuple[int, int]) -> bytes:
    """A JPEG whose profile lies in pieces that say (their number, how many there are)."""
    size = -(-len(PROFILE) // len(numbers))
    data = FILES["JPEG"]
    for at in reversed(range(len(numbers))):
        piece = PROFILE[at * size : (at + 1) * size]
        data = with_segment(data, 0xE2, b"ICC_PROFILE\0" + bytes(numbers[at]) + piece)
    return data


def test_a_profile_in_pieces_in_any_order_is_applied() -> None:
    whole = decode_image(FILES["profile"]).rgb

    for numbers in ([(1, 1)], [(1, 2), (2, 2)], [(1, 3), (2, 3), (3, 3)]):
        np.testing.assert_array_equal(decode_image(_with_profile_pieces(*numbers)).rgb, whole)
    half = len(PROFILE) // 2
    swapped = with_segment(FILES["JPEG"], 0xE2, b"ICC_PROFILE\0\x01\x02" + PROFILE[:half])
    swapped = with_segment(swapped, 0xE2, b"ICC_PROFILE\0\x02\x02" + PROFILE[half:])
    np.testing.assert_array_equal(decode_image(swapped).rgb, whole)
    assert decode_image(swapped).warnings == ()


@pytest.mark.parametrize(
    "numbers",
    [
        [(1, 1), (1, 1)],
        [(0, 1)],
        [(0, 2), (1, 2)],
        [(1, 2)],
        [(1, 2), (1, 2)],
        [(1, 2), (2, 3)],
        [(1, 0)],
        [(2, 1)],
    ],
    ids=["twice", "from-0", "two-from-0", "missing", "double", "two-counts", "no-count", "beyond"],
)
def test_a_profile_whose_pieces_are_numbered_wrongly_is_ignored_with_a_warning(
    numbers: list[tuple[int, int]],
) -> None:
    decoded = decode_image(_with_profile_pieces(*numbers))

    np.testing.assert_array_equal(decoded.rgb, PLAIN)
    assert [warning for warning in decoded.warnings if "colour profile ignored" in warning]


def test_a_wrongly_numbered_profile_hides_no_missing_pixels() -> None:
    data = _with_profile_pieces((0, 1))

    with pytest.raises(CorruptImageError):
        decode_image(data[: len(data) - 200] + b"\xff\xd9")


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (0xE0, b"JFIF\0"),
        (0xE0, b"JFXX\0\x10"),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(30)),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0rubbish"),
        (0xE2, b"FPXR\0"),
        (0xED, b"Photoshop 3.0\x008BIM\x03\xed\xff"),
        (0xEE, b"Adobe"),
        (0xFE, b"a comment"),
        (0xFE, b""),
    ],
    ids=lambda value: value[:8].decode("latin-1") if isinstance(value, bytes) else hex(value),
)
def test_a_damaged_segment_without_pixels_refuses_no_photo(code: int, body: bytes) -> None:
    decoded = decode_image(with_segment(FILES["JPEG"], code, body))

    np.testing.assert_array_equal(decoded.rgb, PLAIN)


@settings(max_examples=60, deadline=None)
@given(code=st.sampled_from([*range(0xE0, 0xF0), 0xFE]), body=st.binary(max_size=80))
@pytest.mark.parametrize(
    "start", [b"", b"JFIF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0"]
)
def test_no_segment_without_pixels_refuses_a_photo(start: bytes, code: int, body: bytes) -> None:
    decoded = decode_image(with_segment(FILES["JPEG"], code, start + body))

    assert {*decoded.rgb.shape[:2]} == {*PICTURE.shape[:2]}


@pytest.mark.parametrize("name", ["JPEG", "progressive", "grey", "cmyk"])
def test_a_truncated_jpeg_with_its_end_put_back_is_an_error(name: str) -> None:
    data = encode(corners(400, 300), "JPEG") if name == "JPEG" else FILES[name]

    with pytest.raises(CorruptImageError, match=r"[Pp]remature end"):
        decode_image(data[: len(data) * 7 // 10] + b"\xff\xd9")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_with_a_piece_missing_is_an_error(options: dict[str, object]) -> None:
    noise = np.random.default_rng(0).integers(0, 12, (300, 400, 3), np.uint8)
    data = encode(corners(400, 300) + noise, "JPEG", **options)
    middle = len(data) // 2

    with pytest.raises(CorruptImageError):
        decode_image(data[:middle] + data[middle + 2000 :])


def test_a_jpeg_with_a_wrong_header_as_some_phones_write_is_decoded_with_a_warning() -> None:
    data = FILES["JPEG"]
    last_coefficient = data.index(b"\xff\xda") + 2 + 2 + 1 + 3 * 2 + 1
    assert data[last_coefficient] == 63

    decoded = decode_image(data[:last_coefficient] + b"\0" + data[last_coefficient + 1 :])

    np.testing.assert_array_equal(decoded.rgb, decode_image(data).rgb)
    assert decoded.warnings == ("odd JPEG header: Invalid SOS parameters for sequential JPEG",)


_MOTION = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(range(256)) * 40


@pytest.mark.parametrize(
    "trailer",
    [bytes(4096), b"\xff" * 999, _MOTION, FILES["JPEG"], b"\0\0\x01\nImage_UTC_DataSEFHe\0SEFT"],
    ids=["zeros", "ones", "moving photo", "second picture", "named blocks"],
)
@pytest.mark.parametrize("name", ["JPEG", "progressive", "grey", "cmyk"])
def test_what_phones_write_after_the_end_of_a_jpeg_does_not_matter(
    name: str, trailer: bytes
) -> None:
    decoded = decode_image(FILES[name] + trailer)

    np.testing.assert_array_equal(decoded.rgb, decode_image(FILES[name]).rgb)
    assert decoded.warnings == decode_image(FILES[name]).warnings


@pytest.mark.parametrize("padding", [b"\0", bytes(16), bytes(5000), b"\xff\xff", b"\0\xff\0any"])
@pytest.mark.parametrize("marker", [b"\xff\xdb", b"\xff\xc4", b"\xff\xda"])
@pytest.mark.parametrize("name", ["JPEG", "progressive", "grey", "turned", "profile"])
def test_padding_in_the_header_of_a_jpeg_does_not_matter(
    name: str, marker: bytes, padding: bytes
) -> None:
    data = FILES[name]
    at = data.index(marker)

    decoded = decode_image(data[:at] + padding + data[at:])

    np.testing.assert_array_equal(decoded.rgb, decode_image(data).rgb)
    assert decoded.warnings == ()


@pytest.mark.parametrize("padding", [b"\0", bytes(40), bytes(5000), bytes(40) + b"\xff\xff"])
@pytest.mark.parametrize("seed", range(8))  # of some of these pictures the last byte is 255
def test_zeros_before_the_end_of_a_jpeg_do_not_matter(seed: int, padding: bytes) -> None:
    data = encode(np.random.default_rng(seed).integers(0, 256, (40, 56, 3), np.uint8), "JPEG")

    decoded = decode_image(data[:-2] + padding + data[-2:] + _MOTION)

    np.testing.assert_array_equal(decoded.rgb, decode_image(data).rgb)
    assert decoded.warnings == ()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.97])
@pytest.mark.parametrize("zeros", [1, 300, 100_000])
def test_zeros_in_place_of_pixels_are_no_padding(
    zeros: int, kept: float, options: dict[str, object]
) -> None:
    data = encode(corners(400, 300), "JPEG", **options)

    with pytest.raises(CorruptImageError):
        decode_image(data[: int(len(data) * kept)] + bytes(zeros) + b"\xff\xd9")


def test_a_phone_jpeg_with_a_second_picture_behind_it_is_a_plain_jpeg() -> None:
    second = [Image.new("RGB", (5, 5), "red")]
    image = Image.fromarray(PICTURE)

    data = encode(image, "MPO", save_all=True, append_images=second, quality=98, subsampling=0)
    decoded = decode_image(data)

    np.testing.assert_allclose(decoded.rgb.astype(int), PICTURE, atol=6)
    assert (decoded.format, decoded.warnings) == ("JPEG", ())

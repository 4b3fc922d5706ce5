import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from segpipe.vision.image import decode_image
from segpipe_tests.vision.photos import PICTURE, assert_close, encode, with_orientation

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

    assert_close(decoded.rgb, TURNED[orientation](PICTURE), name)
    assert decoded.rgb.flags.c_contiguous


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_orientation_is_applied_to_jpegs_of_any_colours(mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.new(mode, (5, 3)), "JPEG", exif=exif.tobytes())

    assert decode_image(data).rgb.shape == (5, 3, 3)


@pytest.mark.parametrize("orientation", [0, 9, 1000])
def test_an_orientation_without_meaning_changes_nothing(orientation: int) -> None:
    assert_close(decode_image(with_orientation(PICTURE, "PNG", orientation)).rgb, PICTURE, "PNG")


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\x7f"])
def test_damaged_exif_is_ignored_with_a_warning(exif: bytes, name: str) -> None:
    decoded = decode_image(encode(PICTURE, name, exif=exif))

    assert_close(decoded.rgb, PICTURE, name)
    assert decoded.warnings == ("EXIF data without a readable tag: the photo may lie on its side",)


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


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
def test_exif_that_is_sound_and_empty_is_no_warning(name: str, order: str) -> None:
    start = {"<": b"II", ">": b"MM"}[order]
    for exif in (
        struct.pack(f"{order}HIHI", 42, 8, 0, 0),
        struct.pack(f"{order}HIIHI", 42, 12, 0, 0, 0),
    ):
        decoded = decode_image(encode(PICTURE, name, exif=b"Exif\0\0" + start + exif))

        assert decoded.rgb.shape == PICTURE.shape
        assert decoded.warnings == ()


SIDEWAYS = b"MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\x87\x69\0\x04\0\0\0\x01"


@pytest.mark.parametrize("place", [0, 34, 10**6, 2**32 - 1])
def test_a_damaged_directory_of_exif_does_not_lose_the_orientation(place: int) -> None:
    exif = b"Exif\0\0" + SIDEWAYS + struct.pack(">II", place, 0)

    decoded = decode_image(encode(PICTURE, "PNG", exif=exif))

    np.testing.assert_array_equal(decoded.rgb, np.rot90(PICTURE, -1))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_damaged_exif_refuses_no_photo(name: str, data: st.DataObject) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0xA001] = 1
    file = bytearray(encode(PICTURE, name, exif=exif.tobytes()))
    if name == "TIFF":  # there, EXIF stands in a directory of its own behind the picture's
        (start,) = exif_pointer(bytes(file))
    else:
        start = file.index(b"MM\0*" if b"MM\0*" in file else b"II*\0")
    for at in data.draw(st.lists(st.integers(start, start + 40), min_size=1, max_size=5)):
        file[at % len(file)] = data.draw(st.integers(0, 255))

    assert sorted(decode_image(bytes(file)).rgb.shape) == sorted(PICTURE.shape)


def exif_pointer(data: bytes) -> tuple[int, ...]:
    """Where the EXIF directory of a little-endian TIFF starts."""
    return struct.unpack_from("<I", data, data.index(b"\x69\x87\x04\0\x01\0\0\0") + 8)

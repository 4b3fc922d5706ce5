import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segpipe.errors import CorruptImageError, PhotoError, UnsupportedFormatError
from segpipe.vision.image import decode_image, upright_size
from segpipe.vision.tiff_pages import camera_raw_name
from segpipe_tests.vision.icc import SRGB_PRIMARIES, rgb_profile
from segpipe_tests.vision.photos import corners, encode

PICTURE = corners()
THUMBNAIL = corners(12, 8)[:, ::-1].copy()
RAW_MESSAGE = "a camera's raw file: export a JPEG"
CFA, LINEAR_RAW = 32803, 34892
DNG_VERSION = (50706, 1, 4, (1, 4, 0, 0), True)


def _tiff(
    *pages: tuple[NDArray[np.generic], dict[str, Any]], byteorder: str = "<", bigtiff: bool = False
) -> bytes:
    """A TIFF of pages with their options."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=byteorder, bigtiff=bigtiff) as writer:  # type: ignore[arg-type]
        for pixels, options in pages:
            writer.write(pixels, metadata=None, **options)
    return file.getvalue()


def _pages(*pages: tuple[NDArray[np.uint8], int], **options: Any) -> bytes:
    """A TIFF of RGB pages with their NewSubfileType."""
    of_file = {name: options.pop(name) for name in ("byteorder", "bigtiff") if name in options}
    rgb = {"photometric": "rgb", **options}
    return _tiff(*((pixels, rgb | {"subfiletype": kind}) for pixels, kind in pages), **of_file)


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"byteorder": ">"}], ids=str
)
@pytest.mark.parametrize("kinds", [(1, 0), (1, 2), (3, 0), (1, 1, 0), (0, 1), (2, 2)], ids=str)
def test_the_page_that_is_no_thumbnail_is_the_picture(
    kinds: tuple[int, ...], options: dict[str, object]
) -> None:
    main = next(at for at, kind in enumerate(kinds) if not kind & 1)
    pages = [(PICTURE if at == main else THUMBNAIL, kind) for at, kind in enumerate(kinds)]

    data = _pages(*pages, **options)
    decoded = decode_image(data)

    np.testing.assert_array_equal(decoded.rgb, PICTURE)
    assert decoded.warnings == (f"{len(kinds)} pictures in one file: only the main one is used",)
    assert upright_size(data) == (PICTURE.shape[1], PICTURE.shape[0])


def test_a_mask_of_another_page_is_not_the_picture() -> None:
    mask = {"photometric": "mask", "subfiletype": 4}
    data = _tiff((np.ones((32, 48), np.bool_), mask), (PICTURE, {"photometric": "rgb"}))

    np.testing.assert_array_equal(decode_image(data).rgb, PICTURE)


@pytest.mark.parametrize("tag", [270, 305, 34675])
@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}], ids=str)
def test_a_damaged_tag_without_pixels_is_a_note(tag: int, options: dict[str, str]) -> None:
    data = bytearray(
        encode(
            PICTURE,
            "TIFF",
            description="a photo",
            software="a camera",
            icc_profile=rgb_profile(SRGB_PRIMARIES),
            **options,
        )
    )
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        at = file.pages[0].tags[tag].offset  # type: ignore[union-attr]
    data[at + 6] ^= 0x80  # of how many values there are, or where
    data[at + 11] ^= 0x80

    decoded = decode_image(bytes(data))

    np.testing.assert_array_equal(decoded.rgb, PICTURE)
    assert len(decoded.warnings) == 1
    assert f"TIFF tag {tag} is damaged" in decoded.warnings[0]
    assert ("colour profile ignored" in decoded.warnings[0]) is (tag == 34675)


@pytest.mark.parametrize("tag", [257, 258, 273])
def test_a_damaged_tag_of_pixels_is_an_error(tag: int) -> None:
    data = bytearray(encode(PICTURE, "TIFF"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        at = file.pages[0].tags[tag].offset  # type: ignore[union-attr]
    data[at + 11] ^= 0x7F

    with pytest.raises(PhotoError):
        decode_image(bytes(data))


def test_a_page_that_cannot_be_read_refuses_no_picture_beside_it() -> None:
    for pages in ([(THUMBNAIL, 1), (PICTURE, 0)], [(PICTURE, 0), (THUMBNAIL, 1)]):
        data = bytearray(_pages(*pages))
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            small = next(page for page in file.pages if page.shape == THUMBNAIL.shape)
            at = small.tags[262].valueoffset  # type: ignore[union-attr]
        data[at : at + 2] = struct.pack("<H", 999)  # a colour space that nobody knows

        np.testing.assert_array_equal(decode_image(bytes(data)).rgb, PICTURE)


def test_a_picture_that_calls_itself_a_thumbnail_is_the_picture_when_it_is_alone() -> None:
    np.testing.assert_array_equal(decode_image(_pages((PICTURE, 1))).rgb, PICTURE)


def test_a_chain_of_pages_that_runs_in_a_circle_ends() -> None:
    data = bytearray(_pages((PICTURE, 0), (THUMBNAIL, 1)))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        first, last = (page.offset for page in file.pages)
    (entries,) = struct.unpack_from("<H", data, last)
    struct.pack_into("<I", data, last + 2 + 12 * entries, first)

    np.testing.assert_array_equal(decode_image(bytes(data)).rgb, PICTURE)


def _tiff_raw(
    photometric: int = CFA, *, is_inner: bool = True, is_dng: bool = False, byteorder: str = "<"
) -> bytes:
    """A raw file as most cameras write it: a thumbnail, and the sensor's samples inside of it."""
    samples = np.arange(192, dtype=np.uint16).reshape(8, 8, 3)
    sensor = samples if photometric == LINEAR_RAW else samples[..., 0].copy()
    tags = (DNG_VERSION,) if is_dng else ()
    of_sensor = {"photometric": photometric}
    if not is_inner:
        return _tiff((sensor, of_sensor | {"extratags": tags}), byteorder=byteorder)
    small = {"photometric": "rgb", "subfiletype": 1, "subifds": 1, "extratags": tags}
    return _tiff((THUMBNAIL, small), (sensor, of_sensor), byteorder=byteorder)


RAW_FILES = {
    "DNG": _tiff_raw(is_dng=True),
    "DNG, linear": _tiff_raw(LINEAR_RAW, is_dng=True, is_inner=False),
    "NEF, ARW": _tiff_raw(),
    "NEF, big endian": _tiff_raw(byteorder=">"),
    "PEF": _tiff_raw(is_inner=False),
    "hidden": _tiff_raw(1),
    "CR2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(64),
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(64),
    "CRW": b"II\x1a\0\0\0HEAPCCDR" + bytes(64),
    "ORF": b"IIRO\x08\0\0\0" + bytes(64),
    "ORF, old": b"IIRS\x08\0\0\0" + bytes(64),
    "ORF, big endian": b"MMOR\0\0\0\x08" + bytes(64),
    "RW2": b"IIU\0\x18\0\0\0" + bytes(64),
    "RAF": b"FUJIFILMCCD-RAW 0201FF383501" + bytes(64),
    "X3F": b"FOVb" + bytes(64),
    "MRW": b"\0MRM" + bytes(64),
    "IIQ": b"II*\0\x08\0\0\0IIII" + bytes(64),
}


@pytest.mark.parametrize("kind", RAW_FILES)
def test_a_cameras_raw_file_is_refused_by_its_content(kind: str) -> None:
    for read in (decode_image, upright_size):
        with pytest.raises(UnsupportedFormatError, match=RAW_MESSAGE):
            read(RAW_FILES[kind])


@pytest.mark.parametrize("compression", [32767, 32770, 34713, 65000, 65535])
def test_samples_compressed_as_cameras_do_are_a_raw_file(compression: int) -> None:
    data = bytearray(_pages((PICTURE, 0)))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        at = file.pages[0].tags[259].valueoffset  # type: ignore[union-attr]
    data[at : at + 2] = struct.pack("<H", compression)

    with pytest.raises(UnsupportedFormatError, match=RAW_MESSAGE):
        decode_image(bytes(data))


def test_a_tiff_with_a_preview_inside_is_no_raw_file() -> None:
    small = {"photometric": "rgb", "subfiletype": 1}
    data = _tiff((PICTURE, {"photometric": "rgb", "subifds": 1}), (THUMBNAIL, small))

    np.testing.assert_array_equal(decode_image(data).rgb, PICTURE)
    assert camera_raw_name(data) is None


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(sorted(RAW_FILES)), data=st.data())
def test_a_damaged_raw_file_is_refused_and_nothing_else(name: str, data: st.DataObject) -> None:
    damaged = bytearray(RAW_FILES[name])
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=6)):
        damaged[at] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(damaged)))
    try:
        decode_image(bytes(damaged[:kept]))
    except PhotoError:
        return


def test_pages_that_cost_more_time_than_bytes_are_not_all_read() -> None:
    # Directories of 65,535 entries, each a byte after the other.
    count = 65_535
    data = b"II*\0" + struct.pack("<I", 8) + (b"\xff\xff" + bytes(10)) * 70_000
    with pytest.raises((CorruptImageError, UnsupportedFormatError)):
        decode_image(data)
    assert len(data) > 12 * count

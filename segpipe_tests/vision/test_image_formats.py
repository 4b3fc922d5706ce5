import os
import pickle
import re
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import pytest
from PIL import Image, ImageFile

from segpipe.errors import ImageTooLargeError
from segpipe.vision.image import decode_image, upright_size
from segpipe.vision.image_formats import FORMATS, announced_sizes, find_format, strict_pillow
from segpipe_tests.vision.photos import FILES, PICTURE, assert_close, corners, encode


def _ftyp(major: bytes, *compatible: bytes) -> bytes:
    brands = b"".join(compatible)
    return struct.pack(">I4s4sI", 16 + len(brands), b"ftyp", major, 0) + brands + b"\0\0\0\x08free"


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_known_by_its_bytes(name: str) -> None:
    assert find_format(encode(corners(), name)) == name


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", None),
        (b"BMW 320i, five doors, one owner", None),
        (b"GIF89", None),
        (b"RIFF\x04\0\0\0WAVEfmt ", None),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"MM\0+", "TIFF"),
        (_ftyp(b"heic", b"mif1"), "HEIF"),
        (_ftyp(b"mif1", b"heic"), "HEIF"),
        (_ftyp(b"mif1", b"avif"), "AVIF"),
        (_ftyp(b"isom", b"mp41"), None),
        (b"%!PS-Adobe-3.0 EPSF-3.0", None),
        (b"8BPS\0\x01", None),
        (b"\0\0\x01\0\x01\0", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"%PDF-1.7", None),
    ],
)
def test_only_listed_formats_are_known(data: bytes, name: str | None) -> None:
    assert find_format(data) == name


@pytest.mark.parametrize("options", [{}, {"lossless": False}, {"icc_profile": b"any"}])
@pytest.mark.parametrize("size", [(1, 1), (48, 32), (300, 7)])
def test_the_size_of_a_webp_is_read_from_each_kind_of_header(
    options: dict[str, object], size: tuple[int, int]
) -> None:
    assert announced_sizes(encode(corners(*size), "WEBP", **options), "WEBP") == [size]


@pytest.mark.parametrize("name", ["GIF", "AVIF", "HEIF"])
def test_the_announced_size_is_found(name: str) -> None:
    assert (64, 128) in announced_sizes(encode(corners(64, 128), name), name)


def test_strict_pillow_hides_warnings_and_leaves_every_setting_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    filters = list(warnings.filters)

    with strict_pillow():
        warnings.warn("of no interest", UserWarning, stacklevel=1)
        inside = ImageFile.LOAD_TRUNCATED_IMAGES

    assert (inside, ImageFile.LOAD_TRUNCATED_IMAGES) == (False, True)
    assert list(warnings.filters) == filters


def test_threads_are_strict_together_and_the_last_one_puts_the_settings_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    filters = list(warnings.filters)
    entered, may_leave = threading.Event(), threading.Event()

    def enter() -> None:
        with strict_pillow():
            entered.set()
            assert may_leave.wait(10)

    second = threading.Thread(target=enter)
    with strict_pillow():
        second.start()
        assert entered.wait(10)  # nobody waits for a long decoding of somebody else's
    settings = [ImageFile.LOAD_TRUNCATED_IMAGES]
    may_leave.set()
    second.join()
    settings.append(ImageFile.LOAD_TRUNCATED_IMAGES)
    assert settings == [False, True]
    assert list(warnings.filters) == filters


@pytest.mark.parametrize("name", ["JPEG", "progressive", "PNG", "TIFF", "BMP", "GIF"])
def test_a_size_has_no_limit_unless_one_is_set(name: str) -> None:
    assert upright_size(_bombs(12_000)[name]) == (12_000, 12_000)


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

    assert_close(decode_image(FILES[name]).rgb, PICTURE, name)


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

import struct
import threading
import warnings

import pytest
from PIL import ImageFile

from segpipe.vision.image_formats import FORMATS, announced_sizes, find_format, strict_pillow
from segpipe_tests.vision.photos import corners, encode


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


def test_one_thread_at_a_time_changes_the_settings() -> None:
    entered = threading.Event()

    def enter() -> None:
        with strict_pillow():
            entered.set()

    second = threading.Thread(target=enter)
    with strict_pillow():
        second.start()
        assert not entered.wait(0.05)
    second.join()
    assert entered.is_set()

"""Photos of 108 and 200 megapixels: memory, and the one setting that allows them."""

import io
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from segpipe.errors import ImageTooLargeError
from segpipe.flow.photo import PhotoSettings
from segpipe.server.server_settings import ServerSettings
from segpipe.vision.image import decode_image, decoding_bytes
from segpipe_tests.vision.icc import DISPLAY_P3_PRIMARIES, rgb_profile

SIZES_PX = {108: (12_000, 9000), 200: (16_320, 12_240)}
MOST_BYTES = 1_200_000_000
VIDEO_BYTES = 60_000_000
"""Phones write a short video behind a photo."""

DECODE = """
import sys
from pathlib import Path
from segpipe.vision.image import decode_image
height, width = decode_image(Path(sys.argv[1]).read_bytes(), max_pixels=None).rgb.shape[:2]
peak, = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(height, width, int(peak.split()[1]) * 1024)
"""


@cache
def large_jpeg(megapixels: int, orientation: int = 1) -> bytes:
    """A photo in Display P3 of one colour, which is quickly made."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", SIZES_PX[megapixels], (90, 140, 60)).save(
        file, "JPEG", exif=exif.tobytes(), icc_profile=rgb_profile(DISPLAY_P3_PRIMARIES)
    )
    return file.getvalue()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_of_200_megapixels_is_decoded_within_little_more_than_its_pixels(
    tmp_path: Path, orientation: int
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(large_jpeg(200, orientation) + bytes(VIDEO_BYTES))

    told = subprocess.run(
        [sys.executable, "-c", DECODE, str(photo)], capture_output=True, text=True, check=True
    )

    *shape, peak = map(int, told.stdout.split())
    assert shape == sorted(SIZES_PX[200], reverse=orientation == 6)
    assert peak <= MOST_BYTES


def test_the_refusal_names_the_setting_and_a_value_that_is_enough() -> None:
    for megapixels, needed in ((108, 108), (200, 200)):
        data = large_jpeg(megapixels)
        for settings in (PhotoSettings(), ServerSettings()):
            with pytest.raises(ImageTooLargeError, match=f"set max_megapixels to {needed}$"):
                decoding_bytes(data, max_pixels=settings.max_pixels)
        for settings in (
            PhotoSettings(max_megapixels=needed),
            ServerSettings(max_megapixels=needed),
        ):
            assert decoding_bytes(data, max_pixels=settings.max_pixels) < MOST_BYTES


def test_a_size_that_no_photo_has_is_no_matter_of_settings() -> None:
    header = bytearray(large_jpeg(200))
    at = header.index(b"\xff\xc0") + 5
    header[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageTooLargeError, match="no photo is that large"):
        decode_image(bytes(header), max_pixels=2_000_000_000)


def test_the_service_needs_no_other_setting_for_a_large_photo() -> None:
    for megapixels in SIZES_PX:
        settings = ServerSettings(max_megapixels=megapixels)
        for orientation in (1, 6):
            needed = decoding_bytes(
                large_jpeg(megapixels, orientation), max_pixels=settings.max_pixels
            )
            assert needed <= settings.max_photo_bytes
        assert settings.max_upload_bytes >= megapixels * 600_000
    assert ServerSettings().max_photo_bytes == 400_000_000
    assert ServerSettings().max_upload_bytes == 64_000_000
    assert ServerSettings(max_megapixels=5).max_photo_bytes == 400_000_000
    strict = ServerSettings(max_megapixels=200, max_photo_memory_mb=100, max_upload_mb=10)
    assert (strict.max_photo_bytes, strict.max_upload_bytes) == (100_000_000, 10_000_000)

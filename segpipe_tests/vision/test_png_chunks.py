import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from segpipe.errors import CorruptImageError, PhotoError
from segpipe.vision.image import decode_image, upright_size
from segpipe_tests.vision.icc import DISPLAY_P3_PRIMARIES, rgb_profile
from segpipe_tests.vision.photos import corners, encode, png, png_chunk, with_chunk

PICTURE = corners()
PLAIN = encode(PICTURE, "PNG")
ORIENTATION_6 = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


def _packed(profile: bytes) -> bytes:
    return b"any\0\0" + zlib.compress(profile)


ANCILLARY = {
    b"pHYs": struct.pack(">IIB", 2835, 2835, 1),
    b"iCCP": _packed(rgb_profile(DISPLAY_P3_PRIMARIES)),
    b"tEXt": b"Software\0a camera",
    b"zTXt": b"Comment\0\0" + zlib.compress(b"long " * 99),
    b"iTXt": b"Title\0\0\0en\0\0a title",
    b"tIME": bytes(7),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"sRGB": b"\0",
    b"cICP": bytes((1, 13, 0, 1)),
    b"bKGD": bytes(6),
    b"eXIf": ORIENTATION_6,
    b"caBX": b"a private chunk",
}


@pytest.mark.parametrize("kind", ANCILLARY)
def test_a_wrong_checksum_where_no_pixel_is_concerned_is_a_note(kind: bytes) -> None:
    decoded = decode_image(with_chunk(PLAIN, png_chunk(kind, ANCILLARY[kind], is_sound=False)))

    np.testing.assert_array_equal(decoded.rgb, PICTURE)
    assert len(decoded.warnings) == 1
    assert f"PNG chunk {kind.decode()} is damaged" in decoded.warnings[0]
    assert ("colour profile ignored" in decoded.warnings[0]) is (kind == b"iCCP")


def test_a_wrong_checksum_of_the_end_is_a_note() -> None:
    decoded = decode_image(PLAIN[:-1] + b"?")

    np.testing.assert_array_equal(decoded.rgb, PICTURE)
    assert decoded.warnings == ("PNG chunk IEND is damaged",)


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"PLTE", b"tRNS"])
def test_a_wrong_checksum_where_pixels_are_concerned_is_an_error(kind: bytes) -> None:
    palette = encode(Image.fromarray(PICTURE).convert("P"), "PNG", transparency=3)
    at = palette.index(kind)
    (length,) = struct.unpack_from(">I", palette, at - 4)
    end = at + 4 + length
    wrong = palette[:end] + bytes((palette[end] ^ 1,)) + palette[end + 1 :]

    with pytest.raises(CorruptImageError, match=kind.decode()):
        decode_image(wrong)


@pytest.mark.parametrize("kind", [b"IDAT", b"PLTE", b"tRNS"])
def test_a_chunk_of_pixels_with_a_damaged_name_is_an_error(kind: bytes) -> None:
    palette = encode(Image.fromarray(PICTURE).convert("P"), "PNG", transparency=3)
    at = palette.index(kind)
    for place in range(4):
        for bit in range(8):
            name = bytearray(kind)
            name[place] ^= 1 << bit
            with pytest.raises(CorruptImageError):
                decode_image(palette[:at] + bytes(name) + palette[at + 4 :])


@pytest.mark.parametrize("kind", [b"pHYs", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"cHRM"])
@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_sound_chunk_of_a_few_bytes_refuses_no_picture(kind: bytes, length: int) -> None:
    decoded = decode_image(with_chunk(PLAIN, png_chunk(kind, ANCILLARY[kind][:length])))

    np.testing.assert_array_equal(decoded.rgb, PICTURE)


@pytest.mark.parametrize("length", [2**31, 2**20, 5, 0])
def test_a_chunk_without_pixels_whose_length_is_damaged_is_a_note(length: int) -> None:
    chunk = png_chunk(b"tEXt", ANCILLARY[b"tEXt"])
    decoded = decode_image(with_chunk(PLAIN, struct.pack(">I", length) + chunk[4:]))

    np.testing.assert_array_equal(decoded.rgb, PICTURE)
    assert decoded.warnings == ("PNG chunk tEXt is damaged and left out",)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
@pytest.mark.parametrize("key", [b"Comment", b"XML:com.adobe.xmp", b"Raw profile type exif"])
@pytest.mark.parametrize("megabytes", [1.5, 80])
def test_a_long_compressed_text_refuses_no_picture(
    kind: bytes, key: bytes, megabytes: float
) -> None:
    head = key + (b"\0\0" if kind == b"zTXt" else b"\0\1\0\0\0")
    body = head + zlib.compress(bytes(int(megabytes * 1e6)))

    decoded = decode_image(with_chunk(PLAIN, png_chunk(kind, body)))

    np.testing.assert_array_equal(decoded.rgb, PICTURE)
    assert decoded.warnings == ()


def test_a_profile_of_more_than_a_megabyte_is_applied() -> None:
    profile = rgb_profile(DISPLAY_P3_PRIMARIES)
    expected = decode_image(encode(PICTURE, "PNG", icc_profile=profile)).rgb
    long = struct.pack(">I", len(profile) + 2_000_000) + profile[4:] + bytes(2_000_000)

    decoded = decode_image(with_chunk(PLAIN, png_chunk(b"iCCP", _packed(long))))

    np.testing.assert_array_equal(decoded.rgb, expected)
    assert decoded.warnings == ()


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_orientation_is_applied_wherever_it_stands(before: bytes) -> None:
    data = with_chunk(PLAIN, png_chunk(b"eXIf", ORIENTATION_6), before=before)

    np.testing.assert_array_equal(decode_image(data).rgb, np.rot90(PICTURE, -1))
    assert upright_size(data) == (PICTURE.shape[0], PICTURE.shape[1])


@pytest.mark.parametrize("is_packed", [False, True])
def test_orientation_in_xmp_is_applied(is_packed: bool) -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>', zip=is_packed)

    decoded = decode_image(encode(PICTURE, "PNG", pnginfo=info))

    np.testing.assert_array_equal(decoded.rgb, np.rot90(PICTURE, -1))


def test_orientation_in_a_text_as_imagemagick_writes_it_is_applied() -> None:
    exif = b"Exif\0\0" + ORIENTATION_6
    text = f"\nexif\n{len(exif):8}\n{exif.hex()}\n".encode()
    chunk = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))

    np.testing.assert_array_equal(decode_image(with_chunk(PLAIN, chunk)).rgb, np.rot90(PICTURE, -1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_becomes_white_at_every_depth(bits: int) -> None:
    key = {1: 1, 2: 1, 4: 5, 8: 90, 16: 20_000}[bits]
    samples = [0, key, key, 0]
    if bits == 16:
        samples = [0, key, key + 1, 0]
    word = sum(sample << bits * (3 - at) for at, sample in enumerate(samples))
    row = (word << -4 * bits % 8).to_bytes((4 * bits + 7) // 8, "big")

    decoded = decode_image(
        png([row], 4, bits=bits, colour=0, chunks=(png_chunk(b"tRNS", struct.pack(">H", key)),))
    )

    beside = 78 if bits == 16 else 255
    assert decoded.rgb[0, :, 0].tolist() == [0, 255, beside, 0]
    assert decoded.alpha is not None
    assert decoded.alpha[0].tolist() == [255, 0, 255 if bits == 16 else 0, 255]


@pytest.mark.parametrize("key", [(1000, 2000, 30_000), (10, 10, 10)])
def test_the_transparent_colour_of_a_16_bit_rgb_png_becomes_white(
    key: tuple[int, int, int],
) -> None:
    samples = (*key, key[0], key[1], key[2] + 1, 0x0A00, 0x0A00, 0x0A00)
    chunk = png_chunk(b"tRNS", struct.pack(">3H", *key))

    decoded = decode_image(
        png([struct.pack(">9H", *samples)], 3, bits=16, colour=2, chunks=(chunk,))
    )

    assert decoded.rgb[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_allclose(decoded.rgb[0, 1], np.array(key) / 257, atol=1)
    assert decoded.rgb[0, 2].tolist() == [10, 10, 10]
    assert decoded.alpha is not None
    assert decoded.alpha.tolist() == [[0, 255, 255]]


def test_an_animation_counts_its_frames_and_the_picture_outside_of_it() -> None:
    frames = [Image.new("RGB", (48, 32), colour) for colour in ("red", "blue")]
    data = encode(PICTURE, "PNG", save_all=True, default_image=True, append_images=frames)

    decoded = decode_image(data)

    np.testing.assert_array_equal(decoded.rgb, PICTURE)
    assert decoded.warnings == ("animated: only the first of 3 frames is used",)


def _chunk_places(data: bytes) -> dict[bytes, tuple[int, int]]:
    """Where each chunk's body and checksum lie."""
    places, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        places[data[at + 4 : at + 8]] = (at + 8, at + 12 + length)
        at += 12 + length
    return places


WITHOUT_EFFECT = {kind: body for kind, body in ANCILLARY.items() if kind not in {b"iCCP", b"eXIf"}}
RICH = with_chunk(PLAIN, b"".join(png_chunk(*chunk) for chunk in WITHOUT_EFFECT.items()))


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(WITHOUT_EFFECT)), data=st.data())
def test_flipped_bits_in_a_chunk_without_pixels_leave_the_picture(
    kind: bytes, data: st.DataObject
) -> None:
    start, end = _chunk_places(RICH)[kind]
    damaged = bytearray(RICH)
    for at in data.draw(st.lists(st.integers(start, end - 1), min_size=1, max_size=6)):
        damaged[at] ^= data.draw(st.integers(1, 255))

    np.testing.assert_array_equal(decode_image(bytes(damaged)).rgb, PICTURE)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from([b"IHDR", b"IDAT"]), data=st.data())
def test_a_flipped_byte_in_a_chunk_of_pixels_is_an_error(kind: bytes, data: st.DataObject) -> None:
    start, end = _chunk_places(RICH)[kind]
    damaged = bytearray(RICH)
    damaged[data.draw(st.integers(start - 8, end - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(PhotoError):
        decode_image(bytes(damaged))


@settings(max_examples=60, deadline=None)
@given(kept=st.integers(0, len(RICH) - 1))
def test_a_png_that_breaks_off_anywhere_is_an_error(kept: int) -> None:
    with pytest.raises(PhotoError):
        decode_image(RICH[:kept])


def test_places_that_only_look_like_a_chunk_cost_next_to_nothing() -> None:
    # Each of these names is a chunk as long as the rest of the file, with a wrong checksum.
    body = b"".join(struct.pack(">I", 10**6) + b"IDAT" + bytes(24) for _ in range(60_000))
    data = with_chunk(PLAIN, png_chunk(b"tEXt", body, is_sound=False)[:-4] + bytes(7))

    with pytest.raises(CorruptImageError, match=re.escape("tEXt")):
        decode_image(data)

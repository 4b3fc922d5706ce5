import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from segpipe.vision.colour import can_convert_in_place, needs_conversion, to_srgb
from segpipe.vision.image import decode_image
from segpipe.vision.matrix_profiles import read_matrix_profile
from segpipe_tests.vision.icc import (
    ADOBE_RGB_PRIMARIES,
    DISPLAY_P3_PRIMARIES,
    SRGB_PRIMARIES,
    curve_of_steps,
    matrix_profile,
    parametric_curve,
    rgb_profile,
    with_little_cms,
)
from segpipe_tests.vision.photos import encode

KNOWN_PROFILES = {
    "Display P3": rgb_profile(DISPLAY_P3_PRIMARIES),
    "Adobe RGB": rgb_profile(ADOBE_RGB_PRIMARIES, (2.19921875,)),
    "linear": rgb_profile(SRGB_PRIMARIES, (1.0,)),
}
D50 = np.array((0.9642, 1.0, 0.8249))
SRGB_NUMBERS = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def _samples(random: np.random.Generator) -> NDArray[np.uint8]:
    """Colours of all kinds, all greys and many near black."""
    rgb = random.integers(0, 256, (48, 256, 3), np.uint8)
    rgb[:1] = np.arange(256, dtype=np.uint8)[:, np.newaxis]
    rgb[1:16] //= 16
    return rgb


def _random_curve(random: np.random.Generator) -> bytes:
    gamma = random.uniform(1, 3)
    steps = int(random.choice([2, 16, 256, 1024, 4096]))
    table = np.rint(np.linspace(0, 1, steps) ** gamma * 65_535).astype(int)
    curves = [
        parametric_curve(0, gamma),
        parametric_curve(1, gamma, 1.1, -0.1),
        parametric_curve(2, gamma, 1.05, -0.05, 0),
        parametric_curve(3, *SRGB_NUMBERS),
        parametric_curve(4, *SRGB_NUMBERS, 0, 0),
        curve_of_steps(),
        curve_of_steps(round(gamma * 256)),
        curve_of_steps(*table),
    ]
    return curves[random.integers(len(curves))]


def _random_profile(random: np.random.Generator) -> bytes:
    known = (DISPLAY_P3_PRIMARIES, ADOBE_RGB_PRIMARIES, SRGB_PRIMARIES)
    primaries = known[random.integers(len(known))] + random.normal(0, 0.04, (3, 3))
    primaries *= D50 / primaries.sum(0)
    one = _random_curve(random)
    curves = [one] * 3 if random.random() < 0.6 else [_random_curve(random) for _ in range(3)]
    return matrix_profile(primaries, curves, version=int(random.choice([0x02400000, 0x04300000])))


@pytest.mark.parametrize("name", KNOWN_PROFILES)
def test_every_colour_comes_out_as_of_little_cms_but_for_a_level(name: str) -> None:
    levels = np.arange(0, 256, 3).astype(np.uint8)
    every = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(86, -1, 3)
    picture = Image.fromarray(every)

    found = to_srgb(picture, KNOWN_PROFILES[name]).rgb.astype(int)

    off = np.abs(found - with_little_cms(every, KNOWN_PROFILES[name]))
    assert can_convert_in_place(KNOWN_PROFILES[name])
    assert off.max() <= 1
    assert np.count_nonzero(off) < off.size / 1000


def test_three_hundred_profiles_of_every_kind_of_curve_agree_with_little_cms() -> None:
    for seed in range(300):
        random = np.random.default_rng(seed)
        profile, rgb = _random_profile(random), _samples(random)

        conversion = read_matrix_profile(profile)

        assert conversion is not None, seed
        expected = with_little_cms(rgb, profile).astype(int)
        conversion.convert(rgb)
        assert np.abs(rgb - expected).max() <= 1, seed


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 5000), (2000, 700)])
def test_a_jpeg_of_any_size_is_converted_to_its_last_row(size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    plain = encode(Image.fromarray(rgb), "JPEG", quality=95)
    profile = KNOWN_PROFILES["Display P3"]
    data = encode(Image.fromarray(rgb), "JPEG", quality=95, icc_profile=profile)

    converted = decode_image(data)

    expected = with_little_cms(decode_image(plain).rgb, profile).astype(int)
    assert np.abs(converted.rgb - expected).max() <= 1
    assert converted.warnings == ()
    assert converted.rgb.flags.c_contiguous
    assert converted.rgb.flags.writeable


@pytest.mark.parametrize(
    "profile",
    [
        matrix_profile(SRGB_PRIMARIES, [curve_of_steps(3000, 65_535)] * 3),
        matrix_profile(SRGB_PRIMARIES, [parametric_curve(1, 2.0, 0.9, 0.1)] * 3),
        matrix_profile(SRGB_PRIMARIES, [curve_of_steps(460)] * 3, tables=(b"A2B0",)),
        matrix_profile([SRGB_PRIMARIES[0]] * 3, [curve_of_steps(460)] * 3),
        matrix_profile(SRGB_PRIMARIES, [parametric_curve(7, 2.0)] * 3),
        matrix_profile(SRGB_PRIMARIES, [b"text" + bytes(20)] * 3),
        rgb_profile(DISPLAY_P3_PRIMARIES)[:300],
        b"",
    ],
    ids=["black-step", "black-curve", "table", "singular", "kind-7", "text", "cut", "empty"],
)
def test_other_and_damaged_profiles_are_left_to_little_cms(profile: bytes) -> None:
    rgb = _samples(np.random.default_rng(0))
    is_singular = profile == matrix_profile([SRGB_PRIMARIES[0]] * 3, [curve_of_steps(460)] * 3)

    assert read_matrix_profile(profile) is None or is_singular
    try:
        expected = with_little_cms(rgb, profile)
    except (ImageCms.PyCMSError, OSError):
        expected = rgb
    found = to_srgb(Image.fromarray(rgb), profile).rgb
    assert np.abs(found.astype(int) - expected).max() <= 1


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_profile_with_wrong_bytes_gives_what_little_cms_gives(data: st.DataObject) -> None:
    profile = bytearray(KNOWN_PROFILES[data.draw(st.sampled_from(sorted(KNOWN_PROFILES)))])
    for at in data.draw(st.lists(st.integers(16, len(profile) - 1), min_size=1, max_size=3)):
        profile[at] = data.draw(st.integers(0, 255))
    rgb = _samples(np.random.default_rng(0))

    found = to_srgb(Image.fromarray(rgb), bytes(profile))

    if found.notes:
        assert np.array_equal(found.rgb, rgb)
    elif needs_conversion(bytes(profile)):
        off = np.abs(found.rgb.astype(int) - with_little_cms(rgb, bytes(profile)))
        assert np.count_nonzero(off > 1) <= off.size / 1000


def test_a_profile_that_announces_a_million_tags_costs_nothing() -> None:
    profile = bytearray(rgb_profile(DISPLAY_P3_PRIMARIES))
    profile[128:132] = struct.pack(">I", 2**32 - 1)

    conversion = read_matrix_profile(bytes(profile))

    assert conversion is None or conversion.matrix.shape == (3, 3)

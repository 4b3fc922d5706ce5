from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from segpipe.vision import turn
from segpipe.vision.image import decode_image
from segpipe.vision.turn import ON_ITS_SIDE, TurningRoom, upright
from segpipe_tests.vision.photos import PICTURE, assert_close, with_orientation

Pixels = NDArray[np.uint8]

TURNED: dict[int, Callable[[Pixels], Pixels]] = {
    0: lambda stored: stored,
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def _random_pixels(random: np.random.Generator) -> Pixels:
    height, width = random.integers(1, 80, 2)
    channels = (3,) if random.random() < 0.7 else ()
    return random.integers(0, 256, (height, width, *channels), np.uint8)


@pytest.mark.parametrize("columns", [1, 7, 128])
def test_pixels_of_every_size_are_turned_as_numpy_turns_them(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(turn, "_BAND_COLUMNS", columns)
    monkeypatch.setattr(turn, "_LEAST_COLUMNS", 10)
    random = np.random.default_rng(0)
    for _ in range(100):
        stored = _random_pixels(random)
        for orientation, turned in TURNED.items():
            found = upright(stored.copy(), orientation)
            assert np.array_equal(found, turned(stored)), (orientation, stored.shape)
            assert found.flags.c_contiguous


@pytest.mark.parametrize("large_px", [1, 10**9])
def test_a_room_gives_its_pixels_turned_whether_the_photo_counts_as_large_or_not(
    monkeypatch: pytest.MonkeyPatch, large_px: int
) -> None:
    monkeypatch.setattr(turn, "LARGE_PX", large_px)
    random = np.random.default_rng(0)
    for _ in range(50):
        stored = random.integers(0, 256, (*random.integers(1, 400, 2), 3), np.uint8)
        for orientation in ON_ITS_SIDE:
            room = TurningRoom(stored.shape[1], stored.shape[0])
            room.pixels[:] = stored
            found = room.turn(orientation)
            assert np.array_equal(found, TURNED[orientation](stored)), orientation
            assert found.flags.c_contiguous
            assert found.flags.writeable


def test_memory_that_is_used_again_belongs_to_one_photo_at_a_time() -> None:
    files = {turned: with_orientation(PICTURE, "JPEG", turned) for turned in ON_ITS_SIDE}
    with ThreadPoolExecutor(4) as threads:
        kinds = sorted(files) * 25
        photos = list(threads.map(lambda kind: decode_image(files[kind]).rgb, kinds))
    for kind, rgb in zip(kinds, photos, strict=True):
        assert_close(rgb, TURNED[kind](PICTURE), "JPEG")


def test_a_large_photo_on_its_side_is_decoded_as_a_small_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {turned: with_orientation(PICTURE, "JPEG", turned) for turned in ON_ITS_SIDE}
    small = {kind: decode_image(data).rgb for kind, data in files.items()}
    monkeypatch.setattr(turn, "LARGE_PX", 1)
    for kind, data in files.items():
        assert np.array_equal(decode_image(data).rgb, small[kind])

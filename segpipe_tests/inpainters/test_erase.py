"""Erasing: whatever an inpainter does, nothing but the hole and its rim changes."""

import asyncio

import cv2
import numpy as np
import pytest

from segpipe.errors import InpainterError, InputError
from segpipe.inpainters.build_inpainter import build_inpainter
from segpipe.inpainters.erase import EraseSettings, erase
from segpipe.inpainters.inpainter import NO_WISH, Inpainter, Wish
from segpipe.inpainters.opencv import OpenCvConfig
from segpipe.vision.holes import grown
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap

METHODS = [OpenCvConfig(method="telea"), OpenCvConfig(method="ns")]


class Noise:
    """Gives another picture altogether, and spoils what it was given."""

    id = "noise"
    context_ratio = 0.3

    async def inpaint(self, image: RgbImage, hole: Bitmap, wish: Wish = NO_WISH) -> RgbImage:
        return np.random.default_rng(1).integers(0, 256, image.shape, np.uint8)


class WrongSize:
    """Gives a picture of another size."""

    id = "wrong"
    context_ratio = 0.3

    async def inpaint(self, image: RgbImage, hole: Bitmap, wish: Wish = NO_WISH) -> RgbImage:
        return np.zeros((3, 3, 3), np.uint8)


def goods() -> tuple[RgbImage, RgbImage, Bitmap]:
    """A table, the table with two goods on it, and where they are."""
    rows, columns = np.mgrid[:240, :320]
    table = np.stack([150 + rows // 6, 140 + columns // 8, np.full_like(rows, 120)], axis=2)
    table = table.astype(np.uint8)
    mask = np.zeros((240, 320), np.uint8)
    cv2.circle(mask, (80, 90), 30, 1, -1)
    mask[150:190, 200:290] = 1
    photo = table.copy()
    photo[mask == 1] = (20, 200, 30)
    return table, photo, mask


def run(
    photo: RgbImage, mask: Bitmap, inpainter: Inpainter, how: EraseSettings | None = None
) -> RgbImage:
    return asyncio.run(erase(photo, mask, inpainter, how))


@pytest.mark.parametrize("inpainter", [*map(build_inpainter, METHODS), Noise()], ids=lambda i: i.id)
def test_only_the_hole_and_its_rim_change_bit_for_bit(inpainter: Inpainter) -> None:
    _, photo, mask = goods()
    how = EraseSettings(dilate_px=4, feather_px=3)
    before = photo.copy(), mask.copy()
    clean = run(photo, mask, inpainter, how)
    reach = grown(grown(mask, 4), 4)  # a pixel on the safe side
    np.testing.assert_array_equal(clean[reach == 0], photo[reach == 0])
    assert (clean[mask == 1] != photo[mask == 1]).any(axis=1).mean() > 0.95
    np.testing.assert_array_equal(photo, before[0])
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("config", METHODS, ids=lambda config: config.method)
def test_an_even_background_comes_back(config: OpenCvConfig) -> None:
    table, photo, mask = goods()
    clean = run(photo, mask, build_inpainter(config))
    wrong = np.abs(clean.astype(int) - table).max(axis=2)[mask == 1]
    assert wrong.mean() < 4
    # At a reduced scale as well: what was erased leaves no trace.
    small = config.model_copy(update={"max_side_px": 48})
    clean = run(photo, mask, build_inpainter(small))
    assert np.abs(clean.astype(int) - table).max(axis=2)[mask == 1].mean() < 6


def test_what_cannot_be_erased_is_told() -> None:
    _, photo, mask = goods()
    opencv = build_inpainter(OpenCvConfig())
    with pytest.raises(InputError, match="320 x 240") as refused:
        run(photo, mask[:100], opencv)
    assert refused.value.field == "mask"
    with pytest.raises(InputError, match="nothing to erase"):
        run(photo, np.zeros_like(mask), opencv)
    with pytest.raises(InpainterError, match="nothing is left"):
        run(photo, np.ones_like(mask), opencv)
    with pytest.raises(InpainterError, match=r"wrong gave a picture of shape \(3, 3, 3\)"):
        run(photo, mask, WrongSize())

import cv2
import numpy as np
import pytest

from segpipe.segmenters.classical.goods_mask import mark_foreground
from segpipe.segmenters.classical.lab_planes import to_lab
from segpipe.segmenters.classical.table_colour import fit_background
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap
from segpipe_tests.scenes import iou
from segpipe_tests.segmenters.classical.pictures import BLUE, TABLE, disc, table


def foreground(image: RgbImage) -> Bitmap:
    lab = to_lab(image)
    return mark_foreground(lab, fit_background(lab))


def shaded(image: RgbImage, shadow: Bitmap, *, depth: float, softness: float) -> RgbImage:
    """The image under a soft shadow."""
    light = 1 - depth * cv2.GaussianBlur(shadow.astype(np.float32), (0, 0), softness)
    return np.asarray(image * light[..., None], np.uint8)


@pytest.mark.parametrize("depth", [0.1, 0.25, 0.4])
def test_a_soft_shadow_is_no_item(depth: float) -> None:
    image = table()
    shadow = disc(table(), 160, 120, 50)
    assert not foreground(shaded(image, shadow, depth=depth, softness=10)).any()


@pytest.mark.parametrize("colour", [BLUE, (100, 98, 96), (240, 240, 238)], ids=str)
def test_the_shadow_of_an_item_is_left_out(colour: tuple[int, int, int]) -> None:
    shadow = disc(table(), 170, 130, 50)
    image = shaded(table(), shadow, depth=0.35, softness=9)
    truth = disc(image, 160, 120, 50, colour)
    assert iou(foreground(image), truth) > 0.9


def test_an_item_in_a_shade_of_the_table_is_no_shadow() -> None:
    """Its edge is sharp."""
    image = table()
    truth = disc(image, 160, 120, 50, (160, 156, 152))
    assert iou(foreground(image), truth) > 0.95


def test_stripes_in_the_colour_of_the_table_stay_in_the_item() -> None:
    image = table(640, 480)
    truth = disc(image, 320, 240, 100)
    for y in range(150, 330, 12):
        image[y : y + 5][truth[y : y + 5] > 0] = TABLE
    assert iou(foreground(image), truth) > 0.95


@pytest.mark.parametrize("is_tall", [False, True])
def test_a_long_strip_is_looked_at_as_finely_as_it_is_wide(is_tall: bool) -> None:
    """And as quickly: measured by its length, tools were wider than the strip."""
    image = table(20_000, 40)
    truth = disc(image, 10_000, 20, 14)
    if is_tall:
        image, truth = np.ascontiguousarray(image.transpose(1, 0, 2)), truth.T
    assert iou(foreground(image), truth) > 0.9


def test_a_hole_that_shows_the_table_stays_open() -> None:
    image = table()
    truth = disc(image, 160, 120, 60) - disc(image, 160, 120, 30, TABLE)
    assert iou(foreground(image), truth) > 0.95


@pytest.mark.parametrize("depth", [0.1, 0.25])
def test_a_hole_in_the_shadow_stays_open(depth: float) -> None:
    ring = disc(table(), 160, 120, 60) - disc(table(), 160, 120, 30)
    image = shaded(table(), np.roll(ring, (8, 8), (0, 1)), depth=depth, softness=6)
    image[ring > 0] = BLUE
    assert iou(foreground(image), ring) > 0.9


@pytest.mark.parametrize("colour", [(215, 210, 205), (200, 198, 180)], ids=str)
def test_a_label_nearly_in_the_colour_of_the_table_is_no_hole(
    colour: tuple[int, int, int],
) -> None:
    image = table()
    truth = disc(image, 160, 120, 60)
    disc(image, 160, 120, 30, colour)
    assert iou(foreground(image), truth) > 0.95


def test_broad_stripes_in_the_colour_of_the_table_are_no_holes() -> None:
    image = table(640, 480)
    truth = disc(image, 320, 240, 150)
    inner = disc(table(640, 480), 320, 240, 140)
    for y in range(130, 360, 40):
        image[y : y + 20][inner[y : y + 20] > 0] = TABLE
    assert iou(foreground(image), truth) > 0.95


@pytest.mark.parametrize("width", [3, 5, 8])
def test_a_thin_line_is_goods(width: int) -> None:
    image = table(640, 480)
    truth = np.zeros(image.shape[:2], np.uint8)
    truth[200 : 200 + width, 120:520] = 1
    image[truth > 0] = BLUE
    assert iou(foreground(image), truth) > (0.6 if width < 5 else 0.8)


def test_outlines_lie_on_the_edge_of_a_blurred_item() -> None:
    image = table()
    truth = disc(image, 160, 120, 60)
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8)
    assert iou(foreground(blurred), truth) > 0.97

import cv2
import numpy as np
import pytest

from segpipe.vision.image import RgbImage
from segpipe_tests.segmenters.classical.pictures import BLUE, find_all, full, table

STRIPES = ((60, 78), (104, 122), (148, 166))
LEFT, RIGHT = 90, 230


def striped(between: int) -> RgbImage:
    """Three blue stripes; what lies between them is so much brighter than the table."""
    image = table()
    bright = image[STRIPES[0][0] : STRIPES[-1][1], LEFT:RIGHT]
    bright[:] = np.clip(bright.astype(int) + between, 0, 255)
    for top, bottom in STRIPES:
        image[top:bottom, LEFT:RIGHT] = BLUE
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.8), np.uint8)


def test_stripes_with_a_brighter_colour_between_them_are_one_item() -> None:
    (shirt,) = find_all(striped(20))
    inside = full(shirt)[STRIPES[0][0] + 2 : STRIPES[-1][1] - 2, LEFT + 2 : RIGHT - 2]
    assert inside.mean() > 0.98


@pytest.mark.parametrize("between", [0, -6])
def test_goods_side_by_side_with_the_table_or_its_shadow_between_them_are_not(
    between: int,
) -> None:
    assert len(find_all(striped(between))) == len(STRIPES)

import numpy as np
import pytest

from segpipe_tests.scenes import iou
from segpipe_tests.segmenters.classical.pictures import (
    BLUE,
    RED,
    disc,
    find_all,
    full,
    table,
)

SHADE = (100, 98, 95)


@pytest.mark.parametrize("away", [(12, 16), (-24, 10), (0, 30)], ids=str)
def test_the_hard_shadow_of_an_item_is_none_of_it(away: tuple[int, int]) -> None:
    image = table()
    right, down = away
    disc(image, 160 + right, 120 + down, 45, SHADE)
    truth = disc(image, 160, 120, 45, RED)
    (found,) = find_all(image)
    assert iou(full(found), truth) > 0.9


def test_a_dark_item_that_lies_alone_is_no_shadow() -> None:
    image = table()
    truth = disc(image, 90, 120, 45, SHADE)
    disc(image, 230, 120, 45, BLUE)
    assert max(iou(full(one), truth) for one in find_all(image)) > 0.95


def test_a_dark_item_of_another_shape_that_touches_is_no_shadow() -> None:
    image = table()
    image[60:180, 40:120] = SHADE
    truth = np.zeros(image.shape[:2], np.uint8)
    truth[60:180, 40:120] = 1
    disc(image, 150, 120, 30, RED)
    assert max(iou(full(one), truth) for one in find_all(image)) > 0.8

import cv2
import numpy as np
import pytest

from segpipe.segmenters.classical.lab_planes import Labels, to_lab
from segpipe.segmenters.classical.touching_items import split_items
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap
from segpipe_tests.segmenters.classical.pictures import BLUE, RED, TABLE, disc, table

MIN_AREA_PX = 60


def split(image: RgbImage, goods: Bitmap) -> Labels:
    return split_items(goods, to_lab(image), min_area=MIN_AREA_PX)


def numbers(labels: Labels) -> list[int]:
    return [int(number) for number in np.unique(labels)]


@pytest.mark.parametrize("colour", [RED, BLUE], ids=["same colour", "other colour"])
@pytest.mark.parametrize("radius", [20, 40])
def test_touching_discs_are_two_items(radius: int, colour: tuple[int, int, int]) -> None:
    image = table()
    left = disc(image, 100, 120, 40)
    right = disc(image, 100 + 38 + radius, 120, radius, colour)
    labels = split(image, left | right)

    assert numbers(labels) == [0, 1, 2]
    for part in (left, right):
        number = np.bincount(labels[part > 0]).argmax()
        assert np.count_nonzero((labels == number) & (part > 0)) > 0.95 * np.count_nonzero(part)


def test_a_chain_of_discs_is_as_many_items() -> None:
    image = table()
    goods = np.zeros(image.shape[:2], np.uint8)
    for x in range(40, 300, 58):
        goods |= disc(image, x, 120, 30)
    assert numbers(split(image, goods)) == [0, 1, 2, 3, 4, 5]


def test_every_pixel_of_the_goods_belongs_to_an_item_and_no_other() -> None:
    image = table()
    goods = disc(image, 100, 120, 40) | disc(image, 170, 120, 40, BLUE)
    assert np.array_equal(split(image, goods) > 0, goods > 0)


@pytest.mark.parametrize("angle", [0, 17, 45, 80])
@pytest.mark.parametrize("axes", [(60, 60), (100, 40), (110, 15)], ids=["round", "oval", "rod"])
@pytest.mark.parametrize("kind", ["ellipse", "box"])
def test_one_convex_item_is_not_cut_in_two(kind: str, axes: tuple[int, int], angle: int) -> None:
    image = table()
    goods = np.zeros(image.shape[:2], np.uint8)
    if kind == "ellipse":
        cv2.ellipse(goods, (160, 120), axes, angle, 0, 360, (1,), cv2.FILLED)
    else:
        corners = cv2.boxPoints(((160, 120), (2 * axes[0], 2 * axes[1]), angle))
        cv2.fillPoly(goods, [np.round(corners).astype(np.int32)], (1,))
    image[goods > 0] = RED
    image[:, 160:][goods[:, 160:] > 0] = (150, 60, 60)  # its two halves differ a little
    assert numbers(split(image, goods)) == [0, 1]


def test_a_ragged_outline_does_not_cut_an_item() -> None:
    rng = np.random.default_rng(0)
    image = table()
    goods = disc(image, 160, 120, 60)
    rim = cv2.dilate(goods, np.ones((5, 5), np.uint8)) - cv2.erode(goods, np.ones((5, 5), np.uint8))
    goods = np.where(rim > 0, rng.integers(0, 2, goods.shape), goods).astype(np.uint8)
    labels = split(image, np.asarray(cv2.medianBlur(goods, 3), np.uint8))
    sizes = np.bincount(labels.ravel())[1:]
    assert np.count_nonzero(sizes > MIN_AREA_PX) == 1


def test_no_goods_give_no_item() -> None:
    image = table()
    assert numbers(split(image, np.zeros(image.shape[:2], np.uint8))) == [0]


@pytest.mark.parametrize("half_width", [6, 10, 16])
def test_a_bone_of_one_colour_is_not_cut_at_its_shaft(half_width: int) -> None:
    image = table()
    goods = disc(image, 80, 120, 34) | disc(image, 240, 120, 34)
    goods[120 - half_width : 120 + half_width, 80:240] = 1
    image[goods > 0] = RED
    assert numbers(split(image, goods)) == [0, 1]


def test_a_ring_that_touches_a_disc_is_an_item_of_its_own() -> None:
    image = table()
    ring = disc(image, 100, 120, 50) - disc(image, 100, 120, 38)
    other = disc(image, 188, 120, 40, BLUE)
    image[(ring == 0) & (other == 0)] = TABLE
    labels = split(image, ring | other)
    assert numbers(labels) == [0, 1, 2]
    assert labels[120, 100] == 0


def test_what_lies_in_a_ring_is_an_item_of_its_own() -> None:
    image = table()
    ring = disc(image, 160, 120, 80) - disc(image, 160, 120, 60)
    coin = disc(image, 160, 120, 20, BLUE)
    assert len(numbers(split(image, ring | coin))) == 3


def test_small_beads_of_one_colour_are_one_chain() -> None:
    image = table(640, 240)
    goods = np.zeros(image.shape[:2], np.uint8)
    for x in range(40, 600, 9):
        goods |= disc(image, x, 120, 5)
    assert numbers(split_items(goods, to_lab(image), min_area=300)) == [0, 1]


@pytest.mark.parametrize("width", [2, 3, 4])
def test_a_thread_is_one_item(width: int) -> None:
    image = table()
    goods = np.zeros(image.shape[:2], np.uint8)
    goods[100 : 100 + width, 40:280] = 1
    image[goods > 0] = RED
    labels = split(image, goods)
    assert len(numbers(labels)) == 2
    assert np.array_equal(labels > 0, goods > 0)


@pytest.mark.parametrize("gap", [20, 36])
def test_two_rings_with_a_bridge_are_one_item_and_two_that_touch_are_two(gap: int) -> None:
    def items(between: int) -> int:
        image = table()
        left, right = 155 - between // 2 - 50, 155 + between // 2 + 50
        goods = disc(image, left, 120, 50) | disc(image, right, 120, 50)
        goods -= disc(image, left, 120, 43) | disc(image, right, 120, 43)
        goods[117:123, left + 48 : right - 48] = 1
        image[goods > 0] = RED
        return len(numbers(split(image, goods))) - 1

    assert items(gap) == 1
    assert items(-2) == 2


def test_parts_that_meet_at_a_corner_are_one_thread() -> None:
    image = table()
    goods = np.zeros(image.shape[:2], np.uint8)
    for at in range(40, 200):
        goods[at, at] = 1
    assert numbers(split(image, goods)) == [0, 1]

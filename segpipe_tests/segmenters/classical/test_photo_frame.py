import cv2
import numpy as np
import pytest

from segpipe.segmenters.classical.lab_planes import to_lab
from segpipe.segmenters.classical.photo_frame import inside_frame, only_inside, without_frame
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.image import RgbImage
from segpipe_tests.scenes import iou
from segpipe_tests.segmenters.classical.pictures import BLUE, RED, disc, find_all, full, table

BLACK = (12, 10, 14)
EDGE_PX = 4  # what of the picture may be lost to the edge of the frame


def framed(image: RgbImage, *, top: int, bottom: int, left: int, right: int) -> RgbImage:
    """The picture with bars over its sides."""
    covered = np.full_like(image, BLACK)
    height, width = image.shape[:2]
    view = (slice(top, height - bottom), slice(left, width - right))
    covered[view] = image[view]
    return covered


@pytest.mark.parametrize(
    "sides", [(10, 10, 10, 10), (4, 22, 9, 14), (30, 30, 0, 0), (0, 0, 25, 40)], ids=str
)
def test_a_dark_frame_or_two_bars_are_told(sides: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = sides
    image = framed(table(), top=top, bottom=bottom, left=left, right=right)
    inner = inside_frame(to_lab(image))
    expected = PixelWindow(left, top, 320 - right, 240 - bottom)
    assert np.abs(np.subtract(inner, expected)).max() <= EDGE_PX


@pytest.mark.parametrize("sides", [(20, 0, 0, 0), (20, 0, 20, 0), (90, 90, 0, 0)], ids=str)
def test_one_side_alone_or_half_the_photo_is_no_frame(sides: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = sides
    image = framed(table(), top=top, bottom=bottom, left=left, right=right)
    assert inside_frame(to_lab(image)) == PixelWindow(0, 0, 320, 240)


@pytest.mark.parametrize("sides", [(30, 30, 0, 0), (0, 0, 40, 40), (12, 40, 12, 12)], ids=str)
def test_white_bars_and_frames_are_told_and_a_table_that_a_camera_saw_is_none(
    sides: tuple[int, int, int, int],
) -> None:
    top, bottom, left, right = sides
    image = np.full_like(table(), 255)
    view = (slice(top, 240 - bottom), slice(left, 320 - right))
    image[view] = table()[view]
    expected = PixelWindow(left, top, 320 - right, 240 - bottom)
    assert np.abs(np.subtract(inside_frame(to_lab(image)), expected)).max() <= EDGE_PX
    noise = np.random.default_rng(0).normal(0, 5, image.shape)
    seen = np.clip(image - 10 + noise, 0, 255).astype(np.uint8)
    assert inside_frame(to_lab(seen)) == PixelWindow(0, 0, 320, 240)


@pytest.mark.parametrize("side", [3, 5, 20])
def test_a_tiny_picture_has_no_frame(side: int) -> None:
    image = np.zeros((side, side, 3), np.uint8)
    image[1:-1, 1:-1] = 255
    inner = inside_frame(to_lab(image))
    assert not inner.is_empty


def test_goods_on_a_dark_table_are_no_picture_in_a_frame() -> None:
    image = np.full((240, 320, 3), BLACK, np.uint8)
    truths = [disc(image, 90, 120, 60), disc(image, 230, 120, 60, BLUE)]
    assert inside_frame(to_lab(image)) == PixelWindow(0, 0, 320, 240)
    assert len(find_all(image)) == len(truths)


def test_a_box_that_fills_a_dark_table_is_the_item() -> None:
    image = np.full((240, 320, 3), BLACK, np.uint8)
    image[12:228, 16:304] = RED
    (found,) = find_all(image)
    assert found.box.x2 - found.box.x1 > 280


def test_goods_in_a_framed_photo_are_found_and_the_frame_is_none() -> None:
    image = table()
    truths = [disc(image, 90, 120, 40), disc(image, 230, 120, 40, BLUE)]
    cv2.circle(image, (320, 120), 30, RED, cv2.FILLED)  # cut by the frame
    found = find_all(framed(image, top=8, bottom=8, left=8, right=8))
    assert len(found) == 3
    for truth in truths:
        assert max(iou(full(one), truth) for one in found) > 0.95
    assert max(one.box.x2 for one in found) <= 320 - 8


def test_the_picture_goes_on_in_place_of_its_frame() -> None:
    image = framed(table(), top=8, bottom=8, left=8, right=8)
    lab = to_lab(image)
    inner = inside_frame(lab)
    assert np.abs(without_frame(lab, inner) - to_lab(table())).max() < 1
    assert only_inside(np.ones((240, 320), np.uint8), inner).sum() == inner.width * inner.height

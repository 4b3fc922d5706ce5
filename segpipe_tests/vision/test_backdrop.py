import numpy as np
import pytest

from segpipe.vision.backdrop import with_backdrop
from segpipe.vision.image import DecodedImage

WHITE, GREY, RED = (255, 255, 255), (128, 128, 128), (200, 30, 40)


def cut_out(*colours: tuple[int, int, int], alpha: int = 0) -> DecodedImage:
    """Squares of these colours, opaque, side by side on transparency that shows white."""
    rgb = np.full((400, 100 * len(colours), 3), 255, np.uint8)
    opacity = np.full(rgb.shape[:2], alpha, np.uint8)
    for index, colour in enumerate(colours):
        square = (slice(100, 300), slice(100 * index + 20, 100 * index + 80))
        rgb[square], opacity[square] = colour, 255
    return DecodedImage(rgb, "PNG", alpha=opacity)


def test_a_photo_in_which_nothing_is_transparent_stays_as_it_is() -> None:
    opaque = DecodedImage(cut_out(WHITE).rgb, "PNG")
    soft = cut_out(WHITE, alpha=128)
    for photo in (opaque, soft):
        assert with_backdrop(photo) is photo.rgb


def test_goods_that_stand_out_from_white_keep_it() -> None:
    photo = cut_out(RED, GREY)
    assert with_backdrop(photo) is photo.rgb


@pytest.mark.parametrize("colours", [(WHITE,), (RED, WHITE), (WHITE, GREY), (WHITE, GREY, RED)])
def test_white_goods_get_another_colour_behind_them(
    colours: tuple[tuple[int, int, int], ...],
) -> None:
    photo = cut_out(*colours)
    before = photo.rgb.copy()
    picture = with_backdrop(photo)
    assert np.array_equal(photo.rgb, before)
    assert np.array_equal(picture[photo.alpha == 255], photo.rgb[photo.alpha == 255])
    (backdrop,) = np.unique(picture[photo.alpha == 0], axis=0).astype(int)
    for colour in colours:
        assert np.abs(backdrop - colour).max() > 60


def test_half_of_the_backdrop_shines_through_what_is_half_transparent() -> None:
    photo = cut_out(WHITE)
    assert photo.alpha is not None
    photo.alpha[0], photo.rgb[0] = 128, (127, 127, 127)  # black, half transparent, on white
    picture = with_backdrop(photo)
    assert np.abs(picture[0].astype(int) - 64).max() <= 1


def test_a_photo_that_is_transparent_throughout_stays_white() -> None:
    rgb = np.full((40, 40, 3), 255, np.uint8)
    photo = DecodedImage(rgb, "PNG", alpha=np.zeros((40, 40), np.uint8))
    assert with_backdrop(photo) is rgb

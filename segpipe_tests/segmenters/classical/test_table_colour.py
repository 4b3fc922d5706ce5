import numpy as np
import pytest

from segpipe.segmenters.classical.lab_planes import LabImage, to_lab
from segpipe.segmenters.classical.table_colour import fit_background
from segpipe_tests.segmenters.classical.pictures import RED, table


def uneven_light(width: int = 320, height: int = 240) -> LabImage:
    """A table in Lab under a lamp to one side: a quadratic surface."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    lightness = 60 + 12 * x - 6 * y - 8 * (x**2 + y**2)
    return np.stack([lightness, 2 + 0 * x, 6 + 3 * x], axis=2).astype(np.float32)


def test_uneven_light_is_followed() -> None:
    lab = uneven_light()
    assert np.abs(fit_background(lab).surface - lab).max() < 0.5


@pytest.mark.parametrize("covered", ["middle", "a side", "two corners"])
def test_items_do_not_bend_the_surface(covered: str) -> None:
    lab = uneven_light()
    photo = lab.copy()
    item = np.array([30, 40, -20], np.float32)
    if covered == "middle":
        photo[60:180, 80:240] = item
    elif covered == "a side":
        photo[40:200, :120] = item
    else:
        photo[:80, :80] = item
        photo[-80:, -80:] = item
    assert np.abs(fit_background(photo).surface - lab).max() < 1.5


def test_noise_is_that_of_the_table_not_of_what_lies_on_it() -> None:
    rng = np.random.default_rng(0)
    lab = uneven_light()
    lab += rng.normal(0, (4, 2, 3), lab.shape).astype(np.float32)
    lab[80:160, :160] = (20, 60, 30)
    assert fit_background(lab).noise == pytest.approx([4, 2, 3], rel=0.15)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (2000, 17), (17, 2000)])
def test_small_and_long_photos_have_a_background(width: int, height: int) -> None:
    lab = to_lab(table(width, height))
    background = fit_background(lab)
    assert background.surface.shape == (height, width, 3)
    assert np.abs(background.surface - lab).max() < 0.1


def test_one_colour_is_its_own_background() -> None:
    lab = to_lab(np.full((60, 80, 3), RED, np.uint8))
    assert np.abs(fit_background(lab).surface - lab).max() < 0.01


@pytest.mark.parametrize("side", ["top", "left"])
def test_a_wall_behind_the_table_has_a_surface_of_its_own(side: str) -> None:
    lab = 30 + 0.4 * uneven_light()
    wall = lab + np.array([-12, -4, -14], np.float32)
    behind = np.zeros(lab.shape[:2], np.bool_)
    if side == "top":
        behind[:90] = True
    else:
        behind[:, :120] = True
    photo = np.where(behind[..., None], wall, lab)
    away = np.abs(fit_background(photo).surface - photo).max(axis=2)
    assert np.quantile(away, 0.97) < 1.5


def test_an_item_that_the_border_cuts_is_no_wall() -> None:
    lab = uneven_light()
    photo = lab.copy()
    photo[:80, 60:260] = (30, 40, -20)
    assert np.abs(fit_background(photo).surface - lab).max() < 1.5

"""The look of painted discs, compared."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segpipe.segmenters.classical.exemplar_search import (
    Appearance,
    describe,
    in_both_lights,
    unlikeness,
)
from segpipe.segmenters.classical.goods_mask import colour_distance
from segpipe.segmenters.classical.item_search import Item
from segpipe.segmenters.classical.lab_planes import to_lab
from segpipe.segmenters.classical.table_colour import Background, fit_background
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.image import RgbImage
from segpipe_tests.segmenters.classical.pictures import BLUE, RED, table

SIDE = 160
Pattern = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""How much of the second colour shows at x and y."""

ALIKE, DIFFERENT = 1.25, 1.5
DARK_RED = (110, 25, 30)


def plain(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full_like(x, 0.5)


def stripes(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sin(x) > 0, np.float64)


def checker(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sin(x) * np.sin(y) > 0, np.float64)


def paint(
    pattern: Pattern = plain,
    *,
    first: tuple[int, int, int] = RED,
    second: tuple[int, int, int] = DARK_RED,
    period: float = 8,
    angle: float = 0.3,
    radius: int = 40,
    light: float = 1.0,
) -> RgbImage:
    """A disc in the middle of a table; the light is that on the disc alone."""
    y, x = np.mgrid[:SIDE, :SIDE] * (2 * np.pi / period)
    amount = pattern(np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x)[
        ..., None
    ]
    surface = np.array(first) * (1 - amount) + np.array(second) * amount
    image = table(SIDE, SIDE).astype(np.float64)
    inside = disc_of(radius) > 0
    image[inside] = light * surface[inside]
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.8) + 0.5, np.uint8)


def disc_of(radius: int) -> NDArray[np.uint8]:
    disc = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(disc, (SIDE // 2, SIDE // 2), radius, (1,), cv2.FILLED)
    return disc


def look(image: RgbImage, radius: int = 40) -> Appearance:
    return look_of(image, disc_of(radius))


def look_of(image: RgbImage, mask: NDArray[np.uint8]) -> Appearance:
    lab = to_lab(image)
    background = fit_background(lab)
    x, y, width, height = cv2.boundingRect(mask)
    bits = mask[y : y + height, x : x + width]
    item = Item(PixelWindow(x, y, x + width, y + height), bits, 1.0)
    return describe(item, in_both_lights(lab, background), colour_distance(lab, background))


def between(a: Appearance, b: Appearance) -> float:
    return float(unlikeness([a], [b])[0])


STRIPED = paint(stripes)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(paint(stripes, angle=1.7), id="turned"),
        pytest.param(paint(stripes, period=8.8), id="another scale"),
        pytest.param(paint(stripes, light=0.9), id="less light"),
    ],
)
def test_the_same_surface_looks_alike(other: RgbImage) -> None:
    assert between(look(STRIPED), look(other)) < ALIKE


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(paint(stripes, first=BLUE), id="one other colour"),
        pytest.param(paint(stripes, first=(150, 70, 40), second=(95, 45, 25)), id="another hue"),
        pytest.param(paint(plain), id="plain, of the same mean colour"),
        pytest.param(paint(checker), id="another pattern of the same colours"),
        pytest.param(paint(stripes, period=20), id="a coarser pattern of the same colours"),
    ],
)
def test_another_surface_looks_different(other: RgbImage) -> None:
    assert between(look(STRIPED), look(other)) > DIFFERENT


def test_size_counts_less_than_surface() -> None:
    """A disc of half the width is the same kind, but not quite the same thing."""
    small = between(look(STRIPED), look(paint(stripes, radius=20), 20))
    assert 0.3 < small < ALIKE


def test_the_table_through_a_hole_does_not_count() -> None:
    ring = STRIPED.copy()
    cv2.circle(ring, (SIDE // 2, SIDE // 2), 20, (200, 195, 190), cv2.FILLED)
    assert between(look(STRIPED), look(ring)) < ALIKE


def test_a_shadow_over_a_part_of_the_photo_does_not_count() -> None:
    """The table shows the light; a fall-off by a third across the photo is taken out."""
    fall_off = np.linspace(0.7, 1.0, 3 * SIDE)[None, :, None]
    image = table(3 * SIDE, SIDE).astype(np.float64)
    masks = []
    for x in (0, 2 * SIDE):
        image[:, x : x + SIDE] = STRIPED
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[:, x : x + SIDE] = disc_of(40)
        masks.append(mask)
    shaded = np.asarray(image * fall_off, np.uint8)
    left, right = (look_of(shaded, mask) for mask in masks)
    assert between(left, right) < ALIKE
    as_seen = slice(0, 1)
    assert between(left[as_seen], right[as_seen]) > ALIKE


def test_a_fall_off_on_the_table_alone_does_not_count_either() -> None:
    """Glare lightens the table and leaves the items as they are."""
    image = table(3 * SIDE, SIDE).astype(np.float64)
    image *= np.linspace(0.6, 1.0, 3 * SIDE)[None, :, None]
    masks = []
    for x in (0, 2 * SIDE):
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[:, x : x + SIDE] = disc_of(40)
        image[mask > 0] = STRIPED[disc_of(40) > 0]
        masks.append(mask)
    left, right = (look_of(np.asarray(image, np.uint8), mask) for mask in masks)
    assert between(left, right) < ALIKE


def test_a_black_table_is_no_reason_to_fail() -> None:
    lab = np.zeros((20, 20, 3), np.float32)
    black = Background(np.full_like(lab, [-16, 0, 0]), np.ones(3, np.float32))
    assert np.isfinite(in_both_lights(lab, black)[1]).all()


def test_the_nearest_example_counts() -> None:
    items, examples = [np.array([[0.0, 0]]), np.array([[9.0, 0]])], [np.array([[8.0, 0]])]
    assert unlikeness(items, [*examples, np.array([[0.0, 2]])]).tolist() == [2, 1]
    assert unlikeness(items, []).tolist() == [np.inf, np.inf]


def test_the_light_counts_in_which_two_items_are_most_alike() -> None:
    assert unlikeness([np.array([[0.0, 0], [9, 9]])], [np.array([[3.0, 4], [9, 8]])]) == [1]


@given(
    bits=st.integers(1, 12).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 1), min_size=width, max_size=width), min_size=1, max_size=12
        )
    ),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_turning_and_mirroring_change_nothing_for_any_shape(
    bits: list[list[int]], seed: int
) -> None:
    mask = np.pad(np.array(bits, np.uint8), 4)
    mask[4, 4] = 1
    lab = np.random.default_rng(seed).uniform(0, 90, (*mask.shape, 3)).astype(np.float32)
    distance = lab[..., 0].copy()
    described = describe_at(mask, lab, distance)
    assert np.isfinite(described).all()
    for turn in (np.rot90, np.flipud, np.fliplr):
        turned = describe_at(turn(mask).copy(), turn(lab).copy(), turn(distance).copy())
        assert between(described, turned) < 0.01


def describe_at(
    mask: NDArray[np.uint8], lab: NDArray[np.float32], distance: NDArray[np.float32]
) -> Appearance:
    x, y, width, height = cv2.boundingRect(mask)
    bits = mask[y : y + height, x : x + width]
    return describe(Item(PixelWindow(x, y, x + width, y + height), bits, 1.0), [lab], distance)

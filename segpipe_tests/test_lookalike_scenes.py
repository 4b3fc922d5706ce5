import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segpipe_tests.scenes.lookalikes import (
    LOOKALIKE,
    WANTED,
    Difference,
    LookalikeScene,
    make_lookalike_scene,
)

SEEDS = range(3)
BYSTANDERS = (2, 3)
A_PART = 0.25


def reflectance(scene: LookalikeScene, kind: int) -> NDArray[np.float64]:
    """Mean colour of a kind as a part of the table's beside each item: the light cancels, (3,)."""
    covered = np.any(scene.masks, axis=0)
    parts = []
    for index in scene.of(kind):
        around = cv2.dilate(scene.masks[index].astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
        item, beside = scene.image[scene.masks[index]], scene.image[around & ~covered]
        parts.append(item.mean(axis=0) / beside.mean(axis=0))
    return np.asarray(np.mean(parts, axis=0), np.float64)


def step(scene: LookalikeScene, kind: int) -> float:
    """How far a kind's colour is from the wanted one's, as a part of the table's brightness."""
    return float(np.linalg.norm(reflectance(scene, WANTED) - reflectance(scene, kind)))


def test_the_same_arguments_paint_the_same_scene() -> None:
    one, same = (make_lookalike_scene(1, Difference.HUE, width=320, height=240) for _ in range(2))
    assert np.array_equal(one.image, same.image)
    assert one.kinds == same.kinds
    assert one.boxes == same.boxes


@pytest.mark.parametrize("difference", list(Difference))
def test_every_kind_is_there_and_nothing_is_claimed_twice(difference: Difference) -> None:
    scene = make_lookalike_scene(0, difference)
    assert len(scene.masks) == len(scene.boxes) == len(scene.kinds)
    assert set(scene.kinds) == {WANTED, LOOKALIKE, 2, 3}
    assert min(len(scene.of(kind)) for kind in (WANTED, LOOKALIKE)) >= 3
    assert np.sum(scene.masks, axis=0).max() == 1


@pytest.mark.parametrize(
    "difference", [Difference.PATTERN, Difference.PERIOD, Difference.PATTERN_OR_PLAIN]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_kinds_that_differ_in_texture_have_one_mean_colour(
    seed: int, difference: Difference
) -> None:
    scene = make_lookalike_scene(seed, difference)
    assert step(scene, LOOKALIKE) < A_PART * min(step(scene, kind) for kind in BYSTANDERS)


@pytest.mark.parametrize("difference", [Difference.COLOUR, Difference.HUE, Difference.LIGHTNESS])
@pytest.mark.parametrize("seed", SEEDS)
def test_kinds_that_differ_in_colour_do(seed: int, difference: Difference) -> None:
    scene = make_lookalike_scene(seed, difference)
    assert step(scene, LOOKALIKE) > A_PART * min(step(scene, kind) for kind in BYSTANDERS)

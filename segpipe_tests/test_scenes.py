import numpy as np
import pytest
from numpy.typing import NDArray

from segpipe.scenes import Scene, make_scene
from segpipe_tests.scenes import Matching, iou, match

WIDTH, HEIGHT = 320, 240


def square(x: int, y: int, side: int = 10) -> NDArray[np.bool_]:
    mask = np.zeros((40, 60), np.bool_)
    mask[y : y + side, x : x + side] = True
    return mask


def gap_is_closed(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> bool:
    """Whether a pixel of one mask has a neighbour in the other."""
    return any(np.any(np.roll(a, shift, axis) & b) for axis in (0, 1) for shift in (-1, 1))


def touching_pairs(scene: Scene) -> int:
    masks = scene.masks
    return sum(gap_is_closed(a, b) for index, a in enumerate(masks) for b in masks[index + 1 :])


def test_the_same_seed_paints_the_same_scene_and_another_another() -> None:
    one, same, other = (make_scene(seed, width=WIDTH, height=HEIGHT) for seed in (1, 1, 2))
    assert np.array_equal(one.image, same.image)
    assert one.boxes == same.boxes
    assert all(np.array_equal(a, b) for a, b in zip(one.masks, same.masks, strict=True))
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize("textured_background", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_ground_truth_is_exact_and_nothing_is_claimed_twice(
    seed: int, textured_background: bool
) -> None:
    scene = make_scene(seed, width=WIDTH, height=HEIGHT, textured_background=textured_background)
    assert scene.image.shape == (HEIGHT, WIDTH, 3)
    assert scene.image.dtype == np.uint8
    assert len(scene.masks) == len(scene.boxes) >= 1
    assert np.sum(scene.masks, axis=0).max() == 1
    for mask, box in zip(scene.masks, scene.boxes, strict=True):
        rows, columns = np.nonzero(mask)
        assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_an_item_can_be_seen_where_its_mask_is() -> None:
    """Items and bare table differ more than table and table do."""
    scene = make_scene(3)
    picture = scene.image.astype(int)
    table = ~np.any(scene.masks, axis=0)
    centre = np.median(picture[table], axis=0)
    on_table = np.median(np.abs(picture[table] - centre).sum(1))
    on_items = [np.median(np.abs(picture[mask] - centre).sum(1)) for mask in scene.masks]
    assert np.median(on_items) > 2 * on_table


@pytest.mark.parametrize("items", [0, 1, 6])
def test_as_many_items_as_asked_for(items: int) -> None:
    assert len(make_scene(0, items=items).masks) == items


def test_some_items_touch_unless_that_is_unwanted() -> None:
    pushed, apart = (
        [make_scene(seed, width=400, height=300, touching=touching) for seed in range(4)]
        for touching in (True, False)
    )
    assert sum(map(touching_pairs, pushed)) >= 4
    assert sum(map(touching_pairs, apart)) == 0


def test_a_textured_table_is_rougher() -> None:
    def roughness(textured: bool) -> float:
        scene = make_scene(7, items=0, textured_background=textured)
        return float(np.abs(np.diff(scene.image.astype(int), axis=0)).mean())

    assert roughness(True) > 1.3 * roughness(False)


def test_match_pairs_the_best_first_and_each_once() -> None:
    truth = [square(0, 0), square(30, 0)]
    predicted = [square(1, 0), square(0, 0), square(45, 25)]
    matching = match(predicted, truth)
    assert (matching.mean_iou, matching.recall) == (1.0, 0.5)
    assert (matching.precision, matching.f1) == pytest.approx((1 / 3, 0.4))


def test_match_needs_half_an_overlap() -> None:
    assert match([square(3, 0)], [square(0, 0)]).f1 == 1  # 70 / 130
    assert match([square(4, 0)], [square(0, 0)]).f1 == 0  # 60 / 140


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ([], [], Matching(0.0, 1.0, 1.0, 1.0)),
        ([square(0, 0)], [], Matching(0.0, 0.0, 1.0, 0.0)),
        ([], [square(0, 0)], Matching(0.0, 1.0, 0.0, 0.0)),
    ],
    ids=["both empty", "false alarm", "missed"],
)
def test_match_of_nothing(
    predicted: list[NDArray[np.bool_]], truth: list[NDArray[np.bool_]], expected: Matching
) -> None:
    assert match(predicted, truth) == expected


def test_iou_takes_any_kind_of_mask() -> None:
    assert iou(square(0, 0).astype(np.uint8) * 255, square(5, 0)) == pytest.approx(1 / 3)
    assert iou(square(0, 0, 0), square(0, 0, 0)) == 0

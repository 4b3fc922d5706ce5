import asyncio
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segpipe.detection import Detection
from segpipe.errors import PromptError
from segpipe.prompt import Exemplar, Prompt
from segpipe.segmenters.classical import ClassicalConfig, ClassicalSegmenter
from segpipe.segmenters.classical.exemplar_claims import Claims, claim_items
from segpipe.segmenters.classical.item_at_points import always
from segpipe.segmenters.classical.item_search import look_at, to_detection
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe_tests.scenes import iou
from segpipe_tests.segmenters.classical.pictures import BLUE, RED, disc, find_all, full, table

DARK_RED = (90, 20, 30)


def claim(image: RgbImage, *exemplars: Exemplar) -> Claims:
    look = look_at(image, ClassicalConfig())
    assert look is not None
    return claim_items(look, image, exemplars, ClassicalConfig(), is_wanted=always)


def masks(image: RgbImage, claims: Claims, chosen: frozenset[int]) -> list[NDArray[np.uint8]]:
    return [
        full(to_detection(claims.items[index], 1.0, work_shape=image.shape, image=image))
        for index in sorted(chosen)
    ]


def find(image: RgbImage, exemplars: Sequence[Exemplar]) -> tuple[Detection, ...]:
    prompt = Prompt(exemplars=tuple(exemplars))
    return asyncio.run(ClassicalSegmenter().segment(image, prompt)).detections


def boxed(mask: NDArray[np.uint8], grown: float = 0.0) -> Box:
    """The tight box, its sides moved outward by a part of the mask's size."""
    x, y, width, height = cv2.boundingRect(mask)
    out, down = grown * width, grown * height
    return Box(x - out, y - down, x + width + out, y + height + down)


@pytest.mark.parametrize("grown", [-0.2, -0.1, 0, 0.1, 0.2, 0.4])
def test_a_box_drawn_loosely_or_tightly_means_the_item(grown: float) -> None:
    image = table()
    red = disc(image, 80, 120, 40)
    disc(image, 240, 120, 40, BLUE)
    claims = claim(image, Exemplar(boxed(red, grown)))
    (claimed,) = masks(image, claims, claims.wanted)
    assert iou(claimed, red) > 0.9
    assert len(claims.items) == 2
    assert not claims.unwanted
    assert not claims.bare


def test_a_box_over_the_edge_means_the_item_that_the_photo_cuts() -> None:
    image = table()
    red = disc(image, 0, 120, 50)
    claims = claim(image, Exemplar(Box(-60, 60, 55, 180)))
    (claimed,) = masks(image, claims, claims.wanted)
    assert iou(claimed, red) > 0.9


def test_a_box_around_several_means_all_of_them_but_no_crumb() -> None:
    image = table()
    discs = [disc(image, x, 120, 30) for x in (60, 130)]
    disc(image, 95, 70, 8)
    disc(image, 250, 120, 30)
    claims = claim(image, Exemplar(Box(25, 60, 165, 155)))
    claimed = masks(image, claims, claims.wanted)
    assert len(claimed) == 2
    assert all(max(iou(one, truth) for one in claimed) > 0.9 for truth in discs)


def two_that_touch() -> tuple[RgbImage, NDArray[np.uint8], NDArray[np.uint8]]:
    """Two bars side by side that ``find_all`` takes for one, and another of the left kind."""
    image = table()
    left, right = (np.zeros(image.shape[:2], np.uint8) for _ in range(2))
    left[80:160, 60:110] = 1
    right[80:160, 110:160] = 1
    image[left > 0], image[right > 0] = RED, DARK_RED
    image[80:160, 220:270] = RED
    return image, left, right


def test_of_two_items_found_as_one_the_one_in_the_box_is_cut_out() -> None:
    image, left, right = two_that_touch()
    assert len(find_all(image)) == 2
    claims = claim(image, Exemplar(boxed(left)))
    (claimed,) = masks(image, claims, claims.wanted)
    assert iou(claimed, left) > 0.9
    others = masks(image, claims, frozenset(range(len(claims.items))) - claims.wanted)
    assert len(others) == 2
    assert max(iou(other, right) for other in others) > 0.9


def test_a_small_item_against_a_large_one_of_its_colour_is_cut_out_by_its_box() -> None:
    image = table()
    large, small = (np.zeros(image.shape[:2], np.uint8) for _ in range(2))
    large[60:140, 60:200] = 1
    small[140:165, 110:135] = 1
    image[(large | small) > 0] = RED
    assert len(find_all(image)) == 1
    claims = claim(image, Exemplar(boxed(small, 0.1)))
    (claimed,) = masks(image, claims, claims.wanted)
    assert iou(claimed, small) > 0.7
    (other,) = masks(image, claims, frozenset(range(len(claims.items))) - claims.wanted)
    assert iou(other, large) > 0.9


def test_the_rest_of_what_was_cut_is_judged_by_its_own_look() -> None:
    image, left, right = two_that_touch()
    found = find(image, [Exemplar(boxed(left)), Exemplar(boxed(right), positive=False)])
    assert sorted(round(one.box.x1, -1) for one in found) == [60, 220]


def test_both_of_two_that_touch_may_be_examples_of_either_sign() -> None:
    image, left, right = two_that_touch()
    for one, other in ((left, right), (right, left)):
        exemplars = Exemplar(boxed(one)), Exemplar(boxed(other), positive=False)
        claims = claim(image, *exemplars)
        (wanted,) = masks(image, claims, claims.wanted)
        (unwanted,) = masks(image, claims, claims.unwanted)
        assert iou(wanted, one) > 0.9
        assert iou(unwanted, other) > 0.9


def test_an_item_that_is_too_faint_to_be_found_can_be_an_example() -> None:
    image = table()
    faint = disc(image, 80, 120, 30, (178, 172, 180))
    config = ClassicalConfig(min_score=0.8)
    look = look_at(image, config)
    assert look is not None
    assert look.items == ()
    claims = claim_items(look, image, [Exemplar(boxed(faint))], config, is_wanted=always)
    (claimed,) = masks(image, claims, claims.wanted)
    assert iou(claimed, faint) > 0.8


@pytest.mark.parametrize("positive", [True, False])
def test_a_box_of_bare_table_is_no_item_but_has_a_look(positive: bool) -> None:
    image = table()
    disc(image, 80, 120, 40)
    claims = claim(image, Exemplar(Box(200, 50, 260, 90), positive=positive))
    ((item, sign),) = claims.bare
    assert sign is positive
    assert tuple(item.window) == (200, 50, 260, 90)
    assert not claims.wanted
    assert not claims.unwanted
    assert len(claims.items) == 1


@pytest.mark.parametrize("signs", [(True, False), (False, True)])
@pytest.mark.parametrize("grown", [0, 0.1, 0.4])
def test_opposite_exemplars_of_one_item_are_refused(signs: tuple[bool, bool], grown: float) -> None:
    image = table()
    red = disc(image, 80, 120, 40)
    first, second = signs
    with pytest.raises(PromptError, match="same item") as caught:
        claim(
            image,
            Exemplar(boxed(red), positive=first),
            Exemplar(boxed(red, grown), positive=second),
        )
    assert caught.value.field == "exemplars[1]"
    assert f"exemplars[0], which is {'positive' if first else 'negative'}" in caught.value.message


def test_a_negative_box_around_a_group_leaves_the_positive_ones_item_alone() -> None:
    image = table()
    red, blue = disc(image, 80, 120, 30), disc(image, 150, 120, 30, BLUE)
    claims = claim(image, Exemplar(boxed(red)), Exemplar(Box(45, 85, 185, 155), positive=False))
    (wanted,) = masks(image, claims, claims.wanted)
    (unwanted,) = masks(image, claims, claims.unwanted)
    assert iou(wanted, red) > 0.9
    assert iou(unwanted, blue) > 0.9

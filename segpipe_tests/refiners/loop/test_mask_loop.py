"""The loop: what is asked, what is kept, when it ends, and that masks become better."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import ref

import numpy as np
import pytest
from numpy.typing import NDArray

from segpipe.errors import InputError
from segpipe.refiners.loop.loop_settings import LoopSettings
from segpipe.refiners.loop.mask_decoder import Candidates
from segpipe.refiners.loop.mask_loop import refine_masks
from segpipe.refiners.loop.mask_prompts import Logits
from segpipe.refiners.loop.square_view import Fit, Square, SquarePrompt
from segpipe.refiners.refiner import Refinement
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask, dilate, iou
from segpipe_tests.refiners.loop.degrade import DEGRADATIONS
from segpipe_tests.refiners.loop.oracle import Oracle, labelled
from segpipe_tests.refiners.loop.pictures import HEIGHT, WIDTH, box, disc
from segpipe_tests.refiners.loop.quality import change_by_loop

SIDE, LOW = 256, 64
ITEM = disc(100, 75, 30)
PICTURE = labelled((HEIGHT, WIDTH), [ITEM.to_full() > 0])


class Scripted:
    """Gives one prepared mask after another, whatever is asked."""

    square = Square(SIDE, SIDE, Fit.PAD)  # as fine as the picture, so that masks come back exactly

    def __init__(self, answers: Sequence[tuple[Mask, float]]) -> None:
        self.answers = list(answers)
        self.questions: list[SquarePrompt] = []

    def embed(self, views: Sequence[RgbImage]) -> Sequence[None]:
        return [None] * len(views)

    def decode(
        self, embeddings: Sequence[None], prompts: Sequence[SquarePrompt]
    ) -> Sequence[Candidates]:
        self.questions += prompts
        mask, predicted = self.answers[len(self.questions) - 1]
        logits = 2 * mask.to_full()[None].astype(np.float32) - 1
        return [Candidates(logits, np.array([predicted], np.float32))]


def scripted(
    answers: Sequence[tuple[Mask, float]], coarse: Mask = ITEM, **settings: Any
) -> tuple[Refinement, Scripted]:
    """Refine one mask of a picture as large as the model's square, so that pixels are pixels."""
    model = Scripted([(on_square(mask), predicted) for mask, predicted in answers])
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    (done,) = refine_masks(
        image, [on_square(coarse)], model, LoopSettings(embed="image", **settings)
    )
    return done, model


def on_square(mask: Mask) -> Mask:
    return Mask(mask.x, mask.y, mask.bits, SIDE, SIDE)


def grown(pixels: int) -> Mask:
    return dilate(ITEM, pixels)


@pytest.mark.parametrize("degradation", list(DEGRADATIONS))
@pytest.mark.parametrize(
    ("embed", "fit"), [("crop", Fit.PAD), ("auto", Fit.PAD), ("auto", Fit.STRETCH)]
)
def test_degraded_masks_of_scenes_become_better(degradation: str, embed: Any, fit: Fit) -> None:
    change = change_by_loop(
        degradation,
        LoopSettings(embed=embed),
        lambda: Oracle(side=SIDE, low_side=LOW, fit=fit, edge_noise_px=0.3, iou_noise=0.03),
        range(1),
    )
    assert change.after.iou > change.before.iou + 0.02
    assert change.after.boundary_iou > change.before.boundary_iou + 0.1
    assert change.accepted >= 0.8 * change.masks


def test_the_best_answer_is_kept_and_not_the_last() -> None:
    done, model = scripted([(grown(2), 0.7), (grown(1), 0.9), (grown(3), 0.6)], iterations=3)
    assert len(model.questions) == 3
    assert done.accepted
    assert iou(done.mask, on_square(grown(1))) == 1
    assert done.iterations == 3
    assert done.predicted_iou == pytest.approx(0.9)


@pytest.mark.parametrize(("weight", "kept"), [(0.0, 4), (1.0, 1)])
def test_agreement_with_the_coarse_mask_counts_by_its_weight(weight: float, kept: int) -> None:
    done, _ = scripted([(grown(1), 0.80), (grown(4), 0.85)], iterations=2, agreement_weight=weight)
    assert iou(done.mask, on_square(grown(kept))) == 1


def test_an_empty_answer_ends_the_loop_with_the_best_so_far() -> None:
    empty = Mask.empty(image_width=WIDTH, image_height=HEIGHT)
    done, model = scripted([(grown(1), 0.8), (empty, 1.0), (grown(2), 1.0)], iterations=3)
    assert len(model.questions) == done.iterations == 2
    assert iou(done.mask, on_square(grown(1))) == 1


def test_an_answer_elsewhere_ends_the_loop_with_the_best_so_far() -> None:
    done, model = scripted(
        [(grown(1), 0.8), (disc(120, 75, 20), 1.0), (grown(2), 1.0)], iterations=3
    )
    assert len(model.questions) == 2
    assert iou(done.mask, on_square(grown(1))) == 1


def test_the_same_answer_again_ends_the_loop() -> None:
    done, model = scripted([(grown(1), 0.8), (grown(1), 0.8), (grown(2), 1.0)], iterations=3)
    assert len(model.questions) == done.iterations == 2
    assert done.accepted


@pytest.mark.parametrize(
    ("answer", "predicted", "reason"),
    [
        (Mask.empty(image_width=WIDTH, image_height=HEIGHT), 1.0, "the answer is empty"),
        (disc(120, 75, 15), 1.0, r"IoU with the coarse mask is 0\.\d\d, below 0.5"),
        (grown(1), 0.3, r"expects an IoU of 0.30, below 0.5"),
    ],
)
def test_without_a_good_answer_the_coarse_mask_stays(
    answer: Mask, predicted: float, reason: str
) -> None:
    done, _ = scripted([(answer, predicted)], iterations=1)
    assert not done.accepted
    assert np.array_equal(done.mask.to_full(), on_square(ITEM).to_full())
    assert done.iterations == 1
    assert re.search(reason, done.reason or "")


def test_a_cleaned_mask_that_lost_its_item_is_not_accepted() -> None:
    bits = np.zeros((SIDE, SIDE), np.uint8)
    bits[100:140:4, 100:140:4] = 1  # specks, of which cleaning leaves one
    coarse = Mask.from_full(bits)
    done, _ = scripted([(coarse, 1.0)], coarse=coarse, iterations=1, max_flaw_ratio=0.5)
    assert not done.accepted
    assert np.array_equal(done.mask.to_full(), bits)


class Speck:
    """Answers what is inside at a single point, between the pixels of a large item."""

    square = Square(SIDE, LOW, Fit.PAD)

    def embed(self, views: Sequence[RgbImage]) -> Sequence[None]:
        return [None] * len(views)

    def decode(
        self, embeddings: Sequence[None], prompts: Sequence[SquarePrompt]
    ) -> Sequence[Candidates]:
        logits = np.full((1, LOW, LOW), -1, np.float32)
        logits[:, LOW // 2, LOW // 2] = 0.01
        return [Candidates(logits, np.ones(1, np.float32))] * len(prompts)


def test_an_answer_without_a_pixel_is_not_accepted_whatever_the_guards_allow() -> None:
    side = 10 * LOW
    coarse = Mask.from_box(Box(0, 0, side, side), image_width=side, image_height=side)
    image = np.zeros((side, side, 3), np.uint8)
    settings = LoopSettings(embed="image", min_iou=0, min_predicted_iou=0)
    (done,) = refine_masks(image, [coarse], Speck(), settings)
    assert (done.accepted, done.reason) == (False, "the answer is empty")
    assert done.mask is coarse


def test_the_next_question_comes_from_the_last_answer() -> None:
    _, model = scripted([(box(75, 50, 126, 101), 0.9), (grown(1), 0.5)], iterations=2)
    assert model.questions[1].box == pytest.approx((75, 50, 126, 101), abs=1)
    assert model.questions[1].outside is None


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["logits", "iou"])
def test_an_answer_that_is_no_number_is_passed_over(wrong: float, part: str) -> None:
    good = 2 * grown_logits(1) - 1
    broken = np.full_like(good, wrong) if part == "logits" else good
    broken_iou = wrong if part == "iou" else 0.95
    best = Candidates(np.stack([broken, good]), np.array([broken_iou, 0.7], np.float32)).best
    assert best is not None
    assert best[1] == pytest.approx(0.7)
    assert np.array_equal(best[0], good)


def test_a_model_that_answers_no_numbers_leaves_the_coarse_mask_and_says_so() -> None:
    done, model = scripted([(grown(1), np.nan)], iterations=3)
    assert not done.accepted
    assert np.array_equal(done.mask.to_full(), on_square(ITEM).to_full())
    assert "not made of numbers; try dtype bfloat16" in (done.reason or "")
    assert len(model.questions) == done.iterations == 1
    assert done.predicted_iou is None


def test_no_numbers_after_a_good_answer_end_the_loop_with_that() -> None:
    done, _ = scripted([(grown(1), 0.8), (grown(2), np.nan)], iterations=3)
    assert done.accepted
    assert iou(done.mask, on_square(grown(1))) == 1


def grown_logits(pixels: int) -> Logits:
    return on_square(grown(pixels)).to_full().astype(np.float32)


def test_a_predicted_iou_above_one_counts_as_one() -> None:
    done, _ = scripted([(grown(1), 1.2)], iterations=1)
    assert done.predicted_iou == 1.0


def test_an_empty_mask_is_asked_nothing() -> None:
    oracle = Oracle()
    empty = Mask.empty(image_width=WIDTH, image_height=HEIGHT)
    (done,) = refine_masks(PICTURE, [empty], oracle, LoopSettings())
    assert (done.mask, done.accepted, done.reason) == (empty, False, "the mask is empty")
    assert not oracle.embedded


def test_a_mask_thinner_than_a_cell_is_asked_nothing() -> None:
    size = 4000
    bits = np.eye(size, dtype=np.uint8)
    oracle = Oracle()
    image = np.zeros((size, size, 3), np.uint8)
    (done,) = refine_masks(image, [Mask.from_full(bits)], oracle, LoopSettings())
    assert done.reason == "the mask is too thin to refine"
    assert not oracle.questions


def test_refinements_come_in_the_order_of_their_masks() -> None:
    items = [disc(40 + 60 * number, 75, 20 + number) for number in range(3)]
    picture = labelled((HEIGHT, WIDTH), [one.to_full() > 0 for one in items])
    empty = Mask.empty(image_width=WIDTH, image_height=HEIGHT)
    coarse = [dilate(items[0], 2), empty, dilate(items[1], 2), dilate(items[2], 2)]
    done = refine_masks(picture, coarse, Oracle(), LoopSettings(objects_per_batch=2, embed="crop"))
    assert done[1].mask is empty
    for refinement, item in zip((done[0], done[2], done[3]), items, strict=True):
        assert iou(refinement.mask, item) > 0.95


class Remembering(Oracle):
    """Answers a batch by views of one array, and watches which of these are kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.arrays: list[ref[NDArray[np.float32]]] = []
        self.most_kept: int = 0

    def decode(
        self, embeddings: Sequence[RgbImage], prompts: Sequence[SquarePrompt]
    ) -> Sequence[Candidates]:
        self.most_kept = max(self.most_kept, sum(one() is not None for one in self.arrays))
        answers = super().decode(embeddings, prompts)
        whole = np.stack([answer.logits for answer in answers])
        self.arrays.append(ref(whole))
        return [replace(answer, logits=plane) for answer, plane in zip(answers, whole, strict=True)]


def test_answers_are_let_go_of_once_they_are_read() -> None:
    masks = [disc(40 + 30 * number, 75, 12) for number in range(5)]
    picture = labelled((HEIGHT, WIDTH), [one.to_full() > 0 for one in masks])
    oracle = Remembering(edge_noise_px=0.5)
    refine_masks(picture, masks, oracle, LoopSettings(objects_per_batch=2))
    assert len(oracle.arrays) > 6
    assert oracle.most_kept <= 1


def test_one_view_of_the_image_serves_all_batches() -> None:
    oracle = Oracle()
    masks = [disc(40 + 30 * number, 75, 12) for number in range(5)]
    picture = labelled((HEIGHT, WIDTH), [one.to_full() > 0 for one in masks])
    refine_masks(picture, masks, oracle, LoopSettings(embed="image", objects_per_batch=2))
    assert [len(views) for views in oracle.embedded] == [1]
    assert max(len(questions) for questions in oracle.questions) == 2


def test_crops_are_embedded_in_batches() -> None:
    oracle = Oracle()
    masks = [disc(40 + 30 * number, 75, 12) for number in range(5)]
    picture = labelled((HEIGHT, WIDTH), [one.to_full() > 0 for one in masks])
    refine_masks(picture, masks, oracle, LoopSettings(embed="crop", crops_per_batch=2))
    assert [len(views) for views in oracle.embedded] == [2, 2, 1]


def test_auto_gives_small_items_a_crop_and_large_ones_the_image() -> None:
    masks = [disc(40, 40, 10), disc(130, 80, 60), disc(30, 120, 8)]
    picture = labelled((HEIGHT, WIDTH), [one.to_full() > 0 for one in masks])
    oracle = Oracle()
    refine_masks(picture, masks, oracle, LoopSettings(embed="auto", crops_per_batch=1))
    shapes = [view.shape[:2] for (view,) in oracle.embedded]
    assert shapes == [(31, 31), (HEIGHT, WIDTH), (25, 25)]


@pytest.mark.parametrize("embed", ["image", "crop"])
def test_batches_change_no_mask(embed: Any) -> None:
    masks = [disc(40 + 35 * number, 75, 14) for number in range(4)]
    picture = labelled((HEIGHT, WIDTH), [one.to_full() > 0 for one in masks])
    coarse = [dilate(mask, 3) for mask in masks]
    one, all_at_once = (
        refine_masks(picture, coarse, Oracle(), LoopSettings(embed=embed, objects_per_batch=size))
        for size in (1, 4)
    )
    for a, b in zip(one, all_at_once, strict=True):
        assert np.array_equal(a.mask.to_full(), b.mask.to_full())


def test_an_item_at_the_edge_of_the_image_is_refined() -> None:
    item = disc(0, 0, 40)
    picture = labelled((HEIGHT, WIDTH), [item.to_full() > 0])
    (done,) = refine_masks(picture, [dilate(item, 4)], Oracle(), LoopSettings(embed="crop"))
    assert done.accepted
    assert iou(done.mask, item) > 0.95


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("embed", ["image", "crop"])
@pytest.mark.parametrize(
    "item",
    [box(5, 70, 195, 82), box(90, 3, 102, 149), box(0, 0, 200, 14)],
    ids=["across", "down", "along the edge"],
)
def test_a_long_item_is_refined(item: Mask, embed: Any, fit: Fit) -> None:
    picture = labelled((HEIGHT, WIDTH), [item.to_full() > 0])
    oracle = Oracle(side=SIDE, low_side=LOW, fit=fit)
    (done,) = refine_masks(picture, [dilate(item, 2)], oracle, LoopSettings(embed=embed))
    assert done.accepted
    assert iou(done.mask, item) > 0.93


def test_a_model_that_stretches_is_shown_more_around_a_long_item() -> None:
    item = box(40, 60, 140, 70)
    picture = labelled((HEIGHT, WIDTH), [item.to_full() > 0])
    shown = {}
    for fit in Fit:
        oracle = Oracle(side=SIDE, low_side=LOW, fit=fit)
        refine_masks(picture, [dilate(item, 2)], oracle, LoopSettings(embed="crop"))
        shown[fit] = oracle.embedded[0][0].shape[:2]
    assert shown == {Fit.PAD: (22, 156), Fit.STRETCH: (78, 156)}


def test_a_mask_of_another_image_is_refused_before_anything_is_asked() -> None:
    oracle = Oracle()
    other = Mask.empty(image_width=WIDTH, image_height=HEIGHT + 1)
    with pytest.raises(InputError, match="mask 1 belongs to an image of 200 x 151") as caught:
        refine_masks(PICTURE, [ITEM, other], oracle, LoopSettings())
    assert caught.value.field == "masks"
    assert not oracle.embedded

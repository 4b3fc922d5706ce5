"""What holds for every model of the SAM family, here with random weights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from segpipe.errors import RefinerError
from segpipe.refiners.loop.loop_item import LoopItem
from segpipe.refiners.loop.loop_settings import LoopSettings
from segpipe.refiners.loop.mask_loop import refine_masks
from segpipe.refiners.loop.sam_decoder import SamDecoder
from segpipe.refiners.loop.square_view import SquarePrompt
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe_tests.refiners.loop.models import KINDS, config_of
from segpipe_tests.refiners.loop.pictures import HEIGHT, WIDTH, disc, picture, two_masks

TOLERANCE = 1e-4

Model = SamDecoder[Any]


@pytest.fixture(scope="module", params=list(KINDS))
def model(request: pytest.FixtureRequest) -> Model:
    kind = KINDS[request.param]
    loaded: Model = kind.load(config_of(kind, request.getfixturevalue(kind.fixture)))
    return loaded


def asked(model: Model, masks: Sequence[Mask], **settings: Any) -> list[SquarePrompt]:
    prompts = []
    for mask in masks:
        item = LoopItem.start(mask, LoopSettings(**settings), model.square)
        assert isinstance(item, LoopItem)
        prompts.append(item.next_prompt())
    return prompts


def test_answers_are_three_masks_over_the_square(model: Model) -> None:
    (features,) = model.embed([picture()])
    (answer,) = model.decode([features], asked(model, [disc(60, 60, 30)], embed="image"))
    assert answer.logits.shape == (3, model.square.low_side, model.square.low_side)
    assert answer.predicted_ious.shape == (3,)
    assert answer.logits.dtype == answer.predicted_ious.dtype == np.float32


def test_objects_decoded_together_get_the_answers_they_get_alone(model: Model) -> None:
    masks = [*two_masks(), disc(100, 40, 20)]
    prompts = asked(model, masks, embed="image")
    assert {prompt.outside is None for prompt in prompts} == {True, False}
    (features,) = model.embed([picture()])
    together = model.decode([features] * len(prompts), prompts)
    for prompt, answer in zip(prompts, together, strict=True):
        (alone,) = model.decode([features], [prompt])
        assert np.allclose(answer.logits, alone.logits, atol=TOLERANCE)
        assert np.allclose(answer.predicted_ious, alone.predicted_ious, atol=TOLERANCE)


def test_views_embedded_together_get_the_features_they_get_alone(model: Model) -> None:
    views: list[RgbImage] = [picture(), picture()[:, ::-1]]
    together = model.embed(views)
    prompts = asked(model, [disc(60, 60, 30)] * 2, embed="image")
    answers = model.decode(together, prompts)
    for view, prompt, answer in zip(views, prompts, answers, strict=True):
        (alone,) = model.decode(model.embed([view]), [prompt])
        assert np.allclose(answer.logits, alone.logits, atol=TOLERANCE)
    assert not np.allclose(answers[0].logits, answers[1].logits, atol=0.1)


@pytest.mark.parametrize("part", ["inside", "outside", "box", "logits"])
def test_every_part_of_a_prompt_changes_the_answer(model: Model, part: str) -> None:
    first, second = asked(model, [disc(60, 60, 30), disc(110, 90, 20)], embed="image")
    mixed = replace(first, **{part: getattr(second, part)})
    (features,) = model.embed([picture()])
    one, other = model.decode([features] * 2, [first, mixed])
    assert np.abs(one.logits - other.logits).max() > 10 * TOLERANCE


@pytest.mark.parametrize(("embed", "passes"), [("image", 1), ("crop", 3), ("auto", 3)])
def test_the_encoder_looks_once_an_image_or_once_a_crop(
    model: Model, embed: Any, passes: int
) -> None:
    masks = [*two_masks(), disc(100, 40, 12)]
    settings = LoopSettings(embed=embed, small_item_ratio=1.0, min_iou=0, objects_per_batch=2)
    with patch.object(model, "embed", wraps=model.embed) as embed_views:
        refine_masks(picture(), masks, model, settings)
    assert sum(len(call.args[0]) for call in embed_views.call_args_list) == passes


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3), (500, 700)])
def test_a_view_of_any_size_fills_what_it_should(model: Model, shape: tuple[int, int]) -> None:
    side = model.square.side
    square = model._square_pixels(np.full((*shape, 3), 255, np.uint8))
    assert square.shape == (3, side, side)
    columns, rows = model.square.size_of(shape[1], shape[0])
    assert (square[:, :rows, :columns] > 0.5).all()
    assert (square[:, rows:] == 0).all()
    assert (square[:, :, columns:] == 0).all()


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_places_are_told_to_the_pixel_in_any_numbers(
    kind: Any, request: pytest.FixtureRequest
) -> None:
    rough: Model = kind.load(
        config_of(kind, request.getfixturevalue(kind.fixture), dtype="bfloat16")
    )
    exact: Model = kind.load(config_of(kind, request.getfixturevalue(kind.fixture)))
    (prompt,) = asked(rough, [disc(60, 60, 30)], embed="image")
    moved = replace(prompt, inside=(prompt.inside[0] + 0.25, prompt.inside[1]))
    with torch.inference_mode():
        (ours, _), (theirs, _) = (one._prompt_embeddings([prompt, moved]) for one in (rough, exact))
        # bfloat16 keeps 8 bits of each number, but what it is a number of has to be exact.
        torch.testing.assert_close(ours.float(), theirs, atol=0.01, rtol=0.01)
        torch.testing.assert_close(rough._positions.float(), exact._positions, atol=0.01, rtol=0.01)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_picture_is_refined_in_short_numbers(
    kind: Any, dtype: str, request: pytest.FixtureRequest
) -> None:
    short: Model = kind.load(config_of(kind, request.getfixturevalue(kind.fixture), dtype=dtype))
    done = refine_masks(picture(), two_masks(), short, LoopSettings(iterations=2, min_iou=0))
    assert all(one.iterations for one in done)


def test_a_failure_inside_the_model_is_named(model: Model) -> None:
    (features,) = model.embed([picture()])
    (prompt,) = asked(model, [disc(60, 60, 30)], embed="image")
    unfit = replace(prompt, logits=np.zeros((12, 12), np.float32))
    with pytest.raises(RefinerError, match=r"(HQ-SAM|SAM 3) failed while answering prompts"):
        model.decode([features], [unfit])


def test_running_out_of_memory_says_what_to_lower(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(model, "_look", full)
    with pytest.raises(RefinerError, match="lower objects_per_batch and crops_per_batch"):
        model.embed([picture()])


def test_the_picture_is_not_changed(model: Model) -> None:
    image = picture()
    before = image.copy()
    image.setflags(write=False)
    refine_masks(image, two_masks(), model, LoopSettings(min_iou=0))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(image, before)

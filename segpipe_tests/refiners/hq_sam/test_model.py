"""HQ-SAM of random weights: how it is loaded, and what its answers depend on."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from segpipe.errors import CheckpointError, ConfigError, RefinerError
from segpipe.refiners.hq_sam import HqSamConfig
from segpipe.refiners.hq_sam.model import HqSamModel
from segpipe.refiners.iterative.item import Item
from segpipe.refiners.iterative.loop import refine_masks
from segpipe.refiners.iterative.settings import LoopSettings
from segpipe.refiners.iterative.views import SquarePrompt
from segpipe.vision.mask import Mask
from segpipe_tests.refiners.hq_sam.tiny import SIDE
from segpipe_tests.refiners.iterative.pictures import HEIGHT, WIDTH, disc, picture, two_masks

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> HqSamModel:
    return HqSamModel.load(HqSamConfig(checkpoint=str(tiny_checkpoint), device="cpu"))


def asked(model: HqSamModel, masks: Sequence[Mask], **settings: Any) -> list[SquarePrompt]:
    prompts = []
    for mask in masks:
        item = Item.start(mask, LoopSettings(**settings), side=model.side, low_side=model.low_side)
        assert isinstance(item, Item)
        prompts.append(item.question())
    return prompts


def whole_picture(model: HqSamModel) -> Any:
    item = Item.start(
        disc(60, 60, 30), LoopSettings(embed="image"), side=model.side, low_side=model.low_side
    )
    assert isinstance(item, Item)
    return item.site.view.pixels(picture())


def test_a_loaded_model_has_the_weights_of_its_folder(
    model: HqSamModel, tiny_checkpoint: Path
) -> None:
    weights = load_file(tiny_checkpoint / "model.safetensors")
    loaded = model._model.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in weights.items())


def test_answers_are_three_masks_over_the_square(model: HqSamModel) -> None:
    (features,) = model.embed([whole_picture(model)])
    (answer,) = model.decode([features], asked(model, [disc(60, 60, 30)], embed="image"))
    assert answer.logits.shape == (3, SIDE // 4, SIDE // 4)
    assert answer.predicted_ious.shape == (3,)
    assert answer.logits.dtype == answer.predicted_ious.dtype == np.float32


def test_objects_decoded_together_get_the_answers_they_get_alone(model: HqSamModel) -> None:
    masks = [*two_masks(), disc(100, 40, 20)]
    prompts = asked(model, masks, embed="image")
    assert {prompt.outside is None for prompt in prompts} == {True, False}
    (features,) = model.embed([whole_picture(model)])
    together = model.decode([features] * len(prompts), prompts)
    for prompt, answer in zip(prompts, together, strict=True):
        (alone,) = model.decode([features], [prompt])
        assert np.allclose(answer.logits, alone.logits, atol=TOLERANCE)
        assert np.allclose(answer.predicted_ious, alone.predicted_ious, atol=TOLERANCE)


def test_views_embedded_together_get_the_features_they_get_alone(model: HqSamModel) -> None:
    views = [whole_picture(model), whole_picture(model)[:, ::-1]]
    together = model.embed(views)
    prompts = asked(model, [disc(60, 60, 30)] * 2, embed="image")
    answers = model.decode(together, prompts)
    for view, prompt, answer in zip(views, prompts, answers, strict=True):
        (alone,) = model.decode(model.embed([view]), [prompt])
        assert np.allclose(answer.logits, alone.logits, atol=TOLERANCE)
    assert not np.allclose(answers[0].logits, answers[1].logits, atol=0.1)


@pytest.mark.parametrize("part", ["inside", "outside", "box", "logits"])
def test_every_part_of_a_prompt_changes_the_answer(model: HqSamModel, part: str) -> None:
    first, second = asked(model, [disc(60, 60, 30), disc(110, 90, 20)], embed="image")
    mixed = replace(first, **{part: getattr(second, part)})
    (features,) = model.embed([whole_picture(model)])
    one, other = model.decode([features] * 2, [first, mixed])
    assert np.abs(one.logits - other.logits).max() > 10 * TOLERANCE


def test_the_details_of_the_early_layer_are_used(model: HqSamModel) -> None:
    (features,) = model.embed([whole_picture(model)])
    prompts = asked(model, [disc(60, 60, 30)], embed="image")
    blind = type(features)(features.image, torch.zeros_like(features.early))
    (seeing,), (blinded,) = model.decode([features], prompts), model.decode([blind], prompts)
    assert np.abs(seeing.logits - blinded.logits).max() > 10 * TOLERANCE


@pytest.mark.parametrize(("embed", "passes"), [("image", 1), ("crop", 3), ("auto", 3)])
def test_the_encoder_looks_once_an_image_or_once_a_crop(
    model: HqSamModel, embed: Any, passes: int
) -> None:
    masks = [*two_masks(), disc(100, 40, 12)]
    before = model.encoder_passes
    settings = LoopSettings(embed=embed, small_item_ratio=1.0, min_iou=0, objects_per_batch=2)
    refine_masks(picture(), masks, model, settings)
    assert model.encoder_passes - before == passes


def test_padding_is_the_mean_colour(model: HqSamModel) -> None:
    square = model._square(np.full((SIDE // 2, SIDE, 3), 255, np.uint8))
    assert square.shape == (3, SIDE, SIDE)
    assert (square[:, SIDE // 2 :] == 0).all()
    assert square[:, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-4)


def test_a_failure_inside_the_model_says_what_to_do(model: HqSamModel) -> None:
    (features,) = model.embed([whole_picture(model)])
    (prompt,) = asked(model, [disc(60, 60, 30)], embed="image")
    unfit = replace(prompt, logits=np.zeros((12, 12), np.float32))
    with pytest.raises(RefinerError, match=r"answering prompts.*lower objects_per_batch"):
        model.decode([features], [unfit])


def copied(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def load(folder: Path, **settings: Any) -> HqSamModel:
    return HqSamModel.load(HqSamConfig(checkpoint=str(folder), **settings))


def test_a_missing_weight_is_not_made_up(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = copied(tiny_checkpoint, tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["mask_decoder.hq_token.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 weights, mask_decoder.hq_token.weight"):
        load(folder)


def test_damaged_weights_are_an_error_of_the_checkpoint(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_checkpoint, tmp_path)
    (folder / "model.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(folder)


def test_another_model_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = copied(tiny_checkpoint, tmp_path)
    (folder / "config.json").write_text(json.dumps({"model_type": "sam"}))
    with pytest.raises(CheckpointError, match="it is a sam; needed is a sam_hq"):
        load(folder)


def test_pickles_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = copied(tiny_checkpoint, tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="no safetensors; pickles"):
        load(folder)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        load(tmp_path)


def test_a_folder_has_no_revision(tiny_checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="leave the revision empty") as caught:
        load(tiny_checkpoint, revision="0" * 40)
    assert caught.value.field == "revision"


def test_a_repository_needs_a_commit() -> None:
    with pytest.raises(ConfigError, match="needs a pinned revision"):
        HqSamModel.load(HqSamConfig(checkpoint="some/where", device="cpu"))


def test_no_folder_and_no_repository_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="there is no folder"):
        HqSamModel.load(HqSamConfig(checkpoint="/no/such/folder", device="cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_a_device_that_is_not_there_is_an_error(tiny_checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="there is no cuda:1 here"):
        load(tiny_checkpoint, device="cuda:1")


def test_the_picture_is_not_changed(model: HqSamModel) -> None:
    image = picture()
    image.setflags(write=False)
    refine_masks(image, two_masks(), model, LoopSettings(min_iou=0))
    assert image.shape == (HEIGHT, WIDTH, 3)

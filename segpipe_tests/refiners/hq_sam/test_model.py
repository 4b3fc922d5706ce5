"""HQ-SAM of random weights: how it is loaded, and what its answers depend on."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from segpipe.errors import CheckpointError, ConfigError
from segpipe.refiners.hq_sam import HqSamConfig
from segpipe.refiners.hq_sam.model import HqSamModel
from segpipe.refiners.iterative.item import Item
from segpipe.refiners.iterative.settings import LoopSettings
from segpipe.refiners.iterative.views import SquarePrompt
from segpipe.vision.mask import Mask
from segpipe_tests.refiners.hq_sam.tiny import SIDE
from segpipe_tests.refiners.iterative.pictures import disc, picture

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model(tiny_hq_sam: Path) -> HqSamModel:
    return HqSamModel.load(HqSamConfig(checkpoint=str(tiny_hq_sam), device="cpu"))


def asked(model: HqSamModel, masks: Sequence[Mask], **settings: Any) -> list[SquarePrompt]:
    prompts = []
    for mask in masks:
        item = Item.start(mask, LoopSettings(**settings), model.square)
        assert isinstance(item, Item)
        prompts.append(item.question())
    return prompts


def whole_picture(model: HqSamModel) -> Any:
    item = Item.start(disc(60, 60, 30), LoopSettings(embed="image"), model.square)
    assert isinstance(item, Item)
    return item.site.view.pixels(picture())


def test_a_loaded_model_has_the_weights_of_its_folder(model: HqSamModel, tiny_hq_sam: Path) -> None:
    weights = load_file(tiny_hq_sam / "model.safetensors")
    loaded = model._model.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in weights.items())


def test_the_details_of_the_early_layer_are_used(model: HqSamModel) -> None:
    (features,) = model.embed([whole_picture(model)])
    prompts = asked(model, [disc(60, 60, 30)], embed="image")
    blind = type(features)(features.image, torch.zeros_like(features.early))
    (seeing,), (blinded,) = model.decode([features], prompts), model.decode([blind], prompts)
    assert np.abs(seeing.logits - blinded.logits).max() > 10 * TOLERANCE


def test_padding_is_the_mean_colour(model: HqSamModel) -> None:
    square = model._square_pixels(np.full((SIDE // 2, SIDE, 3), 255, np.uint8))
    assert square.shape == (3, SIDE, SIDE)
    assert (square[:, SIDE // 2 :] == 0).all()
    assert square[:, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.64], abs=1e-4)


def copied(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def load(folder: Path, **settings: Any) -> HqSamModel:
    return HqSamModel.load(HqSamConfig(checkpoint=str(folder), **settings))


def test_a_missing_weight_is_not_made_up(tiny_hq_sam: Path, tmp_path: Path) -> None:
    folder = copied(tiny_hq_sam, tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["mask_decoder.hq_token.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"lacks 1 weights of SamHQModel, mask_decoder.hq_token"
    ):
        load(folder)


def test_damaged_weights_are_an_error_of_the_checkpoint(tiny_hq_sam: Path, tmp_path: Path) -> None:
    folder = copied(tiny_hq_sam, tmp_path)
    (folder / "model.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(folder)


def test_another_model_is_refused(tiny_hq_sam: Path, tmp_path: Path) -> None:
    folder = copied(tiny_hq_sam, tmp_path)
    (folder / "config.json").write_text(json.dumps({"model_type": "sam"}))
    with pytest.raises(CheckpointError, match="it is a sam; needed is a sam_hq"):
        load(folder)


def test_a_repository_needs_a_revision() -> None:
    with pytest.raises(ConfigError, match="needs a pinned revision"):
        HqSamModel.load(HqSamConfig(checkpoint="some/where", device="cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_a_device_that_is_not_there_is_an_error(tiny_hq_sam: Path) -> None:
    with pytest.raises(ConfigError, match="there is no cuda:1"):
        load(tiny_hq_sam, device="cuda:1")

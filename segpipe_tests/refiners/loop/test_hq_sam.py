"""HQ-SAM by transformers, beside the original's own code."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.models.sam_hq.modeling_sam_hq import SamHQMaskDecoder

from segpipe.errors import CheckpointError, ConfigError
from segpipe.refiners.loop.hq_sam import HqSamModel, _Reconnection, correct, drops_attended_map
from segpipe.refiners.loop.loop_item import LoopItem
from segpipe.refiners.loop.loop_settings import HqSamConfig, LoopSettings
from segpipe.refiners.loop.square_view import SquarePrompt
from segpipe.vision.mask import Mask
from segpipe_tests.refiners.loop import tiny_hq_sam as tiny
from segpipe_tests.refiners.loop.original_hq_sam import original_decoder
from segpipe_tests.refiners.loop.pictures import disc, picture
from segpipe_tests.refiners.loop.tiny_hq_sam import SIDE, make_tiny_model

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model(tiny_hq_sam: Path) -> HqSamModel:
    return HqSamModel.load(HqSamConfig(checkpoint=str(tiny_hq_sam), device="cpu"))


def asked(model: HqSamModel, masks: Sequence[Mask], **settings: Any) -> list[SquarePrompt]:
    prompts = []
    for mask in masks:
        item = LoopItem.start(mask, LoopSettings(**settings), model.square)
        assert isinstance(item, LoopItem)
        prompts.append(item.next_prompt())
    return prompts


def whole_picture(model: HqSamModel) -> Any:
    item = LoopItem.start(disc(60, 60, 30), LoopSettings(embed="image"), model.square)
    assert isinstance(item, LoopItem)
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


MAX_DIFFERENCE = 1e-3
CELLS = tiny.SIDE // tiny.PATCH


class Inputs:
    """One image, and prompts for some objects."""

    def __init__(self, objects: int, tokens: int) -> None:
        random = torch.Generator().manual_seed(objects + 10 * tokens)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=random)

        self.objects = objects
        self.image = draw(1, tiny.WIDTH, CELLS, CELLS)
        self.positions = draw(1, tiny.WIDTH, CELLS, CELLS)
        self.early = draw(1, CELLS, CELLS, tiny.VIT_WIDTH)
        self.sparse = draw(objects, tokens, tiny.WIDTH)
        self.dense = draw(objects, tiny.WIDTH, CELLS, CELLS)


def ours(
    decoder: Any, inputs: Inputs, *, multimask_output: bool, hq_token_only: bool
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        masks, ious = decoder(
            image_embeddings=inputs.image.expand(inputs.objects, -1, -1, -1),
            image_positional_embeddings=inputs.positions.expand(inputs.objects, -1, -1, -1),
            sparse_prompt_embeddings=inputs.sparse[:, None],
            dense_prompt_embeddings=inputs.dense,
            multimask_output=multimask_output,
            hq_token_only=hq_token_only,
            intermediate_embeddings=[inputs.early],
        )
    return masks[:, 0, :1], ious[:, 0, :1]  # the original gives the best of several alone


def theirs(
    decoder: Any, inputs: Inputs, *, multimask_output: bool, hq_token_only: bool
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        masks, ious = decoder(
            image_embeddings=inputs.image,
            image_pe=inputs.positions,
            sparse_prompt_embeddings=inputs.sparse,
            dense_prompt_embeddings=inputs.dense,
            multimask_output=multimask_output,
            hq_token_only=hq_token_only,
            interm_embeddings=[inputs.early],
        )
    return masks, ious


@pytest.mark.parametrize("multimask_output", [False, True])
@pytest.mark.parametrize("hq_token_only", [False, True])
@pytest.mark.parametrize(("objects", "tokens"), [(1, 3), (3, 4), (2, 2)])
def test_a_corrected_decoder_equals_the_original(
    multimask_output: bool, hq_token_only: bool, objects: int, tokens: int
) -> None:
    decoder = make_tiny_model().mask_decoder
    original = original_decoder(decoder)
    correct(decoder)
    inputs = Inputs(objects, tokens)
    flags = {"multimask_output": multimask_output, "hq_token_only": hq_token_only}
    masks, ious = ours(decoder, inputs, **flags)
    their_masks, their_ious = theirs(original, inputs, **flags)
    assert their_masks.std() > 0.1
    assert (masks - their_masks).abs().max() < MAX_DIFFERENCE
    assert (ious - their_ious).abs().max() < MAX_DIFFERENCE


@pytest.mark.skipif(not drops_attended_map(SamHQMaskDecoder), reason="transformers is fixed")
def test_without_the_correction_the_masks_are_others() -> None:
    decoder = make_tiny_model().mask_decoder
    flags = {"multimask_output": True, "hq_token_only": False}
    masks, _ = ours(decoder, Inputs(2, 3), **flags)
    their_masks, _ = theirs(original_decoder(decoder), Inputs(2, 3), **flags)
    assert (masks - their_masks).abs().max() > 10 * MAX_DIFFERENCE


class FixedDecoder(SamHQMaskDecoder):  # type: ignore[misc]
    """As a version of transformers without the fault has it."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        _Reconnection().attach(self)


def test_a_fixed_version_is_recognised_and_left_alone() -> None:
    assert not drops_attended_map(FixedDecoder)
    decoder = FixedDecoder(make_tiny_model().config.mask_decoder_config)
    hooks = len(decoder.upscale_conv1._forward_pre_hooks)
    correct(decoder)
    assert len(decoder.upscale_conv1._forward_pre_hooks) == hooks


def test_looking_for_the_fault_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    drops_attended_map.__wrapped__(SamHQMaskDecoder)
    assert torch.equal(torch.rand(1), expected)

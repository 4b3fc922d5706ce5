"""The mask decoder computes what the authors' own does, whatever transformers makes of it."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.sam_hq.modeling_sam_hq import SamHQMaskDecoder

from segpipe.refiners.hq_sam.correction import _Reconnection, correct, drops_attended_map
from segpipe_tests.refiners.hq_sam import tiny
from segpipe_tests.refiners.hq_sam.original import original_decoder
from segpipe_tests.refiners.hq_sam.tiny import make_tiny_model

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

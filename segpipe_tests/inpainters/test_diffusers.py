"""A real diffusion pipeline at a tiny size, from a folder as diffusers writes it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segpipe.errors import CheckpointError
from segpipe.inpainters.build_inpainter import build_inpainter
from segpipe.inpainters.diffusers import DiffusersConfig, model_size
from segpipe.inpainters.erase import EraseSettings, erase
from segpipe.inpainters.inpainter import Wish
from segpipe.vision.image import RgbImage

HOLE = np.zeros((90, 140), np.uint8)
HOLE[30:60, 50:90] = 1
PHOTO = np.random.default_rng(2).integers(0, 256, (90, 140, 3), np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inpainting pipeline with random weights."""
    import diffusers
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("inpainting")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(vocabulary), str(folder / "merges.txt"), model_max_length=16)
    torch.manual_seed(0)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words) + 1,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            projection_dim=16,
            bos_token_id=words.index("<|startoftext|>"),
            eos_token_id=words.index("<|endoftext|>"),
            pad_token_id=words.index("<|endoftext|>"),
        )
    )
    library: Any = diffusers  # it has no types
    unet = library.UNet2DConditionModel(
        sample_size=8,
        in_channels=9,
        out_channels=4,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    vae = library.AutoencoderKL(
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
    )
    whole = folder / "pipeline"
    library.StableDiffusionInpaintPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=library.DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(whole, safe_serialization=True)
    return whole


def fill(checkpoint: Path, wish: Wish | None = None, **settings: object) -> RgbImage:
    config = DiffusersConfig.model_validate(
        {"checkpoint": str(checkpoint), "steps": 2, "side_px": 64, "device": "cpu", **settings}
    )
    inpainter = build_inpainter(config)
    how = EraseSettings(dilate_px=3, feather_px=2)
    return asyncio.run(erase(PHOTO, HOLE, inpainter, how, wish or Wish()))


def test_a_folder_of_safetensors_fills_the_hole_and_nothing_else(checkpoint: Path) -> None:
    clean = fill(checkpoint)
    changed = (clean != PHOTO).any(axis=2)
    assert changed[HOLE == 1].mean() > 0.9
    far = np.ones_like(HOLE)
    far[24:66, 44:96] = 0
    assert not changed[far == 1].any()


def test_seed_words_and_guidance_decide_what_comes(checkpoint: Path) -> None:
    first = fill(checkpoint)
    np.testing.assert_array_equal(fill(checkpoint), first)
    for other in (
        fill(checkpoint, seed=1),
        fill(checkpoint, wish=Wish(prompt="cab")),
        fill(checkpoint, wish=Wish(guidance=9.0)),
        fill(checkpoint, guidance=9.0),
    ):
        assert (other != first).any()


def test_a_folder_that_is_no_pipeline_is_told(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no model_index\.json"):
        fill(tmp_path / "nothing")
    pickles = tmp_path / "pickles"
    (pickles / "unet").mkdir(parents=True)
    (pickles / "model_index.json").write_text("{}")
    (pickles / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match="its weights are pickles"):
        fill(pickles)
    damaged = tmp_path / "damaged"
    (damaged / "unet").mkdir(parents=True)
    (damaged / "model_index.json").write_text((checkpoint / "model_index.json").read_text())
    (damaged / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="cannot be loaded as an inpainting pipeline"):
        fill(damaged)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((3000, 2000), (512, 320)), ((2000, 3000), (320, 512)), ((10, 4000), (64, 512))],
)
def test_a_model_works_on_whole_steps(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert model_size(*size, 512) == expected

"""The refiner as the rest of segpipe sees it, with a model of random weights."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from segpipe.errors import CheckpointError, InputError
from segpipe.refiners.base import Refiner
from segpipe.refiners.hq_sam import HqSamConfig, HqSamRefiner
from segpipe.vision.mask import Mask, iou
from segpipe_tests.refiners.iterative.pictures import HEIGHT, WIDTH, disc, picture, two_masks

EVERYTHING = {"min_iou": 0.0, "min_predicted_iou": 0.0}
"""Settings that let any answer pass."""


def refiner_of(checkpoint: Path, **settings: Any) -> HqSamRefiner:
    return HqSamRefiner(HqSamConfig(checkpoint=str(checkpoint), device="cpu", **settings))


@pytest.mark.parametrize("embed", ["image", "crop", "auto"])
def test_every_mask_gets_a_refinement_near_by(tiny_checkpoint: Path, embed: str) -> None:
    refiner: Refiner = refiner_of(tiny_checkpoint, embed=embed, **EVERYTHING)
    masks = two_masks()
    done = asyncio.run(refiner.refine(picture(), masks))
    assert len(done) == len(masks)
    for coarse, refinement in zip(masks, done, strict=True):
        assert refinement.accepted or refinement.mask is coarse
        assert refinement.accepted == (refinement.reason is None)
        assert (refinement.mask.image_width, refinement.mask.image_height) == (WIDTH, HEIGHT)
        assert 1 <= refinement.iterations <= 6
        x1, y1, x2, y2 = coarse.window
        margin = 0.25 * max(x2 - x1, y2 - y1) + 1
        found = refinement.mask.window
        assert found.x1 >= x1 - margin
        assert found.y1 >= y1 - margin
        assert found.x2 <= x2 + margin
        assert found.y2 <= y2 + margin


def test_the_same_input_gives_the_same_masks(tiny_checkpoint: Path) -> None:
    refiner = refiner_of(tiny_checkpoint, **EVERYTHING)
    first, second = (asyncio.run(refiner.refine(picture(), two_masks())) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.mask.to_full(), other.mask.to_full())


def test_answers_of_random_weights_do_not_pass_the_guards(tiny_checkpoint: Path) -> None:
    masks = two_masks()
    done = asyncio.run(refiner_of(tiny_checkpoint, min_iou=0.99).refine(picture(), masks))
    assert [one.mask for one in done] == list(masks)
    assert all(one.reason for one in done)


def test_calls_at_once_from_several_loops_share_one_model(tiny_checkpoint: Path) -> None:
    refiner = refiner_of(tiny_checkpoint, **EVERYTHING)

    async def several() -> list[Any]:
        return await asyncio.gather(
            *(refiner.refine(picture(), [disc(60, 60, radius)]) for radius in (20, 25, 30))
        )

    together = asyncio.run(several())
    for radius, (one,) in zip((20, 25, 30), together, strict=True):
        (alone,) = asyncio.run(refiner.refine(picture(), [disc(60, 60, radius)]))
        assert iou(one.mask, alone.mask) == 1


def test_no_masks_need_no_model() -> None:
    refiner = HqSamRefiner(HqSamConfig(checkpoint="/no/such/folder"))
    assert asyncio.run(refiner.refine(picture(), [])) == ()


def test_a_missing_checkpoint_is_said_when_masks_come() -> None:
    refiner = HqSamRefiner(HqSamConfig(checkpoint="/no/such/folder", device="cpu"))
    with pytest.raises(CheckpointError, match="there is no folder"):
        asyncio.run(refiner.refine(picture(), two_masks()))


def test_a_mask_of_another_image_is_refused(tiny_checkpoint: Path) -> None:
    other = Mask.empty(image_width=WIDTH + 1, image_height=HEIGHT)
    with pytest.raises(InputError, match="mask 1 belongs to an image of 201 x 150"):
        asyncio.run(refiner_of(tiny_checkpoint).refine(picture(), [two_masks()[0], other]))


def test_the_settings_alone_do_not_import_torch() -> None:
    program = (
        "import sys\n"
        "from segpipe.refiners.hq_sam import HqSamConfig, HqSamRefiner\n"
        "HqSamRefiner(HqSamConfig())\n"
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"gamma": 0},
        {"strength": -1},
        {"margin_ratio": -0.1},
        {"embed": "both"},
        {"revision": "main"},
        {"device": "tpu"},
        {"min_iou": 1.5},
        {"typo": 1},
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        HqSamConfig(**wrong)
    assert caught.value.errors()[0]["loc"] == tuple(wrong)


def test_the_defaults_are_those_of_the_paper() -> None:
    config = HqSamConfig()
    assert (config.iterations, config.gamma, config.strength, config.margin_ratio) == (
        6,
        4.0,
        30.0,
        0.25,
    )


def test_every_setting_is_described() -> None:
    fields = HqSamConfig.model_fields
    assert all(fields[name].description for name in fields if name != "kind")

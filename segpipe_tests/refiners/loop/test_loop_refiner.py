"""Refiners by the loop as the rest of segpipe sees them, with models of random weights."""

import asyncio
import math
import subprocess
import sys
from collections.abc import Callable
from threading import Event as Flag
from threading import active_count
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from segpipe.errors import CheckpointError, InputError
from segpipe.progress import Event
from segpipe.refiners.build_refiner import build_refiner
from segpipe.refiners.loop.loop_refiner import LoopRefiner
from segpipe.refiners.loop.loop_settings import LoopSettings
from segpipe.refiners.refiner import Refinement, Refiner
from segpipe.vision.mask import Mask
from segpipe_tests.refiners.loop.models import KINDS, Kind, config_of
from segpipe_tests.refiners.loop.oracle import Oracle, labelled
from segpipe_tests.refiners.loop.pictures import HEIGHT, WIDTH, disc, picture, two_masks

EVERYTHING = {"min_iou": 0.0, "min_predicted_iou": 0.0}
"""Settings that let any answer pass."""

Make = Callable[..., LoopRefiner]


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def make(kind: Kind, request: pytest.FixtureRequest) -> Make:
    checkpoint = request.getfixturevalue(kind.fixture)
    return lambda **settings: kind.refiner(config_of(kind, checkpoint, **settings))


def refined(refiner: Refiner, masks: Any) -> tuple[Refinement, ...]:
    return asyncio.run(refiner.refine(picture(), masks))


@pytest.mark.parametrize("embed", ["image", "crop", "auto"])
def test_every_mask_gets_a_refinement_near_by(make: Make, embed: str) -> None:
    masks = two_masks()
    done = refined(make(embed=embed, **EVERYTHING), masks)
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


def test_the_same_input_gives_the_same_masks(make: Make) -> None:
    refiner = make(**EVERYTHING)
    first, second = (refined(refiner, two_masks()) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.mask.to_full(), other.mask.to_full())


def test_answers_of_random_weights_do_not_pass_the_guards(make: Make) -> None:
    masks = two_masks()
    done = refined(make(min_iou=0.99), masks)
    assert [one.mask for one in done] == list(masks)
    assert all(one.reason for one in done)


def test_calls_at_once_from_several_loops_share_one_model(make: Make) -> None:
    refiner = make(**EVERYTHING)

    async def several() -> list[Any]:
        return await asyncio.gather(
            *(refiner.refine(picture(), [disc(60, 60, radius)]) for radius in (20, 25, 30))
        )

    together = asyncio.run(several())
    for radius, (one,) in zip((20, 25, 30), together, strict=True):
        (alone,) = refined(refiner, [disc(60, 60, radius)])
        assert np.array_equal(one.mask.to_full(), alone.mask.to_full())


def test_no_masks_need_no_model(kind: Kind) -> None:
    assert refined(kind.refiner(kind.config(checkpoint="/no/such/folder")), []) == ()


def test_a_missing_checkpoint_is_said_when_masks_come(kind: Kind) -> None:
    refiner = kind.refiner(config_of(kind, "/no/such/folder"))
    with pytest.raises(CheckpointError, match="there is no folder"):
        refined(refiner, two_masks())


def test_a_mask_of_another_image_is_refused(make: Make) -> None:
    other = Mask.empty(image_width=WIDTH + 1, image_height=HEIGHT)
    with pytest.raises(InputError, match="mask 1 belongs to an image of 201 x 150"):
        refined(make(), [two_masks()[0], other])


class Slow(LoopRefiner):
    """By an oracle that waits until it is let go."""

    id = "slow"

    def __init__(self) -> None:
        super().__init__(LoopSettings(), self._oracle)
        self.entered, self.gate = Flag(), Flag()
        self.loads = 0

    def _oracle(self) -> Oracle:
        self.loads += 1
        self.entered.set()
        assert self.gate.wait(timeout=20)
        return Oracle()


def test_calls_that_wait_for_the_model_hold_no_threads_and_can_be_cancelled() -> None:
    refiner = Slow()

    async def run() -> list[Any]:
        threads = active_count()
        calls = [
            asyncio.create_task(refiner.refine(picture(), [disc(60, 60, 20)])) for _ in range(8)
        ]
        await asyncio.to_thread(refiner.entered.wait, 20)
        assert active_count() <= threads + 2
        calls[3].cancel()
        refiner.gate.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(run())
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers].count(True) == 1
    assert sum(isinstance(answer, tuple) for answer in answers) == 7
    assert refiner.loads == 1


class Endless(LoopRefiner):
    """By an oracle whose edge wavers, so that it never answers the same twice."""

    id = "endless"

    def __init__(self) -> None:
        super().__init__(LoopSettings(iterations=50, embed="image"), lambda: self.oracle)
        self.oracle = Oracle(edge_noise_px=1)


def test_a_call_that_is_cancelled_under_way_asks_no_more_of_the_model() -> None:
    refiner, masks = Endless(), [disc(60, 60, 20)]
    image = labelled((HEIGHT, WIDTH), [masks[0].to_full() > 0])
    asked_first, gate = Flag(), Flag()

    def wait(_: Event) -> None:
        asked_first.set()
        assert gate.wait(timeout=20)

    async def run() -> None:
        call = asyncio.create_task(refiner.refine(image, masks, wait))
        await asyncio.to_thread(asked_first.wait, 20)
        call.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(run())
    assert len(refiner.oracle.questions) <= 2
    (done,) = asyncio.run(refiner.refine(image, masks))
    assert done.iterations == 50


def test_settings_and_refiner_alone_do_not_import_torch() -> None:
    program = (
        "import sys\n"
        "from segpipe.refiners.build_refiner import build_refiner\n"
        "from segpipe.refiners.loop.loop_refiner import HqSamConfig\n"
        "from segpipe.refiners.loop.loop_refiner import Sam3TrackerConfig\n"
        "build_refiner(HqSamConfig()), build_refiner(Sam3TrackerConfig())\n"
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it() -> None:
    program = (
        "import asyncio, sys; sys.modules['torch'] = None\n"
        "from segpipe.errors import CheckpointError\n"
        "from segpipe.refiners.build_refiner import build_refiner\n"
        "from segpipe.refiners.loop.loop_settings import HqSamConfig, Sam3TrackerConfig\n"
        "from segpipe_tests.refiners.loop.pictures import disc, picture as draw\n"
        "picture, mask = draw(), disc(60, 60, 30)\n"
        "for config in (HqSamConfig(), Sam3TrackerConfig()):\n"
        "    try:\n"
        "        asyncio.run(build_refiner(config).refine(picture, [mask]))\n"
        "    except CheckpointError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("install segpipe[local]") == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"gamma": 0},
        {"strength": -1},
        {"strength": math.inf},
        {"agreement_weight": math.inf},
        {"gamma": math.nan},
        {"margin_ratio": -0.1},
        {"embed": "both"},
        {"checkpoint": ""},
        {"device": "tpu"},
        {"min_iou": 1.5},
        {"typo": 1},
    ],
)
def test_a_wrong_setting_is_named(kind: Kind, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.config(**wrong)
    assert caught.value.errors()[0]["loc"] == tuple(wrong)


def test_the_defaults_are_those_of_the_paper(kind: Kind) -> None:
    config = kind.config()
    assert (config.iterations, config.gamma, config.strength, config.margin_ratio) == (
        6,
        4.0,
        30.0,
        0.25,
    )


def test_every_setting_is_described(kind: Kind) -> None:
    fields = type(kind.config()).model_fields
    assert all(fields[name].description for name in fields if name != "kind")


@pytest.mark.parametrize("name", list(KINDS))
def test_a_kind_is_built_by_its_name(name: str) -> None:
    config = KINDS[name].config()
    assert build_refiner(config).id == config.kind == name

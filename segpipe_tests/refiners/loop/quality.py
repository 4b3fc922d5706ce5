"""How much better the loop makes degraded masks of synthetic scenes."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from segpipe.refiners.loop.loop_settings import LoopSettings
from segpipe.refiners.loop.mask_loop import refine_masks
from segpipe.scenes import make_scene
from segpipe.scenes.painted_fields import FullMask
from segpipe.vision.mask import Mask
from segpipe_tests.refiners.loop.degrade import DEGRADATIONS, boundary_iou
from segpipe_tests.refiners.loop.oracle import Oracle, labelled
from segpipe_tests.scenes import iou


class Fit(NamedTuple):
    """Means over masks, 0 to 1."""

    iou: float
    boundary_iou: float


class Change(NamedTuple):
    """How well coarse and refined masks fit the truth, and how many of them were accepted."""

    before: Fit
    after: Fit
    accepted: int
    masks: int


def change_by_loop(
    degradation: str, settings: LoopSettings, make_oracle: Callable[[], Oracle], seeds: range
) -> Change:
    """Degrade every item of some scenes, refine all, and compare with the truth."""
    degrade = DEGRADATIONS[degradation]
    rng = np.random.default_rng(0)
    truths: list[FullMask] = []
    coarse: list[FullMask] = []
    refined: list[FullMask] = []
    accepted = 0
    for scene_masks in _scenes(seeds):
        degraded = [degrade(rng, mask) for mask in scene_masks]
        image = labelled(scene_masks[0].shape, scene_masks)
        masks = [Mask.from_full(one) for one in degraded]
        done = refine_masks(image, masks, make_oracle(), settings)
        truths += scene_masks
        coarse += degraded
        refined += [one.mask.to_full() > 0 for one in done]
        accepted += sum(one.accepted for one in done)
    return Change(_fit(coarse, truths), _fit(refined, truths), accepted, len(truths))


def _scenes(seeds: range) -> Iterator[tuple[FullMask, ...]]:
    for seed in seeds:
        yield make_scene(seed, width=640, height=480, items=10).masks


def _fit(masks: list[FullMask], truths: list[FullMask]) -> Fit:
    pairs = list(zip(masks, truths, strict=True))
    return Fit(
        float(np.mean([iou(mask, truth) for mask, truth in pairs])),
        float(np.mean([boundary_iou(mask, truth) for mask, truth in pairs])),
    )

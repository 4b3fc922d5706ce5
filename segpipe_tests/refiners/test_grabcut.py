import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from segpipe.errors import InputError, RefinerError
from segpipe.refiners.grabcut import GrabCutConfig, GrabCutRefiner
from segpipe.refiners.refiner import Refinement, Refiner
from segpipe.scenes import Scene, make_scene
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask, iou

Degrade = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

BACKGROUNDS = {"plain": False, "textured": True}
SEEDS = (0, 1)


def disc(radius: int) -> NDArray[np.uint8]:
    size = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def eroded(radius: int) -> Degrade:
    return lambda full: np.asarray(cv2.erode(full, disc(radius)), np.uint8)


def dilated(radius: int) -> Degrade:
    return lambda full: np.asarray(cv2.dilate(full, disc(radius)), np.uint8)


def shifted(full: NDArray[np.uint8]) -> NDArray[np.uint8]:
    move = np.array([[1, 0, 3], [0, 1, -2]], np.float32)
    return np.asarray(cv2.warpAffine(full, move, full.shape[::-1]), np.uint8)


def jagged(full: NDArray[np.uint8]) -> NDArray[np.uint8]:
    white = np.random.default_rng(0).standard_normal(full.shape, np.float32)
    noise = np.asarray(cv2.GaussianBlur(white, (0, 0), 2.5), np.float32)
    depth = cv2.distanceTransform(full, cv2.DIST_L2, 5)
    distance = cv2.distanceTransform(1 - full, cv2.DIST_L2, 5)
    ragged = depth - distance + 2.5 * noise / noise.std()
    return np.asarray(ragged > 0).astype(np.uint8)


def blocky(full: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As from a model that answers in blocks of 8 x 8 pixels."""
    small = cv2.resize(full * 255, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    blocks = cv2.resize(small, full.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(blocks > 127).astype(np.uint8)


@cache
def scenes(background: str) -> tuple[Scene, ...]:
    textured = BACKGROUNDS[background]
    return tuple(
        make_scene(seed, width=640, height=480, items=6, textured_background=textured)
        for seed in SEEDS
    )


def refine(
    image: RgbImage, masks: Sequence[Mask], config: GrabCutConfig | None = None
) -> tuple[Refinement, ...]:
    refiner: Refiner = GrabCutRefiner(config or GrabCutConfig())
    return asyncio.run(refiner.refine(image, masks))


def mean_ious(background: str, degrade: Degrade) -> tuple[float, float]:
    """Of coarse and refined masks with the truth."""
    coarse_ious: list[float] = []
    refined_ious: list[float] = []
    for scene in scenes(background):
        truth = [Mask.from_full(full) for full in scene.masks]
        coarse = [Mask.from_full(degrade(full.astype(np.uint8))) for full in scene.masks]
        refined = refine(scene.image, coarse)
        coarse_ious += map(iou, coarse, truth)
        refined_ious += map(iou, [one.mask for one in refined], truth)
    return float(np.mean(coarse_ious)), float(np.mean(refined_ious))


@pytest.mark.parametrize("background", list(BACKGROUNDS))
@pytest.mark.parametrize(
    ("degrade", "least_gain"),
    [
        pytest.param(eroded(1), 0.01, id="eroded 1 px"),
        pytest.param(eroded(4), 0.05, id="eroded 4 px"),
        pytest.param(dilated(1), 0.01, id="dilated 1 px"),
        pytest.param(dilated(4), 0.05, id="dilated 4 px"),
        pytest.param(shifted, 0.04, id="shifted"),
        pytest.param(jagged, 0.03, id="jagged"),
        pytest.param(blocky, 0.04, id="blocky"),
    ],
)
def test_masks_with_poor_edges_get_better(
    background: str, degrade: Degrade, least_gain: float
) -> None:
    coarse, refined = mean_ious(background, degrade)
    assert refined >= coarse + least_gain


@pytest.mark.parametrize("background", list(BACKGROUNDS))
def test_masks_that_fit_are_left_alone_but_for_a_few_pixels(background: str) -> None:
    _, refined = mean_ious(background, lambda full: full)
    assert refined >= 0.995


def simple_scene(scale: int = 1) -> tuple[RgbImage, Mask]:
    """A dark disc on a light table and its exact mask."""
    side = 120 * scale
    image = np.full((side, side, 3), (200, 190, 180), np.uint8)
    full = np.zeros((side, side), np.uint8)
    cv2.circle(full, (side // 2, side // 2), 35 * scale, (1,), cv2.FILLED)
    image[full == 1] = (60, 40, 90)
    noise = np.random.default_rng(0).normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), Mask.from_full(full)


def test_an_item_larger_than_the_limit_is_refined_at_a_reduced_scale() -> None:
    image, truth = simple_scene(scale=8)
    coarse = Mask.from_full(eroded(16)(truth.to_full()))
    (refined,) = refine(image, [coarse], GrabCutConfig(max_side_px=200))
    assert refined.accepted
    assert iou(coarse, truth) < 0.9
    assert iou(refined.mask, truth) > 0.98


def test_pixels_beyond_the_band_never_change() -> None:
    image, truth = simple_scene()
    coarse = Mask.from_full(eroded(9)(truth.to_full()))
    (refined,) = refine(image, [coarse], GrabCutConfig(band_ratio=0.01, min_band_px=3))
    far = cv2.distanceTransform(1 - coarse.to_full(), cv2.DIST_L2, 5) > 3.5
    assert not refined.mask.to_full()[far].any()
    assert np.all(refined.mask.to_full() >= eroded(4)(coarse.to_full()))


def test_islands_and_holes_are_not_made() -> None:
    image, truth = simple_scene()
    cv2.circle(image, (60, 60 - 28), 2, (200, 190, 180), cv2.FILLED)
    cv2.circle(image, (60, 60 - 39), 2, (60, 40, 90), cv2.FILLED)
    (refined,) = refine(image, [Mask.from_full(eroded(2)(truth.to_full()))])
    outlines, _ = cv2.findContours(refined.mask.bits, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    assert len(outlines) == 1


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (Mask.empty(image_width=120, image_height=120), "empty"),
        (Mask(4, 4, np.zeros((9, 9), np.uint8), 120, 120), "empty"),
        (Mask(0, 0, np.ones((120, 120), np.uint8), 120, 120), "no background"),
        (Mask(60, 60, np.ones((1, 1), np.uint8), 120, 120), "too thin"),
        (Mask(10, 60, np.ones((2, 90), np.uint8), 120, 120), "too thin"),
    ],
    ids=["empty", "bitmap of zeros", "fills the image", "one pixel", "thin line"],
)
def test_a_mask_without_a_band_to_decide_stays_with_the_reason(mask: Mask, reason: str) -> None:
    image, _ = simple_scene()
    (refined,) = refine(image, [mask])
    assert refined.mask is mask
    assert not refined.accepted
    assert reason in (refined.reason or "")


def test_a_mask_in_an_image_without_edges_stays() -> None:
    _, mask = simple_scene()
    (refined,) = refine(np.full((120, 120, 3), 90, np.uint8), [mask])
    assert (refined.mask, refined.accepted) == (mask, False)
    assert "edge" in (refined.reason or "")


def test_one_pixel_image_is_no_error() -> None:
    mask = Mask(0, 0, np.ones((1, 1), np.uint8), 1, 1)
    (refined,) = refine(np.zeros((1, 1, 3), np.uint8), [mask])
    assert refined.mask is mask


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (GrabCutConfig(min_iou=0.99), "IoU with the coarse mask is 0.8"),
        (GrabCutConfig(max_area_change=0.01), "the area changed by"),
        (GrabCutConfig(min_edge_gain=255), "edge"),
    ],
    ids=["iou", "area", "edge"],
)
def test_a_refined_mask_that_fails_a_guard_is_dropped_with_the_reason(
    config: GrabCutConfig, reason: str
) -> None:
    image, truth = simple_scene()
    coarse = Mask.from_full(eroded(3)(truth.to_full()))
    assert refine(image, [coarse])[0].accepted
    (refined,) = refine(image, [coarse], config)
    assert refined.mask is coarse
    assert not refined.accepted
    assert reason in (refined.reason or "")


def test_refinements_come_in_the_order_of_the_masks() -> None:
    scene = scenes("plain")[0]
    masks = [Mask.from_full(eroded(2)(full.astype(np.uint8))) for full in scene.masks]
    forward = refine(scene.image, masks)
    backward = refine(scene.image, masks[::-1])
    for one, other in zip(forward, backward[::-1], strict=True):
        assert np.array_equal(one.mask.to_full(), other.mask.to_full())


def test_the_same_input_gives_the_same_masks_in_any_thread() -> None:
    scene = scenes("textured")[0]
    masks = [Mask.from_full(eroded(2)(full.astype(np.uint8))) for full in scene.masks][:4]

    def run(seed: int) -> list[bytes]:
        cv2.setRNGSeed(seed)
        return [one.mask.to_full().tobytes() for one in refine(scene.image, masks)]

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(run, range(4)))
    assert all(result == results[0] for result in results)


def test_image_and_masks_are_not_written() -> None:
    image, truth = simple_scene()
    coarse = Mask.from_full(eroded(3)(truth.to_full()))
    image.flags.writeable = False
    coarse.bits.flags.writeable = False
    assert refine(image, [coarse])[0].accepted


def test_a_mask_of_another_image_is_an_error_that_names_it() -> None:
    image, mask = simple_scene()
    stray = Mask(0, 0, np.ones((2, 2), np.uint8), 99, 120)
    with pytest.raises(InputError, match="mask 1 belongs to an image of 99 x 120"):
        refine(image, [mask, stray])


def test_a_failure_of_opencv_is_a_refiner_error() -> None:
    image, mask = simple_scene()
    with pytest.raises(RefinerError, match="GrabCut failed on mask 0"):
        refine(image[..., :2], [mask])


def test_kind_and_id_are_the_word_of_the_settings() -> None:
    assert GrabCutConfig().kind == GrabCutRefiner.id == "grabcut"


@pytest.mark.parametrize("field", ["iterations", "band_ratio", "min_band_px", "max_side_px"])
def test_a_setting_out_of_range_is_named(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        GrabCutConfig.model_validate({field: 0})

import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from segpipe.errors import InputError
from segpipe.vision.boxes import Box
from segpipe.vision.contour import mask_outlines, mask_to_path, masks_to_paths
from segpipe.vision.mask import Mask, intersection_area, iou
from segpipe.vision.path_fill import FillRule, path_to_mask
from segpipe.vision.svg_path import parse_path

Full = NDArray[np.uint8]
Corner = tuple[int, int]

BOTH_RULES = pytest.mark.parametrize("fill_rule", FillRule)
GRID = 16  # corners of polygons in tests lie on sixteenths of a pixel
CANVAS = 12

fulls = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=16), elements=st.integers(0, 1)
)


# A few pixels beyond the canvas on every side.
def full_of(*rows: str) -> Full:
    return np.array([[pixel == "#" for pixel in row] for row in rows], np.uint8)


def back_from(
    path: str, mask: Mask, box: Box | None = None, fill_rule: FillRule = FillRule.NONZERO
) -> Mask:
    box = box or mask.box or Box(0, 0, 1, 1)
    return path_to_mask(
        path,
        box,
        image_width=mask.image_width,
        image_height=mask.image_height,
        fill_rule=fill_rule,
    )


def blob_with_holes(seed: int, *, width: int = 2000, height: int = 1500) -> Mask:
    """A bumpy, jagged ellipse with a few tilted holes."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    radius = np.full(angles.shape, 0.41)
    for waves, size in ((2, 0.03), (5, 0.02), (11, 0.01), (37, 0.004)):
        radius += size * np.sin(waves * angles + rng.uniform(0, 2 * np.pi))
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    outline = np.array([width, height]) * (0.5 + radius[:, None] * circle)
    full = np.zeros((height, width), np.uint8)
    cv2.fillPoly(full, [outline.round().astype(np.int32)], (1,))
    for _ in range(rng.integers(1, 9)):
        centre = [round(side * rng.uniform(0.3, 0.7)) for side in (width, height)]
        axes = [max(1, round(side * rng.uniform(0.002, 0.08))) for side in (width, height)]
        cv2.ellipse(full, centre, axes, rng.uniform(0, 180), 0, 360, (0,), cv2.FILLED)
    return Mask.from_full(full)


def signed_areas(path: str) -> list[float]:
    """The area of each subpath; its sign is the way it is wound."""
    areas = []
    for subpath in path.split("M")[1:]:
        lines = parse_path(f"M{subpath}").lines
        areas.append(float((lines[:, 0].conj() * lines[:, 1]).imag.sum() / 2))
    return areas


# An independent reference: whole numbers, every centre against every line


@BOTH_RULES
@pytest.mark.parametrize("tolerance_px", [0, 0.25])
def test_every_mask_of_three_by_three_pixels_comes_back(
    fill_rule: FillRule, tolerance_px: float
) -> None:
    for number in range(2**9):
        full = ((number >> np.arange(9)) & 1).reshape(3, 3).astype(np.uint8)
        mask = Mask.from_full(full)
        back = back_from(mask_to_path(mask, tolerance_px=tolerance_px), mask, fill_rule=fill_rule)
        assert np.array_equal(back.to_full(), full), full


@given(fulls, st.sampled_from(FillRule))
@settings(deadline=None)
def test_an_exact_path_gives_back_every_pixel(full: Full, fill_rule: FillRule) -> None:
    mask = Mask.from_full(full)
    back = back_from(mask_to_path(mask, tolerance_px=0), mask, fill_rule=fill_rule)
    assert np.array_equal(back.to_full(), full)


@pytest.mark.parametrize(
    "full",
    [
        full_of("#"),
        full_of("###", "###", "###"),
        full_of("#" * 50),
        np.ones((50, 1), np.uint8),
        full_of("#.", ".#"),
        full_of(".#", "#."),
        full_of("###", "#.#", "###"),
        full_of(".#.", "#.#", ".#."),
        full_of("#.#", ".#.", "#.#"),
        full_of("#####", "#...#", "#.#.#", "#...#", "#####"),
        np.eye(60, dtype=np.uint8),
        np.eye(60, dtype=np.uint8)[::-1].copy(),
        np.kron(np.eye(30, dtype=np.uint8), np.ones((1, 3), np.uint8)),
        np.indices((9, 9)).sum(axis=0).astype(np.uint8) % 2,
    ],
    ids=[
        "one pixel",
        "three by three",
        "line across",
        "line down",
        "diagonal neighbours",
        "other diagonal",
        "hole of one pixel",
        "ring of diagonals",
        "cross of diagonals",
        "item in a hole",
        "diagonal line",
        "other diagonal line",
        "slanted line",
        "chessboard",
    ],
)
@BOTH_RULES
def test_small_and_thin_items_come_back(full: Full, fill_rule: FillRule) -> None:
    mask = Mask.from_full(full)
    back = back_from(mask_to_path(mask), mask, fill_rule=fill_rule)
    assert np.array_equal(back.to_full(), full)


@given(st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_a_large_blob_with_holes_comes_back(seed: int) -> None:
    mask = blob_with_holes(seed)
    path = mask_to_path(mask)
    back = back_from(path, mask)
    assert iou(mask, back) >= 0.999
    assert iou(back, back_from(path, mask, fill_rule=FillRule.EVENODD)) >= 0.9999


@pytest.mark.parametrize("side", [20, 40, 80, 160, 320, 640])
@pytest.mark.parametrize("seed", range(4))
def test_blobs_of_every_size_come_back(side: int, seed: int) -> None:
    mask = blob_with_holes(seed, width=side, height=side)
    assert iou(mask, back_from(mask_to_path(mask), mask)) >= 0.99


def test_an_exact_path_is_exact_in_a_box_of_almost_10000_pixels() -> None:
    rng = np.random.default_rng(0)
    full = np.zeros((20, 9_990), np.uint8)
    full[:, rng.integers(0, 9_990, 300)] = 1
    full[rng.integers(0, 20, 300), rng.integers(0, 9_990, 300)] ^= 1
    mask = Mask.from_full(full)
    assert np.array_equal(back_from(mask_to_path(mask, tolerance_px=0), mask).to_full(), full)


def test_a_tolerance_that_is_larger_than_an_item_leaves_something_of_it() -> None:
    mask = Mask.from_full(np.eye(60, dtype=np.uint8))
    back = back_from(mask_to_path(mask, tolerance_px=1e300), mask)
    assert intersection_area(mask, back) > 0


@pytest.mark.parametrize("seed", range(3))
def test_what_is_left_out_shortens_the_path_and_moves_the_outline_that_far_at_most(
    seed: int,
) -> None:
    mask = blob_with_holes(seed, width=400, height=300)
    lengths = []
    for tolerance_px in (0, 0.25, 1, 3):
        path = mask_to_path(mask, tolerance_px=tolerance_px)
        lengths.append(len(path))
        differs = mask.to_full() ^ back_from(path, mask).to_full()
        # Half a pixel from an edge to a centre, and the step that was cut.
        depth = cv2.distanceTransform(differs, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        assert depth.max() <= tolerance_px + 1
    assert lengths == sorted(lengths, reverse=True)


# What a path looks like


@pytest.mark.parametrize(
    ("full", "corners"),
    [
        (full_of("."), ""),
        (full_of("#"), "0,0 0,1 1,1 1,0"),
        (full_of("..##", "..##"), "0,0 0,1 1,1 1,0"),
        (
            full_of("#..", "##.", "###"),
            "0,0 0,1 1,1 1,0.6667 0.6667,0.6667 0.6667,0.3333 0.3333,0.3333 0.3333,0",
        ),
    ],
    ids=["nothing", "pixel", "rectangle", "stairs"],
)
def test_a_path_runs_along_the_edges_of_pixels(full: Full, corners: str) -> None:
    drawn = mask_to_path(Mask.from_full(full)).removeprefix("M").removesuffix("Z").split("L")
    first = drawn.index(min(drawn))
    assert " ".join(drawn[first:] + drawn[:first]) == corners


def test_coordinates_are_0_to_1_with_4_decimals_at_most() -> None:
    path = mask_to_path(blob_with_holes(1, width=700, height=333))
    assert re.fullmatch(
        r"(M\d(\.\d{1,4})?,\d(\.\d{1,4})?(L\d(\.\d{1,4})?,\d(\.\d{1,4})?)+Z)+", path
    )
    numbers = [float(number) for number in re.findall(r"[\d.]+", path)]
    assert (min(numbers), max(numbers)) == (0, 1)


def test_holes_are_wound_the_other_way() -> None:
    full = full_of("#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######")
    areas = signed_areas(mask_to_path(Mask.from_full(full)))
    assert sorted(round(area * 49) for area in areas) == [-49, -9, 1, 25]


def test_pixels_that_meet_at_a_corner_are_one_subpath() -> None:
    assert mask_to_path(Mask.from_full(full_of("#.", ".#"))).count("M") == 1
    assert mask_to_path(Mask.from_full(full_of("#..", "..#"))).count("M") == 2


def test_a_path_is_relative_to_the_box_that_is_given() -> None:
    mask = Mask(30, 10, np.ones((10, 20), np.uint8), 100, 100)
    box = Box(20, 0, 60, 40)
    path = mask_to_path(mask, box)
    assert path == "M0.25,0.25L0.25,0.5L0.75,0.5L0.75,0.25Z"
    assert np.array_equal(back_from(path, mask, box).to_full(), mask.to_full())


def test_a_bitmap_with_a_margin_has_the_path_of_the_tight_one() -> None:
    blob = blob_with_holes(2, width=90, height=70)
    margin = Mask(0, 0, blob.to_full(), blob.image_width, blob.image_height)
    assert mask_to_path(margin) == mask_to_path(blob)


def test_a_mask_in_a_far_corner_of_a_large_image_comes_back_there() -> None:
    blob = blob_with_holes(3, width=64, height=48).bits
    height, width = blob.shape
    mask = Mask(8000 - width, 6000 - height, blob, 8000, 6000)
    back = back_from(mask_to_path(mask, tolerance_px=0), mask)
    assert back.window == mask.window
    assert np.array_equal(back.bits, mask.bits)


@pytest.mark.parametrize(
    "box",
    [
        Box(1, 0, 4, 4),
        Box(0, 0, 4, 3.9),
        Box(0, 0, np.inf, 4),
        Box(np.nan, 0, 4, 4),
        Box(-np.inf, 0, 4, 4),
    ],
)
def test_a_box_that_does_not_hold_the_mask_is_refused(box: Box) -> None:
    with pytest.raises(InputError) as caught:
        mask_to_path(Mask.from_full(np.ones((4, 4))), box)
    assert caught.value.field == "box"


@pytest.mark.parametrize("tolerance_px", [-1, np.nan, np.inf])
def test_a_tolerance_that_makes_no_sense_is_refused(tolerance_px: float) -> None:
    with pytest.raises(InputError) as caught:
        mask_to_path(Mask.from_full(np.ones((4, 4))), tolerance_px=tolerance_px)
    assert caught.value.field == "tolerance_px"


def test_noise_without_an_outline_worth_having_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 2, (600, 600))
    with pytest.raises(InputError, match="clean the mask"):
        mask_to_path(Mask.from_full(noise))


@given(st.lists(fulls, max_size=8))
def test_masks_together_have_the_paths_that_each_has_alone(each: list[Full]) -> None:
    masks = [Mask.from_full(full) for full in each]
    assert masks_to_paths(masks) == [mask_to_path(mask) for mask in masks]


def test_many_large_masks_have_their_paths_and_noise_among_them_has_none() -> None:
    noise = Mask.from_full(np.random.default_rng(0).integers(0, 2, (600, 600)))
    specks = Mask.from_full(np.random.default_rng(1).random((300, 300)) < 0.02)
    blobs = [blob_with_holes(seed) for seed in range(20)]
    masks = [*blobs[:10], noise, *blobs[10:], specks, noise]
    paths = masks_to_paths(masks)
    assert paths == [None if mask is noise else mask_to_path(mask) for mask in masks]


def test_a_mask_of_thousands_of_specks_comes_back() -> None:
    full = np.kron(np.ones((100, 100), np.uint8), full_of("#..", "...", "..."))
    mask = Mask.from_full(full)
    assert np.array_equal(back_from(mask_to_path(mask), mask).to_full(), full)


# What a path may hold


def area_within(corners: NDArray[np.float64]) -> float:
    x, y = corners.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


@given(fulls, st.integers(0, 3), st.integers(0, 3))
@settings(deadline=None)
def test_outlines_less_their_holes_have_the_area_of_the_mask(full: Full, x: int, y: int) -> None:
    mask = Mask.from_full(np.pad(full, ((y, 1), (x, 1))))
    outlines = mask_outlines(mask, tolerance_px=0)
    areas = [(-1 if is_hole else 1) * area_within(corners) for corners, is_hole in outlines]
    assert sum(areas) == mask.area
    parts, _ = cv2.connectedComponents(mask.to_full(), connectivity=8)
    assert sum(not is_hole for _, is_hole in outlines) == parts - 1


def test_outlines_lie_in_the_image_where_the_path_has_them() -> None:
    mask = blob_with_holes(3, width=300, height=200)
    box = Box(0, 0, mask.image_width, mask.image_height)
    path = "".join(
        f"M{'L'.join(f'{x / box.x2},{y / box.y2}' for x, y in corners)}Z"
        for corners, _ in mask_outlines(mask)
    )
    assert iou(back_from(path, mask, box), back_from(mask_to_path(mask), mask)) > 0.999


def test_an_empty_mask_has_no_outlines() -> None:
    assert mask_outlines(Mask.empty(image_width=4, image_height=4)) == []


def test_the_tolerance_of_outlines_is_no_negative_number() -> None:
    with pytest.raises(InputError, match="tolerance_px"):
        mask_outlines(Mask.from_full(full_of("#")), tolerance_px=-1)

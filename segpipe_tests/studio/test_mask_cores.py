"""The pure cores of the mask editor, in the browser, with OpenCV and numpy as the oracle."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from segpipe.vision.mask import Bitmap, Mask
from segpipe.vision.mask_codecs import to_coco_rle
from segpipe_tests.studio.running_studio import RunningStudio

ROUNDS = 200
_READ = """
const read = ([width, height, bits]) => ({width, height, bits: Uint8Array.from(bits, Number)});
const write = ({bits}) => Array.from(bits).join('');
"""


@pytest.fixture(scope="module")
def script(browser: Browser, studio: RunningStudio) -> Iterator[Page]:
    """A page that runs modules of the studio."""
    page = browser.new_page(base_url=studio.url)
    page.goto("/health")
    yield page
    page.close()


def call(page: Page, module: str, body: str, given: object) -> Any:
    """Run something with a module as ``core`` and what is given as ``given``."""
    return page.evaluate(
        f"async (given) => {{ const core = await import('/static/mask/{module}.js'); "
        f"const bitmap = await import('/static/mask/bitmap.js'); {_READ} {body} }}",
        given,
    )


def written(bits: NDArray[np.generic]) -> list[Any]:
    """A bitmap as scripts are given it."""
    height, width = bits.shape
    return [width, height, "".join(map(str, bits.astype(np.uint8).ravel().tolist()))]


def read(text: str, like: NDArray[np.generic]) -> Bitmap:
    """A bitmap that a script gave."""
    return np.array(list(text), np.uint8).reshape(like.shape)


def blobs(seed: int, count: int = ROUNDS) -> list[Bitmap]:
    """Masks with holes and islands, some of which touch the edges of the photo; some are empty."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        height, width = rng.integers(1, 36, 2)
        noise = cv2.GaussianBlur(rng.random((height, width)), (0, 0), rng.choice([0.3, 1, 2]))
        bits = noise > np.quantile(noise, rng.choice([0.3, 0.5, 0.7, 0.9]))
        found.append((bits if number % 20 else np.zeros_like(bits)).astype(np.uint8))
    return found


def random_masks() -> list[Mask]:
    rng = np.random.default_rng(0)
    masks = []
    for number in range(ROUNDS):
        height, width = rng.integers(1, 40, 2)
        bits = (rng.random((height, width)) < rng.choice([0, 0.1, 0.5, 0.9, 1])).astype(np.uint8)
        masks.append(Mask.from_full(bits) if number % 2 else Mask.from_full(np.sort(bits, axis=0)))
    return masks


def test_run_lengths_are_those_of_python(script: Page) -> None:
    masks = random_masks()
    full = [
        {"width": each.image_width, "height": each.image_height, "bits": each.to_full().tobytes()}
        for each in masks
    ]
    given = [{**each, "bits": list(each["bits"])} for each in full]  # type: ignore[call-overload]
    found = call(
        script,
        "bitmap",
        """return given.map((mask) => {
          const rle = core.toRle({...mask, bits: Uint8Array.from(mask.bits)});
          return [rle.counts, Array.from(core.fromRle(rle).bits)];
        });""",
        given,
    )
    for mask, (counts, bits) in zip(masks, found, strict=True):
        assert counts == to_coco_rle(mask)["counts"].decode()
        assert bytes(bits) == mask.to_full().tobytes()


def test_a_brush_paints_what_is_within_its_radius(script: Page) -> None:
    rng = np.random.default_rng(1)
    strokes = [
        [*rng.uniform(-5, 45, 4).tolist(), float(rng.uniform(0.2, 9))] for _ in range(ROUNDS // 4)
    ]
    found = call(
        script,
        "strokes",
        """return given.map(([ax, ay, bx, by, radius]) => {
          const mask = bitmap.emptyMask(40, 30);
          core.paint(mask, [ax, ay], [bx, by], radius);
          return Array.from(mask.bits);
        });""",
        strokes,
    )
    rows, columns = np.mgrid[0:30, 0:40] + 0.5
    for (ax, ay, bx, by, radius), bits in zip(strokes, found, strict=True):
        start, step = complex(ax, ay), complex(bx - ax, by - ay)
        away = (columns + 1j * rows) - start
        along = np.clip((away * np.conj(step)).real / abs(step) ** 2, 0, 1)
        inside = np.abs(away - along * step) <= radius
        assert np.array_equal(np.reshape(bits, (30, 40)), inside)


def test_runs_of_a_window_are_those_that_reviews_keep(script: Page) -> None:
    masks = blobs(2)
    found = call(
        script,
        "bitmap",
        """return given.map(read).map((mask) => {
          const runs = core.toRuns(mask);
          return [runs, runs && write(core.fromRuns(runs, mask.width, mask.height))];
        });""",
        [written(bits) for bits in masks],
    )
    for bits, (runs, again) in zip(masks, found, strict=True):
        if not bits.any():
            assert runs is None
            continue
        mask = Mask.from_full(bits)
        counts = to_coco_rle(Mask.from_full(mask.bits))["counts"].decode()
        place = {"x": mask.x, "y": mask.y}
        assert runs == place | {"size": list(mask.bits.shape), "counts": counts}
        assert np.array_equal(read(again, bits), bits)


def test_a_lasso_fills_what_is_inside_it_by_the_even_odd_rule(script: Page) -> None:
    rng = np.random.default_rng(3)
    rings = [rng.uniform(-4, 44, (rng.integers(3, 9), 2)).tolist() for _ in range(ROUNDS // 2)]
    found = call(
        script,
        "strokes",
        """return given.map((ring) => {
          const mask = bitmap.emptyMask(40, 30);
          core.fillInside(mask, ring);
          const filled = write(mask);
          core.fillInside(mask, ring, 0);
          return [filled, bitmap.areaOfMask(mask)];
        });""",
        rings,
    )
    rows, columns = np.mgrid[0:30, 0:40] + 0.5
    for ring, (bits, left) in zip(rings, found, strict=True):
        inside = np.zeros((30, 40), np.bool_)
        for (ax, ay), (bx, by) in zip(ring, [*ring[1:], ring[0]], strict=True):
            crosses = (ay <= rows) != (by <= rows)
            inside ^= crosses & (ax + (rows - ay) / (by - ay) * (bx - ax) <= columns)
        assert np.array_equal(read(bits, inside), inside)
        assert left == 0


def test_holes_and_islands_are_those_of_opencv(script: Page) -> None:
    masks = blobs(4)
    found = call(
        script,
        "shapes",
        """return given.map(read).map((mask) =>
          [write(core.withoutHoles(mask)), write(core.withoutIslands(mask))]);""",
        [written(bits) for bits in masks],
    )
    for bits, (filled, alone) in zip(masks, found, strict=True):
        outside = cv2.copyMakeBorder(1 - bits, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
        _, labels = cv2.connectedComponents(outside, connectivity=4)
        holes = (labels != labels[0, 0])[1:-1, 1:-1]
        assert np.array_equal(read(filled, bits), holes)
        kept = read(alone, bits)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(bits, connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        if count > 1:
            assert kept.sum() == areas.max()
            assert np.array_equal(kept, labels == labels[kept == 1][0])
        else:
            assert not kept.any()


def test_growing_and_shrinking_are_those_of_opencv_by_a_disc(script: Page) -> None:
    masks = blobs(5)
    found = call(
        script,
        "shapes",
        """return given.map(([mask, radius]) =>
          [write(core.grown(read(mask), radius)), write(core.grown(read(mask), -radius))]);""",
        [[written(bits), 1 + number % 4] for number, bits in enumerate(masks)],
    )
    for number, (bits, (larger, smaller)) in enumerate(zip(masks, found, strict=True)):
        radius = 1 + number % 4
        rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        disc = (rows**2 + columns**2 <= radius**2).astype(np.uint8)
        assert np.array_equal(read(larger, bits), cv2.dilate(bits, disc))
        assert np.array_equal(read(smaller, bits), cv2.erode(bits, disc))


def test_a_line_splits_a_mask_into_parts_that_are_disjoint_and_together_the_mask(
    script: Page,
) -> None:
    rng = np.random.default_rng(6)
    masks = blobs(6)
    lines = [rng.uniform(-3, 38, (rng.integers(2, 5), 2)).tolist() for _ in masks]
    found = call(
        script,
        "shapes",
        "return given.map(([mask, line]) => core.split(read(mask), line).map(write));",
        [[written(bits), line] for bits, line in zip(masks, lines, strict=True)],
    )
    counts = set()
    for bits, line, texts in zip(masks, lines, found, strict=True):
        parts = np.array([read(text, bits) for text in texts])
        assert np.array_equal(parts.sum(axis=0), bits)
        counts.add(len(parts))
        uncut = bits & (distances(bits, line) > 0.75)
        count, labels = cv2.connectedComponents(uncut, connectivity=8)
        for label in range(1, count):
            # No part is torn apart but by the line.
            assert sum((part[labels == label] == 1).any() for part in parts) == 1
        if len(parts) > 1:
            assert all((part & uncut).any() for part in parts)
    assert counts >= {1, 2, 3}
    solid = np.ones((9, 11), np.uint8)
    across = call(
        script,
        "shapes",
        "return core.split(read(given), [[4, -1], [4, 10]]).map(write);",
        written(solid),
    )
    assert [int(read(text, solid)[0].sum()) for text in across] == [7, 4]


def distances(bits: Bitmap, line: list[list[float]]) -> NDArray[np.float64]:
    """How far the middle of each pixel is from a line."""
    rows, columns = np.mgrid[0 : bits.shape[0], 0 : bits.shape[1]] + 0.5
    places, nearest = columns + 1j * rows, np.full(bits.shape, np.inf)
    for start, end in zip(line, [*line[1:], line[-1]], strict=True):
        from_, step = complex(*start), complex(*end) - complex(*start)
        along = ((places - from_) * np.conj(step)).real / abs(step) ** 2 if step else 0
        nearest = np.minimum(nearest, np.abs(places - from_ - np.clip(along, 0, 1) * step))
    return nearest


def test_undo_and_redo_of_fifty_strokes_are_bit_equal(script: Page) -> None:
    rng = np.random.default_rng(7)
    strokes = [
        [*rng.uniform(-5, 75, 4).tolist(), float(rng.uniform(0.3, 9)), int(rng.integers(2))]
        for _ in range(50)
    ]
    states, undone, redone = call(
        script,
        "mask_history",
        """const strokes = await import('/static/mask/strokes.js');
        const mask = bitmap.emptyMask(70, 60);
        const history = new core.MaskHistory(mask);
        const states = [write(mask)];
        for (const [ax, ay, bx, by, radius, value] of given) {
          const within = strokes.paint(mask, [ax, ay], [bx, by], radius, value);
          if (history.commit('Brush', within)) states.push(write(mask));
        }
        strokes.paint(mask, [0, 0], [70, 60], 9, 1);
        history.revert({x1: 0, y1: 0, x2: 70, y2: 60});
        const undone = [write(mask)];
        while (history.undo()) undone.push(write(mask));
        const redone = [write(mask)];
        while (history.redo()) redone.push(write(mask));
        return [states, undone, redone];""",
        strokes,
    )
    assert len(states) > 40
    assert undone == states[::-1]
    assert redone == states


def test_a_mask_is_shown_where_its_pixels_are(script: Page) -> None:
    rng = np.random.default_rng(8)
    masks = blobs(8, 60)
    views = [
        {"scale": s, "x": x, "y": y}
        for s, x, y in zip(
            rng.uniform(0.3, 9, 60).tolist(), *rng.uniform(-30, 30, (2, 60)).tolist(), strict=True
        )
    ]
    found = call(
        script,
        "shade",
        """return given.map(([mask, view]) => {
          const part = {x1: 3, y1: 2, x2: 43, y2: 33};
          const shades = core.shaded(read(mask), view, part);
          return Array.from(new Uint32Array(shades.buffer), (shade) => shade >>> 24);
        });""",
        [[written(bits), view] for bits, view in zip(masks, views, strict=True)],
    )
    rows, columns = np.mgrid[1:33, 2:43] + 0.5
    for bits, view, shades in zip(masks, views, found, strict=True):
        x = np.floor((columns - view["x"]) / view["scale"]).astype(int)
        y = np.floor((rows - view["y"]) / view["scale"]).astype(int)
        height, width = bits.shape
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        shown = np.where(inside, bits[y.clip(0, height - 1), x.clip(0, width - 1)], 0)
        here = shown[1:, 1:]
        edge = (here != shown[1:, :-1]) | (here != shown[:-1, 1:])
        wanted = np.where(edge, 255, np.where(here, 84, 0))
        assert np.array_equal(np.reshape(shades, (31, 40)), wanted)

"""Large photos in tiles: everything once and whole, and each kind of prompt where it is seen."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segpipe.detection import (
    NO_EVIDENCE,
    Candidate,
    Detection,
    SegmentationResult,
    Thresholds,
    Usage,
)
from segpipe.errors import (
    BudgetExceededError,
    ConfigError,
    MissingMaskError,
    PromptError,
    SegmenterError,
)
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.segmenters.build_segmenter import (
    PassesInTilesConfig,
    RecursiveConfig,
    Sam3Config,
    TiledConfig,
    TilesInPassesConfig,
    build_segmenter,
)
from segpipe.segmenters.cache import CachedSegmenter
from segpipe.segmenters.cache.cache_folder import CacheFolder
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.each_text import EachText
from segpipe.segmenters.local_data import LocalData
from segpipe.segmenters.recursive import RecursiveSegmenter
from segpipe.segmenters.sam3.segmind import SegmindConfig
from segpipe.segmenters.segmenter import Segmenter, call_context
from segpipe.segmenters.tiled import EXAMPLES_NOTE, TiledSegmenter
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask, dilate, intersection_area
from segpipe_tests.loopback import Loopback, json_reply
from segpipe_tests.scenes.crowd import TILE_PX, Oracle, compare, found_by, make_crowd

WIDTH, HEIGHT = 300, 200
SMALL, SEAM, LONG = Box(20, 20, 40, 40), Box(80, 110, 108, 130), Box(10, 170, 290, 180)
BOXES = (SMALL, SEAM, LONG)


def photo(*boxes: Box) -> RgbImage:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate((map(int, box) for box in boxes), start=1):
        image[y1:y2, x1:x2] = number * 40
    return image


PHOTO = photo(*BOXES)


class Shades(Segmenter):
    """Finds each shade of grey but black, in boxes and at points too; remembers questions."""

    id = "shades"
    concurrency = 3

    def __init__(self, *, masks: bool = True, fails_at: int | None = None) -> None:
        self.asked: list[tuple[tuple[int, int], Prompt]] = []
        self.thresholds: set[Thresholds | None] = set()
        self._masks, self._fails_at = masks, fails_at

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        self.asked.append((image.shape[:2], prompt))
        self.thresholds.add(thresholds)
        if self._fails_at == len(self.asked):
            raise SegmenterError("out of memory")
        await asyncio.sleep(0)
        found = [self._shade(image, value) for value in np.unique(image[image > 0]).tolist()]
        notes = ["goods"]
        if prompt.mode is Mode.INSIDE_BOX:
            found = [self._in_box(image, box) for box in prompt.boxes]
            notes = [f"looked at {len(prompt.boxes)} boxes"]
        elif prompt.points:
            (x, y) = int(prompt.points[0].x), int(prompt.points[0].y)
            found = [self._shade(image, int(image[y, x, 0]))] if image[y, x, 0] else []
        if prompt.text:
            found = [replace(one, label=prompt.text) for one in found]
        return SegmentationResult.of_one_pass(
            found, image, self.id, 0.0, usage=Usage(calls=1, cost=0.5), notes=notes
        )

    async def candidates(
        self, image: RgbImage, points: object
    ) -> tuple[Candidate, Candidate, Candidate]:
        self.asked.append((image.shape[:2], Prompt(points=tuple(points))))  # type: ignore[arg-type]
        (first, *_) = self.asked[-1][1].points
        shade = self._shade(image, int(image[int(first.y), int(first.x), 0]))
        assert shade.mask
        return Candidate(shade.mask, 0.9), Candidate(shade.mask, 0.8), Candidate(shade.mask, 0.7)

    async def paid_calls(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> int:
        return 2

    async def require_budget(self, calls: int) -> None:
        if calls > 30:
            raise BudgetExceededError(f"{calls} are too many", field="max_paid_calls")

    def _shade(self, image: RgbImage, value: int) -> Detection:
        mask = Mask.from_full((image[..., 0] == value).astype(np.uint8))
        assert mask.box
        score = 0.5 + value / 1000 + mask.area / 1e6
        return Detection(mask.box, score, mask=mask if self._masks else None)

    def _in_box(self, image: RgbImage, box: Box) -> Detection:
        x, y = int((box.x1 + box.x2) / 2), int((box.y1 + box.y2) / 2)
        if image[y, x, 0]:
            return self._shade(image, int(image[y, x, 0]))
        height, width = image.shape[:2]
        mask = Mask.from_box(box, image_width=width, image_height=height)
        return Detection(box, NO_EVIDENCE, mask=mask)

    async def aclose(self) -> None:
        pass


def tiled(inner: Segmenter, *, whole_photo: bool = True, min_photo_px: int = 0) -> TiledSegmenter:
    return TiledSegmenter(
        inner, tile_px=100, overlap_ratio=0.3, whole_photo=whole_photo, min_photo_px=min_photo_px
    )


def ask(
    segmenter: Segmenter,
    prompt: Prompt | None = None,
    image: RgbImage = PHOTO,
    thresholds: Thresholds | None = None,
) -> SegmentationResult:
    return asyncio.run(segmenter.segment(image, prompt or Prompt(), thresholds))


def boxes(result: SegmentationResult) -> set[Box]:
    for one in result.detections:
        assert one.mask is None or one.mask.box == one.box
    return {one.box for one in result.detections}


@pytest.mark.parametrize("seed", [7, 8])
def test_600_small_items_and_ten_of_three_tiles_are_found_whole_and_once(seed: int) -> None:
    crowd = make_crowd(seed)
    oracle = Oracle()
    found = found_by(TiledSegmenter(oracle, tile_px=TILE_PX), crowd)
    agreement = compare(found, crowd, least_iou=0.8)
    assert agreement.recall >= 0.97
    assert agreement.precision >= 0.97
    assert oracle.pictures == 31
    # The oracle's edges waver by a pixel; a seam would leave out far more.
    assert min(agreement.ious[: crowd.long]) > 0.9
    for item, mask in zip(crowd.items, _by_item(found, crowd.items), strict=True):
        if mask is not None:
            assert intersection_area(dilate(mask, 2), item) == item.area
            assert intersection_area(mask, dilate(item, 2)) == mask.area


def _by_item(found: list[Mask], items: tuple[Mask, ...]) -> list[Mask | None]:
    """The mask in the middle of whose pixels each item lies."""
    chosen: list[Mask | None] = []
    for item in items:
        ys, xs = np.nonzero(item.bits)
        x, y = item.x + int(xs[xs.size // 2]), item.y + int(ys[ys.size // 2])
        holding = [mask for mask in found if mask.crop_to(x, y, x + 1, y + 1).any()]
        assert len(holding) <= 1
        chosen.append(holding[0] if holding else None)
    return chosen


def test_without_the_whole_photo_long_items_are_joined_out_of_their_tiles() -> None:
    crowd = make_crowd(3, small=60, long=5, width=4200, height=3400)
    found = found_by(TiledSegmenter(Oracle(), tile_px=TILE_PX, whole_photo=False), crowd)
    assert compare(found, crowd, least_iou=0.8).f1 == 1


def test_everything_is_asked_of_each_tile_and_of_the_whole_photo() -> None:
    inner = Shades()
    strict = Thresholds(score=0.1)
    result = ask(tiled(inner), Prompt(texts=("cup",)), thresholds=strict)
    assert boxes(result) == set(BOXES)
    assert [shape for shape, _ in inner.asked] == [(100, 100)] * 12 + [(200, 300)]
    assert {prompt.texts for _, prompt in inner.asked} == {("cup",)}
    assert inner.thresholds == {strict}
    assert (result.segmenter_id, result.notes) == ("tiled(shades)", ("goods",))
    assert result.usage == Usage(calls=13, cost=6.5)
    assert {one.label for one in result.detections} == {"cup"}
    scores = [one.score for one in result.detections]
    assert scores == sorted(scores, reverse=True)
    (stats,) = result.pass_stats
    assert stats.found > stats.new == 3


def test_the_most_that_is_asked_for_is_that_of_the_whole_answer() -> None:
    result = ask(tiled(Shades()), thresholds=Thresholds(max_masks=2))
    assert boxes(result) == {SEAM, LONG}


def test_what_is_larger_than_a_tile_comes_of_the_whole_photo_alone() -> None:
    class Missing(Shades):
        """Sees nothing in a tile that something fills from side to side."""

        async def segment(
            self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
        ) -> SegmentationResult:
            result = await super().segment(image, prompt, thresholds)
            kept = [one for one in result.detections if one.box.x2 - one.box.x1 != 100]
            return replace(result, detections=tuple(kept))

    assert boxes(ask(tiled(Missing()))) == set(BOXES)
    assert LONG not in boxes(ask(tiled(Missing(), whole_photo=False)))


@pytest.mark.parametrize("least", [0, 300, 301])
def test_small_photos_go_to_the_inner_segmenter_as_they_are(least: int) -> None:
    inner = Shades()
    assert boxes(ask(tiled(inner, min_photo_px=least))) == set(BOXES)
    assert len(inner.asked) == (1 if least == 301 else 13)
    small = Shades()
    assert ask(tiled(small), image=PHOTO[:100, :100]).segmenter_id == "tiled(shades)"
    assert [shape for shape, _ in small.asked] == [(100, 100)]


def test_each_drawn_box_has_one_answer_in_its_order_from_where_it_is_seen() -> None:
    inner = Shades()
    empty, beside = Box(200, 20, 240, 60), Box(22, 22, 30, 30)
    drawn = (LONG, SEAM, empty, SMALL, beside)
    result = ask(tiled(inner), Prompt(Mode.INSIDE_BOX, boxes=drawn))
    assert [one.box for one in result.detections] == [LONG, SEAM, empty, SMALL, SMALL]
    assert [one.score == NO_EVIDENCE for one in result.detections] == [False] * 2 + [True] + [
        False
    ] * 2
    assert [shape for shape, _ in inner.asked].count((200, 300)) == 1
    assert sum(len(prompt.boxes) for _, prompt in inner.asked) == 5
    assert len(inner.asked) == 4  # SMALL and the box beside it share a tile
    assert any(note.startswith("In the tile at (") for note in result.notes)


def test_points_in_boxes_go_with_their_box() -> None:
    inner = Shades()
    prompt = Prompt(
        Mode.INSIDE_BOX,
        boxes=(SMALL, SEAM),
        points=(Point(85, 120), Point(25, 25, positive=False), Point(150, 150)),
    )
    result = ask(tiled(inner), prompt)
    assert [one.box for one in result.detections] == [SMALL, SEAM]
    for shape, part in inner.asked:
        assert shape == (100, 100)
        (box,) = part.boxes
        (point,) = part.points
        assert point.lies_in(box)
    assert "The point (150, 150) lies in no box and was not used." in result.notes


@pytest.mark.parametrize(
    ("points", "box", "shapes"),
    [
        ([Point(100, 120)], SEAM, [(100, 100)]),
        ([Point(100, 120), Point(120, 90, positive=False)], SEAM, [(100, 100)]),
        ([Point(20, 175)], LONG, [(100, 100), (200, 300)]),
        ([Point(100, 120), Point(290, 10, positive=False)], SEAM, [(200, 300)]),
    ],
)
def test_points_go_to_a_tile_that_sees_all_of_what_they_mean(
    points: list[Point], box: Box, shapes: list[tuple[int, int]]
) -> None:
    inner = Shades()
    result = ask(tiled(inner), Prompt(points=tuple(points)))
    assert boxes(result) == {box}
    assert [shape for shape, _ in inner.asked] == shapes
    inner = Shades()
    readings = asyncio.run(tiled(inner).candidates(PHOTO, points))
    assert [one.mask.box for one in readings] == [box] * 3
    assert [shape for shape, _ in inner.asked] == shapes


def test_what_lies_outside_the_photo_is_refused_before_anything_is_asked() -> None:
    inner = Shades()
    for prompt in (
        Prompt(points=(Point(300, 5),)),
        Prompt(Mode.INSIDE_BOX, boxes=(Box(300, 5, 310, 9),)),
    ):
        with pytest.raises(PromptError):
            ask(tiled(inner), prompt)
    assert inner.asked == []


def test_examples_are_looked_for_in_the_whole_photo_and_a_note_says_so() -> None:
    inner = Shades()
    result = ask(tiled(inner), Prompt(exemplars=(Exemplar(SMALL),)))
    assert [shape for shape, _ in inner.asked] == [(200, 300)]
    assert result.notes == (EXAMPLES_NOTE, "goods")
    small = ask(tiled(Shades(), min_photo_px=999), Prompt(exemplars=(Exemplar(SMALL),)))
    assert small.notes == ("goods",)


def test_a_tile_that_fails_fails_the_answer_and_no_more_are_asked() -> None:
    inner = Shades(fails_at=4)
    with pytest.raises(SegmenterError, match="out of memory"):
        ask(tiled(inner))
    assert 4 <= len(inner.asked) <= 4 + inner.concurrency


def test_tiles_are_counted_before_any_is_asked() -> None:
    inner = Shades()
    assert asyncio.run(tiled(inner).paid_calls(PHOTO, Prompt())) == 26
    assert asyncio.run(tiled(EachText(inner, ["cup", "lid"])).paid_calls(PHOTO, Prompt())) == 52
    with pytest.raises(BudgetExceededError, match="52 are too many"):
        ask(tiled(EachText(inner, ["cup", "lid"])))
    assert inner.asked == []


def test_boxes_without_masks_are_refused_where_they_would_have_to_be_joined() -> None:
    with pytest.raises(MissingMaskError, match="gives masks"):
        ask(tiled(Shades(masks=False)))
    drawn = ask(tiled(Shades(masks=False)), Prompt(Mode.INSIDE_BOX, boxes=(SMALL,)))
    assert boxes(drawn) == {SMALL}


@pytest.mark.parametrize(
    ("wrap", "made"),
    [
        (lambda inner: RecursiveSegmenter(tiled(inner)), "recursive(tiled(shades))"),
        (lambda inner: tiled(RecursiveSegmenter(inner)), "tiled(recursive(shades))"),
        (lambda inner: tiled(EachText(inner, ["cup"])), "tiled(shades)"),
        (lambda inner: EachText(tiled(inner), ["cup"]), "tiled(shades)"),
    ],
)
def test_it_wraps_and_is_wrapped(wrap: Callable[[Segmenter], Segmenter], made: str) -> None:
    inner = Shades()
    segmenter = wrap(inner)
    result = ask(segmenter)
    assert (segmenter.id, result.segmenter_id) == (made, made)
    found = result.detections
    assert {one.box for one in found if one.trace_of is None} == set(BOXES)
    traces = [one for one in found if one.trace_of is not None]
    assert bool(traces) == ("recursive" in made)
    for one in traces:
        assert one.trace_of is not None
        item = found[one.trace_of]
        assert one.mask
        assert item.mask
        assert item.trace_of is None
        assert intersection_area(one.mask, item.mask) > 0
    assert len(result.pass_stats) == (2 if "recursive" in made else 1)
    if "recursive" in made:
        assert result.pass_stats[1].new == 0


def test_a_cache_inside_keeps_tiles_and_one_outside_keeps_photos(tmp_path: Path) -> None:
    def cached(inner: Segmenter, folder: str) -> CachedSegmenter:
        settings = ClassicalConfig()
        return CachedSegmenter(inner, CacheFolder(tmp_path / folder, 10**8), settings=settings)

    inner = Shades()
    first = ask(tiled(cached(inner, "tiles")))
    other_tiles = TiledSegmenter(cached(inner, "tiles"), tile_px=100, overlap_ratio=0.3)
    assert asyncio.run(other_tiles.paid_calls(PHOTO, Prompt())) == 0
    again = ask(other_tiles)
    assert (boxes(again), again.usage.calls) == (boxes(first), 0)
    asked = len(inner.asked)
    assert asked < 13  # black tiles are alike: one answer serves them all
    outside = cached(tiled(inner), "photos")
    assert outside.id == "tiled(shades)"
    assert boxes(ask(outside)) == boxes(ask(outside)) == set(BOXES)
    assert len(inner.asked) == asked + 13


def test_a_paid_service_is_asked_for_all_tiles_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", "key")
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1900, 3), np.uint8)

    def ask_with(limit: int, url: str, run_id: str) -> SegmentationResult:
        backend = SegmindConfig(endpoint=url, max_paid_calls=limit)
        config = TiledConfig(inner=Sam3Config(backend=backend), min_photo_px=0)

        async def answer() -> SegmentationResult:
            segmenter = build_segmenter(config, LocalData(tmp_path))
            try:
                with call_context(run_id, "lot", "a.png"):
                    return await segmenter.segment(noise, Prompt(texts=("cup",)))
            finally:
                await segmenter.aclose()

        return asyncio.run(answer())

    with Loopback(json_reply({"masks": []})) as server:
        with pytest.raises(BudgetExceededError, match=r"next 7 calls .* the 6 allowed; none"):
            ask_with(6, server.url, "run-1")
        assert server.requests == []
        result = ask_with(7, server.url, "run-2")
        assert (result.usage.calls, len(server.requests)) == (7, 7)
        assert result.segmenter_id == "tiled(sam3-segmind)"
        # What is kept needs no budget.
        assert ask_with(1, server.url, "run-3").usage == Usage(cached=7)
        assert len(server.requests) == 7


def test_tiles_are_at_most_what_the_inner_segmenter_sees() -> None:
    classical = ClassicalConfig(work_pixels=40_000)
    for inner in (classical, PassesInTilesConfig(inner=classical)):
        with pytest.raises(ConfigError, match="200 at most") as caught:
            build_segmenter(TiledConfig(inner=inner, tile_px=201))
        assert caught.value.field == "tile_px"
    with pytest.raises(ConfigError, match="1000 at most"):
        build_segmenter(RecursiveConfig(inner=TilesInPassesConfig(tile_px=1001)))

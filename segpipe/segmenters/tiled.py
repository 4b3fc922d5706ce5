"""A segmenter that looks at a large photo in tiles, and makes one answer of theirs."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from segpipe.detection import (
    Candidate,
    Detection,
    PassStats,
    SegmentationResult,
    Thresholds,
    Usage,
    best_first,
)
from segpipe.errors import MissingMaskError
from segpipe.prompt import Mode, Point, Prompt, require_points
from segpipe.segmenters.segmenter import Segmenter, WrappedSegmenter
from segpipe.segmenters.tile_prompts import (
    Look,
    lift_mask,
    look_at_points,
    looks_into_boxes,
    stray_points,
)
from segpipe.threads import finish_in_thread
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.image import RgbImage
from segpipe.vision.seams import JoinedItem, Piece, is_cut, join_pieces, join_whole
from segpipe.vision.tiles import tile_windows

EXAMPLES_NOTE = "Examples were looked for in the whole photo, not in tiles: these do not show them."

Candidates = tuple[Candidate, Candidate, Candidate]


class TiledSegmenter(WrappedSegmenter):
    """Wraps a segmenter and asks it about tiles of a large photo, so that small items are seen.

    Tiles overlap, and what several of them show of an item is joined: see
    :func:`~segpipe.vision.seams.join_pieces`. The whole photo is looked at too, for what is larger
    than a tile. Each tile is a question of its own: a cache inside keeps its answer, and a paid
    service bills each. The questions are counted first, and none is sent when all of them would
    pass a limit of the run.

    A drawn box, and points, go to a tile that shows them well: one of the others, or one of their
    own around them. What is larger than a tile is looked at in the whole photo, and so are
    examples, which a note says: most tiles do not show them.

    Args:
        inner: The segmenter that is asked, about as many tiles at once as keep it busy.
        tile_px: Longest side of a tile, 2 or more.
        overlap_ratio: Least share of a side that neighbours have in common, .05 to .5.
        whole_photo: Look for everything in the whole photo too.
        min_photo_px: Photos whose longer side is shorter go to the inner segmenter as they are.

    Raises:
        ConfigError: A setting is out of its range.
    """

    def __init__(
        self,
        inner: Segmenter,
        *,
        tile_px: int,
        overlap_ratio: float = 0.2,
        whole_photo: bool = True,
        min_photo_px: int = 0,
    ) -> None:
        tile_windows(1, 1, tile_px=tile_px, overlap_ratio=overlap_ratio)
        self._inner = inner
        self._tile_px = tile_px
        self._overlap_ratio = overlap_ratio
        self._whole_photo = whole_photo
        self._min_photo_px = min_photo_px

    @property
    def id(self) -> str:
        """``tiled(<id of the inner segmenter>)``."""
        return f"tiled({self._inner.id})"

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8.

        Detections of ``find_all`` come with the best score first; ``max_masks`` of the thresholds
        bounds what each tile gives, and the joined answer too.

        Raises what the inner segmenter raises, once all questions under way have their answers; no
        more are sent then. Besides:

        Raises:
            PromptError: A point or box is none of this image.
            BudgetExceededError: The paid calls for all tiles would pass a limit of the run.
            MissingMaskError: A tile's answer to ``find_all`` has a detection without a mask.
        """
        started = time.perf_counter()
        photo = _all_of(image)
        looks = self._looks(photo, prompt)
        if looks[0].window == photo and len(looks) == 1:
            result = await self._inner.segment(image, prompt, thresholds)
            is_tiled = len(self._tiles(photo)) > 1
            notes = (EXAMPLES_NOTE,) if prompt.exemplars and is_tiled else ()
            return replace(result, segmenter_id=self.id, notes=(*notes, *result.notes))
        results = await self._ask(image, looks, thresholds)
        if prompt.mode is Mode.INSIDE_BOX:
            found = _in_order(looks, results, photo)
        elif prompt.points:
            (look,) = looks
            found = tuple(look.lift(one, photo.x2, photo.y2) for one in results[0].detections)
            if any(one.mask and is_cut(one.mask, look.window) for one in found):
                more = await self._inner.segment(image, prompt, thresholds)
                found = more.detections
                looks, results = [look, Look(photo, prompt)], [*results, more]
        else:
            found = await finish_in_thread(self._joined, looks, results, photo, thresholds)
        return SegmentationResult(
            detections=found,
            image_width=photo.x2,
            image_height=photo.y2,
            segmenter_id=self.id,
            elapsed_ms=(time.perf_counter() - started) * 1000,
            pass_stats=tuple(_passes(results, found)),
            usage=sum((result.usage for result in results), Usage()),
            notes=tuple(dict.fromkeys(_notes(prompt, looks, results))),
        )

    async def candidates(self, image: RgbImage, points: Sequence[Point]) -> Candidates:
        """Three readings of what the points mean, the best score first.

        They come of a tile around the points, or of the whole photo where one is cut by its border.
        Raises what the inner segmenter raises.
        """
        photo = _all_of(image)
        points = require_points(points, photo.x2, photo.y2)
        if len(self._tiles(photo)) > 1:
            look = look_at_points(Prompt(points=points), photo, self._tile_px)
            picture = np.ascontiguousarray(look.view(image))
            seen = await self._inner.candidates(picture, look.prompt.points)
            masks = [lift_mask(one.mask, look.window, photo.x2, photo.y2) for one in seen]
            if not any(is_cut(mask, look.window) for mask in masks):
                first, second, third = map(Candidate, masks, [one.score for one in seen])
                return first, second, third
        return await self._inner.candidates(image, points)

    async def paid_calls(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> int:
        """Those of all tiles together."""
        return await self._calls(image, self._looks(_all_of(image), prompt), thresholds)

    def _tiles(self, photo: PixelWindow) -> tuple[PixelWindow, ...]:
        """The tiles of a photo; the photo itself where it is too small for them."""
        if max(photo.x2, photo.y2) < self._min_photo_px:
            return (photo,)
        return tile_windows(
            photo.x2, photo.y2, tile_px=self._tile_px, overlap_ratio=self._overlap_ratio
        )

    def _looks(self, photo: PixelWindow, prompt: Prompt) -> list[Look]:
        """What is asked: of tiles, and of the whole photo; the tiles come first."""
        tiles = self._tiles(photo)
        if len(tiles) == 1 or prompt.exemplars:
            return [Look(photo, prompt)]
        if prompt.mode is Mode.INSIDE_BOX:
            prompt = prompt.for_image(photo.x2, photo.y2)
            return looks_into_boxes(prompt, tiles, photo, self._tile_px)
        if prompt.points:
            prompt = prompt.for_image(photo.x2, photo.y2)
            return [look_at_points(prompt, photo, self._tile_px)]
        windows = (*tiles, photo) if self._whole_photo else tiles
        return [Look(window, prompt) for window in windows]

    async def _calls(
        self, image: RgbImage, looks: Sequence[Look], thresholds: Thresholds | None
    ) -> int:
        return sum(
            [
                await self._inner.paid_calls(look.view(image), look.prompt, thresholds)
                for look in looks
            ]
        )

    async def _ask(
        self, image: RgbImage, looks: Sequence[Look], thresholds: Thresholds | None
    ) -> list[SegmentationResult]:
        """The answers in the order of the looks."""
        calls = await self._calls(image, looks, thresholds)
        if calls:
            await self._inner.require_budget(calls)
        turns = asyncio.Semaphore(max(1, self._inner.concurrency))
        failures: list[BaseException] = []

        async def ask(look: Look) -> SegmentationResult | None:
            async with turns:
                if failures:
                    return None
                try:
                    picture = np.ascontiguousarray(look.view(image))
                    result = await self._inner.segment(picture, look.prompt, thresholds)
                    result.require_fit(look.window.width, look.window.height)
                except BaseException as error:
                    failures.append(error)
                    raise
                return result

        answers = await asyncio.gather(*map(ask, looks), return_exceptions=True)
        if failures:
            raise failures[0]
        return [answer for answer in answers if isinstance(answer, SegmentationResult)]

    def _joined(
        self,
        looks: Sequence[Look],
        results: Sequence[SegmentationResult],
        photo: PixelWindow,
        thresholds: Thresholds | None,
    ) -> tuple[Detection, ...]:
        """Each item once, the best score first; traces name the items that took in their own."""
        found: list[Detection] = []
        pieces: dict[int, Piece] = {}
        of_whole = 0
        for look, result in zip(looks, results, strict=True):
            start = len(found)
            for one in result.detections:
                lifted = look.lift(one, photo.x2, photo.y2)
                mask = lifted.mask
                if mask is None:
                    raise MissingMaskError(
                        "a tile's answer has a detection without a mask, and what tiles show is "
                        "joined by masks; wrap a segmenter that gives masks"
                    )
                if one.trace_of is not None:
                    lifted = replace(lifted, trace_of=start + one.trace_of)
                else:
                    seen_in = frozenset([look.window])
                    pieces[len(found)] = Piece(mask, seen_in, one.label)
                    of_whole += look.window == photo
                found.append(lifted)
        indices = list(pieces)
        split = len(indices) - of_whole
        joined = join_pieces([pieces[index] for index in indices[:split]])
        if of_whole:
            whole = [pieces[index] for index in indices[split:]]
            joined = join_whole(joined, whole, tile_px=self._tile_px)
        items = _items(joined, indices, found)
        items.sort(key=lambda item: item[0].score, reverse=True)
        most = thresholds.max_masks if thresholds else len(items)
        return best_first([_with_traces(items[:most], found)])


def _all_of(image: RgbImage) -> PixelWindow:
    height, width = image.shape[:2]
    return PixelWindow(0, 0, width, height)


def _items(
    joined: Sequence[JoinedItem], indices: Sequence[int], found: Sequence[Detection]
) -> list[tuple[Detection, list[int]]]:
    """Each joined item as a detection, and the finds that are in it."""
    items = []
    for one in joined:
        members = [indices[at] for at in one.members]
        also = [indices[at] for at in one.also]
        best = max((found[index] for index in members), key=lambda find: find.score)
        if len(members) > 1:
            mask = one.piece.mask
            first = min(found[index].pass_index for index in members)
            best = replace(best, box=mask.box or best.box, mask=mask, pass_index=first)
        items.append((best, members + also))
    return items


def _with_traces(
    items: Sequence[tuple[Detection, list[int]]], found: Sequence[Detection]
) -> list[Detection]:
    """The items, and after them the traces of what is in them."""
    places = {index: place for place, (_, members) in enumerate(items) for index in members}
    traces = []
    for one in found:
        painted = one.trace_of
        while painted is not None and (other := found[painted].trace_of) is not None:
            painted = other
        if painted in places:
            traces.append(replace(one, trace_of=places[painted]))
    return [*(one for one, _ in items), *traces]


def _in_order(
    looks: Sequence[Look], results: Sequence[SegmentationResult], photo: PixelWindow
) -> tuple[Detection, ...]:
    """The answers to drawn boxes, in the order of the boxes."""
    answers: dict[int, Detection] = {}
    for look, result in zip(looks, results, strict=True):
        result.require_one_for_each(len(look.boxes))
        for index, one in zip(look.boxes, result.detections, strict=True):
            answers[index] = look.lift(one, photo.x2, photo.y2)
    return tuple(answers[index] for index in sorted(answers))


def _passes(
    results: Sequence[SegmentationResult], found: Sequence[Detection]
) -> Iterator[PassStats]:
    """What each pass of the inner segmenter gave in all tiles together."""
    passes = list(zip_longest(*(result.pass_stats for result in results)))
    for number, row in enumerate(passes, start=1):
        stats = [one for one in row if one is not None]
        reasons = dict.fromkeys(one.stopped for one in stats if one.stopped)
        items = sum(one.pass_index == number - 1 and one.trace_of is None for one in found)
        yield PassStats(
            found=sum(one.found for one in stats),
            new=min(sum(one.new for one in stats), items),
            elapsed_ms=sum(one.elapsed_ms for one in stats),
            stopped="; ".join(reasons) or None if number == len(passes) else None,
        )


def _notes(
    prompt: Prompt, looks: Sequence[Look], results: Sequence[SegmentationResult]
) -> Iterator[str]:
    """The notes of all answers; those about places say which tile they count from."""
    is_placed = prompt.mode is Mode.INSIDE_BOX or bool(prompt.points)
    for look, result in zip(looks, results, strict=True):
        x, y, _, _ = look.window
        where = f"In the tile at ({x}, {y}): " if is_placed and (x or y) else ""
        yield from (f"{where}{note}" for note in result.notes)
    if prompt.mode is Mode.INSIDE_BOX:
        for point in stray_points(prompt):
            yield f"The point ({point.x:g}, {point.y:g}) lies in no box and was not used."

"""What each tile of a photo is asked, and its answer in pixels of the photo."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from segpipe.detection import Detection
from segpipe.prompt import Point, Prompt
from segpipe.vision.boxes import Box, PixelWindow
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe.vision.tiles import window_around

_CONTEXT = 0.05
"""A tile shows at least so much of its side around a drawn box, or it is not the one to ask."""
_MOST_OF_TILE = 0.8
"""A drawn box with a longer side, as a part of a tile's, is looked at in the whole photo."""


@dataclass(frozen=True, slots=True)
class Look:
    """One question about a part of a photo.

    Attributes:
        window: The part.
        prompt: The question, in pixels of the part.
        boxes: Which drawn boxes of the photo's prompt it answers, in the order of its own.
    """

    window: PixelWindow
    prompt: Prompt
    boxes: tuple[int, ...] = ()

    def view(self, image: RgbImage) -> RgbImage:
        """The part of the photo, which shares its memory."""
        x1, y1, x2, y2 = self.window
        return image[y1:y2, x1:x2]

    def lift(self, found: Detection, width: int, height: int) -> Detection:
        """A detection of the part as one of the photo, of that size in pixels."""
        x, y, _, _ = self.window
        mask = found.mask and lift_mask(found.mask, self.window, width, height)
        return replace(found, box=_shifted(found.box, x, y), mask=mask)


def lift_mask(mask: Mask, window: PixelWindow, width: int, height: int) -> Mask:
    """A mask of a part of a photo as one of the photo, of that size in pixels."""
    return Mask(mask.x + window.x1, mask.y + window.y1, mask.bits, width, height)


def looks_into_boxes(
    prompt: Prompt, tiles: Sequence[PixelWindow], photo: PixelWindow, tile_px: int
) -> list[Look]:
    """Each drawn box once, with the points in it: boxes that one tile shows are one question."""
    by_window: dict[PixelWindow, list[int]] = {}
    for index, box in enumerate(prompt.boxes):
        by_window.setdefault(_window_of(box, tiles, photo, tile_px), []).append(index)
    looks = []
    for window, indices in by_window.items():
        boxes = [prompt.boxes[index] for index in indices]
        points = (one for one in prompt.points if any(one.lies_in(box) for box in boxes))
        looks.append(Look(window, _asked(prompt, window, boxes, points), tuple(indices)))
    return looks


def stray_points(prompt: Prompt) -> list[Point]:
    """The points of an ``inside_box`` prompt that lie in no box."""
    return [one for one in prompt.points if not any(one.lies_in(box) for box in prompt.boxes)]


def look_at_points(prompt: Prompt, photo: PixelWindow, tile_px: int) -> Look:
    """A tile around the positive points, or the whole photo where none holds all points."""
    positive = [one for one in prompt.points if one.positive] or list(prompt.points)
    xs, ys = [one.x for one in positive], [one.y for one in positive]
    middle = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    window = _around(middle, photo, tile_px)
    if not all(one.lies_in(Box(*window)) for one in prompt.points):
        return Look(photo, prompt)
    return Look(window, _asked(prompt, window, (), prompt.points))


def _asked(
    prompt: Prompt, window: PixelWindow, boxes: Iterable[Box], points: Iterable[Point]
) -> Prompt:
    x, y, _, _ = window
    return replace(
        prompt,
        boxes=tuple(_shifted(box, -x, -y) for box in boxes),
        points=tuple(replace(one, x=one.x - x, y=one.y - y) for one in points),
    )


def _window_of(
    box: Box, tiles: Sequence[PixelWindow], photo: PixelWindow, tile_px: int
) -> PixelWindow:
    """The tile that shows most around a box; one of its own where none does; or the photo."""
    if max(box.x2 - box.x1, box.y2 - box.y1) > _MOST_OF_TILE * tile_px:
        return photo
    best = max(tiles, key=lambda tile: _margin(box, tile, photo))
    if _margin(box, best, photo) >= _CONTEXT * tile_px:
        return best
    return _around(((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2), photo, tile_px)


def _around(middle: tuple[float, float], photo: PixelWindow, tile_px: int) -> PixelWindow:
    x, y = middle
    return window_around(x, y, tile_px=tile_px, image_width=photo.x2, image_height=photo.y2)


def _margin(box: Box, tile: PixelWindow, photo: PixelWindow) -> float:
    """How much a tile shows around a box, at least; the photo's own border hides nothing."""
    sides = (
        (box.x1 - tile.x1, tile.x1 == photo.x1),
        (box.y1 - tile.y1, tile.y1 == photo.y1),
        (tile.x2 - box.x2, tile.x2 == photo.x2),
        (tile.y2 - box.y2, tile.y2 == photo.y2),
    )
    return min((margin for margin, is_end in sides if not is_end), default=math.inf)


def _shifted(box: Box, x: float, y: float) -> Box:
    return Box(box.x1 + x, box.y1 + y, box.x2 + x, box.y2 + y)

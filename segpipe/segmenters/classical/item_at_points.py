"""The item that some points mean."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segpipe.detection import Candidate
from segpipe.errors import SegmenterError
from segpipe.prompt import Point, require_points
from segpipe.segmenters.classical.classical_settings import ClassicalConfig
from segpipe.segmenters.classical.goods_mask import colour_distance, mark_foreground
from segpipe.segmenters.classical.item_search import score_item
from segpipe.segmenters.classical.lab_planes import (
    Labels,
    LabImage,
    Plane,
    diagonal_of,
    disc,
    enlarge,
    filled,
    nearer_to,
    shrink,
    to_lab,
)
from segpipe.segmenters.classical.photo_frame import inside_frame, only_inside, without_frame
from segpipe.segmenters.classical.table_colour import fit_background
from segpipe.segmenters.classical.touching_items import split_items
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask

# Delta E from the colour at a point within which a part goes on: the first that keeps it smaller
# than this part of the picture, since what is larger has run out into the table.
_SAME_COLOUR = (8.0, 5.0, 3.5, 2.5)
_LARGEST_PART = 0.25
_SEED_RADIUS = 0.004  # of the diagonal: what lies so near to a point is the same thing
_DIGITS = 4  # of a score; more is rounding noise


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """The reduced picture, what ``find_all`` sees in it, and the points.

    Attributes:
        lab: Its colours, (h, w, 3).
        distance: Distance to the table's colour, (h, w), Delta E.
        goods: What is no table, (h, w), 0 or 1.
        items: The numbered items, (h, w).
        on: Small discs at the positive points, numbered from 1, (h, w).
        off: The same at the negative ones.
    """

    lab: LabImage
    distance: Plane
    goods: Bitmap
    items: Labels
    on: Labels
    off: Labels


def always() -> bool:
    """Somebody waits to the end."""
    return True


def at_points(
    image: RgbImage,
    points: Sequence[Point],
    config: ClassicalConfig,
    *,
    is_wanted: Callable[[], bool] = always,
) -> tuple[Candidate, Candidate, Candidate]:
    """Grow three readings around the positive points and away from the negative ones.

    They are the item as ``find_all`` tells it from its neighbours, the part of it that has the
    colour at the points, and the item with everything that touches it. A score is that of an item
    of this outline, less what the reading does not share with the item (1 - IoU): without words,
    a point most likely means an item.

    Args:
        image: Upright RGB, (h, w, 3) uint8.
        points: All together they mean one thing.
        config: The settings of ``find_all``.
        is_wanted: Whether somebody still waits for the answer; asked at every point.

    Returns:
        The best score first.

    Raises:
        PromptError: No point is positive, or one lies outside the image.
        SegmenterError: Nobody waits any more.
    """
    height, width = image.shape[:2]
    require_points(points, width, height)
    view = _look(image, points, config)

    part = _same_colour(view, is_wanted)
    item = _pieces(view.items, view.on)
    if not item.any():
        item = part  # nothing sets itself off there
    _, regions = cv2.connectedComponents(view.goods, connectivity=4)
    group = _pieces(np.asarray(regions, np.int32), view.on) | item
    group &= ~_pieces(view.items, view.off) | item

    item = _without_negatives(item, view)
    readings = (item, _without_negatives(group, view), _without_negatives(part, view) & item)
    candidates = [
        Candidate(_enlarged(reading, image), _score(reading, item, view)) for reading in readings
    ]
    first, second, third = sorted(candidates, key=lambda candidate: -candidate.score)
    return first, second, third


def _look(image: RgbImage, points: Sequence[Point], config: ClassicalConfig) -> _View:
    lab = to_lab(shrink(image, config.work_pixels))
    inner = inside_frame(lab)
    lab = without_frame(lab, inner)
    background = fit_background(lab)
    goods = only_inside(mark_foreground(lab, background), inner)
    items = split_items(goods, lab, min_area=config.min_area_fraction * goods.size)
    on, off = (
        _seeds([point for point in points if point.positive is positive], image, goods.shape)
        for positive in (True, False)
    )
    return _View(lab, colour_distance(lab, background), goods, items, on, off)


def _seeds(points: Sequence[Point], image: RgbImage, shape: tuple[int, ...]) -> Labels:
    height, width = shape[0], shape[1]
    radius = max(1, round(_SEED_RADIUS * diagonal_of(shape)))
    seeds = np.zeros((height, width), np.int32)
    for number, point in enumerate(points, start=1):
        x = int(point.x * width / image.shape[1])
        y = int(point.y * height / image.shape[0])
        cv2.circle(seeds, (x, y), radius, (number,), cv2.FILLED)
    return seeds


def _pieces(labels: Labels, seeds: Labels) -> Bitmap:
    """The labelled pieces under the seeds, for each seed the one that it lies on most."""
    chosen = []
    for seed in _each(seeds):
        under = labels[seed]
        if under.any():
            chosen.append(int(np.bincount(under[under > 0]).argmax()))
    return np.isin(labels, chosen).astype(np.uint8)


def _each(seeds: Labels) -> Iterator[Bitmap]:
    for number in range(1, int(seeds.max()) + 1):
        seed = seeds == number
        if seed.any():  # two points may fall on one pixel
            yield seed


def _same_colour(view: _View, is_wanted: Callable[[], bool]) -> Bitmap:
    """What has the colour at a point and is connected with it, holes filled."""
    similar = np.zeros(view.on.shape, np.uint8)
    for seed in _each(view.on):
        if not is_wanted():
            raise SegmenterError("nobody waits for what the points mean any more")
        difference = view.lab - np.median(view.lab[seed], axis=0)
        distance = np.sqrt(np.square(difference).sum(axis=2))
        for tolerance in _SAME_COLOUR:
            near = ((distance < tolerance) | seed).astype(np.uint8)
            _, regions = cv2.connectedComponents(near, connectivity=4)
            piece = _pieces(np.asarray(regions, np.int32), seed.astype(np.int32))
            if np.count_nonzero(piece) < _LARGEST_PART * piece.size:
                break
        similar |= piece
    smooth = cv2.morphologyEx(similar, cv2.MORPH_OPEN, disc(2))
    return filled(np.asarray(smooth, np.uint8) | (view.on > 0))


def _without_negatives(reading: Bitmap, view: _View) -> Bitmap:
    """The reading cut along its strongest edges between positive and negative points."""
    if not (view.off[reading > 0]).any():
        return reading
    nearer = nearer_to(view.on, (view.off > 0) | (reading == 0), view.lab)
    return np.asarray(nearer & (reading > 0), np.uint8)


def _score(reading: Bitmap, item: Bitmap, view: _View) -> float:
    if not reading.any():
        return 0.0
    shared = np.count_nonzero(reading & item) / np.count_nonzero(reading | item)
    return round(score_item(reading, view.distance) * float(shared), _DIGITS)


def _enlarged(reading: Bitmap, image: RgbImage) -> Mask:
    height, width = image.shape[:2]
    return Mask.from_full(enlarge(reading, width=width, height=height))

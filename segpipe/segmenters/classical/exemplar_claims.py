"""Which items the exemplar boxes are drawn around."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segpipe.detection import NO_EVIDENCE
from segpipe.errors import PromptError, SegmenterError
from segpipe.prompt import Exemplar
from segpipe.segmenters.classical.classical_settings import ClassicalConfig
from segpipe.segmenters.classical.item_in_box import inside_box
from segpipe.segmenters.classical.item_search import (
    Item,
    Look,
    numbered_items,
    reduced_item,
    reduced_window,
)
from segpipe.segmenters.classical.lab_planes import disc
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.image import RgbImage

_SAME_BOX = 0.6  # IoU with the box of an item; one drawn 30 % too wide and high has 0.6
_IN_BOX = 0.8  # of an item's pixels, when a box is drawn loosely around it
_MIN_FILL = 0.25  # of a loose box by its items; less are crumbs beside what is meant
_EQUALLY_LARGE = 0.5  # of the largest item in a loose box
_ON_ITEM = 0.98  # of a box, when it is drawn on an item and shows nothing else
_SAME_ITEM = 0.7  # IoU of a cut-out item with one that was found; one of two alike has 0.5
_CRUMB_RADIUS_PX = 2


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """The items of a picture, and which of them are examples.

    Attributes:
        items: What was found, and what was cut out around exemplars.
        wanted: Indices of the positive exemplars' items.
        unwanted: Indices of the negative exemplars' items.
        bare: For each exemplar in whose box nothing sets itself off, the box itself as an item,
            and whether it is positive.
    """

    items: tuple[Item, ...]
    wanted: frozenset[int]
    unwanted: frozenset[int]
    bare: tuple[tuple[Item, bool], ...]


def claim_items(
    look: Look,
    image: RgbImage,
    exemplars: Sequence[Exemplar],
    config: ClassicalConfig,
    *,
    is_wanted: Callable[[], bool],
) -> Claims:
    """Find the item in each exemplar box.

    It is the item whose box is nearly that one; or those that lie in it, when it is drawn loosely;
    or what can be cut out there, such as one of several items that touch, which is then taken out
    of what was found; or the item around it, when it is drawn too tightly.

    Args:
        look: The reduced picture and what was found in it.
        image: The photo, upright RGB, (H, W, 3) uint8.
        exemplars: Their boxes lie in the photo at least in part.
        config: The settings.
        is_wanted: Whether somebody still waits for the answer; asked at every exemplar.

    Raises:
        SegmenterError: Nobody waits any more.
        PromptError: A positive and a negative exemplar are drawn around the same item.
    """
    claimer = _Claimer(look, exemplars)
    windows = [reduced_window(one.box, image, look.lab.shape) for one in exemplars]
    unanswered = claimer.claim_by_box(windows)
    for index in unanswered:
        if not is_wanted():
            raise SegmenterError("nobody waits for what the exemplars show any more")
        if not claimer.claim_inside(index, windows[index]):
            (cut,) = inside_box(image, [exemplars[index].box], config, is_wanted=is_wanted)
            # Where nothing sets itself off, the cut is the box.
            shown = reduced_item(cut, image, look.lab.shape)
            if cut.score == NO_EVIDENCE:
                claimer.claim_around(index, shown)
            else:
                claimer.claim_cut(index, shown)
    return claimer.claims()


class _Claimer:
    """Where exemplars claim items, one after the other."""

    def __init__(self, look: Look, exemplars: Sequence[Exemplar]) -> None:
        self._look = look
        self._exemplars = exemplars
        self._items: dict[int, Item] = dict(enumerate(look.items))
        self._claimed: dict[int, int] = {}  # the item's number to the exemplar's
        self._bare: list[tuple[Item, bool]] = []

    def claim_by_box(self, windows: Sequence[PixelWindow]) -> list[int]:
        """Let exemplars claim items by nearly equal boxes, best first; those left over."""
        pairs = [
            (_iou(window, item.window), exemplar, number)
            for exemplar, window in enumerate(windows)
            for number, item in self._items.items()
        ]
        answered: set[int] = set()
        for overlap, exemplar, number in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
            if overlap < _SAME_BOX:
                break
            if exemplar not in answered and not self._opposes(exemplar, number):
                self._claimed.setdefault(number, exemplar)
                answered.add(exemplar)
        # In an order that does not depend on the order in which they came.
        return sorted(
            set(range(len(windows))) - answered,
            key=lambda index: (self._exemplars[index].box, self._exemplars[index].positive),
        )

    def claim_inside(self, exemplar: int, window: PixelWindow) -> bool:
        """Claim what lies in a loosely drawn box, the largest and others nearly as large."""
        areas = {
            number: item.area
            for number, item in self._items.items()
            if item.part_within(window) >= _IN_BOX and not self._opposes(exemplar, number)
        }
        largest = max(areas.values(), default=0)
        meant = {number: area for number, area in areas.items() if area >= _EQUALLY_LARGE * largest}
        if not meant or sum(meant.values()) < _MIN_FILL * window.width * window.height:
            return False
        for number in meant:
            self._claimed.setdefault(number, exemplar)
        return True

    def claim_cut(self, exemplar: int, cut: Item) -> None:
        """Claim what was cut out: an item that was found, or a new one in place of its pixels."""
        overlaps = {number: cut.iou(item) for number, item in self._items.items()}
        best = max(overlaps, key=lambda number: overlaps[number], default=None)
        if best is not None and overlaps[best] >= _SAME_ITEM:
            self._claim(exemplar, best)
            return
        for number in list(self._items):
            self._carve(number, cut, exemplar)
        self._claimed[self._add(cut)] = exemplar

    def claim_around(self, exemplar: int, box: Item) -> None:
        """Claim the item that a box was drawn on, the part of one in it, or its look alone."""
        parts = {number: box.shared_with(item) for number, item in self._items.items()}
        best = max(parts, key=lambda number: np.count_nonzero(parts[number]), default=None)
        covered = 0 if best is None else np.count_nonzero(parts[best]) / box.area
        if best is None or covered < _MIN_FILL:
            self._bare.append((box, self._exemplars[exemplar].positive))
        elif covered >= _ON_ITEM:
            self._claim(exemplar, best)
        else:
            self.claim_cut(exemplar, Item(box.window, parts[best], box.score))

    def claims(self) -> Claims:
        numbers = list(self._items)
        sides: dict[bool, set[int]] = {True: set(), False: set()}
        for place, number in enumerate(numbers):
            if number in self._claimed:
                sides[self._exemplars[self._claimed[number]].positive].add(place)
        return Claims(
            items=tuple(self._items.values()),
            wanted=frozenset(sides[True]),
            unwanted=frozenset(sides[False]),
            bare=tuple(self._bare),
        )

    def _claim(self, exemplar: int, number: int) -> None:
        self._refuse_opposite(exemplar, number)
        self._claimed.setdefault(number, exemplar)

    def _refuse_opposite(self, exemplar: int, number: int) -> None:
        if self._opposes(exemplar, number):
            raise _contradiction(exemplar, self._claimed[number], self._exemplars)

    def _opposes(self, exemplar: int, number: int) -> bool:
        """Whether an exemplar of the other sign has claimed the item."""
        owner = self._claimed.get(number)
        if owner is None:
            return False
        return self._exemplars[owner].positive is not self._exemplars[exemplar].positive

    def _add(self, item: Item) -> int:
        number = max(self._items, default=-1) + 1
        self._items[number] = item
        return number

    def _carve(self, number: int, cut: Item, exemplar: int) -> None:
        """Take the pixels of an exemplar's cut out of an item; what is left may be several."""
        item = self._items[number]
        under = item.shared_with(cut)
        if not under.any():
            return
        rest = cv2.morphologyEx(item.bits & (1 - under), cv2.MORPH_OPEN, disc(_CRUMB_RADIUS_PX))
        _, pieces = cv2.connectedComponents(np.asarray(rest, np.uint8), connectivity=4)
        distance, min_area = self._look.distance[item.view], self._look.min_area
        left = [
            piece.moved(item.window.x1, item.window.y1)
            for piece in numbered_items(np.asarray(pieces, np.int32), distance, min_area)
        ]
        if not left:
            self._refuse_opposite(exemplar, number)
        owner = self._claimed.pop(number, None)
        del self._items[number]
        for piece in left:
            added = self._add(piece)
            if owner is not None:
                self._claimed[added] = owner


def _contradiction(later: int, earlier: int, exemplars: Sequence[Exemplar]) -> PromptError:
    name, other = f"exemplars[{later}]", f"exemplars[{earlier}]"
    sign = "positive" if exemplars[earlier].positive else "negative"
    return PromptError(
        f"{name} takes in the same item as {other}, which is {sign}; leave one of them out or draw "
        "it closer",
        field=name,
    )


def _iou(a: PixelWindow, b: PixelWindow) -> float:
    both = a.intersect(b)
    shared = both.width * both.height
    return shared / (a.width * a.height + b.width * b.height - shared)

"""Items that lie over the seams of tiles: what several tiles show of one, made one again."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from segpipe.vision.boxes import Box, PixelWindow, meeting_pairs, to_array
from segpipe.vision.mask import Mask, intersection_area

DEFAULT_AGREEMENT = 0.5
_SEAM_PX = 4
"""An item that ends so near to the border of a tile is cut by it: masks are coarse."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What is seen of an item in one tile, or in several that were joined.

    Attributes:
        mask: Its pixels in the image.
        windows: The tiles in which it was seen.
        label: What it is; pieces of different labels are never one item.
    """

    mask: Mask
    windows: frozenset[PixelWindow]
    label: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class JoinedItem:
    """One item out of its pieces.

    Attributes:
        piece: The union of their masks, and all tiles that saw it.
        members: The positions of the pieces in the input, in order.
        also: Those that show the same item worse: none of their pixels is in the mask.
    """

    piece: Piece
    members: tuple[int, ...]
    also: tuple[int, ...] = ()


def join_pieces(
    pieces: Sequence[Piece], *, agreement: float = DEFAULT_AGREEMENT
) -> list[JoinedItem]:
    """Join what several tiles show of the same item.

    Two pieces are compared where both tiles look, so an item that a border cuts is no less alike.
    Those belong together whose intersection over the smaller is ``agreement`` or more: the best
    match of a piece in another tile by IoU; or, for a piece that the border of its tile cuts, and
    that has no match of an IoU so high, the one that holds it. What one tile shows as two
    is never joined directly. Joined pieces are compared again, until nothing changes: joining
    what was joined changes nothing, and the order of the pieces has no part in it.

    >>> def seen(x1: int, x2: int, tile: PixelWindow) -> Piece:
    ...     bits = np.ones((10, x2 - x1), np.uint8)
    ...     return Piece(Mask(x1, 5, bits, 180, 100), frozenset([tile]))
    >>> left, right = PixelWindow(0, 0, 100, 100), PixelWindow(80, 0, 180, 100)
    >>> joined = join_pieces([seen(60, 100, left), seen(80, 120, right), seen(130, 140, right)])
    >>> [(one.members, tuple(one.piece.mask.box)) for one in joined]
    [((0, 1), (60.0, 5.0, 120.0, 15.0)), ((2,), (130.0, 5.0, 140.0, 15.0))]
    """
    items = [JoinedItem(piece, (index,)) for index, piece in enumerate(pieces)]
    seen = [_Seen.of(piece) for piece in pieces]
    while edges := _same_items(seen, agreement):
        known = {one.members: before for one, before in zip(items, seen, strict=True)}
        items = _merged(items, edges)
        seen = [known.get(one.members) or _Seen.of(one.piece) for one in items]
    return items


def join_whole(
    items: Sequence[JoinedItem],
    whole: Sequence[Piece],
    *,
    tile_px: int,
    agreement: float = DEFAULT_AGREEMENT,
) -> list[JoinedItem]:
    """Put what a look at the whole photo shows to what tiles show, after :func:`join_pieces`.

    Tiles show more detail. So that of which they show most adds nothing, where it fits in a tile or
    an item of theirs reaches as far. Otherwise something larger than a tile takes in what agrees
    with it, and anything takes in what lies in it and is still cut by a border. The others stand
    beside each other.

    Args:
        items: The items of the tiles, with n pieces.
        whole: What the look at the whole photo shows; their positions begin at n.
        tile_px: Longest side of a tile.
        agreement: Share of the smaller one, 0 to 1.
    """
    first = sum(len(one.members) + len(one.also) for one in items)
    tiles, large = [_Seen.of(one.piece) for one in items], [_Seen.of(one) for one in whole]
    overlaps = _overlaps(tiles, large)
    homes = _homes(tiles, large, overlaps, tile_px, agreement)
    joined = [one for at, one in enumerate(items) if at not in homes]
    inside_of: dict[int, list[JoinedItem]] = {}
    for at, home in homes.items():
        inside_of.setdefault(home, []).append(items[at])
    shared_with: dict[int, dict[int, int]] = {}
    for (at, place), area in overlaps.items():
        shared_with.setdefault(place, {})[at] = area
    also: dict[int, list[int]] = {}
    for place, piece in enumerate(whole):
        inside, shared = inside_of.get(place), shared_with.get(place, {})
        alone = JoinedItem(piece, (first + place,))
        is_seen = sum(shared.values()) >= agreement * large[place].area > 0
        is_known = large[place].fits(tile_px) or any(
            tiles[at].spans(large[place], tile_px) for at in shared
        )
        if inside:
            joined.append(_union([alone, *inside]))
        elif is_seen and is_known:
            also.setdefault(max(shared, key=lambda at: shared[at]), []).append(first + place)
        else:
            joined.append(alone)
    places = {items[at].members: extra for at, extra in also.items()}
    return [
        JoinedItem(one.piece, one.members, (*one.also, *places.get(one.members, ())))
        for one in joined
    ]


def is_cut(mask: Mask, window: PixelWindow) -> bool:
    """Whether an item that is seen in a part of an image ends at its border, and so goes on.

    >>> is_cut(Mask(90, 5, np.ones((10, 10), np.uint8), 180, 100), PixelWindow(0, 0, 100, 100))
    True
    """
    return _Seen.of(Piece(mask, frozenset([window]))).is_cut()


class _Seen(NamedTuple):
    """A piece, its tight mask and box, and the rectangle of all its tiles."""

    piece: Piece
    mask: Mask
    box: PixelWindow
    area: int
    view: PixelWindow

    @classmethod
    def of(cls, piece: Piece) -> "_Seen":
        mask = piece.mask.tight()
        columns = list(zip(*piece.windows, strict=True))
        (left, top), (right, bottom) = map(min, columns[:2]), map(max, columns[2:])
        return cls(piece, mask, mask.window, mask.area, PixelWindow(left, top, right, bottom))

    def area_in(self, view: PixelWindow) -> int:
        """Its pixels that lie in a rectangle."""
        shared = self.box.intersect(view)
        return self.area if shared == self.box else int(self.mask.crop_to(*shared).sum())

    def fits(self, tile_px: int) -> bool:
        """Whether a tile has room for it."""
        return max(self.box.width, self.box.height) <= tile_px

    def spans(self, other: "_Seen", tile_px: int) -> bool:
        """Whether it is whole, and reaches as far as what a look at the whole photo shows."""
        scale = max(self.mask.image_width, self.mask.image_height) / tile_px
        reach = math.ceil(_SEAM_PX * scale)  # its masks are so much coarser
        x1, y1, x2, y2 = self.box
        grown = PixelWindow(x1 - reach, y1 - reach, x2 + reach, y2 + reach)
        return grown.intersect(other.box) == other.box and not self.is_cut()

    def is_cut(self, beyond: PixelWindow | None = None) -> bool:
        """Whether it ends at the border of its tiles, where another rectangle goes on."""
        image = PixelWindow(0, 0, self.mask.image_width, self.mask.image_height)
        box, view, other = self.box, self.view, beyond or image
        return any(
            near <= _SEAM_PX and goes_on > 0
            for near, goes_on in (
                (box.x1 - view.x1, view.x1 - other.x1),
                (box.y1 - view.y1, view.y1 - other.y1),
                (view.x2 - box.x2, other.x2 - view.x2),
                (view.y2 - box.y2, other.y2 - view.y2),
            )
        )


class _Match(NamedTuple):
    """Another item that agrees with one: how much, and where it stands; the best is the largest."""

    iou: float
    containment: float
    place: tuple[int, ...]  # of its box: so that no order decides between equals
    other: int


def _same_items(seen: Sequence[_Seen], agreement: float) -> list[tuple[int, int]]:
    """Pairs of one item."""
    matches: dict[tuple[int, frozenset[PixelWindow]], list[_Match]] = {}
    for a, b in _candidates(seen):
        one, other = seen[a], seen[b]
        shared = intersection_area(one.mask, other.mask)
        in_both = one.area_in(other.view), other.area_in(one.view)
        if shared and shared >= agreement * min(in_both):
            iou, containment = shared / (sum(in_both) - shared), shared / min(in_both)
            for here, there in ((a, b), (b, a)):
                match = _Match(iou, containment, _place(seen[there]), there)
                matches.setdefault((here, seen[there].piece.windows), []).append(match)
    edges = []
    for (here, _), found in matches.items():
        best = max(found)
        if best.iou >= agreement:
            edges.append((here, best.other))
            continue
        holding = max(found, key=lambda match: (match.containment, match))
        if seen[here].is_cut(seen[holding.other].view):
            edges.append((here, holding.other))
    return edges


def _place(seen: _Seen) -> tuple[int, ...]:
    return (*seen.box, seen.area)


def _candidates(seen: Sequence[_Seen]) -> Iterator[tuple[int, int]]:
    """Pairs whose boxes meet, of one label, that no tile shows as two."""
    for a, b in _meeting(seen):
        one, other = seen[a].piece, seen[b].piece
        if one.label == other.label and one.windows.isdisjoint(other.windows):
            yield a, b


def _meeting(seen: Sequence[_Seen]) -> Iterator[tuple[int, int]]:
    boxes = to_array([Box(*one.box) for one in seen])
    first, second = meeting_pairs(tuple(np.ascontiguousarray(boxes.T)))
    return zip(first.tolist(), second.tolist(), strict=True)


def _merged(items: Sequence[JoinedItem], edges: Sequence[tuple[int, int]]) -> list[JoinedItem]:
    """The items, those that edges connect as one; in the order of their first members."""
    parents = list(range(len(items)))

    def root(at: int) -> int:
        while parents[at] != at:
            parents[at] = at = parents[parents[at]]
        return at

    for a, b in edges:
        first, second = sorted((root(a), root(b)))
        parents[second] = first
    groups: dict[int, list[JoinedItem]] = {}
    for at, item in enumerate(items):
        groups.setdefault(root(at), []).append(item)
    return [_union(group) for group in groups.values()]


def _union(items: Sequence[JoinedItem]) -> JoinedItem:
    if len(items) == 1:
        return items[0]
    masks = [one.piece.mask for one in items]
    columns = list(zip(*(mask.window for mask in masks), strict=True))
    (left, top), (right, bottom) = map(min, columns[:2]), map(max, columns[2:])
    bits = np.zeros((bottom - top, right - left), np.uint8)
    for mask in masks:
        x1, y1, x2, y2 = mask.window
        bits[y1 - top : y2 - top, x1 - left : x2 - left] |= mask.bits
    first = items[0].piece
    mask = Mask(left, top, bits, first.mask.image_width, first.mask.image_height)
    windows = frozenset[PixelWindow]().union(*(one.piece.windows for one in items))
    return JoinedItem(
        Piece(mask, windows, first.label),
        tuple(sorted(member for one in items for member in one.members)),
        tuple(sorted(member for one in items for member in one.also)),
    )


def _overlaps(tiles: Sequence[_Seen], large: Sequence[_Seen]) -> dict[tuple[int, int], int]:
    """The shared pixels of each item of the tiles and each of the whole photo that meet."""
    overlaps: dict[tuple[int, int], int] = {}
    for a, b in _meeting([*tiles, *large]):
        if a < len(tiles) <= b and tiles[a].piece.label == large[b - len(tiles)].piece.label:
            shared = intersection_area(tiles[a].mask, large[b - len(tiles)].mask)
            if shared:
                overlaps[a, b - len(tiles)] = shared
    return overlaps


def _homes(
    tiles: Sequence[_Seen],
    large: Sequence[_Seen],
    overlaps: dict[tuple[int, int], int],
    tile_px: int,
    agreement: float,
) -> dict[int, int]:
    """For each item of the tiles that belongs to one of the whole photo, to which."""
    homes: dict[int, tuple[float, tuple[int, ...], int]] = {}
    for (at, place), shared in overlaps.items():
        one, other = tiles[at], large[place]
        iou = shared / (one.area + other.area - shared)
        is_same = iou >= agreement and not other.fits(tile_px) and not one.spans(other, tile_px)
        is_rest = shared >= agreement * min(one.area, other.area) and one.is_cut()
        if is_same or is_rest:
            homes[at] = max(homes.get(at, (-1.0, (), -1)), (iou, _place(other), place))
    return {at: place for at, (_, _, place) in homes.items()}

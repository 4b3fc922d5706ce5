"""What several tiles show of an item is one item: always, in any order, and only once."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.vision.boxes import Box, PixelWindow
from segpipe.vision.mask import Mask
from segpipe.vision.seams import JoinedItem, Piece, is_cut, join_pieces, join_whole
from segpipe.vision.tiles import tile_windows

WIDTH, HEIGHT, TILE_PX = 130, 100, 50
TILES = tile_windows(WIDTH, HEIGHT, tile_px=TILE_PX, overlap_ratio=0.2)
LEFT, RIGHT = PixelWindow(0, 0, 70, 100), PixelWindow(50, 0, 130, 100)
PHOTO = PixelWindow(0, 0, WIDTH, HEIGHT)


def filled(x1: float, y1: float, x2: float, y2: float) -> Mask:
    return Mask.from_box(Box(x1, y1, x2, y2), image_width=WIDTH, image_height=HEIGHT)


def seen(mask: Mask, tile: PixelWindow, label: str | None = None) -> Piece:
    """What a tile shows of an item."""
    bits = mask.crop_to(*tile)
    return Piece(Mask(tile.x1, tile.y1, bits, WIDTH, HEIGHT), frozenset([tile]), label)


def pieces_of(masks: Sequence[Mask], tiles: Sequence[PixelWindow] = TILES) -> list[Piece]:
    pieces = [seen(mask, tile) for mask in masks for tile in tiles]
    return [piece for piece in pieces if not piece.mask.is_empty]


def planes(items: Sequence[JoinedItem]) -> list[bytes]:
    return sorted(one.piece.mask.to_full().tobytes() for one in items)


def members(items: Sequence[JoinedItem]) -> set[tuple[int, ...]]:
    return {one.members for one in items}


spots = st.tuples(st.integers(0, 12), st.integers(0, 9))


@st.composite
def goods(draw: st.DrawFn) -> list[Mask]:
    """Rectangles of a grid that do not touch: small ones, and some longer than a tile."""
    taken = np.zeros((10, 13), np.bool_)
    masks = []
    for column, row in draw(st.lists(spots, max_size=14)):
        wide, high = draw(st.sampled_from([(1, 1), (2, 1), (1, 3), (9, 1), (1, 8), (6, 2)]))
        right, bottom = min(column + wide, 13), min(row + high, 10)
        if taken[row:bottom, column:right].any():
            continue
        taken[row:bottom, column:right] = True
        x1, y1 = column * 10 + draw(st.integers(1, 4)), row * 10 + draw(st.integers(1, 4))
        masks.append(filled(x1, y1, right * 10 - 1, bottom * 10 - 1))
    return masks


@settings(max_examples=150)
@given(goods())
def test_tiles_give_back_every_item_whole_and_once(masks: list[Mask]) -> None:
    joined = join_pieces(pieces_of(masks))
    assert planes(joined) == sorted(mask.to_full().tobytes() for mask in masks)


@st.composite
def anything(draw: st.DrawFn) -> list[Piece]:
    """Pieces that need not fit each other: some are missing, moved, doubled or of other things."""
    pieces = pieces_of(draw(goods()))
    kept = draw(st.lists(st.sampled_from(pieces), max_size=30)) if pieces else []
    for column, row in draw(st.lists(spots, max_size=6)):
        tile = draw(st.sampled_from(TILES))
        x, y, size = column * 10, row * 10, draw(st.integers(3, 35))
        kept.append(seen(filled(x, y, x + size, y + size), tile, draw(st.sampled_from("ab"))))
    return [piece for piece in kept if not piece.mask.is_empty]


@settings(max_examples=150)
@given(anything(), st.randoms(use_true_random=False))
def test_joining_depends_on_no_order_and_twice_is_once(pieces: list[Piece], random: Random) -> None:
    joined = join_pieces(pieces)
    assert sorted(at for one in joined for at in one.members) == list(range(len(pieces)))
    shuffled = list(pieces)
    random.shuffle(shuffled)
    assert planes(join_pieces(shuffled)) == planes(joined)
    again = join_pieces([one.piece for one in joined])
    assert members(again) == {(at,) for at in range(len(joined))}
    assert planes(again) == planes(joined)


def test_what_lies_on_something_else_stays_apart_from_it() -> None:
    plate, coin = filled(30, 20, 110, 90), filled(55, 40, 65, 50)
    joined = join_pieces(pieces_of([plate, coin], [LEFT, RIGHT]))
    assert planes(joined) == sorted(mask.to_full().tobytes() for mask in (plate, coin))


def test_arms_that_a_tile_shows_apart_belong_to_what_holds_them() -> None:
    whole = np.zeros((HEIGHT, WIDTH), np.uint8)
    whole[20:80, 20:40] = whole[20:30, 20:100] = whole[70:80, 20:60] = 1
    mask = Mask.from_full(whole)
    arms = [filled(50, 20, 100, 30), filled(50, 70, 60, 80)]
    pieces = [seen(mask, LEFT), *(seen(arm, RIGHT) for arm in arms)]
    (joined,) = join_pieces(pieces)
    assert np.array_equal(joined.piece.mask.to_full(), whole)
    assert joined.piece.windows == {LEFT, RIGHT}


def test_labels_are_never_mixed() -> None:
    mask = filled(40, 10, 90, 30)
    assert len(join_pieces([seen(mask, LEFT, "cup"), seen(mask, RIGHT, "lid")])) == 2
    assert len(join_pieces([seen(mask, LEFT, "cup"), seen(mask, RIGHT, "cup")])) == 1


@pytest.mark.parametrize(("shared", "count"), [(0.6, 1), (0.4, 2)])
def test_they_belong_together_when_they_agree_where_both_tiles_look(
    shared: float, count: int
) -> None:
    first = filled(20, 10, 70, 20)
    second = filled(50, 10 + 10 * (1 - shared), 110, 20 + 10 * (1 - shared))
    assert len(join_pieces([seen(first, LEFT), seen(second, RIGHT)])) == count


def test_what_one_tile_shows_as_two_is_two() -> None:
    pieces = [seen(filled(10, 10, 40, 40), LEFT), seen(filled(12, 12, 42, 42), LEFT)]
    assert len(join_pieces(pieces)) == 2


def test_an_item_is_cut_where_its_tile_ends_and_the_photo_does_not() -> None:
    assert is_cut(filled(60, 10, 70, 20), LEFT)
    assert not is_cut(filled(50, 10, 60, 20), LEFT)
    assert not is_cut(filled(0, 0, 20, 100), LEFT)


def whole(*masks: Mask) -> list[Piece]:
    return [Piece(mask, frozenset([PHOTO])) for mask in masks]


def joined_with(tiles: Sequence[Mask], at_once: Sequence[Mask]) -> list[JoinedItem]:
    return join_whole(join_pieces(pieces_of(tiles)), whole(*at_once), tile_px=TILE_PX)


def test_the_whole_photo_adds_nothing_to_what_tiles_show_better() -> None:
    small, long = filled(10, 10, 20, 20), filled(5, 60, 125, 70)
    joined = joined_with([small, long], [filled(9, 9, 22, 22), filled(4, 58, 126, 72)])
    assert planes(joined) == sorted(mask.to_full().tobytes() for mask in (small, long))
    assert sorted(len(one.also) for one in joined) == [1, 1]


def test_the_whole_photo_adds_what_no_tile_shows() -> None:
    small, large = filled(10, 10, 20, 20), filled(30, 25, 120, 95)
    joined = joined_with([small], [large])
    assert planes(joined) == sorted(mask.to_full().tobytes() for mask in (small, large))


def test_parts_that_borders_still_cut_go_into_what_the_whole_photo_shows() -> None:
    long = filled(5, 40, 125, 50)
    first, *_, last = pieces_of([long])
    joined = join_whole(join_pieces([first, last]), whole(long), tile_px=TILE_PX)
    assert members(joined) == {(0, 1, 2)}
    assert planes(joined) == [long.to_full().tobytes()]


def test_whole_items_on_a_large_one_stand_beside_it() -> None:
    tray, cups = filled(10, 10, 120, 90), [filled(20, 20, 30, 30), filled(90, 60, 105, 75)]
    joined = joined_with(cups, [tray])
    assert planes(joined) == sorted(mask.to_full().tobytes() for mask in (tray, *cups))


def test_a_heap_that_fits_in_a_tile_and_is_seen_apart_there_is_no_item() -> None:
    cups = [filled(11, 11, 19, 25), filled(21, 11, 29, 25)]
    joined = joined_with(cups, [filled(11, 11, 29, 25)])
    assert planes(joined) == sorted(mask.to_full().tobytes() for mask in cups)

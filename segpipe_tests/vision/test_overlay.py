import io
import weakref
from collections.abc import Iterator
from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from segpipe.errors import ConfigError
from segpipe.vision.boxes import Box
from segpipe.vision.canvas import PAPER, shrink
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe.vision.overlay import (
    OverlayItem,
    contact_sheet,
    draw_overlay,
    inline_preview,
    item_colour,
)

GREY = 128


def coffee() -> RgbImage:
    return np.asarray(data.coffee(), np.uint8)  # type: ignore[no-untyped-call]


def grey(height: int, width: int) -> RgbImage:
    image = np.full((height, width, 3), GREY, np.uint8)
    image.flags.writeable = False
    return image


def disc_item(
    number: int, *, x: int, y: int, radius: int, height: int, width: int, caption: str | None = None
) -> OverlayItem:
    full = np.zeros((height, width), np.uint8)
    cv2.circle(full, (x, y), radius, (1,), cv2.FILLED)
    box = Box(x - radius, y - radius, x + radius + 1, y + radius + 1)
    return OverlayItem(box, Mask.from_full(full), number, caption)


def changed(drawn: RgbImage) -> NDArray[np.bool_]:
    differs: NDArray[np.bool_] = np.any(drawn != GREY, axis=2)
    return differs


def test_survivor_is_tinted_in_its_colour_and_the_rest_is_left_alone() -> None:
    item = disc_item(3, x=200, y=150, radius=60, height=300, width=400)
    drawn = draw_overlay(grey(300, 400), [item], [])
    red, green, blue = item_colour(3)
    toward = np.sign(np.array([red, green, blue]) - GREY)
    assert np.array_equal(np.sign(drawn[150, 200].astype(int) - GREY), toward)
    assert not changed(drawn)[:, :120].any()
    assert not changed(drawn)[:, 280:].any()


def test_survivor_has_an_unbroken_outline_in_its_colour() -> None:
    item = disc_item(4, x=200, y=150, radius=60, height=300, width=400)
    drawn = draw_overlay(grey(300, 400), [item], []).astype(int)
    angles = np.linspace(0.2, np.pi, 50)  # away from the label at the top left
    near = [
        min(
            np.abs(
                drawn[round(150 + r * np.sin(a)), round(200 + r * np.cos(a))] - item_colour(4)
            ).max()
            for r in (58, 59, 60, 61)
        )
        for a in angles
    ]
    assert max(near) < 60


def test_rejected_item_is_dashed_and_not_filled() -> None:
    box = Box(100, 100, 300, 200)
    drawn = draw_overlay(grey(300, 400), [], [OverlayItem(box, None, 0)])
    top_line = changed(drawn)[100, 105:295]
    assert 0.2 < top_line.mean() < 0.9
    assert np.count_nonzero(np.diff(top_line.astype(int))) > 10
    assert not changed(drawn)[110:170, 110:260].any()


def test_rejected_item_is_fainter_than_a_survivor() -> None:
    item = disc_item(1, x=200, y=150, radius=60, height=300, width=400)
    kept = draw_overlay(grey(300, 400), [item], []).astype(int)
    dropped = draw_overlay(grey(300, 400), [], [item]).astype(int)
    assert np.abs(dropped - GREY).sum() < np.abs(kept - GREY).sum() / 3


@pytest.mark.parametrize("scale", [1, 3, 10])
def test_every_item_has_a_number_plate_that_can_be_read_at_any_scale(scale: int) -> None:
    height, width = 200 * scale, 300 * scale
    item = disc_item(7, x=150 * scale, y=100 * scale, radius=40 * scale, height=height, width=width)
    drawn = draw_overlay(grey(height, width), [item], [], max_side_px=900)
    rows, _ = np.nonzero(np.all(drawn == item_colour(7), axis=2))
    plate_rows = np.count_nonzero(np.bincount(rows) > 5)
    assert plate_rows >= max(11, drawn.shape[0] // 60)


def test_number_is_what_the_plate_says() -> None:
    def plates(number: int) -> RgbImage:
        return draw_overlay(grey(200, 300), [], [OverlayItem(Box(50, 50, 250, 150), None, number)])

    assert np.array_equal(plates(3), plates(3))
    assert not np.array_equal(plates(3), plates(8))


def test_caption_is_added_to_the_number() -> None:
    def plate_px(caption: str | None) -> int:
        item = disc_item(1, x=150, y=100, radius=40, height=200, width=300, caption=caption)
        drawn = draw_overlay(grey(200, 300), [item], [])
        return int(np.count_nonzero(np.all(drawn == item_colour(1), axis=2)))

    assert plate_px("a blue cup") > plate_px(None) + 200


def test_first_twelve_colours_are_well_apart() -> None:
    rgb = np.array([[item_colour(number) for number in range(12)]], np.float32) / 255
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(lab, 2)) > 12


def test_large_photo_is_drawn_on_a_reduced_copy_where_its_items_are() -> None:
    item = disc_item(2, x=3000, y=1000, radius=300, height=3000, width=4000)
    image = grey(3000, 4000)
    drawn = draw_overlay(image, [item], [], max_side_px=800)
    assert drawn.shape == (600, 800, 3)
    rows, columns = np.nonzero(changed(drawn))
    edges = [columns.min(), columns.max(), rows.min(), rows.max()]
    assert np.abs(np.array(edges) - [540, 660, 140, 260]).max() <= 4


def test_small_photo_keeps_its_size_and_is_not_written() -> None:
    image = coffee()
    before = image.copy()
    item = disc_item(0, x=200, y=200, radius=60, height=400, width=600)
    assert draw_overlay(image, [item], [item]).shape == image.shape
    assert np.array_equal(image, before)


@settings(max_examples=60)
@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(*[st.floats(-80, 80)] * 4),
    st.integers(1, 70),
    st.integers(-5, 10_000),
)
def test_no_image_box_or_number_is_an_error(
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    max_side_px: int,
    number: int,
) -> None:
    height, width = size
    masks = [
        None,
        Mask.empty(image_width=width, image_height=height),
        Mask(width - 1, height - 1, np.ones((1, 1), np.uint8), width, height),
        Mask(0, 0, np.ones((height, width), np.uint8), width, height),
    ]
    items = [OverlayItem(Box(*box), mask, number) for mask in masks]
    drawn = draw_overlay(grey(height, width), items, items, max_side_px=max_side_px)
    assert drawn.dtype == np.uint8
    assert max(drawn.shape[:2]) == min(max(size), max_side_px)


def test_hairline_of_a_large_photo_still_shows() -> None:
    bits = np.ones((1, 2000), np.uint8)
    item = OverlayItem(Box(1000, 1500, 3000, 1501), Mask(1000, 1500, bits, 4000, 3000), 1)
    drawn = draw_overlay(grey(3000, 4000), [item], [], max_side_px=400)
    assert changed(drawn)[148:153, 110:290].any(axis=0).all()


def test_contact_sheet_has_rows_of_tiles_with_captions_and_a_title() -> None:
    pictures = [(coffee(), f"photo {number}") for number in range(5)]
    sheet = contact_sheet(pictures, columns=3, tile_px=200)
    titled = contact_sheet(pictures, columns=3, tile_px=200, title="deal 7")
    assert sheet.shape[1] == titled.shape[1] == 3 * 200 + 4 * 10
    assert sheet.shape[0] == 2 * (200 + 2 * 11) + 3 * 10
    assert titled.shape[0] > sheet.shape[0]
    assert np.array_equal(titled[-len(sheet) :], sheet)


def test_contact_sheet_shows_a_whole_picture_in_the_middle_of_its_tile() -> None:
    red = np.full((300, 100, 3), (250, 0, 0), np.uint8)
    sheet = contact_sheet([(red, "")], columns=1, tile_px=150)
    rows, columns = np.nonzero(np.all(sheet == (250, 0, 0), axis=2))
    assert [int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1] == [150, 50]
    assert abs(columns.mean() - sheet.shape[1] / 2) < 1


def test_contact_sheet_lets_go_of_every_picture() -> None:
    given_out: list[weakref.ref[RgbImage]] = []
    most_alive = 0

    def stream() -> Iterator[tuple[RgbImage, str]]:
        nonlocal most_alive
        for _ in range(9):
            picture = grey(400, 400)
            given_out.append(weakref.ref(picture))
            most_alive = max(most_alive, sum(given() is not None for given in given_out))
            yield picture, "x"

    contact_sheet(stream(), columns=3, tile_px=60)
    assert len(given_out) == 9
    assert most_alive <= 2


def test_contact_sheet_of_no_pictures_is_its_title() -> None:
    assert (contact_sheet([], columns=2, tile_px=100) == PAPER).all()
    assert (contact_sheet([], columns=2, tile_px=100, title="deal") != PAPER).any()


@settings(max_examples=40)
@given(st.text(max_size=80))
def test_any_text_can_be_a_caption(text: str) -> None:
    contact_sheet([(grey(8, 8), text)], columns=1, tile_px=64, title=text)


@pytest.mark.parametrize(
    "text",
    ["кошка 🐈‍⬛ שלום مرحبا", "two\nlines\x00\x07", "\udcff\ud800", "n" * 5000],
    ids=["scripts and emoji", "control characters", "lone surrogates", "very long"],
)
def test_odd_captions_stay_in_their_tile(text: str) -> None:
    sheet = contact_sheet([(grey(50, 50), text), (grey(50, 50), "")], columns=2, tile_px=120)
    plain = contact_sheet([(grey(50, 50), ""), (grey(50, 50), "")], columns=2, tile_px=120)
    assert sheet.shape == plain.shape
    differs = np.any(sheet != plain, axis=2)
    assert not differs[:, 6 + 120 + 2 :].any()
    assert not differs[: 6 + 120].any()


def test_contact_sheet_without_room_is_an_error_that_names_the_field() -> None:
    with pytest.raises(ConfigError) as no_columns:
        contact_sheet([], columns=0)
    with pytest.raises(ConfigError) as no_tile:
        contact_sheet([], tile_px=0)
    assert (no_columns.value.field, no_tile.value.field) == ("columns", "tile_px")


def test_overlay_without_room_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        draw_overlay(grey(4, 4), [], [], max_side_px=0)


def photos() -> dict[str, RgbImage]:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), np.uint8)
    return {"coffee": coffee(), "noise": noise, "one pixel": grey(1, 1), "line": grey(1, 5000)}


@pytest.mark.parametrize("max_bytes", [20_000, 6_000, 2_000])
@pytest.mark.parametrize("name", list(photos()))
def test_inline_preview_is_a_webp_within_the_limit(name: str, max_bytes: int) -> None:
    image = photos()[name]
    encoded = inline_preview(image, max_bytes=max_bytes)
    assert len(encoded) <= max_bytes
    assert encoded == inline_preview(image, max_bytes=max_bytes)
    with Image.open(io.BytesIO(encoded)) as picture:
        assert picture.format == "WEBP"
        width, height = picture.size
    assert width <= image.shape[1]
    assert height <= image.shape[0]


def test_inline_preview_uses_the_room_it_has() -> None:
    assert 10_000 < len(inline_preview(coffee())) <= 20_000


def test_inline_preview_of_a_long_sheet_is_its_upper_part() -> None:
    sheet = np.concatenate([coffee()] * 6)
    with Image.open(io.BytesIO(inline_preview(sheet))) as picture:
        assert picture.height == round(1.5 * picture.width)
        assert picture.width > 300


def test_inline_preview_without_room_is_an_error_that_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"room for a thumbnail \(\d+ bytes\), got 50"):
        inline_preview(coffee(), max_bytes=50)


@pytest.mark.parametrize("size", [(600, 400), (300, 200), (299, 199), (130, 87), (7, 5), (1, 1)])
def test_shrinking_keeps_brightness_and_place(size: tuple[int, int]) -> None:
    photo = cv2.GaussianBlur(coffee(), (0, 0), 3)
    width, height = size
    small = shrink(np.asarray(photo, np.uint8), width, height)
    plain = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    assert small.shape == (height, width, 3)
    assert np.abs(small.astype(int) - plain).mean() < 7


def test_a_large_picture_is_reduced_in_bands_to_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for size in ((1027, 1338), (1024, 1280), (1301, 2003)):
        picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        monkeypatch.undo()
        whole = shrink(picture, 301, 203)
        monkeypatch.setattr("segpipe.vision.canvas._LARGE_BYTES", 0)
        assert np.array_equal(shrink(picture, 301, 203), whole)

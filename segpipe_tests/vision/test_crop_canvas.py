"""Cut-outs on canvases: where they lie, how large they are, and what is behind them."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segpipe.errors import ConfigError
from segpipe.vision.crop_canvas import (
    background_colour,
    fit_to_canvas,
    limit_side,
    on_colour,
)

RED, GREY = (220, 20, 30), (240, 240, 238)
sides = st.integers(1, 120)


def item(height: int, width: int, *, hole: bool = False) -> NDArray[np.uint8]:
    """A red ellipse that touches all four sides of its box, and around it nothing."""
    pixels = np.zeros((height, width, 4), np.uint8)
    rows, columns = np.ogrid[:height, :width]
    across = np.abs((columns - (width - 1) / 2) / (width / 2))
    down = np.abs((rows - (height - 1) / 2) / (height / 2))
    shape = across**2 + down**2 <= 1.1
    if hole:
        shape &= across**2 + down**2 >= 0.3
    pixels[shape] = (*RED, 255)
    return pixels


@settings(deadline=None)
@given(sides, sides, st.integers(0, 40), sides, sides, st.floats(0, 49))
def test_the_item_fills_its_room_and_lies_in_the_middle(
    height: int, width: int, padding: int, canvas_height: int, canvas_width: int, margin: float
) -> None:
    padded = np.zeros((height + padding, width + 2 * padding, 4), np.uint8)
    padded[padding:, padding : padding + width] = (*RED, 255)
    fitted = fit_to_canvas(padded, width=canvas_width, height=canvas_height, margin_percent=margin)
    assert fitted.shape == (canvas_height, canvas_width, 4)
    left, top, shown_width, shown_height = cv2.boundingRect(fitted[..., 3])
    free = margin / 100 * min(canvas_width, canvas_height)
    room = max(1, canvas_width - 2 * free), max(1, canvas_height - 2 * free)
    scale = min(room[0] / width, room[1] / height)
    assert shown_width == pytest.approx(max(1, width * scale), abs=0.5)
    assert shown_height == pytest.approx(max(1, height * scale), abs=0.5)
    assert left + shown_width / 2 == pytest.approx(canvas_width / 2, abs=0.5)
    assert top + shown_height / 2 == pytest.approx(canvas_height / 2, abs=0.5)


@given(sides, sides, sides, sides)
def test_nothing_but_the_items_colour_is_on_the_canvas(
    height: int, width: int, canvas_height: int, canvas_width: int
) -> None:
    fitted = fit_to_canvas(item(height, width), width=canvas_width, height=canvas_height)
    seen = fitted[..., 3] > 8
    assert np.abs(fitted[seen][:, :3].astype(int) - RED).max(initial=0) <= 16
    assert not fitted[fitted[..., 3] == 0].any()


@pytest.mark.parametrize("side", [40, 90, 400])
def test_a_hole_shows_what_is_behind(side: int) -> None:
    ring = item(90, 90, hole=True)
    clear = fit_to_canvas(ring, width=side, height=side, margin_percent=10)
    assert clear[side // 2, side // 2].tolist() == [0, 0, 0, 0]
    on_grey = fit_to_canvas(ring, width=side, height=side, margin_percent=10, background=GREY)
    assert on_grey.shape == (side, side, 3)
    assert tuple(on_grey[side // 2, side // 2]) == tuple(on_grey[0, 0]) == GREY


def test_a_small_item_may_stay_small() -> None:
    coin = item(20, 30)
    left, top, width, height = cv2.boundingRect(
        fit_to_canvas(coin, width=200, height=100, enlarge=False)[..., 3]
    )
    assert (left, top, width, height) == (85, 40, 30, 20)
    large = fit_to_canvas(item(400, 600), width=60, height=60, enlarge=False)
    assert cv2.boundingRect(large[..., 3])[2] == 60


def test_a_crop_along_its_box_is_taken_whole() -> None:
    photo = np.full((30, 60, 3), RED, np.uint8)
    fitted = fit_to_canvas(photo, width=100, height=100, margin_percent=10)
    assert cv2.boundingRect(fitted[..., 3]) == (10, 30, 80, 40)


@given(sides, sides, sides, st.sampled_from([3, 4]))
def test_no_side_is_longer_than_the_limit(
    height: int, width: int, limit: int, channels: int
) -> None:
    pixels = item(height, width)[..., :channels]
    limited = limit_side(pixels, limit)
    assert max(limited.shape[:2]) == min(limit, max(height, width))
    assert limited.shape[2] == channels
    if max(height, width) <= limit:
        assert limited is pixels


@given(st.integers(0, 255), st.tuples(*[st.integers(0, 255)] * 6))
def test_what_is_partly_seen_is_mixed(alpha: int, colours: tuple[int, ...]) -> None:
    pixel = np.array([[[*colours[:3], alpha]]], np.uint8)
    share = alpha / 255
    expected = share * np.array(colours[:3]) + (1 - share) * np.array(colours[3:])
    behind = colours[3], colours[4], colours[5]
    assert np.abs(on_colour(pixel, behind)[0, 0] - expected).max() <= 0.5


@pytest.mark.parametrize("text", ["", "whitish", "#12", "#11223344", "255,255,255", "transparent "])
def test_what_is_no_colour_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="transparent, a name such as white, or #rrggbb") as error:
        background_colour(text)
    assert error.value.field == "background"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"width": 0}, "canvas"),
        ({"margin_percent": 50}, "margin_percent"),
        ({"margin_percent": -1}, "margin_percent"),
    ],
)
def test_a_canvas_without_room_is_refused(change: dict[str, int], field: str) -> None:
    settings = {"width": 10, "height": 10, "margin_percent": 0, **change}
    with pytest.raises(ConfigError) as error:
        fit_to_canvas(
            item(5, 5),
            width=settings["width"],
            height=settings["height"],
            margin_percent=settings["margin_percent"],
        )
    assert error.value.field == field
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        limit_side(item(5, 5), 0)

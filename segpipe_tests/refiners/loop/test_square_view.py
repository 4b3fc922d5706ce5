"""Where things lie in the model's square."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.refiners.loop.mask_prompts import mask_prompts
from segpipe.refiners.loop.square_view import Fit, Site, Square, View, surroundings, whole
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.mask import Bitmap, Mask

SIDE = 256
PAD, STRETCH = (Square(SIDE, 64, fit) for fit in (Fit.PAD, Fit.STRETCH))
sides = st.integers(1, 500)


@given(sides, sides)
def test_a_padded_window_keeps_its_shape_and_fills_the_longer_side(width: int, height: int) -> None:
    columns, rows = PAD.size_of(width, height)
    assert max(columns, rows) == SIDE
    assert min(columns, rows) >= 1
    assert columns * height == pytest.approx(rows * width, abs=max(width, height))


@given(sides, sides)
def test_a_stretched_window_fills_the_square(width: int, height: int) -> None:
    assert STRETCH.size_of(width, height) == (SIDE, SIDE)


@given(sides, sides, sides, sides, st.data())
def test_what_is_shown_holds_the_window_and_lies_in_the_image(
    width: int, height: int, right: int, below: int, data: st.DataObject
) -> None:
    image = PixelWindow(0, 0, width + right, height + below)
    x, y = data.draw(st.integers(0, right)), data.draw(st.integers(0, below))
    window = PixelWindow(x, y, x + width, y + height)
    assert PAD.window_for(window, image) == window
    shown = STRETCH.window_for(window, image)
    assert shown.intersect(window) == window
    assert shown.intersect(image) == shown
    longer = max(width, height)
    for length, limit in ((shown.width, image.width), (shown.height, image.height)):
        assert length >= min(longer / 2, limit)


def test_a_window_of_a_camera_s_shape_is_shown_as_it_is() -> None:
    window = PixelWindow(10, 10, 170, 100)
    assert STRETCH.window_for(window, PixelWindow(0, 0, 4000, 3000)) == window


def test_what_is_added_lies_on_both_sides_where_there_is_room() -> None:
    line = PixelWindow(100, 50, 300, 60)
    assert STRETCH.window_for(line, PixelWindow(0, 0, 400, 400)) == (100, 5, 300, 105)
    assert STRETCH.window_for(line, PixelWindow(0, 0, 400, 80)) == (100, 0, 300, 80)
    top = PixelWindow(100, 0, 300, 10)
    assert STRETCH.window_for(top, PixelWindow(0, 0, 400, 400)) == (100, 0, 300, 100)


SIDE, LOW = 256, 64
WIDTH, HEIGHT = 400, 300


def blob(x: int, y: int, radius_x: int, radius_y: int) -> Mask:
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(full, (x, y), (radius_x, radius_y), 20, 0, 360, (1,), cv2.FILLED)
    return Mask.from_full(full)


def site_of(mask: Mask, *, cropped: bool, fit: Fit = Fit.PAD) -> Site:
    window = surroundings(mask, 0.25)
    square = Square(SIDE, LOW, fit)
    seen = square.window_for(window, whole(mask)) if cropped else whole(mask)
    return Site.around(window, View(seen, square))


def as_model_sees(mask: Mask, view: View) -> Bitmap:
    """The mask in the model's square, by a way of its own."""
    x1, y1, x2, y2 = view.window
    seen = mask.to_full()[y1:y2, x1:x2].astype(np.float32)
    columns, rows = size_of(view)
    square = np.zeros((SIDE, SIDE), np.float32)
    square[:rows, :columns] = cv2.resize(seen, (columns, rows), interpolation=cv2.INTER_AREA)
    return (square > 0.5).astype(np.uint8)


def size_of(view: View) -> tuple[int, int]:
    return view.square.size_of(view.window.width, view.window.height)


masks = st.builds(
    blob, st.integers(60, 340), st.integers(60, 240), st.integers(20, 55), st.integers(20, 55)
)

fits = st.sampled_from(Fit)


@settings(deadline=None)
@given(masks, st.booleans(), fits)
def test_prompts_point_at_the_object_as_the_model_sees_it(
    mask: Mask, cropped: bool, fit: Fit
) -> None:
    site = site_of(mask, cropped=cropped, fit=fit)
    seen = as_model_sees(mask, site.view)
    cells = site.to_grid(mask.crop_to(*site.window))
    prompt = site.to_square(mask_prompts(cells, gamma=4.0, strength=30.0))

    x, y = prompt.inside
    assert seen[int(y), int(x)] == 1
    assert prompt.outside is not None
    x, y = prompt.outside
    assert seen[int(y), int(x)] == 0
    left, top, width, height = cv2.boundingRect(seen)
    expected = (left, top, left + width, top + height)
    columns, rows = size_of(site.view)
    wide = site.window.width / site.grid_width * columns / site.view.window.width
    high = site.window.height / site.grid_height * rows / site.view.window.height
    assert prompt.box[::2] == pytest.approx(expected[::2], abs=1.5 + wide)
    assert prompt.box[1::2] == pytest.approx(expected[1::2], abs=1.5 + high)


@settings(deadline=None)
@given(masks, st.booleans(), fits)
def test_the_soft_mask_lies_on_the_object_as_the_model_sees_it(
    mask: Mask, cropped: bool, fit: Fit
) -> None:
    site = site_of(mask, cropped=cropped, fit=fit)
    seen = as_model_sees(mask, site.view)
    low = cv2.resize(seen.astype(np.float32), (LOW, LOW), interpolation=cv2.INTER_AREA)
    cells = site.to_grid(mask.crop_to(*site.window))
    # So small a gamma makes the soft mask as sure at the edge as in the middle.
    logits = site.to_square(mask_prompts(cells, gamma=1e-3, strength=1.0)).logits
    assert logits.shape == (LOW, LOW)
    sure = cv2.erode((low > 0.99).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert (logits[sure] > 0.9).all()
    far = cv2.dilate((low > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    assert (logits[far] < -0.9).all()


@settings(deadline=None)
@given(masks, st.booleans(), fits)
def test_the_model_s_mask_comes_back_to_where_it_was(mask: Mask, cropped: bool, fit: Fit) -> None:
    site = site_of(mask, cropped=cropped, fit=fit)
    seen = as_model_sees(mask, site.view)
    inside, outside = (
        cv2.distanceTransform(plane, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for plane in (seen, 1 - seen)
    )
    low = np.asarray(
        cv2.resize(inside - outside, (LOW, LOW), interpolation=cv2.INTER_AREA), np.float32
    )
    found = site.window_logits(low) > 0
    truth = mask.crop_to(*site.window) > 0
    # Off by less than a third of a pixel of the model's mask, all round.
    columns, rows = size_of(site.view)
    shown = site.view.window
    pixel = max(shown.width / columns, shown.height / rows) * SIDE / LOW
    depth = cv2.distanceTransform(truth.astype(np.uint8), cv2.DIST_L2, 5) + cv2.distanceTransform(
        1 - truth.astype(np.uint8), cv2.DIST_L2, 5
    )
    wrong = depth[found != truth]
    assert wrong.max(initial=0.0) <= 1.0 + pixel / 3
    on_grid = site.grid_logits(low) > 0
    assert on_grid.shape == (site.grid_height, site.grid_width)


def test_a_view_shows_its_window_only() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 20:40] = 200
    pixels = View(PixelWindow(20, 10, 40, 20), Square(SIDE, LOW, Fit.PAD)).pixels(image)
    assert pixels.shape == (10, 20, 3)
    assert (pixels == 200).all()


def test_surroundings_reach_a_part_of_the_box_and_end_with_the_image() -> None:
    mask = Mask(100, 10, np.ones((40, 80), np.uint8), WIDTH, HEIGHT)
    assert surroundings(mask, 0.25) == PixelWindow(80, 0, 200, 60)


def test_a_grid_is_never_finer_than_the_image() -> None:
    mask = Mask(100, 100, np.ones((10, 20), np.uint8), WIDTH, HEIGHT)
    site = site_of(mask, cropped=True)
    assert (site.grid_width, site.grid_height) == (site.window.width, site.window.height)
    assert np.array_equal(site.to_grid(mask.crop_to(*site.window)), mask.crop_to(*site.window))


def test_a_soft_mask_without_any_background_still_says_outside_elsewhere() -> None:
    mask = Mask(0, 0, np.ones((HEIGHT, WIDTH // 4), np.uint8), WIDTH, HEIGHT)
    window = PixelWindow(0, 0, WIDTH // 4, HEIGHT)
    site = Site.around(window, View(whole(mask), Square(SIDE, LOW, Fit.PAD)))
    cells = site.to_grid(mask.crop_to(*window))
    assert cells.all()
    logits = site.to_square(mask_prompts(cells, gamma=4.0, strength=30.0)).logits
    assert logits.max() > 0
    assert (logits[:, LOW // 2 :] == -30.0).all()

import io
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import ConfigError, InputError
from segpipe.vision.boxes import Box
from segpipe.vision.crop import CropEdge, CropFormat, crop_item, encode_crop
from segpipe.vision.crop_canvas import on_colour
from segpipe.vision.mask import Mask, dilate
from segpipe_tests.vision.composites import HAIRY, make_composite

WHITE = 255


def photo(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise without a black or white pixel, and read-only: writing into it is an error."""
    image = np.random.default_rng(seed).integers(1, WHITE, (height, width, 3), np.uint8)
    image.flags.writeable = False
    return image


def disc(height: int, width: int, *, x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[:height, :width]
    inside: NDArray[np.bool_] = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return inside


sides = st.integers(1, 24)
paddings = st.integers(0, 30)


@st.composite
def photos_with_a_mask(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    height, width = draw(sides), draw(sides)
    seed = draw(st.integers(0, 999))
    full = np.random.default_rng(seed).random((height, width)) < draw(st.floats(0, 1))
    full[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = True
    return photo(height, width, seed), full


@given(photos_with_a_mask(), paddings)
def test_mask_crop_laid_back_gives_exactly_the_items_pixels(
    photo_and_mask: tuple[NDArray[np.uint8], NDArray[np.bool_]], padding_px: int
) -> None:
    image, full = photo_and_mask
    box = Box(0, 0, image.shape[1], image.shape[0])
    crop = crop_item(image, box, Mask.from_full(full), padding_px=padding_px)

    assert crop.kind == "mask"
    height, width, channels = crop.pixels.shape
    assert channels == 4
    laid_back = np.zeros((*full.shape, 4), np.uint8)
    laid_back[crop.y : crop.y + height, crop.x : crop.x + width] = crop.pixels
    assert np.array_equal(laid_back[..., 3], full * np.uint8(255))
    assert np.array_equal(laid_back[..., :3], image * full[..., None])


@given(photos_with_a_mask(), paddings)
def test_mask_crop_is_the_tight_box_and_its_padding_inside_the_image(
    photo_and_mask: tuple[NDArray[np.uint8], NDArray[np.bool_]], padding_px: int
) -> None:
    image, full = photo_and_mask
    rows, columns = np.nonzero(full)
    crop = crop_item(image, Box(0, 0, 1, 1), Mask.from_full(full), padding_px=padding_px)

    x1, y1 = max(0, columns.min() - padding_px), max(0, rows.min() - padding_px)
    x2 = min(image.shape[1], columns.max() + 1 + padding_px)
    y2 = min(image.shape[0], rows.max() + 1 + padding_px)
    assert (crop.x, crop.y) == (x1, y1)
    assert crop.pixels.shape[:2] == (y2 - y1, x2 - x1)


def test_bitmap_with_empty_rows_is_cut_at_its_pixels() -> None:
    bits = np.zeros((20, 20), np.uint8)
    bits[5:9, 6:16] = 1
    crop = crop_item(photo(40, 40), Box(0, 0, 40, 40), Mask(10, 12, bits, 40, 40))
    assert (crop.x, crop.y, crop.pixels.shape) == (16, 17, (4, 10, 4))


@given(photos_with_a_mask())
def test_jpg_mask_crop_is_white_around_the_item(
    photo_and_mask: tuple[NDArray[np.uint8], NDArray[np.bool_]],
) -> None:
    image, full = photo_and_mask
    box, mask = Box(0, 0, 1, 1), Mask.from_full(full)
    png = crop_item(image, box, mask, padding_px=3).pixels
    jpg = on_colour(png, (WHITE, WHITE, WHITE))
    inside = png[..., 3] > 0
    assert jpg.shape[2] == 3
    assert (jpg[~inside] == WHITE).all()
    assert np.array_equal(jpg[inside], png[inside][:, :3])


@pytest.mark.parametrize(
    ("box", "padding_px", "window"),
    [
        (Box(2, 3, 5, 7), 0, (2, 3, 5, 7)),
        (Box(2.1, 3.9, 5.1, 7.9), 0, (2, 3, 6, 8)),
        (Box(2, 3, 5, 7), 2, (0, 1, 7, 9)),
        (Box(-4.5, -1, 3, 2), 0, (0, 0, 3, 2)),
        (Box(18, 9, 99, 99), 5, (13, 4, 20, 10)),
        (Box(4.2, 4.2, 4.4, 4.4), 0, (4, 4, 5, 5)),
        (Box(-1e30, -1e30, 1e30, 1e30), 0, (0, 0, 20, 10)),
    ],
    ids=["whole", "outward", "padded", "over the corner", "clipped padding", "in a pixel", "huge"],
)
def test_box_crop_shows_every_pixel_the_box_touches(
    box: Box, padding_px: int, window: tuple[int, int, int, int]
) -> None:
    image = photo(10, 20)
    crop = crop_item(image, box, None, padding_px=padding_px)
    x1, y1, x2, y2 = window
    assert (crop.kind, crop.x, crop.y) == ("box", x1, y1)
    assert np.array_equal(crop.pixels, image[y1:y2, x1:x2])


@pytest.mark.parametrize(
    ("mask", "use_mask"),
    [
        (Mask.empty(image_width=20, image_height=10), True),
        (Mask(3, 3, np.zeros((4, 4), np.uint8), 20, 10), True),
        (Mask(3, 3, np.ones((4, 4), np.uint8), 20, 10), False),
    ],
    ids=["no bitmap", "bitmap of zeros", "masks not wanted"],
)
def test_without_a_mask_to_use_the_box_is_cut(mask: Mask, use_mask: bool) -> None:
    crop = crop_item(photo(10, 20), Box(1, 2, 7, 9), mask, use_mask=use_mask)
    assert (crop.kind, crop.x, crop.y, crop.pixels.shape) == ("box", 1, 2, (7, 6, 3))


@pytest.mark.parametrize(
    "box",
    [
        Box(5, 2, 5, 8),
        Box(5.5, 2, 5.5, 8),
        Box(7, 2, 5, 8),
        Box(20, 0, 30, 5),
        Box(-9, -9, 0, 0),
        Box(math.nan, 0, 5, 5),
        Box(0, 0, math.inf, 5),
    ],
    ids=["no width", "no width in a pixel", "reversed", "right of", "above", "nan", "inf"],
)
def test_box_that_shows_nothing_is_an_error_that_names_it(box: Box) -> None:
    with pytest.raises(InputError) as caught:
        crop_item(photo(10, 20), box, None, padding_px=50)
    assert caught.value.field == "box"
    assert str(tuple(box)) in str(caught.value)


def test_mask_of_another_image_is_an_error() -> None:
    mask = Mask(0, 0, np.ones((2, 2), np.uint8), 99, 99)
    with pytest.raises(InputError, match=r"99 x 99.*20 x 10") as caught:
        crop_item(photo(10, 20), Box(0, 0, 5, 5), mask)
    assert caught.value.field == "mask"


def test_negative_padding_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least 0, got -1"):
        crop_item(photo(10, 20), Box(0, 0, 5, 5), None, padding_px=-1)


def test_an_edge_without_width_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        crop_item(photo(10, 20), Box(0, 0, 5, 5), None, edge_px=0)


@pytest.mark.parametrize("use_mask", [True, False], ids=["mask", "box"])
def test_crop_has_pixels_of_its_own(use_mask: bool) -> None:
    image = photo(30, 30).copy()
    before = image.copy()
    mask = Mask.from_full(disc(30, 30, x=15, y=15, radius=9))
    crop = crop_item(image, Box(5, 5, 25, 25), mask, use_mask=use_mask)
    assert not np.shares_memory(crop.pixels, image)
    crop.pixels[:] = 0
    assert np.array_equal(image, before)


@pytest.mark.parametrize("use_mask", [True, False], ids=["mask", "box"])
@pytest.mark.parametrize("wanted", list(CropFormat))
def test_encoded_crop_is_a_file_of_its_format(wanted: CropFormat, use_mask: bool) -> None:
    image = np.full((40, 40, 3), 128, np.uint8)
    mask = Mask.from_full(disc(40, 40, x=20, y=20, radius=15))
    crop = crop_item(image, Box(5, 5, 35, 35), mask, use_mask=use_mask)
    with Image.open(io.BytesIO(encode_crop(crop, wanted))) as picture:
        assert picture.format == ("JPEG" if wanted is CropFormat.JPG else wanted.name)
        is_on_white = wanted is CropFormat.JPG
        shown = on_colour(crop.pixels, (WHITE,) * 3) if is_on_white else crop.pixels
        assert picture.mode == ("RGBA" if shown.shape[2] == 4 else "RGB")
        # Lossy formats put what they like where nothing can be seen.
        seen = shown[..., -1] > 0
        assert np.abs(np.asarray(picture).astype(int) - shown)[seen].mean() < 3


@pytest.mark.parametrize("wanted", [CropFormat.PNG, CropFormat.WEBP, CropFormat.AVIF])
def test_alpha_is_lossless_and_holes_stay_holes_in_every_format(wanted: CropFormat) -> None:
    made = make_composite(0, strands=HAIRY, blur_px=1.2)
    pierced = made.mask.copy()
    pierced[100:112, 100:115] = 0
    crop = crop_item(made.photo, BOX, Mask.from_full(pierced), edge=CropEdge.SOFT)
    assert crop.pixels[106 - crop.y, 107 - crop.x].tolist() == [0, 0, 0, 0]
    with Image.open(io.BytesIO(encode_crop(crop, wanted))) as picture:
        assert np.array_equal(np.asarray(picture)[..., 3], crop.pixels[..., 3])


BOX = Box(0, 0, 1, 1)


@settings(deadline=None)
@given(photos_with_a_mask(), paddings, st.integers(1, 4), st.sampled_from(CropEdge), st.booleans())
def test_an_edge_changes_pixels_near_the_edge_alone(
    photo_and_mask: tuple[NDArray[np.uint8], NDArray[np.bool_]],
    padding_px: int,
    edge_px: int,
    edge: CropEdge,
    decontaminate: bool,
) -> None:
    image, full = photo_and_mask
    mask = Mask.from_full(full)
    crop = crop_item(
        image,
        BOX,
        mask,
        padding_px=padding_px,
        edge=edge,
        edge_px=edge_px,
        decontaminate=decontaminate,
    )
    alpha = crop.pixels[..., 3]
    assert not crop.pixels[alpha == 0].any()
    shown = np.s_[crop.y : crop.y + alpha.shape[0], crop.x : crop.x + alpha.shape[1]]
    reach = dilate(mask, edge_px).to_full() > 0
    core = full if full.all() else dilate(Mask.from_full(~full), edge_px).to_full() == 0
    assert (alpha[core[shown]] == WHITE).all()
    assert np.array_equal(crop.pixels[core[shown]][:, :3], image[core])
    if edge is CropEdge.HARD:
        assert np.array_equal(alpha, full[shown] * np.uint8(WHITE))
    else:
        assert not alpha[~reach[shown]].any()
        # Nothing of the band is cut off.
        assert reach[shown].sum() == reach.sum()


def test_no_colour_of_the_old_background_is_left_on_the_rim() -> None:
    image = np.full((80, 80, 3), (0, 200, 0), np.uint8)
    cv2.circle(image, (40, 40), 25, (200, 30, 60), cv2.FILLED, cv2.LINE_AA)
    mask = Mask.from_full(image[..., 0] > 60)
    for edge in CropEdge:
        left, clean = (
            crop_item(image, BOX, mask, edge=edge, decontaminate=is_clean).pixels
            for is_clean in (False, True)
        )
        seen = left[..., 3] > 8
        assert left[seen][:, 1].max() > 100
        assert clean[seen][:, 1].max() < 50
        assert np.array_equal(left[..., 3], clean[..., 3])


def test_a_soft_jpeg_is_laid_on_white_by_its_alpha() -> None:
    made = make_composite(4, strands=0, blur_px=1.2)
    crop = crop_item(made.photo, BOX, Mask.from_full(made.mask), edge=CropEdge.SOFT)
    alpha = crop.pixels[..., 3:] / WHITE
    expected = alpha * crop.pixels[..., :3] + (1 - alpha) * WHITE
    assert np.abs(on_colour(crop.pixels, (WHITE,) * 3) - expected).max() <= 0.5


def test_transparent_crop_becomes_a_jpeg_on_white() -> None:
    image = np.full((40, 40, 3), 128, np.uint8)
    mask = Mask.from_full(disc(40, 40, x=20, y=20, radius=10))
    crop = crop_item(image, Box(0, 0, 40, 40), mask, padding_px=10)
    with Image.open(io.BytesIO(encode_crop(crop, CropFormat.JPG))) as picture:
        pixels = np.asarray(picture)
    assert pixels[2, 2].min() > 250
    assert np.abs(pixels[20, 20].astype(int) - 128).max() < 5


def test_jpeg_quality_reaches_the_encoder() -> None:
    crop = crop_item(photo(40, 40), Box(0, 0, 40, 40), None)
    small = encode_crop(crop, CropFormat.JPG, jpeg_quality=20)
    assert len(small) < len(encode_crop(crop, CropFormat.JPG, jpeg_quality=95))

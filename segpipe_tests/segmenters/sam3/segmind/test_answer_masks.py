"""Masks as Segmind may send them."""

import base64
import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco

from segpipe.segmenters.sam3.segmind.answer_masks import (
    NotUnderstoodError,
    SentPhoto,
    read_mask,
    read_parts,
)
from segpipe.vision.mask import Mask, iou
from segpipe.vision.mask_codecs import to_base64, to_coco_rle, to_png

planes = st.integers(1, 24).flatmap(
    lambda height: st.integers(1, 24).flatmap(
        lambda width: arrays(np.uint8, (height, width), elements=st.integers(0, 1))
    )
)


def photo_of(plane: np.ndarray) -> SentPhoto:
    height, width = plane.shape
    return SentPhoto(width, height, width, height)


def uncompressed(plane: np.ndarray) -> dict[str, Any]:
    counts, last = [0], 0
    for pixel in plane.T.ravel().tolist():
        if pixel != last:
            counts.append(0)
            last = pixel
        counts[-1] += 1
    return {"size": list(plane.shape), "counts": counts}


def picture(mode: str, pixels: np.ndarray, form: str = "PNG") -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form)
    return base64.b64encode(file.getvalue()).decode()


class TestEveryEncodingGivesTheSameMask:
    @given(planes)
    def test_png(self, plane: np.ndarray) -> None:
        text = to_base64(Mask.from_full(plane))
        for value in (text, f"data:image/png;base64,{text}", {"mask": text}):
            assert np.array_equal(read_mask(value, photo_of(plane)).to_full(), plane)

    @given(planes)
    def test_rle(self, plane: np.ndarray) -> None:
        theirs = coco.encode(np.asfortranarray(plane))
        compressed = {"size": theirs["size"], "counts": theirs["counts"].decode()}
        for value in (compressed, uncompressed(plane), {"rle": compressed}):
            assert np.array_equal(read_mask(value, photo_of(plane)).to_full(), plane)

    @given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 12), st.integers(1, 12))
    def test_polygons_of_a_rectangle(self, x: int, y: int, width: int, height: int) -> None:
        plane = np.zeros((32, 32), np.uint8)
        plane[y : y + height, x : x + width] = 1
        # OpenCV draws the outline, too: corners in the middle of the outermost pixels.
        x1, y1, x2, y2 = x + 0.5, y + 0.5, x + width - 0.5, y + height - 0.5
        corners = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
        flat = [x1, y1, x2, y1, x2, y2, x1, y2]
        for value in (
            corners,
            [corners],
            [flat],
            flat,
            {"polygon": corners},
        ):
            assert np.array_equal(read_mask(value, photo_of(plane)).to_full(), plane)

    @pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "LA", "I;16"])
    def test_pictures_of_any_mode(self, mode: str) -> None:
        plane = np.zeros((20, 30), np.uint8)
        plane[4:11, 7:19] = 1
        pixels = plane * np.uint8(255)
        value = (
            picture(mode, pixels)
            if mode != "I;16"
            else picture("I;16", pixels.astype(np.uint16) * 257)
        )
        assert np.array_equal(read_mask(value, photo_of(plane)).to_full(), plane)

    def test_a_picture_of_zeros_and_ones(self) -> None:
        plane = np.eye(9, dtype=np.uint8)
        assert np.array_equal(read_mask(picture("L", plane), photo_of(plane)).to_full(), plane)

    @pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (40, 200, 90)])
    def test_a_coloured_picture(self, colour: tuple[int, int, int]) -> None:
        plane = np.zeros((20, 30), np.uint8)
        plane[4:11, 7:19] = 1
        value = picture("RGB", plane[:, :, None] * np.array(colour, np.uint8))
        assert np.array_equal(read_mask(value, photo_of(plane)).to_full(), plane)

    def test_what_is_opaque_in_a_transparent_picture(self) -> None:
        plane = np.zeros((20, 30), np.uint8)
        plane[4:11, 7:19] = 1
        rgba = np.dstack([np.zeros_like(plane)] * 3 + [plane * np.uint8(255)])
        assert np.array_equal(read_mask(picture("RGBA", rgba), photo_of(plane)).to_full(), plane)

    def test_a_lossy_jpeg_nearly(self) -> None:
        plane = np.zeros((64, 64), np.uint8)
        plane[16:40, 24:48] = 1
        mask = read_mask(picture("L", plane * np.uint8(255), "JPEG"), photo_of(plane))
        assert iou(mask, Mask.from_full(plane)) > 0.98


class TestFullSize:
    @given(planes, st.floats(1, 9))
    @settings(deadline=None)
    def test_is_that_of_the_whole_plane_interpolated(self, plane: np.ndarray, scale: float) -> None:
        height, width = plane.shape
        full_width, full_height = round(width * scale), round(height * scale)
        photo = SentPhoto(full_width, full_height, width, height)
        whole = cv2.resize(plane.astype(np.float32), (full_width, full_height))
        ours = read_mask(to_base64(Mask.from_full(plane)), photo).to_full()
        assert ours.shape == whole.shape
        # OpenCV rounds positions to 1/32 pixel here: pixels on the very edge may fall either way.
        is_clear = np.abs(whole - 0.5) > 2 / 32
        assert np.array_equal(ours[is_clear], whole[is_clear] > 0.5)

    def test_makes_no_plane_of_the_photo(self) -> None:
        photo = SentPhoto(60_000, 40_000, 600, 400)
        mask = Mask(300, 200, np.ones((5, 7), np.uint8), 600, 400)
        full = read_mask(to_base64(mask), photo)
        assert full.bits.size <= 800 * 600
        assert full.box == (30_000, 20_000, 30_700, 20_500)

    def test_touches_the_photo_s_edge_where_the_mask_does(self) -> None:
        mask = Mask.from_full(np.ones((50, 40), np.uint8))
        assert read_mask(to_base64(mask), SentPhoto(401, 499, 40, 50)).area == 401 * 499

    def test_polygons_are_drawn_at_full_size(self) -> None:
        mask = read_mask([[10, 10], [30, 10], [10, 30]], SentPhoto(4000, 4000, 40, 40))
        assert mask.area == pytest.approx(2000 * 2000 / 2, rel=0.01)

    def test_a_mask_of_another_scale_of_the_same_shape_fits(self) -> None:
        mask = Mask(64, 48, np.ones((48, 64), np.uint8), 256, 192)
        assert read_mask(to_base64(mask), SentPhoto(4000, 3000, 2048, 1536)).box == (
            1000,
            750,
            2000,
            1500,
        )


def png_bomb() -> str:
    """A PNG of 30,000 x 30,000 pixels in some hundred kilobytes."""
    file = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


PHOTO = SentPhoto(160, 120, 80, 60)
FITTING = to_base64(Mask.empty(image_width=80, image_height=60))


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        True,
        {},
        "",
        "***",
        "data:image/png;base64,",
        base64.b64encode(b"GIF89a").decode(),
        FITTING[:80],
        "https://example.org/mask.png",
        png_bomb(),
        to_base64(Mask.empty(image_width=60, image_height=60)),
        to_base64(Mask.empty(image_width=320, image_height=240)),
        {"size": [60, 80], "counts": "???"},
        {"size": [60, 80], "counts": "\u00e9"},
        {"size": [60, 80], "counts": [1, 2]},
        {"size": [60, 80], "counts": [-1, 4801]},
        {"size": [60, 80], "counts": [4800.0]},
        {"size": [60, 80], "counts": [10**30, 0]},
        {"size": [0, 0], "counts": []},
        {"size": [-60, -80], "counts": [4800]},
        {"size": [10**9, 10**9], "counts": [10**18]},
        {"size": "60x80", "counts": [4800]},
        [1, 2, 3],
        [[1, 2], [3, 4]],
        [[1, 2], [3, 4], [5]],
        [[1, 2], [3, 4], ["a", "b"]],
        [[1, 2], [float("nan"), 4], [5, 6]],
        [[1, 2], [float("inf"), 4], [5, 6]],
        [[1, 2], [1e300, 4], [5, 6]],
        [{"x": 1}],
        [[[1, 1], [2, 1], [1, 2]]] * 1001,
        {"mask": {"mask": {}}},
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_mask_is_refused(value: object) -> None:
    with pytest.raises(NotUnderstoodError):
        read_mask(value, PHOTO)


def test_polygons_that_lie_outside_are_cut_at_the_edge() -> None:
    assert read_mask([[-40, -30], [40, -30], [40, 30], [-40, 30]], PHOTO).box == (0, 0, 80, 60)
    assert read_mask([[-40, -30], [-20, -30], [-20, -10]], PHOTO).is_empty


@pytest.mark.parametrize("value", [[], [[]], FITTING])
def test_nothing_inside_is_an_empty_mask_of_the_photo(value: object) -> None:
    mask = read_mask(value, PHOTO)
    assert mask.is_empty
    assert (mask.image_width, mask.image_height) == (160, 120)


class TestParts:
    @given(planes)
    def test_together_are_the_whole_and_touch_nowhere(self, plane: np.ndarray) -> None:
        masks, count = read_parts(to_png(Mask.from_full(plane)), photo_of(plane), 1000)
        fulls = [mask.to_full() for mask in masks]
        assert len(masks) == count
        assert np.array_equal(sum(fulls, np.zeros_like(plane)), plane)
        assert sorted((mask.area for mask in masks), reverse=True) == [m.area for m in masks]
        for full in fulls:
            assert cv2.connectedComponents(full)[0] == 2

    def test_are_bounded_to_the_largest(self) -> None:
        plane = np.zeros((64, 64), np.uint8)
        plane[::4, ::4] = 1
        plane[60:64, 60:64] = 1
        masks, count = read_parts(to_png(Mask.from_full(plane)), photo_of(plane), 5)
        assert (len(masks), count) == (5, 256)
        assert masks[0].box == (60, 60, 64, 64)

    @pytest.mark.parametrize(
        ("pixels", "reason"),
        [
            (np.tile(np.arange(0, 256, 2, dtype=np.uint8), (96, 1)), "greys"),
            (np.tile(np.arange(0, 7, dtype=np.uint8), (9, 1)), "dark"),
        ],
        ids=["a photo", "a map of numbers"],
    )
    def test_of_what_is_no_mask_are_refused(self, pixels: np.ndarray, reason: str) -> None:
        with pytest.raises(NotUnderstoodError, match=reason):
            read_parts(base64.b64decode(picture("L", pixels)), photo_of(pixels), 5)


def test_rle_of_ours_is_read_back() -> None:
    mask = Mask(3, 4, np.ones((5, 6), np.uint8), 80, 60)
    rle = to_coco_rle(mask)
    value = {"size": rle["size"], "counts": rle["counts"].decode()}
    assert read_mask(value, SentPhoto(80, 60, 80, 60)).box == mask.box

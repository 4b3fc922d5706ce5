"""The edge of an item: how much of each pixel is the item's, and in which colour.

A pixel at the edge shows item and background together: ``seen = alpha * item + (1 - alpha) *
background``. Away from the edge both colours can be seen. They are carried into the band along the
edge by pull-push, the image pyramid with weights of Gortler et al., "The Lumigraph" (1996), and
alpha is where the pixel lies on the line between the two. The colours of the item are then what is
left without the background, averaged over neighbours as in Forte, "Approximate Fast Foreground
Colour Estimation" (ICIP 2021).

PyMatting has better known ways, but needs numba, whose start takes longer than a deal.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.errors import InputError
from segpipe.vision.boxes import PixelWindow
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, disc

DEFAULT_EDGE_PX = 3
CONTEXT_PX = 32
"""How far around the band colours are looked at."""

_TILE_PX = 320  # of a large item, only the tiles that its edge runs through are worked on
_OPAQUE = 255
_TRUSTED_CONTRAST = 25.0
"""In levels: below this difference of the two colours the mask says more than the photo."""
_OTHER_COLOUR = 45.0
"""In levels: a thin part that is so far from both colours has a colour of its own."""
_COLOUR_RADIUS_PX = 2
_FAINT = 1e-5  # the weight of what is only used where nothing else is
_NEAR_WEIGHT = 0.02  # below this weight the coarser level of the pyramid counts for more
_MIN_SIDE_PX = 2
_LEVELS = 6

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Matte:
    """The edge of an item, estimated.

    Attributes:
        alpha: How much of each pixel is the item's, (h, w) uint8, 0 to 255. Outside the band it
            is 0 or 255, as the mask is.
        rgb: The colours of the item, (h, w, 3) uint8: those of the photo where alpha is 255, and
            in the band without the colour of the background.
    """

    alpha: NDArray[np.uint8]
    rgb: RgbImage


def estimate_matte(rgb: RgbImage, inside: Bitmap, *, edge_px: int = DEFAULT_EDGE_PX) -> Matte:
    """Estimate alpha and the item's own colours in a band along the edge of a mask.

    The band is everything at most ``edge_px`` away from the edge, on either side. Where item and
    background have the same colour, alpha is the mask's, a little smoothed.

    Args:
        rgb: The item and what is around it, (h, w, 3) uint8; the more is around it (up to
            :data:`CONTEXT_PX`), the better the background is known.
        inside: The item's mask, (h, w) uint8, 0 or 1.
        edge_px: Half the width of the band, 1 or more.

    Raises:
        InputError: Mask and photo differ in size, or the band has no width.

    Examples:
        >>> photo = np.full((40, 40, 3), 200, np.uint8)
        >>> photo[:, :20] = (40, 80, 120)
        >>> photo[:, 20] = 0.25 * photo[0, 0] + 0.75 * photo[0, 39]  # a quarter is the item's
        >>> inside = np.zeros((40, 40), np.uint8)
        >>> inside[:, :20] = 1
        >>> matte = estimate_matte(photo, inside)
        >>> matte.alpha[20, [5, 20, 35]].tolist()
        [255, 64, 0]
        >>> matte.rgb[20, 20].tolist()
        [40, 80, 120]
    """
    if rgb.shape[:2] != inside.shape:
        raise InputError(
            f"the mask has (h, w) {inside.shape} and the photo {rgb.shape[:2]}", field="inside"
        )
    if edge_px < 1:
        raise InputError(f"a band needs a width of 1 or more, got {edge_px}", field="edge_px")
    near = disc(edge_px)
    core = np.asarray(cv2.erode(inside, near), np.uint8)
    reach = np.asarray(cv2.dilate(inside, near), np.uint8)
    band = (reach > core).view(np.uint8)
    alpha, own = core * np.uint8(_OPAQUE), rgb.copy()
    for outer, inner in _tiles_of(band):
        tile = _Tile(*(_part(plane, outer) for plane in (rgb, inside, core, reach)))
        at = _part(band, inner).astype(np.bool_)
        within = inner.seen_from(outer)
        tile_alpha, tile_rgb = tile.solve()
        _part(alpha, inner)[at] = _part(tile_alpha, within)[at]
        _part(own, inner)[at] = _part(tile_rgb, within)[at]
    return Matte(alpha, own)


def _tiles_of(band: Bitmap) -> Iterator[tuple[PixelWindow, PixelWindow]]:
    """The tiles that the band runs through: with what is around them, and without."""
    height, width = band.shape
    whole = PixelWindow(0, 0, width, height)
    step = _TILE_PX if max(height, width) > 2 * _TILE_PX else max(height, width)
    for top in range(0, height, step):
        for left in range(0, width, step):
            inner = PixelWindow(left, top, left + step, top + step).intersect(whole)
            if _part(band, inner).any():
                yield inner.grown(CONTEXT_PX).intersect(whole), inner


def _part(plane: NDArray[np.uint8], window: PixelWindow) -> NDArray[np.uint8]:
    return plane[window.y1 : window.y2, window.x1 : window.x2]


class _Tile:
    """A piece of the photo with some of the edge.

    Colours have a fourth channel, their weight, so that OpenCV works on all of them at once.

    Args:
        rgb: The photo, (h, w, 3).
        inside: The mask, (h, w).
        core: What is surely the item.
        reach: All that may be the item.
    """

    def __init__(self, rgb: RgbImage, inside: Bitmap, core: Bitmap, reach: Bitmap) -> None:
        self._seen = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).astype(np.float32)
        self._seen[..., 3] = 1
        self._inside = inside
        self._core = core
        self._reach = reach
        self._band = np.nonzero(core != reach)
        self._seen_in_band = self._seen[self._band][:, :3]

    def solve(self) -> tuple[NDArray[np.uint8], RgbImage]:
        """Alpha and the colours of the item; the colours count in the band only."""
        item, background = self._models()
        share, contrast, apart = _on_the_line(self._seen_in_band, item, background)
        smooth = np.asarray(cv2.GaussianBlur(self._inside.astype(np.float32), (0, 0), 1.0))
        doubt = _TRUSTED_CONTRAST**2 + apart
        alpha = _floats((contrast * share + doubt * smooth[self._band]) / (contrast + doubt))
        colours = self._item_colours(alpha, item, background)
        plane, rgb = self._core * np.uint8(_OPAQUE), np.zeros((*self._core.shape, 3), np.uint8)
        plane[self._band] = np.rint(_OPAQUE * alpha)
        rgb[self._band] = np.rint(colours)
        return plane, rgb

    def _models(self) -> tuple[_Floats, _Floats]:
        """The colours of item and background in the band, each (n, 3)."""
        outside, around = 1 - self._inside, 1 - self._reach
        of_item = self._core + _FAINT * self._inside.astype(np.float32)
        of_background = around + _FAINT * outside.astype(np.float32)
        item, background = self._spread(of_item), self._spread(of_background)

        # Thin parts and gaps have no core. Where they have a colour of their own, that of their
        # middle, which is mixed least, is the best there is.
        of_thin_part = _middle_line(self._inside)[self._band]
        of_thin_gap = _middle_line(outside)[self._band]
        if of_thin_part.any() or of_thin_gap.any():
            _, _, apart = _on_the_line(self._seen_in_band, item, background)
            strangeness = (apart / _OTHER_COLOUR**2) ** 2
            own_colour = strangeness / (1 + strangeness)
            of_item[self._band] += own_colour * of_thin_part
            of_background[self._band] += own_colour * of_thin_gap
            item, background = self._spread(of_item), self._spread(of_background)
        return item, background

    def _spread(self, weight: _Floats) -> _Floats:
        """Colours carried from where they have weight into the band, by pull-push: (n, 3)."""
        levels = [_floats(cv2.multiply(self._seen, _four(weight)))]
        while len(levels) < _LEVELS and min(levels[-1].shape[:2]) > _MIN_SIDE_PX:
            levels.append(_floats(cv2.pyrDown(levels[-1])))
        total = levels[-1].sum(axis=(0, 1))
        mean = total / max(float(total[3]), _FAINT**2)
        spread = np.broadcast_to(mean, levels[-1].shape).astype(np.float32)
        for level, below in zip(levels[:0:-1], levels[-2::-1], strict=True):
            summed = cv2.scaleAdd(spread, _NEAR_WEIGHT, level)
            means = cv2.divide(summed, _four(_floats(cv2.extractChannel(summed, 3))))
            spread = _floats(cv2.pyrUp(means, dstsize=below.shape[1::-1]))
        # The finest level is the largest by far, and only the band of it is needed.
        near = _NEAR_WEIGHT * spread[self._band] + levels[0][self._band]
        return _floats(near[:, :3] / near[:, 3:])

    def _item_colours(self, alpha: _Floats, item: _Floats, background: _Floats) -> _Floats:
        """What is left in the band without the background's share, (n, 3), 0 to 255."""
        share = alpha[:, None]
        wrong = self._seen_in_band - share * item - (1 - share) * background
        item = np.clip(item + share * wrong, 0, _OPAQUE)
        background = np.clip(background + (1 - share) * wrong, 0, _OPAQUE)
        item = self._mean_near(item, alpha, self._core)
        background = self._mean_near(background, 1 - alpha, 1 - self._reach)
        wrong = self._seen_in_band - share * item - (1 - share) * background
        return _floats(np.clip(item + share * wrong, 0, _OPAQUE))

    def _mean_near(self, colours: _Floats, weight: _Floats, known: Bitmap) -> _Floats:
        """Means over neighbours, by weight: of these in the band, and of what is seen elsewhere."""
        plane = cv2.multiply(self._seen, _four(known.astype(np.float32)))
        weight = weight[:, None] + np.float32(1e-3)
        plane[self._band] = np.hstack([colours * weight, weight])
        means = cv2.blur(plane, (2 * _COLOUR_RADIUS_PX + 1,) * 2)[self._band]
        return _floats(means[:, :3] / means[:, 3:])


def _four(plane: _Floats) -> _Floats:
    """A plane as four channels, each the same."""
    return _floats(cv2.merge([plane] * 4))


def _floats(array: NDArray[Any]) -> _Floats:
    return np.asarray(array, np.float32)


def _on_the_line(
    seen: _Floats, item: _Floats, background: _Floats
) -> tuple[_Floats, _Floats, _Floats]:
    """Where each colour lies between two others, 0 to 1; their distance and its, squared."""
    line, offset = item - background, seen - background
    length = np.square(line).sum(axis=1)
    share = np.clip((offset * line).sum(axis=1) / np.maximum(length, 1), 0, 1)
    return share, length, np.square(offset - share[:, None] * line).sum(axis=1)


def _middle_line(bits: Bitmap) -> NDArray[np.bool_]:
    """The pixels that are no nearer to the edge than any neighbour."""
    depth = cv2.distanceTransform(bits, cv2.DIST_L2, 3)
    around = cv2.dilate(depth, np.ones((3, 3), np.uint8))
    return np.asarray((depth > 0) & (depth >= around), np.bool_)

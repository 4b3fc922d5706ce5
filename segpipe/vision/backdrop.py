"""What lies behind a photo's transparent parts where somebody looks for goods in it."""

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.vision.image import DecodedImage, RgbImage

_WHITE = 255
_OPAQUE = 250
_MIN_TRANSPARENT_PART = 0.001  # of the picture; less are the soft outlines of something whole
_SAMPLES = 20_000
_BAND_ROWS = 256
_CLEAR = 20.0  # Delta E by which goods differ from a backdrop that shows them
_UNLIKE_QUANTILE = 0.05  # of the opaque pixels: a small part may be like the backdrop
_BACKDROPS = (
    (255, 255, 255),
    (128, 128, 128),
    (40, 40, 40),
    (60, 160, 90),
    (200, 60, 190),
)
"""In the order of preference: the first in which the goods stand out, or the one they do most."""


def with_backdrop(photo: DecodedImage) -> RgbImage:
    """The picture to look for goods in: transparent parts have a colour that the goods have not.

    A decoded photo stands on white. A white item that was cut out by somebody cannot be told from
    that, so it gets another colour behind it; every other photo stays as it is.

    >>> import numpy as np
    >>> from segpipe.vision.image import DecodedImage
    >>> alpha = np.zeros((40, 40), np.uint8)
    >>> alpha[10:30, 10:30] = 255
    >>> cut_out = DecodedImage(np.full((40, 40, 3), 255, np.uint8), "PNG", alpha=alpha)
    >>> with_backdrop(cut_out)[0, 0].tolist(), with_backdrop(cut_out)[20, 20].tolist()
    ([128, 128, 128], [255, 255, 255])

    Args:
        photo: A decoded photo.

    Returns:
        Shape (h, w, 3) uint8; the photo's own array where nothing changes.
    """
    if photo.alpha is None or np.mean(photo.alpha == 0) < _MIN_TRANSPARENT_PART:
        return photo.rgb
    colour = _backdrop(photo.rgb[photo.alpha >= _OPAQUE])
    if colour == _BACKDROPS[0]:
        return photo.rgb
    picture = photo.rgb.copy()
    less_than_white = _WHITE - np.array(colour, np.float32)
    for top in range(0, len(picture), _BAND_ROWS):  # the floats of a whole photo take much memory
        band = slice(top, top + _BAND_ROWS)
        # The white that shines through gives way to as much of the other colour.
        through = (_WHITE - photo.alpha[band].astype(np.float32))[..., None] / _WHITE
        picture[band] = np.clip(np.rint(picture[band] - through * less_than_white), 0, _WHITE)
    return picture


def _backdrop(goods: NDArray[np.uint8]) -> tuple[int, int, int]:
    if not len(goods):
        return _BACKDROPS[0]
    lab = _lab(goods[:: max(1, len(goods) // _SAMPLES)])
    clearest, best = _BACKDROPS[0], -1.0
    for colour in _BACKDROPS:
        apart = np.linalg.norm(lab - _lab(np.array([colour], np.uint8)), axis=1)
        clearness = float(np.quantile(apart, _UNLIKE_QUANTILE))
        if clearness >= _CLEAR:
            return colour
        if clearness > best:
            clearest, best = colour, clearness
    return clearest


def _lab(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    scaled = pixels[None].astype(np.float32) / _WHITE
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB)[0], np.float32)

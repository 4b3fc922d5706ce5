"""Every item that looks like the positive exemplars and not like the negative ones."""

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.detection import Detection
from segpipe.prompt import Exemplar
from segpipe.segmenters.classical.classical_settings import ClassicalConfig
from segpipe.segmenters.classical.exemplar_claims import Claims, claim_items
from segpipe.segmenters.classical.item_at_points import always
from segpipe.segmenters.classical.item_search import Item, look_at, to_detection
from segpipe.segmenters.classical.lab_planes import Flags, LabImage, Plane
from segpipe.segmenters.classical.table_colour import Background
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap

Appearance = NDArray[np.float64]
"""Shape (lights, n): a step of 1 is about what two items of one kind differ by."""

# Counted from black, less of the same light scales the whole Lab vector.
_BLACK = np.array([16, 0, 0], np.float32)
_MOST_GAIN = 2.0  # a table that seems darker than that is no shadow

# The skin of an item shows its outline, its shaded rim and what lies beside it.
_SKIN_PX = 5.0
_MOST_SKIN = 0.5  # of an item's half width
_BARE = 18.0  # Delta E to the table within which a pixel may be table seen through a hole
_BARE_PART = 0.5  # the same, as a part of the item's median distance to the table
_HOLE_PX = 5
_MIN_SURFACE = 0.3  # of an item; with less it is not a hole, but the item has the table's colour

_QUANTILES = (np.arange(8) + 0.5) / 8
_COLOUR_STEP = 6.0  # Delta E
_CHANNEL_WEIGHTS = np.array([0.8, 1.0, 1.0])  # light changes L* more than a* and b*
_TEXTURE_SCALES_PX = (0.7, 1.4, 2.8)
_TEXTURE_STEP = 0.35  # of the logarithm of its strength
_NOISE = 1.0  # Delta E: weaker texture is the sensor's
_SOBEL_SCALE = 1 / 8
_SHAPE_WEIGHT = 0.5  # of the logarithms of size and elongation: goods of one kind lie in any pose
_UNEVENNESS_PX = 1 / 12  # the variance of a pixel's own extent: a line of pixels has a width too

_HALF_LIKE = 2.5  # unlikeness at which the similarity is one half
_THE_SAME = 1.0
_DIGITS = 4  # of a score; more is rounding noise, and would order equal items by it


def find_like(
    image: RgbImage,
    exemplars: Sequence[Exemplar],
    config: ClassicalConfig,
    *,
    is_wanted: Callable[[], bool] = always,
) -> tuple[Detection, ...]:
    """Find the items that look like an exemplar in an upright RGB image, (h, w, 3) uint8.

    The candidates are those of ``find_all``. Several positive exemplars may show several kinds,
    and so may the negative ones: for each candidate the nearest of either sign counts. What a
    positive exemplar is drawn around is always among the results, with score 1, what a negative
    one is drawn around never. Where nothing sets itself off in an exemplar's box, the look of the
    box counts, and it is no item.

    Args:
        image: The picture.
        exemplars: At least one is positive; each has a part in the image.
        config: The settings.
        is_wanted: Whether somebody still waits for the answer; asked at every exemplar.

    Returns:
        The best score first. The score is the smaller of two numbers from 0 to 1: the likeness to
        the nearest positive exemplar, and how much nearer that is than the nearest negative one,
        0.5 when they are equally near.

    Raises:
        SegmenterError: Nobody waits any more.
        PromptError: A positive and a negative one are drawn around the same item.
    """
    look = look_at(image, config)
    if look is None:
        return ()
    claims = claim_items(look, image, exemplars, config, is_wanted=is_wanted)

    # Compare every item with the examples
    lights = in_both_lights(look.lab, look.background)
    looks = [describe(item, lights, look.distance) for item in claims.items]
    bare = [
        (describe(item, lights, look.distance), is_positive) for item, is_positive in claims.bare
    ]
    examples, counterexamples = (
        [looks[index] for index in sorted(shown)]
        + [appearance for appearance, is_positive in bare if is_positive is sign]
        for shown, sign in ((claims.wanted, True), (claims.unwanted, False))
    )
    scores = _scores(looks, examples, counterexamples)

    # Keep what is alike, the best first
    kept = [(score, claims.items[index]) for index, score in _chosen(claims, scores, config)]
    kept.sort(key=lambda pair: (-pair[0], pair[1].window.y1, pair[1].window.x1))
    return tuple(
        to_detection(item, score, work_shape=look.lab.shape, image=image)
        for score, item in kept[: config.max_detections]
    )


def _scores(
    looks: Sequence[Appearance],
    examples: Sequence[Appearance],
    counterexamples: Sequence[Appearance],
) -> NDArray[np.float64]:
    """How much each item is what is wanted, 0 to 1."""
    near = unlikeness(looks, examples) ** 2
    likeness = 2.0 ** (-near / _HALF_LIKE**2)
    if not counterexamples:
        return likeness
    far = unlikeness(looks, counterexamples) ** 2
    # Where both are 0 nothing speaks for either side.
    preference = np.divide(far, near + far, out=np.full(len(looks), 0.5), where=near + far > 0)
    scores: NDArray[np.float64] = np.minimum(likeness, preference)
    return scores


def _chosen(
    claims: Claims, scores: NDArray[np.float64], config: ClassicalConfig
) -> Iterator[tuple[int, float]]:
    """Index and score of the items that are wanted."""
    for index, score in enumerate(scores):
        if index in claims.wanted:
            yield index, _THE_SAME
        elif index not in claims.unwanted and score >= config.min_similarity:
            yield index, round(float(score), _DIGITS)


def in_both_lights(lab: LabImage, background: Background) -> tuple[LabImage, LabImage]:
    """The picture as it is, and as if its table were lit everywhere as in its middle.

    Nobody knows which is right: where the table is darker there may be less light on the items
    too, or just less glare on the table.

    Args:
        lab: Shape (h, w, 3) float32, CIE Lab.
        background: The table of that picture, whose colour shows the light at every pixel.
    """
    light = np.linalg.norm(background.surface + _BLACK, axis=2)
    # No light at all would divide by zero: it is more than the most gain anyhow.
    gain = np.median(light) / np.maximum(light, 1)
    gain = np.clip(gain, 1 / _MOST_GAIN, _MOST_GAIN).astype(np.float32)[..., None]
    even: LabImage = (lab + _BLACK) * gain - _BLACK
    return lab, even


def describe(item: Item, lights: Sequence[LabImage], distance: Plane) -> Appearance:
    """Describe the colours, the texture and, with little weight, the shape of an item.

    Turning or mirroring the item changes nothing but rounding.

    - Colour: quantiles of each Lab channel. The Euclidean distance of two such lists is the
      Wasserstein distance of the two distributions, channel by channel (one dimension: S. T.
      Rachev, L. Rüschendorf, "Mass Transportation Problems", 1998), in Delta E.
    - Texture: at each of a few scales, how strongly the colour changes along and across the main
      direction of the texture, which are the roots of the eigenvalues of the structure tensor
      (S. Di Zenzo: "A note on the gradient of a multi-image", 1986,
      https://doi.org/10.1016/0734-189X(86)90223-9), as logarithms.
    - Shape: logarithms of size and elongation.

    Args:
        item: Where it lies, at least one pixel.
        lights: The picture in one light or several, each (h, w, 3), CIE Lab.
        distance: Distance of each pixel to the table's colour, (h, w), Delta E.
    """
    surface = _surface(np.pad(item.bits, 1), np.pad(distance[item.view], 1))
    shape = _SHAPE_WEIGHT * _shape(item.bits)
    seen = [np.pad(lab[item.view], ((1, 1), (1, 1), (0, 0)), mode="edge") for lab in lights]
    return np.stack(
        [np.concatenate([_colour(lab[surface]), _texture(lab, surface), shape]) for lab in seen]
    )


def unlikeness(items: Sequence[Appearance], examples: Sequence[Appearance]) -> NDArray[np.float64]:
    """Distance of each item to the example that is most like it, (n,); inf without examples.

    Two items are as like as they are in the light that makes them most alike.
    """
    nearest = np.full(len(items), np.inf)
    for example in examples:
        for index, item in enumerate(items):
            in_each_light = np.linalg.norm(item - example, axis=1)
            nearest[index] = min(nearest[index], float(in_each_light.min()))
    return nearest


def _surface(bits: Bitmap, distance: Plane) -> Flags:
    """The pixels that show the item and nothing else: no holes, no skin."""
    inside = bits > 0
    bare = distance <= min(_BARE, _BARE_PART * float(np.median(distance[inside])))
    hole = np.ones((_HOLE_PX, _HOLE_PX), np.uint8)
    holes = cv2.morphologyEx((bare & inside).astype(np.uint8), cv2.MORPH_OPEN, hole)
    solid = bits & (1 - np.asarray(holes, np.uint8))
    if np.count_nonzero(solid) < _MIN_SURFACE * np.count_nonzero(inside):
        solid = bits
    depth = cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_5)
    surface: Flags = depth > min(_SKIN_PX, _MOST_SKIN * float(depth.max()))
    return surface


def _colour(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    quantiles = np.quantile(pixels * _CHANNEL_WEIGHTS, _QUANTILES, axis=0)
    colour: NDArray[np.float64] = quantiles.ravel() / (_COLOUR_STEP * len(_QUANTILES) ** 0.5)
    return colour


def _texture(lab: LabImage, surface: Flags) -> NDArray[np.float64]:
    weight = surface.astype(np.float32)
    strengths = []
    for scale in _TEXTURE_SCALES_PX:
        smooth = _smoothed_within(lab, weight, scale)
        across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=_SOBEL_SCALE)[surface]
        down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=_SOBEL_SCALE)[surface]
        xx, yy, xy = (
            float(np.mean(np.sum(a * b, axis=1)))
            for a, b in ((across, across), (down, down), (across, down))
        )
        tensor = np.linalg.eigvalsh(np.array([[xx, xy], [xy, yy]]))
        # A change over one pixel counts by how far it goes on.
        strengths.append(scale * np.sqrt(np.maximum(tensor, 0)))
    texture = np.log(np.concatenate(strengths) + _NOISE)
    return np.asarray(texture / (_TEXTURE_STEP * len(_TEXTURE_SCALES_PX) ** 0.5), np.float64)


def _smoothed_within(lab: LabImage, weight: Plane, scale: float) -> LabImage:
    """The picture smoothed over the surface alone: what lies beside it does not run in.

    H. Knutsson, C.-F. Westin: "Normalized and differential convolution", 1993,
    https://doi.org/10.1109/CVPR.1993.341081
    """
    share = cv2.GaussianBlur(weight, (0, 0), scale)[..., None]
    smooth = cv2.GaussianBlur(lab * weight[..., None], (0, 0), scale)
    # Beyond the reach of the surface there is nothing to tell.
    return np.where(share > 0, smooth / np.where(share > 0, share, 1), lab)


def _shape(bits: Bitmap) -> NDArray[np.float64]:
    rows, columns = np.nonzero(bits)
    spread = np.cov(np.stack([rows, columns]), bias=True) + _UNEVENNESS_PX * np.eye(2)
    narrow, wide = np.linalg.eigvalsh(spread)
    return np.array([np.log(len(rows)) / 2, np.log(wide / narrow) / 2])

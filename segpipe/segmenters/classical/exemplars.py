"""Every item that looks like the positive exemplars and not like the negative ones."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from segpipe.detection import Detection
from segpipe.prompt import Exemplar
from segpipe.segmenters.classical.appearance import (
    Appearance,
    describe,
    in_both_lights,
    unlikeness,
)
from segpipe.segmenters.classical.at_points import always
from segpipe.segmenters.classical.claims import Claims, claim_items
from segpipe.segmenters.classical.config import ClassicalConfig
from segpipe.segmenters.classical.items import look_at, to_detection
from segpipe.vision.image import RgbImage

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

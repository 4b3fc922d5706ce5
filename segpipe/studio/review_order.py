"""In which order people look at items, and which of them when they look at a sample."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from segpipe.flow.apply_review import ReviewState
from segpipe.vision.boxes import Box

_PERCENT = 100


class ReviewOrder(StrEnum):
    """In which order items are shown."""

    UNCERTAIN = "uncertain"
    """The lowest score first, and of equal ones those whose mask the refiner left as it was."""
    SAMPLE = "sample"
    """A random part of all, in a random order: the same for the same seed."""
    DEAL = "deal"
    """Photo by photo, as they are found."""


@dataclass(frozen=True, slots=True)
class QueuedItem:
    """An item at which somebody may look.

    Attributes:
        image: The image id of its photo.
        key: What a decision about it is about.
        detection: Its number in the photo.
        box: ``xyxy``, pixels of the upright photo.
        score: The segmenter's confidence, 0 to 1.
        label: What it is, when that is known.
        state: How it stands.
        is_refined: Whether the refiner's mask is the one that is used.
    """

    image: str
    key: str
    detection: int
    box: Box
    score: float
    label: str | None
    state: ReviewState
    is_refined: bool


def in_order(
    items: Sequence[QueuedItem], order: ReviewOrder, *, percent: float = 100, seed: int = 0
) -> list[QueuedItem]:
    """The items in an order.

    Args:
        items: Photo by photo, as they are found.
        order: The order.
        percent: Of a sample: how many of a hundred; at least one item.
        seed: Of a sample: another one gives another sample.

    >>> from segpipe.vision.boxes import Box
    >>> items = [
    ...     QueuedItem("a", f"k{i}", i, Box(0, 0, 9, 9), s, None, ReviewState.UNREVIEWED, True)
    ...     for i, s in enumerate([0.9, 0.4, 0.6])
    ... ]
    >>> [item.score for item in in_order(items, ReviewOrder.UNCERTAIN)]
    [0.4, 0.6, 0.9]
    >>> len(in_order(items, ReviewOrder.SAMPLE, percent=60))
    2
    """
    match order:
        case ReviewOrder.UNCERTAIN:
            return sorted(items, key=lambda item: (item.score, item.is_refined))
        case ReviewOrder.SAMPLE:
            count = min(len(items), max(1, round(len(items) * percent / _PERCENT)))
            # No secret: a sample that is drawn again is the same one.
            return random.Random(seed).sample(list(items), count)  # noqa: S311
        case ReviewOrder.DEAL:
            return list(items)

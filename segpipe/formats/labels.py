"""What stands in label files, whatever their format: photos, and the items on them."""

from dataclasses import dataclass

from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask

UNLABELLED = "item"
"""The label of what has none."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledItem:
    """One item of a photo.

    Attributes:
        detection: Its index among the raw detections of the photo.
        label: What it is; :data:`UNLABELLED` when nothing says so.
        score: The segmenter's confidence, 0 to 1.
        pass_index: The pass of a recursive segmenter that found it, from 0.
        box: The tight box of its mask, in pixels of the upright photo; without a mask, the box in
            which it was found.
        mask: Its pixels; without a mask, those that the box touches.
        has_mask: Whether the pixels are a mask's.
    """

    detection: int
    label: str
    score: float
    pass_index: int
    box: Box
    mask: Mask
    has_mask: bool


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPhoto:
    """One photo and its items, in the order of their detections.

    Attributes:
        deal: Its deal.
        image: Its image id.
        file_name: Its file name in the deal.
        width: Pixels of the upright photo.
        height: Pixels of the upright photo.
        sha256: Digest of its bytes.
        items: What is on it.
    """

    deal: str
    image: str
    file_name: str
    width: int
    height: int
    sha256: str
    items: tuple[LabelledItem, ...]

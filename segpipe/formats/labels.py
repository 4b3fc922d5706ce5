"""What stands in label files, whatever their format: photos, and the items on them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from segpipe.errors import PromptError
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask

UNLABELLED = "item"
"""The label of what has none."""

_SLACK_PX = 1.0
"""How far a box may stick out of its photo and is still cut: labelling tools round."""


@dataclass(frozen=True, slots=True, eq=False)
class CutOut:
    """The picture of one item.

    Attributes:
        suffix: How the name of its file ends: ``.png``.
        read: Gives the bytes of the file.
    """

    suffix: str
    read: Callable[[], bytes]


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
        cutout: Its picture; None when it has none, or nobody asked for it.
    """

    detection: int
    label: str
    score: float
    pass_index: int
    box: Box
    mask: Mask
    has_mask: bool
    cutout: CutOut | None = None


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


@dataclass(frozen=True, slots=True)
class DrawnBox:
    """One box of a label file.

    Attributes:
        place: Where it is in the file, for errors: ``line 3``, ``annotation 17``.
        box: In pixels, or in fractions of the photo.
        label: The name of its class; None when the file has none for it.
    """

    place: str
    box: Box
    label: str | None = None


@dataclass(frozen=True, slots=True)
class PhotoBoxes:
    """The boxes that a label file has for one photo.

    Attributes:
        boxes: In the order of the file.
        size: Width and height of the photo that was labelled, pixels; None when nothing says so.
        are_fractions: Whether the boxes are in fractions of the photo.
        notes: What of the file is no box, in words.
    """

    boxes: tuple[DrawnBox, ...]
    size: tuple[int, int] | None = None
    are_fractions: bool = False
    notes: tuple[str, ...] = ()

    def in_pixels(self, width: int, height: int, *, file: str) -> tuple[DrawnBox, ...]:
        """The boxes in pixels of the upright photo of this size, cut where they stick out a bit.

        Args:
            width: Of the upright photo, pixels.
            height: Of the upright photo, pixels.
            file: The name of the label file, for errors.

        Raises:
            PromptError: The labels are of a photo of another size, or a box is empty or not in it.
        """
        if self.size not in {None, (width, height)}:
            raise PromptError(
                f"{file} has labels for a photo of {self.size[0]} x {self.size[1]} pixels "
                f"and the upright photo has {width} x {height}: label the photo as it is",
            )
        scale = (float(width), float(height)) if self.are_fractions else (1.0, 1.0)
        return tuple(
            replace(each, box=_cut(each, scale, width, height, file)) for each in self.boxes
        )


def _cut(each: DrawnBox, scale: tuple[float, float], width: int, height: int, file: str) -> Box:
    x1, y1, x2, y2 = (value * factor for value, factor in zip(each.box, scale * 2, strict=True))
    cut = Box(max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    inside = min(x1, y1) >= -_SLACK_PX and x2 <= width + _SLACK_PX and y2 <= height + _SLACK_PX
    if not inside or not (cut.x1 < cut.x2 and cut.y1 < cut.y2):
        what = "is not inside the photo" if not inside else "is empty"
        raise PromptError(
            f"{file}, {each.place}: box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) {what}, which "
            f"has {width} x {height} pixels upright; correct the labels",
        )
    return cut


@dataclass(frozen=True, slots=True)
class PhotoLabels:
    """The labels of one photo, which are read when they are asked for.

    Attributes:
        file: The name of the label file, for errors.
        photo: What the labels call the photo, with the folders that they name, as a POSIX path.
        read: Gives its boxes; raises PromptError when they make no sense.
        deal: The deal that the labels name; None when they name none.
    """

    file: str
    photo: PurePosixPath
    read: Callable[[], PhotoBoxes]
    deal: str | None = None

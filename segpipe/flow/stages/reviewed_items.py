"""Reviewed items: how each item of a photo stands, and whether it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from segpipe.flow.apply_review import Judged, ReviewState, apply_review
from segpipe.flow.stages.refinement import RefinedImage, RefinedItem
from segpipe.flow.stages.segmentation import SegmentedImage
from segpipe.settings import Settings
from segpipe.store.reviews import ImageReview
from segpipe.vision.boxes import Box
from segpipe.vision.contour import masks_to_paths
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import mask_digest

GOOD = frozenset({ReviewState.ACCEPTED, ReviewState.EDITED, ReviewState.ADDED})
"""Somebody says that these are items, with just these masks."""
OPEN = frozenset({ReviewState.UNREVIEWED, ReviewState.CHANGED})
"""Nobody has looked at these masks."""

_DRAWN_SCORE = 1.0


class Unreviewed(StrEnum):
    """What becomes of items at which nobody has looked."""

    KEEP = "keep"
    DROP = "drop"


class ReviewSettings(Settings):
    """Which items go on."""

    unreviewed: Unreviewed = Field(
        default=Unreviewed.KEEP,
        description="Items at which nobody has looked: keep lets them go on, drop does not. What "
        "was accepted, edited or added always goes on, and what was rejected never does.",
    )
    whole_photos: bool = Field(
        default=False,
        description="Let nothing of a photo go on until somebody has said that the photo is done.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class ReviewedItem:
    """One item, and how it stands.

    Attributes:
        detection: Its index among the raw detections; an item that a person drew has that of the
            find in whose place it is, else one after the last.
        box: The tight box of its mask; without a mask, the box in which it was found.
        svg_path: The outline as SVG path data, relative to the box: 0 to 1.
        mask: Its pixels; None where a find has none.
        label: What it is called, if something says so.
        score: The segmenter's confidence, 0 to 1; 1 for what a person drew in no find's place.
        pass_index: The pass of a recursive segmenter that found it, from 0.
        state: How it stands.
        is_kept: Whether it goes on.
        decision: What the decision is about that made it so: see ``Decision.key``.
        is_drawn: Whether a person drew the mask.
        missing: For a drawn box in which nothing was found, the reason.
    """

    detection: int
    box: Box
    svg_path: str
    mask: Mask | None
    label: str | None
    score: float
    pass_index: int
    state: ReviewState
    is_kept: bool
    decision: str | None = None
    is_drawn: bool = False
    missing: str | None = None

    def shown_mask(self, width: int, height: int) -> Mask:
        """Its pixels in a photo of this size; without a mask, those that the box touches."""
        return shown_mask(self.mask, self.box, width, height)


@dataclass(frozen=True, slots=True, eq=False)
class ReviewedImage:
    """The items of one photo: the survivors, by detection, and what people drew beside them.

    Attributes:
        width: Of the upright photo, pixels.
        height: Of the upright photo, pixels.
        items: All of them, also what does not go on.
    """

    width: int
    height: int
    items: tuple[ReviewedItem, ...]

    @property
    def kept(self) -> list[ReviewedItem]:
        """What goes on, with the drawn boxes in which nothing was found."""
        return [item for item in self.items if item.is_kept]

    @property
    def found(self) -> list[ReviewedItem]:
        """What goes on, without those."""
        return [item for item in self.kept if item.missing is None]

    def key(self, item: ReviewedItem) -> str:
        """What a decision about an item is about: see ``Decision.key``."""
        if item.is_drawn and item.decision:
            return item.decision
        return mask_digest(item.shown_mask(self.width, self.height))


def shown_mask(mask: Mask | None, box: Box, width: int, height: int) -> Mask:
    """The pixels of a find, as people see them: without a mask, those that its box touches."""
    if mask is not None and not mask.is_empty:
        return mask
    return Mask.from_box(box, image_width=width, image_height=height)


def review_image(
    segmented: SegmentedImage,
    refined: RefinedImage,
    review: ImageReview | None,
    settings: ReviewSettings,
) -> ReviewedImage:
    """The items of one photo, and which of them go on.

    Args:
        segmented: Its raw detections.
        refined: Its survivors.
        review: What people decided about them; None for nothing.
        settings: What becomes of the rest.

    Raises:
        ReviewError: A mask does not lie in the photo.
    """
    size = segmented.result.image_width, segmented.result.image_height
    survivors = {item.detection: item for item in refined.items}
    if review is None or not review.decisions:
        judged = [Judged(ReviewState.UNREVIEWED, detection) for detection in survivors]
    else:
        review.require_inside(*size)
        finds = {
            detection: shown_mask(item.mask, item.box, *size)
            for detection, item in survivors.items()
            if detection not in segmented.missing
        }
        stand = apply_review(finds, review, width=size[0], height=size[1])
        judged = _with_missing(stand, survivors)
    outlines = _outlines(judged)
    is_open = bool(settings.whole_photos and not (review and review.done))
    free = len(segmented.result.detections)
    items = []
    for each in judged:
        is_kept = not is_open and _goes_on(each.state, settings)
        if each.mask is not None:
            items.append(_drawn(each, segmented, free, is_kept, outlines[id(each)]))
            free += each.detection is None
        elif each.detection is not None:
            items.append(_of_find(each, survivors[each.detection], segmented, is_kept))
    return ReviewedImage(*size, tuple(items))


def _goes_on(state: ReviewState, settings: ReviewSettings) -> bool:
    return state in GOOD or (state in OPEN and settings.unreviewed is Unreviewed.KEEP)


def _with_missing(judged: list[Judged], survivors: Mapping[int, RefinedItem]) -> list[Judged]:
    """With the drawn boxes in which nothing was found, about which nothing can be decided."""
    by_find = {each.detection: each for each in judged if each.detection is not None}
    nothing = ReviewState.UNREVIEWED
    placed = [by_find.get(detection, Judged(nothing, detection)) for detection in survivors]
    return placed + [each for each in judged if each.detection is None]


def _outlines(judged: list[Judged]) -> dict[int, str]:
    """The outlines of the masks that people drew; "" for one with too many corners."""
    drawn = [(each, each.mask) for each in judged if each.mask is not None]
    paths = masks_to_paths([mask for _, mask in drawn])
    return {id(each): path or "" for (each, _), path in zip(drawn, paths, strict=True)}


def _of_find(
    judged: Judged, item: RefinedItem, segmented: SegmentedImage, is_kept: bool
) -> ReviewedItem:
    raw = segmented.result.detections[item.detection]
    return ReviewedItem(
        detection=item.detection,
        box=item.box,
        svg_path=item.svg_path,
        mask=item.mask,
        label=raw.label,
        score=raw.score,
        pass_index=raw.pass_index,
        state=judged.state,
        is_kept=is_kept,
        decision=judged.decision.key if judged.decision else None,
        missing=segmented.missing.get(item.detection),
    )


def _drawn(
    judged: Judged, segmented: SegmentedImage, free: int, is_kept: bool, svg_path: str
) -> ReviewedItem:
    found = segmented.result.detections
    raw = None if judged.detection is None else found[judged.detection]
    label = judged.decision.label if judged.decision else None
    mask = judged.mask
    return ReviewedItem(
        detection=free if judged.detection is None else judged.detection,
        box=(mask.box if mask else None) or Box(0, 0, 0, 0),
        svg_path=svg_path,
        mask=mask,
        label=label or (raw.label if raw else None),
        score=raw.score if raw else _DRAWN_SCORE,
        pass_index=raw.pass_index if raw else 0,
        state=judged.state,
        is_kept=is_kept,
        decision=judged.decision.key if judged.decision else None,
        is_drawn=True,
    )

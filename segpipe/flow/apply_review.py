"""What becomes of a photo's finds by what people decided about them: one pure function.

A decision is bound to the pixels that were seen. So the same mask has the same decision in every
later run, and another mask never has an accept that nobody gave it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from segpipe.store.reviews import Decision, ImageReview, RejectReason, Verdict
from segpipe.vision.boxes import Box, box_ious, to_array
from segpipe.vision.mask import Mask, iou
from segpipe.vision.mask_codecs import mask_digest

SAME_ITEM_IOU = 0.5
"""From here on a find is taken for the item that a person drew."""
SAME_MASK_IOU = 0.9
"""From here on a find is taken for the one that was rejected, or edited, before another run."""
_SEEN = 2.0  # before any overlap


class ReviewState(StrEnum):
    """How an item stands."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EDITED = "edited"
    """Its mask is the one that a person drew in place of a find's."""
    ADDED = "added"
    """Its mask is the one that a person drew where nothing was found."""
    SUPERSEDED = "superseded"
    """A find in whose place an edited or added item is."""
    CHANGED = "changed"
    """It was accepted, and another run has given it another mask: nobody has accepted that one."""
    UNREVIEWED = "unreviewed"


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A find, or an item that a person drew, and how it stands.

    Attributes:
        state: How it stands.
        detection: The find; for an item that a person drew that one in whose place it is, and None
            when it is in no find's place.
        decision: What was decided, where something was.
        mask: The mask that a person drew; None for a find.
    """

    state: ReviewState
    detection: int | None
    decision: Decision | None = None
    mask: Mask | None = None


def apply_review(
    finds: Mapping[int, Mask], review: ImageReview, *, width: int, height: int
) -> list[Judged]:
    """How each find stands, and each item that a person drew, bit for bit as it was drawn.

    Items that people drew are always among them. A find is superseded by one when it was seen and
    edited, or overlaps it by IoU .5; of those that it supersedes an item stands in the place of
    the one that was seen, else of the one most like it. Accept and reject hold for the same mask.
    A reject follows to a mask that is like it by IoU .9 and more like it than like any that was
    accepted; as a double, only where another find is left that it is a double of. An accept never
    follows: the find most like it is "changed".

    Args:
        finds: The masks that go on without a review, by detection; none is empty.
        review: What was decided about the photo.
        width: Of the upright photo, pixels.
        height: Of the upright photo, pixels.

    Returns:
        The finds and the items in their places, by detection; then the other items.

    >>> from segpipe.prompt import Mode
    >>> found = Mask.from_box(Box(2, 1, 6, 3), image_width=8, image_height=6)
    >>> review = ImageReview(image="a", mode=Mode.FIND_ALL)
    >>> [each.state.value for each in apply_review({0: found}, review, width=8, height=6)]
    ['unreviewed']
    """
    if not review.decisions:
        return [Judged(ReviewState.UNREVIEWED, detection) for detection in finds]
    judges = _Judges(finds, review.decisions, width, height)
    judged = {item.detection: item for item in judges.finds()}
    free = []
    for item in judges.drawn():
        if item.detection is None:
            free.append(item)
        else:
            judged[item.detection] = item
    return [judged[detection] for detection in finds] + free


class _Judges:
    """The finds of one photo beside what was decided about it."""

    def __init__(
        self, finds: Mapping[int, Mask], decisions: Sequence[Decision], width: int, height: int
    ) -> None:
        self._finds = finds
        self._digests = {detection: mask_digest(mask) for detection, mask in finds.items()}
        self._by_key = {decision.key: decision for decision in decisions}
        self._drawn = {
            decision.key: decision.mask.to_mask(width, height)
            for decision in decisions
            if decision.mask
        }
        self._seen = {
            decision.key: decision.seen_mask.to_mask(width, height)
            for decision in decisions
            if decision.seen_mask
        }
        self._superseding = self._find_superseding()
        present = frozenset(self._digests.values())
        # What is still there needs not be told again.
        gone = {key: mask for key, mask in self._seen.items() if key not in present}
        self._like = _overlaps(finds, gone, SAME_ITEM_IOU)

    def finds(self) -> Iterator[Judged]:
        """How each find stands."""
        states = {detection: self._state(detection) for detection in self._finds}
        for detection, (state, decision) in states.items():
            is_double = decision is not None and decision.reason is RejectReason.DOUBLE
            if is_double and not self._is_held_or_has_other(detection, states):
                yield Judged(ReviewState.UNREVIEWED, detection)
            else:
                yield Judged(state, detection, decision)

    def drawn(self) -> Iterator[Judged]:
        """Each item that a person drew, in the place of a find or in none."""
        places: dict[str, int] = {}
        pairs = sorted(
            (-overlap, key, detection)
            for detection, overlaps in self._superseding.items()
            for key, overlap in overlaps.items()
        )
        for _, key, detection in pairs:
            if key not in places and detection not in places.values():
                places[key] = detection
        for key, mask in self._drawn.items():
            decision = self._by_key[key]
            is_edit = decision.verdict is Verdict.EDIT
            state = ReviewState.EDITED if is_edit else ReviewState.ADDED
            yield Judged(state, places.get(key), decision, mask)

    def _state(self, detection: int) -> tuple[ReviewState, Decision | None]:
        digest = self._digests[detection]
        same = self._by_key.get(digest)
        if self._is_rejected(digest):
            return ReviewState.REJECTED, same
        if superseding := self._superseding.get(detection):
            key = max(superseding, key=superseding.__getitem__)
            return ReviewState.SUPERSEDED, self._by_key[key]
        if same and same.verdict is Verdict.ACCEPT:
            return ReviewState.ACCEPTED, same
        return self._likely(self._like.get(detection, {}))

    def _likely(self, like: Mapping[str, float]) -> tuple[ReviewState, Decision | None]:
        """How a find stands on which nobody decided, by the masks that it is like."""
        if not like:
            return ReviewState.UNREVIEWED, None
        key = max(like, key=like.__getitem__)
        decision = self._by_key[key]
        if decision.verdict is Verdict.ACCEPT:
            return ReviewState.CHANGED, decision
        if decision.verdict is Verdict.REJECT and like[key] >= SAME_MASK_IOU:
            return ReviewState.REJECTED, decision
        return ReviewState.UNREVIEWED, None

    def _is_held_or_has_other(
        self, detection: int, states: Mapping[int, tuple[ReviewState, Decision | None]]
    ) -> bool:
        """Whether a double was seen as it is, or is still a double of something that goes on."""
        if self._digests[detection] in self._by_key:
            return True
        others = {
            other: mask
            for other, mask in self._finds.items()
            if other != detection and states[other][0] is not ReviewState.REJECTED
        }
        return bool(_overlaps({detection: self._finds[detection]}, others, SAME_ITEM_IOU))

    def _find_superseding(self) -> dict[int, dict[str, float]]:
        """The items that supersede each find, with how like it they are; but for rejected ones."""
        finds = {
            detection: mask
            for detection, mask in self._finds.items()
            if not self._is_rejected(self._digests[detection])
        }
        found = _overlaps(finds, self._drawn, SAME_ITEM_IOU)
        edited = {key: mask for key, mask in self._seen.items() if key in self._drawn}
        for detection, overlaps in _overlaps(finds, edited, SAME_MASK_IOU).items():
            own = found.setdefault(detection, {})
            for key, overlap in overlaps.items():
                own[key] = max(own.get(key, 0.0), overlap)
        for detection in finds:
            if (digest := self._digests[detection]) in self._drawn:
                found.setdefault(detection, {})[digest] = _SEEN
        return found

    def _is_rejected(self, digest: str) -> bool:
        same = self._by_key.get(digest)
        return same is not None and same.verdict is Verdict.REJECT


def _overlaps(
    finds: Mapping[int, Mask], others: Mapping[str, Mask] | Mapping[int, Mask], least: float
) -> dict[int, dict[str, float]]:
    """The IoU of each find with each other mask, where it is not less than this."""
    if not finds or not others:
        return {}
    names, masks = list(others), list(others.values())
    near = box_ious(
        to_array([_box(mask) for mask in finds.values()]), to_array([_box(mask) for mask in masks])
    )
    found: dict[int, dict[str, float]] = {}
    for row, (detection, mask) in enumerate(finds.items()):
        for column in near[row].nonzero()[0]:
            overlap = iou(mask, masks[column])
            if overlap >= least:
                found.setdefault(detection, {})[str(names[column])] = overlap
    return found


def _box(mask: Mask) -> Box:
    return mask.box or Box(0, 0, 0, 0)

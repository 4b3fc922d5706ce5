"""What becomes of finds by what people decided: nothing moves to a mask that nobody has seen."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from segpipe.flow.apply_review import (
    SAME_ITEM_IOU,
    SAME_MASK_IOU,
    Judged,
    ReviewState,
    apply_review,
)
from segpipe.store.reviews import Decision, ImageReview, RejectReason, Verdict
from segpipe.vision.mask import Mask, iou
from segpipe.vision.mask_codecs import mask_digest
from segpipe_tests.reviews import HEIGHT, WIDTH, accept, add, edit, rectangle, reject, review

S = ReviewState
SEEN = rectangle(10, 10, 20, 10)
LIKE = rectangle(10, 10, 19, 10)  # IoU .95
NEAR = rectangle(10, 10, 12, 10)  # IoU .6
FAR = rectangle(40, 25)


def judged(finds: Sequence[Mask], *decisions: Decision) -> list[Judged]:
    return apply_review(dict(enumerate(finds)), review(*decisions), width=WIDTH, height=HEIGHT)


def states(finds: Sequence[Mask], *decisions: Decision) -> list[ReviewState]:
    return [each.state for each in judged(finds, *decisions)]


@pytest.mark.parametrize(
    ("finds", "decisions", "expected"),
    [
        ([SEEN, FAR], [], [S.UNREVIEWED, S.UNREVIEWED]),
        ([SEEN, FAR], [accept(SEEN)], [S.ACCEPTED, S.UNREVIEWED]),
        ([SEEN, FAR], [reject(SEEN)], [S.REJECTED, S.UNREVIEWED]),
        ([LIKE], [accept(SEEN)], [S.CHANGED]),
        ([NEAR], [accept(SEEN)], [S.CHANGED]),
        ([FAR], [accept(SEEN)], [S.UNREVIEWED]),
        ([LIKE], [reject(SEEN)], [S.REJECTED]),
        ([NEAR], [reject(SEEN)], [S.UNREVIEWED]),
        ([LIKE], [reject(SEEN), accept(LIKE)], [S.ACCEPTED]),
        ([NEAR], [edit(SEEN, FAR)], [S.UNREVIEWED, S.EDITED]),
        ([SEEN], [edit(SEEN, FAR)], [S.EDITED]),
        ([LIKE], [edit(SEEN, FAR)], [S.EDITED]),
        ([NEAR], [add("n", SEEN)], [S.ADDED]),
        ([FAR], [add("n", SEEN)], [S.UNREVIEWED, S.ADDED]),
        ([SEEN, LIKE], [add("n", LIKE)], [S.SUPERSEDED, S.ADDED]),
        ([SEEN, LIKE], [edit(SEEN, LIKE)], [S.EDITED, S.SUPERSEDED]),
        ([SEEN], [accept(SEEN), add("n", LIKE)], [S.ADDED]),
        ([SEEN], [reject(SEEN), add("n", LIKE)], [S.REJECTED, S.ADDED]),
        ([], [edit(SEEN, LIKE), add("n", FAR)], [S.EDITED, S.ADDED]),
        # A double is none any more once its other is gone, however like it the other is.
        ([SEEN, LIKE], [reject(SEEN, RejectReason.DOUBLE)], [S.REJECTED, S.UNREVIEWED]),
        ([LIKE], [reject(SEEN, RejectReason.DOUBLE)], [S.UNREVIEWED]),
    ],
)
def test_each_find_stands_as_was_decided(
    finds: list[Mask], decisions: list[Decision], expected: list[ReviewState]
) -> None:
    assert states(finds, *decisions) == expected


def test_of_several_that_were_decided_the_most_alike_tells() -> None:
    other = rectangle(11, 10, 20, 10)
    assert states([LIKE], reject(SEEN), accept(other)) == [S.REJECTED]
    assert states([LIKE], accept(SEEN), reject(other)) == [S.CHANGED]


def test_what_a_person_drew_stands_in_the_place_of_what_was_seen() -> None:
    both = judged([LIKE, SEEN], edit(SEEN, NEAR, "ring"))
    assert [(each.detection, each.state) for each in both] == [(0, S.SUPERSEDED), (1, S.EDITED)]
    assert both[1].decision
    assert both[1].decision.label == "ring"


# 10,000 random pairs of an old and a new mask, on photos of ten

PHOTOS, PAIRS = 1000, 10
_VERDICTS = (None, *Verdict)
_REASONS = tuple(reason for reason in RejectReason if reason is not RejectReason.DOUBLE)


def blob(random: np.random.Generator) -> Mask:
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    middle = int(random.integers(6, WIDTH - 6)), int(random.integers(6, HEIGHT - 6))
    axes = int(random.integers(3, 9)), int(random.integers(3, 9))
    cv2.ellipse(full, middle, axes, float(random.integers(180)), 0, 360, (1,), -1)
    return Mask.from_full(full)


def after_another_run(mask: Mask, random: np.random.Generator) -> Mask:
    """The same, a few pixels of it changed, its edge moved, or another."""
    full = mask.to_full()
    match random.integers(5):
        case 0:
            return mask
        case 1:
            ys, xs = np.nonzero(full)
            some = random.integers(len(ys), size=2)
            full[ys[some], xs[some]] = 0
        case 2:
            full = cv2.dilate(full, np.ones((2, 3), np.uint8)).astype(np.uint8)
        case 3:
            full = np.roll(full, int(random.integers(-4, 5)), axis=1)
        case _:
            return blob(random)
    return Mask.from_full(full)


def decided(mask: Mask, number: int, random: np.random.Generator) -> Decision | None:
    match _VERDICTS[random.integers(len(_VERDICTS))]:
        case Verdict.ACCEPT:
            return accept(mask)
        case Verdict.REJECT:
            return reject(mask, _REASONS[random.integers(len(_REASONS))])
        case Verdict.EDIT:
            return edit(mask, after_another_run(mask, random))
        case Verdict.ADD:
            return add(f"n{number}", blob(random))
    return None


def test_no_decision_moves_to_a_mask_that_it_was_not_made_about() -> None:
    random = np.random.default_rng(20261129)
    seen = dict.fromkeys(ReviewState, 0)
    for _ in range(PHOTOS):
        old = [blob(random) for _ in range(PAIRS)]
        made = [decided(mask, number, random) for number, mask in enumerate(old)]
        decisions = {each.key: each for each in made if each}
        new = [after_another_run(mask, random) for mask in old]
        items = judged(new, *decisions.values())
        for each in items:
            seen[each.state] += 1
        check_photo(new, review(*decisions.values()), items)
    assert all(seen.values()), "each state was met"


def check_photo(new: Sequence[Mask], decided: ImageReview, items: Sequence[Judged]) -> None:
    by_key = {each.key: each for each in decided.decisions}
    drawn = {key: each.mask.to_mask(WIDTH, HEIGHT) for key, each in by_key.items() if each.mask}
    # All that people drew is there once, bit for bit; and each find is there at most once.
    there = {each.decision.key: each.mask for each in items if each.mask and each.decision}
    assert {key: mask_digest(mask) for key, mask in there.items()} == {
        key: mask_digest(mask) for key, mask in drawn.items()
    }
    assert len(there) == sum(each.mask is not None for each in items)
    places = [each.detection for each in items if each.detection is not None]
    assert sorted(places) == list(range(len(new)))
    rejected = {
        key: each.seen_mask.to_mask(WIDTH, HEIGHT)
        for key, each in by_key.items()
        if each.verdict is Verdict.REJECT and each.seen_mask
    }
    accepted = [
        each.seen_mask.to_mask(WIDTH, HEIGHT)
        for each in by_key.values()
        if each.verdict is Verdict.ACCEPT and each.seen_mask
    ]
    for item in items:
        if item.mask is None and item.detection is not None:
            check_find(item, new[item.detection], by_key, [*drawn.values()], rejected, accepted)


def check_find(
    item: Judged,
    mask: Mask,
    by_key: dict[str, Decision],
    drawn: list[Mask],
    rejected: dict[str, Mask],
    accepted: list[Mask],
) -> None:
    same = by_key.get(mask_digest(mask))
    goes_on = item.state not in {S.REJECTED, S.SUPERSEDED}
    if item.state is S.ACCEPTED:
        assert same
        assert same.verdict is Verdict.ACCEPT
    if any(iou(mask, each) >= SAME_ITEM_IOU for each in drawn):
        assert not goes_on
    elif same:
        assert item.state is {"accept": S.ACCEPTED, "reject": S.REJECTED}.get(
            same.verdict, S.SUPERSEDED
        )
    else:
        likest = max((iou(mask, each) for each in rejected.values()), default=0.0)
        if likest >= SAME_MASK_IOU and all(iou(mask, each) < likest for each in accepted):
            assert not goes_on
        if item.state is S.REJECTED:
            assert likest >= SAME_MASK_IOU

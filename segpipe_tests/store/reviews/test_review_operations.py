"""What several people decide about one photo at once: all is kept, or somebody is asked."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import TypeAdapter

from segpipe.errors import ReviewConflictError, ReviewError
from segpipe.store.reviews import ImageReview, MaskRuns
from segpipe.store.reviews.review_operations import Decide, Decided, Operation, apply_operations
from segpipe.store.store import DealStore
from segpipe.vision.mask_codecs import mask_digest
from segpipe_tests.deals import DEAL, put_photo
from segpipe_tests.reviews import NOW, rectangle, review, speckled

MASKS = {mask_digest(mask): mask for mask in map(speckled, range(40))}
KEYS = list(MASKS)
ACCEPT = {"verdict": "accept"}
REJECT = {"verdict": "reject", "reason": "double"}
RUNS = MaskRuns.of(rectangle(3, 3)).model_dump(mode="json")
EDIT = {"verdict": "edit", "mask": RUNS}
ADD = {"verdict": "add", "mask": RUNS, "label": "ring"}

_operations: TypeAdapter[tuple[Operation, ...]] = TypeAdapter(tuple[Operation, ...])


def decide(key: str, was: dict[str, Any] | None, to: dict[str, Any] | None) -> dict[str, Any]:
    return {"op": "decide", "key": key, "was": was, "to": to}


def applied(present: ImageReview, *operations: dict[str, Any], by: str = "ann") -> ImageReview:
    parsed = _operations.validate_python(operations)
    changed = apply_operations(present, parsed, seen_masks=MASKS, created_by=by, created_at=NOW)
    return ImageReview.model_validate(dict(changed))


def test_decisions_about_different_items_never_meet() -> None:
    theirs = applied(review(), decide(KEYS[0], None, REJECT), by="bob")
    both = applied(
        theirs,
        decide(KEYS[1], None, ACCEPT),
        decide(KEYS[2], None, EDIT),
        decide("n1", None, ADD),
        {"op": "done", "to": True},
    )
    assert both.done
    made = {each.key: (each.verdict.value, each.created_by) for each in both.decisions}
    assert made == {
        KEYS[0]: ("reject", "bob"),
        KEYS[1]: ("accept", "ann"),
        KEYS[2]: ("edit", "ann"),
        "n1": ("add", "ann"),
    }
    rejected = both.decision(KEYS[0])
    assert rejected
    assert rejected.seen_mask == MaskRuns.of(MASKS[KEYS[0]]), "so that it can be told again"


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        (decide(KEYS[0], None, ACCEPT), decide(KEYS[0], None, REJECT)),
        (decide(KEYS[0], None, EDIT), decide(KEYS[0], None, ACCEPT)),
        (decide("n1", None, ADD), decide("n1", None, ADD | {"label": "coin"})),
        (decide(KEYS[0], None, ACCEPT), decide(KEYS[0], REJECT, None)),
    ],
)
def test_two_who_decide_otherwise_about_one_item_are_asked(
    theirs: dict[str, Any], mine: dict[str, Any]
) -> None:
    present = applied(review(), theirs)
    with pytest.raises(ReviewConflictError) as caught:
        applied(present, decide(KEYS[9], None, ACCEPT), mine)
    assert caught.value.decisions == (mine["key"],)
    assert applied(present, theirs) == present, "what comes twice is made once"


def test_what_is_not_there_or_makes_no_sense_is_named() -> None:
    with pytest.raises(ReviewError, match="replaced it") as caught:
        applied(review(), decide("f" * 64, None, ACCEPT))
    assert caught.value.field == f"decisions[{'f' * 64}]"
    with pytest.raises(ReviewError, match="needs seen and mask"):
        applied(review(), decide(KEYS[0], None, {"verdict": "edit"}))


def test_a_decision_can_be_taken_back_after_its_mask_is_gone() -> None:
    present = applied(review(), decide(KEYS[0], None, ACCEPT))
    back = apply_operations(
        present,
        [Decide(key=KEYS[0], was=Decided.of(present.decisions[0]), to=None)],
        seen_masks={},
        created_by="ann",
        created_at=NOW,
    )
    assert back.decisions == ()


def test_two_hundred_undos_give_the_document_back(store: DealStore) -> None:
    put_photo(store)
    chance = random.Random(7)
    wanted = [None, ACCEPT, REJECT, EDIT]

    def edit(operations: Sequence[dict[str, Any]]) -> ImageReview:
        return store.reviews.edit(DEAL, review().mode, "a", lambda now: applied(now, *operations))

    before = edit([decide(key, None, ACCEPT) for key in KEYS[:20]])
    now: dict[str, dict[str, Any] | None] = dict.fromkeys(KEYS[:20], ACCEPT)
    steps = []
    for number in range(200):
        key = chance.choice([*KEYS, f"n{number % 7}"])
        was = now.get(key)
        to = chance.choice(wanted) if key in MASKS else (None if was else ADD)
        steps.append((key, was, to))
        now[key] = to
        edit([decide(key, was, to)])
    for key, was, to in reversed(steps):
        edit([decide(key, to, was)])
    after = store.reviews.of_image(DEAL, review().mode, "a")
    assert after.model_copy(update={"generation": before.generation}) == before

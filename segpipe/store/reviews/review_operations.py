"""What several people decide about the items of one photo at once, as operations that merge.

An operation says what was decided before, as its author saw it, and what is decided now. So
decisions about different items never meet, a request that comes twice is made once, undo is the
same operation turned round, and only where two decided otherwise about the same item does somebody
have to look again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from segpipe.errors import ReviewConflictError, ReviewError
from segpipe.store.document_json import explain
from segpipe.store.reviews.review_documents import (
    Decision,
    ImageReview,
    MaskRuns,
    RejectReason,
    Verdict,
)
from segpipe.vision.mask import Mask

MAX_OPERATIONS = 1000
"""In one request: all items of a photo at once."""
MAX_LABEL_CHARS = 200
DONE = "done"
"""What a conflict about the photo is called, where others have the key of a decision."""

_Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Decided(BaseModel):
    """What a person says of an item; the fields are those of :class:`Decision`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    mask: MaskRuns | None = None
    reason: RejectReason | None = None
    label: Annotated[str, Field(max_length=MAX_LABEL_CHARS)] | None = None

    @classmethod
    def of(cls, decision: Decision) -> "Decided":
        """What a decision says."""
        return cls.model_construct(**{name: getattr(decision, name) for name in cls.model_fields})


class Decide(BaseModel):
    """Decide about an item.

    Attributes:
        op: Always ``decide``.
        key: The digest of the mask that was seen, as the run gave it, or the id of what is added,
            made up by who draws, so that it is drawn once.
        was: What was decided before; None for nothing.
        to: What is decided now; None takes the decision back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    op: Literal["decide"] = "decide"
    key: _Key
    was: Decided | None = None
    to: Decided | None = None


class SetDone(BaseModel):
    """Say that a photo is done, or is not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    op: Literal["done"] = "done"
    to: StrictBool


Operation = Annotated[Decide | SetDone, Field(discriminator="op")]


def apply_operations(
    review: ImageReview,
    operations: Sequence[Operation],
    *,
    seen_masks: Mapping[str, Mask],
    created_by: str,
    created_at: datetime,
) -> ImageReview:
    """The review of a photo with what a person decided, all of it or nothing.

    What is so already stays as it is: an operation that is applied twice does no more than once,
    and one with its ``was`` and ``to`` exchanged takes it back.

    Args:
        review: As it is now, which may be later than what the person saw.
        operations: What the person decided, in order.
        seen_masks: The masks that runs gave and that can be seen now, by their digest.
        created_by: The person.
        created_at: When, in UTC.

    Raises:
        ReviewConflictError: Others decided otherwise about the same items; it names all of them.
        ReviewError: An operation makes no sense, or is about a mask that is not there.
    """
    decisions = {each.key: each for each in review.decisions}
    done, conflicts = review.done, []
    made = {"created_by": created_by, "created_at": created_at}
    for operation in operations:
        if isinstance(operation, SetDone):
            done = operation.to
            continue
        key = operation.key
        present = decisions.get(key)
        was, to = (
            _decision(review.image, key, said, present, seen_masks, made) if said else None
            for said in (operation.was, operation.to)
        )
        if _said(present) not in (_said(was), _said(to)):
            conflicts.append(key)
        elif to is None:
            decisions.pop(key, None)
        elif _said(present) != _said(to):
            decisions[key] = to
    if conflicts:
        raise _conflict(conflicts, review.image)
    return review.model_copy(update={"done": done, "decisions": tuple(decisions.values())})


def _decision(
    image: str,
    key: str,
    said: Decided,
    present: Decision | None,
    seen_masks: Mapping[str, Mask],
    made: Mapping[str, Any],
) -> Decision:
    """A decision as it is kept, so that all are compared in that form."""
    about: dict[str, Any] = {"id": key}
    if said.verdict is not Verdict.ADD:
        seen_mask = present.seen_mask if present else None
        if seen := seen_masks.get(key):
            seen_mask = MaskRuns.of(seen)
        if present is None and seen_mask is None:
            raise ReviewError(
                f"there is no mask {key!r} to decide about any more: another run has replaced it; "
                "look at the photo as it is now",
                image=image,
                field=f"decisions[{key}]",
            )
        about = {"seen": key, "seen_mask": seen_mask}
    try:
        return Decision.model_validate({**about, **dict(said), **made})
    except ValidationError as error:
        field, what = explain(error, {})
        place = f"decisions[{key}]" + (f".{field}" if field else "")
        raise ReviewError(f"decision {key!r}: {what}", image=image, field=place) from error


def _said(decision: Decision | None) -> tuple[object, ...] | None:
    """What a decision says, equal where it is the same to the pixel."""
    if decision is None:
        return None
    mask = decision.mask.digest() if decision.mask else None
    return decision.verdict, mask, decision.reason, decision.label


def _conflict(touched: Sequence[str], image: str) -> ReviewConflictError:
    keys = tuple(dict.fromkeys(touched))
    conflict = ReviewConflictError(
        f"somebody else has decided otherwise about {len(keys)} of these meanwhile "
        f"({', '.join(key[:12] for key in keys[:5])}); look at it and decide",
        image=image,
    )
    conflict.decisions = keys
    return conflict

"""The review of a photo as a document: what people decided about each item that they saw.

A decision about a find is bound to the digest of the mask that was seen, so that it never tells of
a mask that nobody has looked at. Coordinates are pixels of the upright photo.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, ClassVar, Self
from unicodedata import normalize

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from segpipe.digests import settings_digest
from segpipe.errors import InputError, ReviewConflictError, ReviewError, ReviewFileError
from segpipe.prompt import Mode
from segpipe.store.edited_documents import DocumentTime, EditedDocument, Text, UnicodeText
from segpipe.vision.image import DEFAULT_MAX_PIXELS
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import from_coco_rle, mask_digest, to_coco_rle

_MAX_BYTES = 64 * 1024 * 1024
_KNOWN_MASKS = 4096

MaskDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""What :func:`~segpipe.vision.mask_codecs.mask_digest` gives."""


class Verdict(StrEnum):
    """What was decided about an item."""

    ACCEPT = "accept"
    """It goes on as it is."""
    REJECT = "reject"
    """It does not go on."""
    EDIT = "edit"
    """It goes on with the mask that a person drew."""
    ADD = "add"
    """A person drew an item that was not found."""


class RejectReason(StrEnum):
    """Why an item was rejected."""

    NOT_AN_ITEM = "not_an_item"
    DOUBLE = "double"
    PART_OF_ITEM = "part_of_item"
    SEVERAL_ITEMS = "several_items"
    BAD_EDGE = "bad_edge"
    CUT_OFF = "cut_off"
    OTHER = "other"


class MaskRuns(BaseModel):
    """A mask as COCO's compressed run lengths of a part of its photo.

    >>> from segpipe.vision.boxes import Box
    >>> mask = Mask.from_box(Box(2, 1, 6, 3), image_width=8, image_height=6)
    >>> MaskRuns.of(mask).model_dump()
    {'x': 2, 'y': 1, 'size': (2, 4), 'counts': '08'}

    Attributes:
        x: Left column of the part in the photo.
        y: Top row.
        size: Height and width of the part, as COCO has them.
        counts: The runs, down the columns of the part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    x: Annotated[int, Field(strict=True, ge=0)]
    y: Annotated[int, Field(strict=True, ge=0)]
    size: tuple[PositiveInt, PositiveInt]
    counts: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.digest()
        return self

    @classmethod
    def of(cls, mask: Mask) -> Self:
        """The runs of a mask, of the smallest part that has all its pixels.

        Raises:
            ReviewError: It has no pixel.
        """
        tight = mask.tight()
        height, width = tight.bits.shape
        if tight.is_empty:
            raise ReviewError("the mask has no pixel; draw one", field="mask")
        runs = to_coco_rle(Mask(0, 0, tight.bits, width, height))
        return cls(x=tight.x, y=tight.y, size=(height, width), counts=runs["counts"].decode())

    def to_mask(self, image_width: int, image_height: int) -> Mask:
        """The mask in a photo of this size, pixels.

        Raises:
            ValueError: The runs are none, or it does not lie inside the photo.
        """
        try:
            counts = self.counts.encode("ascii")
            runs = from_coco_rle(
                {"size": [*self.size], "counts": counts}, max_pixels=DEFAULT_MAX_PIXELS
            )
            return Mask(self.x + runs.x, self.y + runs.y, runs.bits, image_width, image_height)
        except (InputError, UnicodeEncodeError) as error:
            raise ValueError(getattr(error, "message", str(error))) from error

    def digest(self) -> str:
        """The digest of its pixels: that of the mask."""
        return _digest_of_runs(self.x, self.y, *self.size, self.counts)


@lru_cache(maxsize=_KNOWN_MASKS)
def _digest_of_runs(x: int, y: int, height: int, width: int, counts: str) -> str:
    """The digest of a mask that has pixels; all of a photo are asked for at each decision."""
    runs = MaskRuns.model_construct(x=x, y=y, size=(height, width), counts=counts)
    mask = runs.to_mask(x + width, y + height)
    if mask.is_empty:
        raise ValueError("the mask has no pixel; draw one")
    return mask_digest(mask)


_FIELDS = {
    Verdict.ACCEPT: ("seen", "seen_mask"),
    Verdict.REJECT: ("seen", "seen_mask", "reason"),
    Verdict.EDIT: ("seen", "seen_mask", "mask", "label"),
    Verdict.ADD: ("id", "mask", "label"),
}
_NEEDED = frozenset({"id", "seen", "mask"})
_BOUND = ("id", "seen", "seen_mask", "mask", "reason", "label")


class Decision(BaseModel):
    """What somebody decided about one item.

    Attributes:
        verdict: What.
        id: For ``add`` alone: unique in the photo; 1 to 64 letters, digits, dots, dashes and
            underscores.
        seen: For all others: the digest of the mask that was seen, as a run gave it.
        seen_mask: That mask; with it the decision can be told of masks that are like it.
        mask: For ``edit`` and ``add``: the mask that the person drew.
        reason: For ``reject``: why.
        label: For ``edit`` and ``add``: what the item is called; None for what it was found as.
        created_by: The person's name.
        created_at: When, in UTC; None when that was not written down.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    seen: MaskDigest | None = None
    seen_mask: MaskRuns | None = None
    mask: MaskRuns | None = None
    reason: RejectReason | None = None
    label: Text = None
    created_by: UnicodeText = "user"
    created_at: DocumentTime | None = None

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        allowed = _FIELDS[self.verdict]
        wrong = [name for name in _BOUND if getattr(self, name) is not None and name not in allowed]
        missing = [name for name in allowed if name in _NEEDED and getattr(self, name) is None]
        if wrong or missing:
            raise ValueError(
                f"verdict {self.verdict.value!r} takes {', '.join(allowed)}, and needs "
                f"{' and '.join(name for name in allowed if name in _NEEDED)}"
            )
        if self.seen_mask and self.seen != self.seen_mask.digest():
            raise ValueError("'seen' is not the digest of 'seen_mask'")
        return self

    @property
    def key(self) -> str:
        """What it is about: the digest of the mask that was seen, or the id of what was added."""
        return self.seen or self.id or ""

    @property
    def is_human(self) -> bool:
        """Whether it brings a mask that a person drew."""
        return self.mask is not None


class ImageReview(EditedDocument):
    """What people decided about the items of one photo in one mode.

    Attributes:
        image: The image id.
        mode: The mode.
        generation: How often the file was written by segpipe; 0 for one that is not there yet, or
            is of a hand that did not say.
        done: Whether somebody says that the photo is done: nothing is missing.
        decisions: Sorted by what they are about, so that the order of work leaves no trace.
    """

    what: ClassVar = "a review"
    items: ClassVar = "decisions"
    item_keys: ClassVar = ("seen", "id")
    file_error: ClassVar = ReviewFileError
    conflict_error: ClassVar = ReviewConflictError
    max_bytes: ClassVar = _MAX_BYTES

    image: Annotated[UnicodeText, AfterValidator(lambda image: normalize("NFC", image))]
    mode: Mode
    done: bool = False
    decisions: tuple[Decision, ...] = ()

    @field_validator("decisions")
    @classmethod
    def _check_keys(cls, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
        seen: set[str] = set()
        for decision in decisions:
            if decision.key in seen:
                raise ValueError(f"two decisions are about {decision.key!r}; remove one")
            seen.add(decision.key)
        return tuple(sorted(decisions, key=lambda decision: decision.key))

    @property
    def says_something(self) -> bool:
        """Whether anything was decided."""
        return bool(self.decisions or self.done)

    def decision(self, key: str) -> Decision | None:
        """The decision about something; None when there is none."""
        return next((each for each in self.decisions if each.key == key), None)

    def require_inside(self, width: int, height: int) -> None:
        """Refuse a mask that does not lie in an upright photo of this size, pixels.

        Raises:
            ReviewError: It names the decision.
        """
        for decision in self.decisions:
            for name in ("seen_mask", "mask"):
                runs: MaskRuns | None = getattr(decision, name)
                if runs and (runs.x + runs.size[1] > width or runs.y + runs.size[0] > height):
                    raise ReviewError(
                        f"decision {decision.key!r}: its {name} is not inside the upright photo "
                        f"of {width} x {height} pixels; the photo may have changed: remove the "
                        "decision, and look at the photo again",
                        image=self.image,
                        field=f"decisions[{decision.key}].{name}",
                    )


def reviews_version(images: Mapping[str, ImageReview]) -> str:
    """A sha256 of whatever in a mode's reviews of a deal decides what goes on, and of nothing else.

    Who decided, when, why something was rejected and generations do not count, nor does how a file
    is formatted.
    """
    said = {image: _said(review) for image, review in images.items() if review.says_something}
    return settings_digest(said)


def _said(review: ImageReview) -> dict[str, object]:
    return {
        "done": review.done,
        "decisions": {
            each.key: [
                each.verdict.value,
                each.seen_mask.digest() if each.seen_mask else None,
                each.mask.digest() if each.mask else None,
                each.label,
                each.reason is RejectReason.DOUBLE,
            ]
            for each in review.decisions
        },
    }


NO_REVIEWS_VERSION = reviews_version({})
"""The version of no reviews at all."""

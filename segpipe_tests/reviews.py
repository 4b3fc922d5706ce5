"""Reviews for the tests: decisions about made-up masks."""

from datetime import UTC, datetime

import numpy as np

from segpipe.prompt import Mode
from segpipe.store.reviews import Decision, ImageReview, MaskRuns, RejectReason, Verdict
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import mask_digest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WIDTH, HEIGHT = 60, 40


def rectangle(x: int, y: int, width: int = 10, height: int = 8) -> Mask:
    """A filled one in a photo of 60 x 40 pixels."""
    box = Box(x, y, x + width, y + height)
    return Mask.from_box(box, image_width=WIDTH, image_height=HEIGHT)


def speckled(seed: int, width: int = 9, height: int = 7) -> Mask:
    """A mask of random pixels, somewhere in the photo."""
    random = np.random.default_rng(seed)
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y = int(random.integers(0, WIDTH - width)), int(random.integers(0, HEIGHT - height))
    full[y : y + height, x : x + width] = random.random((height, width)) < 0.6
    full[y, x] = 1
    return Mask.from_full(full)


def accept(seen: Mask, by: str = "ann") -> Decision:
    """That a mask goes on."""
    return Decision(verdict=Verdict.ACCEPT, created_by=by, created_at=NOW, **_about(seen))


def reject(seen: Mask, reason: RejectReason | None = RejectReason.NOT_AN_ITEM) -> Decision:
    """That a mask does not go on."""
    return Decision(
        verdict=Verdict.REJECT, reason=reason, created_by="ann", created_at=NOW, **_about(seen)
    )


def edit(seen: Mask, mask: Mask, label: str | None = None) -> Decision:
    """That another mask goes on in place of one."""
    return Decision(
        verdict=Verdict.EDIT,
        mask=MaskRuns.of(mask),
        label=label,
        created_by="ann",
        created_at=NOW,
        **_about(seen),
    )


def add(name: str, mask: Mask, label: str | None = None) -> Decision:
    """That an item was not found."""
    return Decision(
        verdict=Verdict.ADD,
        id=name,
        mask=MaskRuns.of(mask),
        label=label,
        created_by="ann",
        created_at=NOW,
    )


def review(
    *decisions: Decision, image: str = "a", mode: Mode = Mode.FIND_ALL, done: bool = False
) -> ImageReview:
    """The review of a photo."""
    return ImageReview(image=image, mode=mode, decisions=decisions, done=done)


def _about(seen: Mask) -> dict[str, str | MaskRuns]:
    return {"seen": mask_digest(seen), "seen_mask": MaskRuns.of(seen)}

"""What ``find_all`` discovered, kept among a photo's prompts as annotations of the model's."""

import logging
from collections.abc import Collection, Sequence
from functools import partial

from segpipe.digests import bytes_digest
from segpipe.errors import SavedSettingsError
from segpipe.flow.apply_review import ReviewState
from segpipe.flow.results import DealResults
from segpipe.flow.review_now import photo_now
from segpipe.flow.saved_settings import read_saved
from segpipe.flow.stages.refinement import REFINEMENT, REFINEMENT_FILE
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage_registry import AnyStage
from segpipe.prompt import Mode
from segpipe.store.layout import ALL_PHOTOS
from segpipe.store.prompts import Annotation, ImagePrompts, PromptType, Source
from segpipe.store.reviews import ImageReview
from segpipe.store.store import DealStore, Snapshot, Version
from segpipe.vision.boxes import Box, BoxArray, box_ious, to_array

_SAME_ITEM_IOU = 0.5
_TAKEN_OUT = frozenset({ReviewState.REJECTED, ReviewState.SUPERSEDED})
_RUN_DIGITS = 8

_log = logging.getLogger(__name__)


def write_finds(store: DealStore, deal: str) -> None:
    """Put the current survivors among the prompts, in place of what the model found before.

    What people rejected or replaced is left out; what they drew in its place is there. Annotations
    of a user stay, and so does a discovered box that a user has edited: it is theirs,
    and the same item is not added a second time. Of photos that were removed the records go, too.
    A photo with the id ``_deal`` can have no prompts, so its finds are left out, which is logged.
    Doing it again changes nothing.

    Raises:
        PromptError: A file of prompts cannot be read any more.
        StoreError: One cannot be written.
    """
    recorded: Version | None = None
    # Another run may promote meanwhile, and of what both write the older may come last.
    while (snapshot := store.current(deal, Mode.FIND_ALL)) and snapshot.has(REFINEMENT.name):
        if snapshot.version(REFINEMENT.name) == recorded:
            return
        _record(store, snapshot)
        recorded = snapshot.version(REFINEMENT.name)


def write_finds_after_rollback(store: DealStore, deal: str, mode: Mode) -> None:
    """Let the finds among the prompts be those of what is current again.

    That is where some are, and where the saved settings have runs record them: what was current
    before may have found nothing.

    Raises:
        PromptError: A file of prompts cannot be read.
        StoreError: One cannot be written.
    """
    if mode is not Mode.FIND_ALL:
        return
    prompts = store.prompts.images(deal).values()
    has_finds = any(_is_found(one) for each in prompts for one in each.annotations)
    if not (has_finds or _records_finds(store)):
        return
    write_finds(store, deal)
    snapshot = store.current(deal, mode)
    if snapshot and not snapshot.has(REFINEMENT.name):
        _forget_finds(store, deal, of_others_than=frozenset())


def _records_finds(store: DealStore) -> bool:
    try:
        return read_saved(store).settings.prompts.record_found
    except SavedSettingsError:
        return False  # nobody knows what runs are to do


def _record(store: DealStore, snapshot: Snapshot) -> None:
    reviews = store.reviews.images(snapshot.deal, Mode.FIND_ALL)
    is_reviewed = any(review.decisions for review in reviews.values())
    stages: list[AnyStage] = [SEGMENTATION, REFINEMENT] if is_reviewed else [REFINEMENT]
    with DealResults(snapshot.deal, snapshot, stages) as results:
        images = set(results.images())
        for image in results.images():
            if image == ALL_PHOTOS:
                _log.warning("what was found in photo %r is not among its prompts", image)
                continue
            boxes = _boxes_found(results, image, reviews.get(image))
            found = [record_of_find(snapshot, *each) for each in boxes.items()]
            store.prompts.edit_image(snapshot.deal, image, partial(_with_found, found=found))
    _forget_finds(store, snapshot.deal, of_others_than=images)


def _forget_finds(store: DealStore, deal: str, *, of_others_than: Collection[str]) -> None:
    for image, prompts in store.prompts.images(deal).items():
        if image not in of_others_than and any(map(_is_found, prompts.annotations)):
            store.prompts.edit_image(deal, image, partial(_with_found, found=()))


def _boxes_found(results: DealResults, image: str, review: ImageReview | None) -> dict[int, Box]:
    """The boxes of the survivors of a photo by detection, but for what people took out."""
    if review is None or not review.decisions:
        columns = ["detection", "x1", "y1", "x2", "y2"]
        rows = results.rows(REFINEMENT, REFINEMENT_FILE, image).select(columns).to_pylist()
        return {row["detection"]: Box(*(row[side] for side in columns[1:])) for row in rows}
    items = photo_now(results, image, review).reviewed.items
    return {item.detection: item.box for item in items if item.state not in _TAKEN_OUT}


def record_of_find(snapshot: Snapshot, detection: int, box: Box) -> Annotation:
    """The annotation that says what a run has found."""
    run_id = snapshot.version(REFINEMENT.name).run_id
    return Annotation(
        id=_annotation_id(run_id, detection),
        mode=Mode.FIND_ALL,
        prompt_type=PromptType.SEGMENT,
        box=box,
        source=Source.MODEL,
        created_by=run_id,
        created_at=snapshot.commit.created_at,
    )


def found_by_annotation(snapshot: Snapshot, annotation: str) -> int | None:
    """The item of a photo that a record of a find is about; None when it is of no current one."""
    prefix, _, number = annotation.rpartition("-")
    run_id = snapshot.version(REFINEMENT.name).run_id
    is_it = number.isdecimal() and _annotation_id(run_id, int(number)) == annotation
    return int(number) if is_it and prefix else None


def _annotation_id(run_id: str, detection: int) -> str:
    # A run may be called anything, an annotation may not; and names often begin alike.
    return f"{bytes_digest(run_id.encode())[:_RUN_DIGITS]}-{detection}"


def _with_found(prompts: ImagePrompts, found: Sequence[Annotation]) -> ImagePrompts:
    kept = [one for one in prompts.annotations if not _is_found(one)]
    annotations = (*kept, *_not_taken_over(found, kept))
    return prompts.model_copy(update={"annotations": annotations})


def _is_found(annotation: Annotation) -> bool:
    return annotation.source is Source.MODEL and annotation.mode is Mode.FIND_ALL


def _not_taken_over(found: Sequence[Annotation], kept: Sequence[Annotation]) -> list[Annotation]:
    """The finds that nobody has made their own."""
    taken = {one.id for one in kept}
    edited = [
        one for one in kept if one.mode is Mode.FIND_ALL and one.prompt_type is PromptType.SEGMENT
    ]
    overlaps = box_ious(_boxes(found), _boxes(edited)).max(axis=1, initial=0)
    return [
        one
        for one, overlap in zip(found, overlaps, strict=True)
        if one.id not in taken and overlap < _SAME_ITEM_IOU
    ]


def _boxes(annotations: Sequence[Annotation]) -> BoxArray:
    return to_array([Box(*one.box) for one in annotations if one.box])

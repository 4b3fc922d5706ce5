"""Which stages of a deal are not up to date."""

from dataclasses import dataclass

from segpipe.errors import DealNotFoundError, InputError, SegpipeError
from segpipe.flow.photo import read_photos_version
from segpipe.flow.prompts import has_boxes, read_prompts_version
from segpipe.flow.stages import (
    ALL_STAGES,
    DEAL_PHOTOS,
    DEAL_PROMPTS,
    UPSTREAM,
    Stage,
    with_downstream,
)
from segpipe.flow.tools import Tools
from segpipe.segmenters.prompt import Mode
from segpipe.store.documents import CommitKind, Failure
from segpipe.store.inputs import fingerprint
from segpipe.store.store import DealStore, Snapshot


def stale_stages(
    store: DealStore, deal: str, mode: Mode, tools: Tools | None = None
) -> frozenset[Stage]:
    """The stages to make anew so that a deal is up to date; empty when it is.

    A stage is stale when it was never promoted, when the photos, the prompts of the mode or the
    versions above it are others than those it was made from, or when a stage above it is stale;
    with ``tools``, also when its code, segmenter, refiner or settings are others. Photo bytes are
    read only when sizes or times differ from those on record.

    Raises:
        InputError: The deal, one of its photos or one of its files of prompts cannot be used.
    """
    photos = store.photos(deal)
    snapshot = store.current(deal, mode)
    if snapshot is None or not snapshot.has(Stage.SEGMENTATION):
        return ALL_STAGES
    segmentation = snapshot.manifest(Stage.SEGMENTATION)
    made_from = segmentation.made_from[DEAL_PHOTOS]
    if segmentation.info.get("photos_fingerprint") != fingerprint(photos) and (
        made_from != read_photos_version(store, deal)
    ):
        return ALL_STAGES
    if segmentation.made_from.get(DEAL_PROMPTS) != read_prompts_version(store, deal, mode):
        return ALL_STAGES
    return with_downstream(
        stage
        for stage in Stage
        if not _is_consistent(stage, snapshot, made_from)
        or (tools and snapshot.manifest(stage).info.get("identity") != tools.identity(stage).digest)
    )


def is_unfinished(store: DealStore, deal: str, mode: Mode) -> bool:
    """Whether a run could bring a deal further: it is stale, and not known to be bad as it is.

    What somebody rolled back to is wanted: it is finished until the photos or prompts change. A
    deal that cannot be read is unfinished: a run says what is wrong with it. In the mode
    ``inside_box`` a deal without a box is finished: there is nothing to ask.
    """
    try:
        if mode is Mode.INSIDE_BOX and not has_boxes(store.prompts.images(deal)):
            return False
    except SegpipeError:
        pass  # known, or for a run to tell
    try:
        failure = store.last_failure(deal, mode)
        if (
            failure
            and not failure.retryable
            and _inputs(failure) == current_inputs(store, deal, mode)
        ):
            return False
        stale = stale_stages(store, deal, mode)
        snapshot = store.current(deal, mode)
        if run_of_unrecorded_finds(store, deal, mode):
            return True
    except SegpipeError:
        return True
    if snapshot and snapshot.commit.kind is CommitKind.ROLLBACK:
        return stale == ALL_STAGES
    return bool(stale)


def run_of_unrecorded_finds(store: DealStore, deal: str, mode: Mode) -> str | None:
    """The run whose current finds are not among the prompts, as writing them failed; or None.

    Raises:
        CorruptVersionError: The commit or the record of the last failure is damaged.
    """
    failure, snapshot = store.last_failure(deal, mode), store.current(deal, mode)
    if failure is None or snapshot is None or not snapshot.has(Stage.REFINEMENT):
        return None
    # A promotion makes failures before it void, so this run failed after it had promoted.
    made_by = snapshot.version(Stage.REFINEMENT).run_id
    return made_by if made_by == failure.run_id else None


@dataclass(frozen=True, slots=True)
class InputsMark:
    """What a run of a mode starts from, as it is recorded with a failure.

    Attributes:
        photos: The fingerprint of the photos; "" when they cannot be listed.
        prompts: The version of the mode's prompts; "" when they cannot be read.
    """

    photos: str
    prompts: str


def current_inputs(store: DealStore, deal: str, mode: Mode) -> InputsMark:
    """What a run of a mode would start from now; raises DealNotFoundError."""
    try:
        photos = fingerprint(store.photos(deal))
    except DealNotFoundError:
        raise
    except InputError:
        photos = ""
    try:
        prompts = read_prompts_version(store, deal, mode)
    except InputError:
        prompts = ""
    return InputsMark(photos, prompts)


def _inputs(failure: Failure) -> InputsMark:
    return InputsMark(failure.photos_fingerprint, failure.prompts_version)


def _is_consistent(stage: Stage, snapshot: Snapshot, photos_version: str) -> bool:
    """Whether a stage was made from the photos and the versions that are current now."""
    if not all(snapshot.has(needed) for needed in (stage, *UPSTREAM[stage])):
        return False
    made_from = snapshot.version(stage).made_from
    return made_from.get(DEAL_PHOTOS) == photos_version and all(
        made_from.get(above) == snapshot.version(above).name for above in UPSTREAM[stage]
    )

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
from segpipe.prompt import Mode
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
    snapshot = store.current(deal, mode)
    if not _is_of_present_inputs(store, deal, mode, snapshot) or snapshot is None:
        return ALL_STAGES
    photos_version = snapshot.version(Stage.SEGMENTATION).made_from[DEAL_PHOTOS]
    return with_downstream(
        stage
        for stage in Stage
        if not _is_consistent(stage, snapshot, photos_version)
        or (tools and snapshot.manifest(stage).info.identity != tools.identity(stage).digest)
    )


def is_unfinished(store: DealStore, deal: str, mode: Mode) -> bool:
    """Whether a run could bring a deal further: it is stale, and not known to be bad as it is.

    What somebody rolled back to is finished, see :func:`is_rolled_back`. A deal that cannot be
    read is unfinished: a run says what is wrong with it. In the mode ``inside_box`` a deal without
    a box is finished: there is nothing to ask.
    """
    try:
        if mode is Mode.INSIDE_BOX and not has_boxes(store.prompts.images(deal)):
            return False
    except SegpipeError:
        pass  # known, or for a run to tell
    try:
        if is_known_bad(store, deal, mode):
            return False
        if run_of_unrecorded_finds(store, deal, mode):
            return True
        return bool(stale_stages(store, deal, mode)) and not is_rolled_back(store, deal, mode)
    except SegpipeError:
        return True


def is_known_bad(store: DealStore, deal: str, mode: Mode) -> bool:
    """Whether the last run of a mode found that the deal, as it is now, cannot be used.

    Raises:
        DealNotFoundError: There is no such deal.
        StoreError: The record of the last failure cannot be read.
    """
    failure = store.last_failure(deal, mode)
    if failure is None or failure.retryable:
        return False
    return _inputs(failure) == current_inputs(store, deal, mode)


def is_rolled_back(store: DealStore, deal: str, mode: Mode) -> bool:
    """Whether somebody wants an older version: a rollback came last, and no input changed since.

    That is, the photos and prompts are still those of the last run, whatever those are that the
    version was made from. Photo bytes are read only when sizes or times differ.

    Raises:
        InputError: The deal, one of its photos or one of its files of prompts cannot be used.
        StoreError: A version cannot be read.
    """
    commits = store.commits(deal, mode)
    if not commits or commits[-1].kind is not CommitKind.ROLLBACK:
        return False
    of_runs = [commit for commit in commits if commit.kind is CommitKind.PROMOTE]
    last = (of_runs or commits)[-1]
    return _is_of_present_inputs(store, deal, mode, store.snapshot(deal, mode, last.generation))


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


def _is_of_present_inputs(
    store: DealStore, deal: str, mode: Mode, snapshot: Snapshot | None
) -> bool:
    """Whether the segmentation was made from the photos and prompts that are there now."""
    photos = store.photos(deal)
    if snapshot is None or not snapshot.has(Stage.SEGMENTATION):
        return False
    segmentation = snapshot.manifest(Stage.SEGMENTATION)
    made_from = segmentation.made_from
    return (
        segmentation.info.photos_fingerprint == fingerprint(photos)
        or made_from[DEAL_PHOTOS] == read_photos_version(store, deal)
    ) and made_from.get(DEAL_PROMPTS) == read_prompts_version(store, deal, mode)


def _is_consistent(stage: Stage, snapshot: Snapshot, photos_version: str) -> bool:
    """Whether a stage was made from the photos and the versions that are current now."""
    if not all(snapshot.has(needed) for needed in (stage, *UPSTREAM[stage])):
        return False
    made_from = snapshot.version(stage).made_from
    return made_from.get(DEAL_PHOTOS) == photos_version and all(
        made_from.get(above) == snapshot.version(above).name for above in UPSTREAM[stage]
    )

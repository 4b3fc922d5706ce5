"""Whether a deal needs a run of a mode, and why: sensors, schedules and commands all ask here."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from segpipe.errors import SegpipeError
from segpipe.flow.deal_inputs import (
    InputsMark,
    current_inputs,
    read_photos_version,
    read_reviews_version,
)
from segpipe.flow.deal_state import State, Todo
from segpipe.flow.mode_prompts import has_boxes, read_prompts_version
from segpipe.flow.run_settings import RunSettings
from segpipe.flow.saved_settings import Saved
from segpipe.flow.stage_changes import (
    all_changes,
    extras_out_of_date,
    is_older,
    some_of,
    texts_of,
)
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.review import REVIEW
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.prompt import Mode
from segpipe.store.failures import Failure
from segpipe.store.inputs import fingerprint
from segpipe.store.manifests import PHOTOS, PROMPTS, REVIEWS, CommitKind
from segpipe.store.reviews import NO_REVIEWS_VERSION
from segpipe.store.store import DealStore, Snapshot

_NOTHING: frozenset[str] = frozenset()


def todo_of(
    store: DealStore,
    deal: str,
    mode: Mode,
    settings: RunSettings,
    *,
    replace_other_settings: bool = False,
    saved_at: datetime | None = None,
    photos_fingerprint: str | None = None,
) -> Todo:
    """What a run of a deal would have to do. Never raises for what is wrong with the deal.

    A stage is made anew when it was never promoted, when the photos, the prompts of the mode, what
    people decided or the versions above it are others than those it was made from, when its code
    is another, or when a stage above it is made anew.

    Args:
        store: Where the deal lives.
        deal: The deal.
        mode: The mode.
        settings: Those that a run would have.
        replace_other_settings: Whether the caller asks for these settings: then what was made
            with others is made anew, and what could not be used before is tried again.
        saved_at: When these settings were saved: what could not be used since is not tried again.
        photos_fingerprint: That of the photos, where the caller has listed them. Then no photo is
            opened, and photos that were only touched count as changed; else the photos are read
            when their sizes or times differ from those on record.
    """
    try:
        comparison = _Comparison(store, deal, mode, settings, photos_fingerprint)
        return comparison.todo(replace_other_settings=replace_other_settings, saved_at=saved_at)
    except SegpipeError as error:
        return Todo(State.UNREADABLE, STAGES.names, f"it cannot be read: {error.message}")


def todo_by_saved_settings(store: DealStore, deal: str, mode: Mode, saved: Saved) -> Todo:
    """What a run of a deal would have to do that is told no settings of its own.

    Once settings are saved they are those of every deal; before, what somebody made with others
    than the defaults stays.
    """
    settings = saved.settings.of_run(saved.generation)
    saved_at = saved.document.created_at if saved.document else None
    replaces = saved.document is not None
    return todo_of(store, deal, mode, settings, replace_other_settings=replaces, saved_at=saved_at)


def nothing_to_ask(store: DealStore, deal: str, mode: Mode) -> Todo | None:
    """That there is nothing to look into: no box, in the mode ``inside_box``; else None."""
    if mode is not Mode.INSIDE_BOX:
        return None
    try:
        if has_boxes(store.prompts.images(deal)):
            return None
    except SegpipeError:
        return None  # it is known, or for a run to tell
    said = "no photo of the deal has a box to look into"
    return Todo(State.NOTHING_TO_ASK, _NOTHING, said)


def run_of_unrecorded_finds(store: DealStore, deal: str, mode: Mode) -> str | None:
    """The run whose current finds are not among the prompts, as writing them failed; or None.

    Raises:
        CorruptVersionError: The commit or the record of the last failure is damaged.
    """
    failure, snapshot = store.last_failure(deal, mode), store.current(deal, mode)
    return failure.run_id if failure and _is_about_finds(failure, snapshot) else None


class _Comparison:
    """What is current of a deal in a mode, compared with its inputs and with the settings."""

    def __init__(
        self,
        store: DealStore,
        deal: str,
        mode: Mode,
        settings: RunSettings,
        photos_fingerprint: str | None,
    ) -> None:
        self._store = store
        self._deal = deal
        self._mode = mode
        self._settings = settings
        self._photos_fingerprint = photos_fingerprint

    def todo(self, *, replace_other_settings: bool, saved_at: datetime | None) -> Todo:
        if nothing := nothing_to_ask(self._store, self._deal, self._mode):
            return nothing
        failure = self._store.last_failure(self._deal, self._mode)
        is_as_it_failed = failure is not None and self._is_as_before(failure)
        is_new = failure is None or saved_at is None or failure.created_at < saved_at
        may_help = replace_other_settings and is_new
        if failure and is_as_it_failed and not (failure.retryable or may_help):
            said = f"the last run could not use it, and nothing changed since: {_said(failure)}"
            return Todo(State.KNOWN_BAD, _NOTHING, said)
        snapshot = self._store.current(self._deal, self._mode)
        if snapshot and self._is_rolled_back(snapshot):
            todo = Todo(State.ROLLED_BACK, _NOTHING, "somebody rolled it back")
        else:
            todo = self._compare(snapshot, replace_other_settings=replace_other_settings)
        if failure and _is_about_finds(failure, snapshot) and not todo.stages:
            said = f"what was found is not among its prompts: {_said(failure)}"
            return Todo(State.FINDS_NOT_RECORDED, _NOTHING, said)
        if failure and is_as_it_failed and todo.needs_run:
            said = f"the last run failed: {_said(failure)}"
            return replace(todo, state=State.FAILED_BEFORE, reason=said)
        return todo

    def _compare(self, snapshot: Snapshot | None, *, replace_other_settings: bool) -> Todo:
        """What is current, against what was put in and the settings."""
        photos = self._photos()
        if snapshot is None or not snapshot.has(SEGMENTATION.name):
            return Todo(State.NEVER_MADE, STAGES.names, "it was never made")
        if not self._has_photos(snapshot, photos):
            return self._whole(snapshot, State.PHOTOS_CHANGED, "its photos changed")
        if not self._has_prompts(snapshot):
            return self._whole(snapshot, State.PROMPTS_CHANGED, "its prompts changed")
        usual = STAGES.in_order(STAGES.names)
        absent = [stage for stage in usual if not snapshot.has(stage.name)]
        missing = [stage.name for stage in absent if not stage.is_later]
        older = [stage.name for stage in usual if stage not in absent and is_older(stage, snapshot)]
        reviewed = [] if self._has_reviews(snapshot) else [REVIEW.name]
        made = STAGES.names - frozenset(missing)
        changes = dict(all_changes(snapshot, self._settings, made))
        code = [name for name, texts in changes.items() if not texts]
        reasons = {
            State.NEVER_MADE: (missing, "were never made"),
            State.REVIEWS_CHANGED: (reviewed, "lacks what was decided since"),
            State.UPSTREAM_NEWER: (older, "were made from older results than are current"),
            State.CODE_CHANGED: (code, "were made by another release of segpipe"),
        }
        if replace_other_settings:
            named = some_of(texts_of(changes))
            said = f"were made with other settings ({named})"
            reasons[State.SETTINGS_CHANGED] = ([s for s in changes if changes[s]], said)
        stale = STAGES.with_downstream(stage for stages, _ in reasons.values() for stage in stages)
        for state, (stages, said) in reasons.items():
            if stages:
                kept = {stage: texts for stage, texts in changes.items() if stage in stale}
                extra = () if replace_other_settings else texts_of(kept)
                return _todo(state, stale, f"{', '.join(stages)} {said}", extra)
        return self._at_rest(snapshot, changes, replace_other_settings=replace_other_settings)

    def _at_rest(
        self,
        snapshot: Snapshot,
        changes: Mapping[str, list[str]],
        *,
        replace_other_settings: bool,
    ) -> Todo:
        """What every run makes is as it should be; what is made by name may not be."""
        extras = extras_out_of_date(
            snapshot, self._settings, replace_other_settings=replace_other_settings
        )
        if extras:
            said = f"{'; '.join(extras.values())}; it is made again only when it is asked for"
            return Todo(State.EXTRA_OUT_OF_DATE, frozenset(extras), said)
        if changes:
            said = f"it was made with other settings ({some_of(texts_of(changes))})"
            return Todo(State.OTHER_SETTINGS, _NOTHING, said)
        return Todo(State.UP_TO_DATE, _NOTHING, "it is up to date")

    def _whole(self, snapshot: Snapshot, state: State, reason: str) -> Todo:
        """Everything is to be made anew; some of it may have been made with other settings."""
        made = [name for name in STAGES.names if snapshot.has(name)]
        changes = dict(all_changes(snapshot, self._settings, made))
        return _todo(state, STAGES.names, reason, texts_of(changes))

    def _photos(self) -> str:
        """The fingerprint of the photos that are there."""
        if self._photos_fingerprint is not None:
            return self._photos_fingerprint
        return fingerprint(self._store.photos(self._deal))

    def _has_photos(self, snapshot: Snapshot, photos: str) -> bool:
        """Whether the segmentation was made from the photos that are there."""
        segmentation = snapshot.manifest(SEGMENTATION.name)
        if segmentation.info.photos_fingerprint == photos:
            return True
        if self._photos_fingerprint is not None:
            return False
        version = read_photos_version(self._store, self._deal)
        return segmentation.made_from[PHOTOS] == version

    def _has_prompts(self, snapshot: Snapshot) -> bool:
        """The same for the prompts of the mode."""
        made_from = snapshot.version(SEGMENTATION.name).made_from.get(PROMPTS)
        return made_from == read_prompts_version(self._store, self._deal, self._mode)

    def _has_reviews(self, snapshot: Snapshot) -> bool:
        """The same for what people decided about the items."""
        made_from = NO_REVIEWS_VERSION
        if snapshot.has(REVIEW.name):
            made_from = snapshot.version(REVIEW.name).made_from[REVIEWS]
        return made_from == read_reviews_version(self._store, self._deal, self._mode)

    def _is_as_before(self, failure: Failure) -> bool:
        """Whether the photos, prompts and reviews are those that a failed run started from."""
        mark = InputsMark(
            failure.photos_fingerprint, failure.prompts_version, failure.reviews_version
        )
        return mark == current_inputs(self._store, self._deal, self._mode)

    def _is_rolled_back(self, snapshot: Snapshot) -> bool:
        """Whether what was put in is still what the last run before a rollback started from.

        Those of the version that was rolled back to do not matter.
        """
        if snapshot.commit.kind is not CommitKind.ROLLBACK:
            return False
        commits = self._store.commits(self._deal, self._mode)
        of_runs = [commit for commit in commits if commit.kind is CommitKind.PROMOTE]
        last = self._store.snapshot(self._deal, self._mode, (of_runs or commits)[-1].generation)
        if not last.has(SEGMENTATION.name):
            return False
        return (
            self._has_photos(last, self._photos())
            and self._has_prompts(last)
            and self._has_reviews(last)
        )


def _is_about_finds(failure: Failure, snapshot: Snapshot | None) -> bool:
    """Whether a run failed after it had promoted: a promotion makes failures before it void."""
    if snapshot is None or not snapshot.has(REFINEMENT.name):
        return False
    return snapshot.version(REFINEMENT.name).run_id == failure.run_id


def _todo(state: State, stages: frozenset[str], reason: str, changes: tuple[str, ...] = ()) -> Todo:
    if changes:
        reason = f"{reason}; it was made with other settings, which a run changes: "
        reason += some_of(changes)
    return Todo(state, stages, reason)


def _said(failure: Failure) -> str:
    first = failure.errors[0]
    more = f" and {len(failure.errors) - 1} more" if len(failure.errors) > 1 else ""
    return f"{first.image}: {first.message}{more}" if first.image else f"{first.message}{more}"

"""How a deal stands in both modes, in the words of :mod:`segpipe.flow.todo`, for lists of deals."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from segpipe.errors import DealNotFoundError, SegpipeError
from segpipe.flow.deal_state import State, Todo
from segpipe.flow.stages.report import REPORT
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.todo import todo_by_saved_settings
from segpipe.progress import NO_COUNTS, Counts
from segpipe.prompt import Mode
from segpipe.store.ids import check_deal_id
from segpipe.store.store import DealStore
from segpipe.studio.current_settings import CurrentSettings, current_settings
from segpipe.studio.pictures import photo_tag

_FIRST_PHOTOS = 4


class Tone(StrEnum):
    """How urgent a state is, for its colour."""

    GOOD = "good"
    REST = "rest"
    CHANGED = "changed"
    BAD = "bad"


_TONES = {
    State.UP_TO_DATE: Tone.GOOD,
    State.NOTHING_TO_ASK: Tone.REST,
    State.NEVER_MADE: Tone.REST,
    State.ROLLED_BACK: Tone.REST,
    State.OTHER_SETTINGS: Tone.REST,
    State.KNOWN_BAD: Tone.BAD,
    State.FAILED_BEFORE: Tone.BAD,
    State.FINDS_NOT_RECORDED: Tone.BAD,
    State.UNREADABLE: Tone.BAD,
}
"""All others are changes that a run has not seen."""


@dataclass(frozen=True, slots=True)
class ModeStatus:
    """How a deal stands in a mode.

    Attributes:
        mode: The mode.
        state: Its state.
        reason: Why, for people.
        needs_run: Whether a run could bring it further.
        generation: What is current; None before the first promotion.
        promoted_at: Since when.
        run_id: The run that made it current.
        counts: What its report counts; zeros without a report.
        has_failed: Whether the last run promoted nothing.
        asks_segmenter: Whether a run would look for items anew.
    """

    mode: Mode
    state: State
    reason: str
    needs_run: bool
    generation: int | None = None
    promoted_at: datetime | None = None
    run_id: str | None = None
    counts: Counts = NO_COUNTS
    has_failed: bool = False
    asks_segmenter: bool = False

    @property
    def tone(self) -> Tone:
        """How urgent it is."""
        return _TONES.get(self.state, Tone.CHANGED)


@dataclass(frozen=True, slots=True)
class DealStatus:
    """How a deal stands.

    Attributes:
        deal: The deal.
        photos: How many it has; 0 where they cannot be listed.
        fault: Why its photos cannot be used.
        modes: How it stands in each mode.
        first_photos: The first few, for thumbnails: image id and a tag of their content.
    """

    deal: str
    photos: int
    fault: str | None
    modes: tuple[ModeStatus, ...]
    first_photos: tuple[tuple[str, str], ...] = ()

    @property
    def last_run_at(self) -> datetime | None:
        """When something became current last, in any mode."""
        return max((each.promoted_at for each in self.modes if each.promoted_at), default=None)

    def of(self, mode: Mode) -> ModeStatus:
        """How it stands in one mode."""
        return next(each for each in self.modes if each.mode is mode)


class StatusReader:
    """Reads how deals stand, from the store alone.

    Args:
        store: The deals, and the saved settings that they are compared with.
    """

    def __init__(self, store: DealStore) -> None:
        self.store = store

    def status(self, deal: str) -> DealStatus:
        """How a deal stands; never raises for what is wrong with it."""
        return self.statuses([deal])[0]

    def existing(self, deal: str) -> DealStatus:
        """How a deal stands that there is.

        Raises:
            InvalidIdError: It cannot be the name of a deal.
            DealNotFoundError: There is no such deal.
        """
        deal = check_deal_id(deal)
        try:
            self.store.photos(deal)
        except DealNotFoundError:
            raise
        except SegpipeError:
            pass  # its status says what is wrong with it
        return self.status(deal)

    def statuses(self, deals: list[str]) -> list[DealStatus]:
        """How deals stand, each; the settings are read once.

        Where the saved settings cannot be used nobody can tell, and no run could do anything.
        """
        settings = current_settings(self.store)
        return [self._status(deal, settings) for deal in deals]

    def _status(self, deal: str, settings: CurrentSettings) -> DealStatus:
        fault, count = None, 0
        first: tuple[tuple[str, str], ...] = ()
        try:
            photos = self.store.photos(deal)
            count = len(photos)
            first = tuple((photo.image, photo_tag(photo)) for photo in photos[:_FIRST_PHOTOS])
        except SegpipeError as error:
            fault = error.message
        modes = tuple(self._mode(deal, mode, settings) for mode in Mode)
        return DealStatus(deal, count, fault, modes, first)

    def _mode(self, deal: str, mode: Mode, settings: CurrentSettings) -> ModeStatus:
        if settings.fault:
            todo = Todo(State.UNREADABLE, frozenset(), str(settings.fault))
        else:
            todo = todo_by_saved_settings(self.store, deal, mode, settings.saved)
        needs_run = todo.needs_run and settings.fault is None
        try:
            snapshot = self.store.current(deal, mode)
            has_failed = self.store.last_failure(deal, mode) is not None
            summary = None
            if snapshot and snapshot.has(REPORT.name):
                summary = snapshot.manifest(REPORT.name).info.summary
        except SegpipeError:
            return ModeStatus(mode, todo.state, todo.reason, needs_run)
        return ModeStatus(
            mode=mode,
            state=todo.state,
            reason=todo.reason,
            needs_run=needs_run,
            generation=snapshot.generation if snapshot else None,
            promoted_at=snapshot.commit.created_at if snapshot else None,
            run_id=snapshot.commit.run_id if snapshot else None,
            counts=summary.counts if summary else NO_COUNTS,
            has_failed=has_failed,
            asks_segmenter=SEGMENTATION.name in todo.stages,
        )

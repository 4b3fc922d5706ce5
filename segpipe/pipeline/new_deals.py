"""Decides which deals are new or changed: a pure function of a listing and a cursor."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice

from pydantic import BaseModel, ConfigDict, ValidationError

from segpipe.store.deal_folders import ScannedDeal

_MAX_REQUESTED = 2000


class Cursor(BaseModel):
    """What the sensor remembers between ticks; small, however many deals there are.

    Attributes:
        seen_to: Whatever changed before this time has been decided on, seconds since the epoch.
        waiting: Deals that changed before it and are not requested yet.
        requested: The version that was requested of each deal that changed after it.
        arrived_to: The place to which the log of arrivals was read; "" before the first look.
        recent: The places after the one from which the next look lists, that this one has seen.
        folders_ns: When the folder of all deals last changed, and all its names were known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen_to: float = 0.0
    waiting: frozenset[str] = frozenset()
    requested: dict[str, str] = {}
    arrived_to: str = ""
    recent: frozenset[str] = frozenset()
    folders_ns: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now.

    Attributes:
        ready: Deals to request, sorted by id.
        settling: How many new or changed deals are neither still nor complete yet.
        postponed: How many ready deals are left for later ticks.
        faults: Why some deals could not be listed; later ticks look at them again.
        cursor: What to remember.
    """

    ready: tuple[ScannedDeal, ...]
    settling: int
    postponed: int
    faults: dict[str, str]
    cursor: Cursor


def parse_cursor(text: str | None) -> Cursor:
    """Read a cursor; one that cannot be read starts anew, which asks about every deal again."""
    if not text:
        return Cursor()
    try:
        return Cursor.model_validate_json(text)
    except ValidationError:
        return Cursor()


def decide(
    listing: Iterable[ScannedDeal],
    cursor: Cursor,
    *,
    known: Collection[str],
    arrived: Collection[str] | None = None,
    now: float,
    settle_s: float,
    limit: int,
) -> Decision:
    """Find the deals that are new or changed, and ready.

    A deal with photos is considered when it is no partition yet, when something about its photos
    changed since ``cursor.seen_to``, when somebody has told of it, or when it waits. It is ready
    when it is marked complete, or has been still for ``settle_s``.

    Args:
        listing: The deals that were looked at.
        cursor: What the last tick remembered.
        known: The deals that are partitions already.
        arrived: Deals that somebody has told of; None when the listing has every deal there is.
        now: A time before the listing began, seconds since the epoch, by the clock of the place
            that holds the photos; one that is off by less than ``settle_s`` does no harm.
        settle_s: How long a deal must be still, seconds.
        limit: Deals to request at most.
    """
    # What changes within settle_s of now is looked at again on the next tick: the listing may
    # have passed the deal just before, and clocks differ.
    seen_to = max(cursor.seen_to, now - settle_s)
    ready: list[ScannedDeal] = []
    waiting: list[str] = []
    requested: dict[str, str] = {}
    faults: dict[str, str] = {}
    settling = postponed = 0
    told = frozenset(arrived or ())
    for scanned in sorted(listing, key=lambda scanned: scanned.deal):
        state = _state(scanned, cursor, known, now - settle_s, is_told=scanned.deal in told)
        if state is _State.IDLE:
            continue
        if state is _State.READY and len(ready) < limit:
            ready.append(scanned)
            state = _State.REQUESTED
        elif state is _State.READY:
            postponed += 1
        elif state is _State.SETTLING:
            settling += 1
        elif state is _State.FAULTY:
            faults[scanned.deal] = scanned.fault or ""
        # Of a whole listing those that are no partition yet are found again.
        stays = scanned.deal in known or arrived is not None
        if state is not _State.REQUESTED and stays:
            waiting.append(scanned.deal)
        elif state is _State.REQUESTED and scanned.changed_at >= seen_to:
            requested[scanned.deal] = scanned.state
    if arrived is not None:
        requested = _latest(cursor.requested | requested)
    update = {"seen_to": seen_to, "waiting": frozenset(waiting), "requested": requested}
    cursor = cursor.model_copy(update=update)
    return Decision(tuple(ready), settling, postponed, faults, cursor)


def _latest(requested: Mapping[str, str]) -> dict[str, str]:
    """As many of those that were requested last as a cursor may well have."""
    return dict(islice(requested.items(), max(0, len(requested) - _MAX_REQUESTED), None))


class _State(Enum):
    IDLE = auto()
    """Nothing to do, and nothing to remember."""
    FAULTY = auto()
    REQUESTED = auto()
    SETTLING = auto()
    READY = auto()


def _state(
    scanned: ScannedDeal,
    cursor: Cursor,
    known: Collection[str],
    still_since: float,
    *,
    is_told: bool,
) -> _State:
    deal = scanned.deal
    is_known, is_waiting = deal in known, deal in cursor.waiting
    is_at_rest = is_known and not is_waiting and not is_told
    is_unchanged = is_at_rest and scanned.changed_at < cursor.seen_to
    if scanned.fault:
        return _State.FAULTY
    if not scanned.photos or is_unchanged:
        return _State.IDLE
    if is_known and not is_waiting and cursor.requested.get(deal) == scanned.state:
        return _State.REQUESTED
    is_ready = scanned.is_complete or scanned.changed_at <= still_since
    return _State.READY if is_ready else _State.SETTLING

"""Which deals somebody wants processed, and the starting and ending of their runs."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from segpipe.flow.deal_state import State
from segpipe.prompt import Mode
from segpipe.store.ids import check_deal_id
from segpipe.studio.deal_status import DealStatus, Tone
from segpipe.studio.roles import Person, Role, require_role
from segpipe.studio.run_requests import RunRequest, Started
from segpipe.studio.run_watch import WatchedRun
from segpipe.studio.studio_state import Studio
from segpipe.threads import finish_in_thread
from segpipe.web.problems import BAD_REQUEST, RefusedError

REQUEST_ID_PATTERN = r"[0-9A-Za-z_-]{8,64}"
MAX_DEALS = 20_000
"""Deals that one request names at most."""
_NOT_FOUND = 404
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Scope(StrEnum):
    """Which deals are meant."""

    CHANGED = "changed"
    """Those that a run would bring further."""
    SELECTED = "selected"
    """Those that are named."""
    ALL = "all"
    """All, made anew whether they are up to date or not."""


@dataclass(frozen=True, slots=True)
class ModeOverview:
    """How all deals stand in a mode.

    Attributes:
        deals: How each stands.
        tones: How many there are of each tone; those that were never made count for themselves.
        never: How many were never made.
        todo: Those that a run would bring further, failed ones first.
        stuck: Those that failed, and that no run would bring further.
    """

    deals: Sequence[DealStatus]
    tones: Counter[Tone]
    never: int
    todo: Sequence[DealStatus]
    stuck: Sequence[DealStatus]


def overview_of(studio: Studio, mode: Mode) -> ModeOverview:
    """How all deals stand in a mode."""
    deals = studio.deals.everything()
    states = [(deal, deal.of(mode)) for deal in deals]
    never = sum(each.state is State.NEVER_MADE for _, each in states)
    tones = Counter(each.tone for _, each in states if each.state is not State.NEVER_MADE)
    todo = [deal for deal, each in states if each.needs_run and deal.photos]
    todo.sort(key=lambda deal: (deal.of(mode).tone is not Tone.BAD, deal.deal))
    stuck = [deal for deal, each in states if each.tone is Tone.BAD and not each.needs_run]
    return ModeOverview(deals, tones, never, todo, stuck)


def chosen_deals(
    studio: Studio, mode: Mode, scope: Scope, named: Sequence[str]
) -> tuple[DealStatus, ...]:
    """The deals that are meant, with photos, but for those that a run has in hand already.

    Raises:
        DealNotFoundError: A named deal is not there.
        RefusedError: No deal is named where some should be.
    """
    if scope is Scope.SELECTED and not named:
        raise RefusedError(BAD_REQUEST, "InvalidRequest", "choose deals first", field="deal")
    match scope:
        case Scope.SELECTED:
            names = dict.fromkeys(check_deal_id(each) for each in named)
            found: Sequence[DealStatus] = [studio.status.existing(each) for each in names]
        case Scope.CHANGED:
            found = overview_of(studio, mode).todo
        case Scope.ALL:
            found = studio.deals.everything()
    busy = studio.runs.under_way(mode)
    return tuple(
        deal
        for deal in found
        if deal.deal not in busy and deal.photos and deal.of(mode).state is not State.NOTHING_TO_ASK
    )


async def start(
    studio: Studio,
    person: Person,
    request_id: str,
    mode: Mode,
    scope: Scope,
    named: Sequence[str],
    *,
    anew: bool = False,
) -> Started:
    """Start the runs of deals that somebody asks for; once, however often they click.

    Raises:
        RefusedError: They may not (403), there is nothing to run (400), or Dagster is not there.
    """
    if scope is Scope.ALL or anew:
        require_role(person, Role.ADMIN)
    deals = await finish_in_thread(chosen_deals, studio, mode, scope, named)
    wanted = RunRequest(
        id=request_id,
        mode=mode,
        deals=tuple(deal.deal for deal in deals),
        anew=anew or scope is Scope.ALL,
        by=person.name,
    )
    started = await studio.requests.start(wanted)
    if started.is_new:
        studio.audit.note(
            person,
            "started runs",
            mode=mode,
            scope=scope,
            deals=len(deals),
            run=started.run_id,
            settings_generation=started.generation,
        )
    return started


def existing_run(studio: Studio, run_id: str) -> WatchedRun:
    """A run that there is; RefusedError (404) where there is none."""
    run = studio.runs.run(run_id) if _RUN_ID.fullmatch(run_id) else None
    if run is None:
        raise RefusedError(_NOT_FOUND, "NotFound", "there is no such run")
    return run


async def cancel_run(
    studio: Studio, person: Person, run_id: str, *, whole_request: bool = False
) -> int:
    """End a run, or all of its request; gives how many.

    Raises:
        RefusedError: There is no such run (404), it is over (409), or Dagster is not there (503).
    """
    run = await finish_in_thread(existing_run, studio, run_id)
    ended = await studio.requests.end(run.run, whole_request=whole_request)
    studio.audit.note(person, "cancelled runs", run=run_id, runs=ended)
    return ended

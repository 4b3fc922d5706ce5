"""The generations of a deal, and going back to one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from segpipe.errors import SegpipeError
from segpipe.flow.finds import write_finds_after_rollback
from segpipe.flow.stages.report import REPORT
from segpipe.prompt import Mode
from segpipe.store.manifests import Commit
from segpipe.store.store import DealStore
from segpipe.store.version_info import DealSummary, ImageSummary
from segpipe.studio.deal_contents import read_report
from segpipe.studio.roles import Person
from segpipe.studio.studio_state import Studio
from segpipe.web.problems import RefusedError

_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a deal and mode.

    Attributes:
        number: Its number.
        made_at: When it became current.
        kind: "promote" or "rollback".
        run_id: The run that made it.
        changed: The assets whose versions are others than in the one before.
        summary: What its report says; None without one, or where it cannot be read.
        is_current: Whether it is current.
    """

    number: int
    made_at: datetime
    kind: str
    run_id: str
    changed: Sequence[str]
    summary: DealSummary | None
    is_current: bool


def read_history(store: DealStore, deal: str, mode: Mode) -> list[Generation]:
    """The kept generations of a deal and mode, the latest first."""
    commits = store.commits(deal, mode)[::-1]
    older: list[Commit | None] = [*commits[1:], None]
    return [
        Generation(
            number=commit.generation,
            made_at=commit.created_at,
            kind=commit.kind.value,
            run_id=commit.run_id,
            changed=[
                asset
                for asset, held in commit.assets.items()
                if before is None or before.assets.get(asset) != held
            ],
            summary=_summary(store, deal, mode, commit.generation),
            is_current=commit is commits[0],
        )
        for commit, before in zip(commits, older, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class ShownGeneration:
    """A generation as it is shown beside another.

    Attributes:
        number: Its number.
        images: What its report says of each photo, by image id; none without a report.
        items: Items in all photos together.
    """

    number: int
    images: Mapping[str, ImageSummary]
    items: int


def read_shown(store: DealStore, deal: str, mode: Mode, number: int) -> ShownGeneration:
    """What was found in each photo in a generation.

    Raises:
        VersionNotFoundError: There is none of that number, or no longer.
        CorruptVersionError: It is damaged.
    """
    snapshot = store.snapshot(deal, mode, number)
    summary = read_report(snapshot)
    images = {image.image: image for image in summary.images} if summary else {}
    return ShownGeneration(number, images, summary.counts.crops if summary else 0)


def roll_back(
    studio: Studio, person: Person, deal: str, mode: Mode, generation: int, *, seen: int | None
) -> int:
    """Make an older generation current again as a whole, and note it.

    Args:
        studio: The studio.
        person: Who wants it.
        deal: The deal.
        mode: The mode.
        generation: The generation.
        seen: The one that was current when the person decided; None to go back whatever it is.

    Returns:
        The number of the new generation.

    Raises:
        RefusedError: Another one has become current meanwhile (409).
        VersionNotFoundError: There is none of that number, or no longer.
    """
    current = studio.store.current(deal, mode)
    if seen is not None and (current is None or current.generation != seen):
        now = f"generation {current.generation} is" if current else "nothing is"
        raise RefusedError(
            _CONFLICT,
            "Changed",
            f"{now} current now, no longer generation {seen}: look at it first",
            field="seen",
        )
    promotion = studio.store.rollback(deal, mode, generation)
    made = promotion.commit.generation
    studio.audit.note(
        person, "rolled back", deal=deal, mode=mode.value, generation=made, of=generation
    )
    studio.deals.forget(deal)
    write_finds_after_rollback(studio.store, deal, mode)
    return made


def _summary(store: DealStore, deal: str, mode: Mode, generation: int) -> DealSummary | None:
    try:
        snapshot = store.snapshot(deal, mode, generation)
        return snapshot.manifest(REPORT.name).info.summary if snapshot.has(REPORT.name) else None
    except SegpipeError:
        return None  # 'segpipe verify' tells of it

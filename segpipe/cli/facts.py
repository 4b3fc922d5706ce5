"""What commands tell of what there is, in the form that ``--json`` prints."""

from dataclasses import dataclass
from datetime import datetime

from segpipe.cli.settings_facts import (  # noqa: F401 - here are all
    RejectedFacts,
    SettingChangeFacts,
    SettingFacts,
    SettingsDifference,
    SettingsFacts,
    SettingsGeneration,
    SettingsHistory,
    TrialFacts,
    TrialResult,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What was wrong with a photo, or with a deal as a whole."""

    image: str | None
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class FailureFacts:
    """Why the last run of a deal promoted nothing."""

    run_id: str
    failed_at: datetime
    may_pass: bool
    errors: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class DealState:
    """How a deal stands in a mode: what is current, whether it needs a run, and why."""

    deal: str
    mode: str
    state: str
    reason: str
    needs_run: bool
    generation: int | None
    promoted_at: datetime | None
    images: int | None
    crops: int | None
    failure: FailureFacts | None


@dataclass(frozen=True, slots=True)
class NoDeal:
    """A folder under ``deals/`` that is no deal, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DealList:
    """``segpipe list``."""

    root: str
    deals: tuple[DealState, ...]
    no_deals: tuple[NoDeal, ...]


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A run of Dagster that waits or is under way, and the deals that it is for."""

    run_id: str
    status: str
    modes: tuple[str, ...]
    deals: tuple[str, ...]
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """``segpipe status``: ``segpipe list``, and the runs that have not ended."""

    root: str
    deals: tuple[DealState, ...]
    no_deals: tuple[NoDeal, ...]
    runs: tuple[UnfinishedRun, ...]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What became of a photo; ``crops_folder`` is None when nothing was cut out of it."""

    image: str
    file_name: str
    width: int
    height: int
    detections: int
    survivors: int
    refined: int
    crops: int
    crops_folder: str | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModeFacts:
    """What is current for a deal in a mode; None where nothing is."""

    mode: str
    state: str
    reason: str
    needs_run: bool
    generation: int | None
    kind: str | None
    run_id: str | None
    promoted_at: datetime | None
    segmenter: str | None
    refiner: str | None
    crops_folder: str | None
    contact_sheet: str | None
    images: tuple[ImageFacts, ...]
    warnings: tuple[str, ...]
    failure: FailureFacts | None


@dataclass(frozen=True, slots=True)
class DealFacts:
    """``segpipe show``; ``photos_fault`` says why the photos cannot be used now."""

    deal: str
    photos: int | None
    photos_fault: str | None
    modes: tuple[ModeFacts, ...]


@dataclass(frozen=True, slots=True)
class Generation:
    """A kept generation of a deal in a mode."""

    mode: str
    generation: int
    is_current: bool
    promoted_at: datetime
    kind: str
    run_id: str
    versions: dict[str, str]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionList:
    """``segpipe versions``; the latest generation of a mode comes first."""

    deal: str
    generations: tuple[Generation, ...]
    unreadable_modes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """``segpipe rollback``: what is current now."""

    deal: str
    mode: str
    generation: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class ProblemFacts:
    """A promoted file that is not what was written; no asset: the commit itself."""

    deal: str
    mode: str
    generation: int
    asset: str | None
    file: str | None
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """``segpipe verify``."""

    deals: tuple[str, ...]
    problems: tuple[ProblemFacts, ...]


@dataclass(frozen=True, slots=True)
class Sweeping:
    """``segpipe sweep``; ``skipped`` could not be read and was left alone."""

    is_dry_run: bool
    versions: int
    commits: int
    files: int
    bytes: int
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CostFacts:
    """What one run spent on one deal, in credits."""

    run_id: str
    deal: str
    started_at: str
    calls: int
    credits: float
    calls_of_unknown_cost: int
    credits_left: float | None


@dataclass(frozen=True, slots=True)
class CostList:
    """``segpipe costs``."""

    costs: tuple[CostFacts, ...]
    calls: int
    credits: float
    calls_of_unknown_cost: int


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """A prompt; no photo: for all photos of the deal. Numbers are pixels of the upright photo."""

    photo: str | None
    mode: str
    id: str | None
    type: str
    label: int | None
    text: str | None
    box: tuple[float, float, float, float] | None
    point: tuple[float, float] | None
    category: str | None
    source: str | None
    created_by: str | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class PromptList:
    """``segpipe prompts`` and ``segpipe prompt``; ``faults`` are prompts that cannot be used."""

    deal: str
    prompts: tuple[PromptFacts, ...]
    faults: tuple[str, ...]

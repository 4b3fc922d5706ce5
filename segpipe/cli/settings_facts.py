"""What ``segpipe settings`` tells, in the form that ``--json`` prints."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class SettingFacts:
    """A setting of the saved ones; the value of a choice is its kind."""

    field: str
    value: JsonValue
    default: JsonValue
    is_default: bool


@dataclass(frozen=True, slots=True)
class SettingChangeFacts:
    """A setting that differs between two generations."""

    field: str
    before: JsonValue
    after: JsonValue


@dataclass(frozen=True, slots=True)
class SettingsGeneration:
    """A generation of the saved settings, and what it changed."""

    generation: int
    is_current: bool
    kind: str | None
    saved_at: datetime | None
    saved_by: str | None
    note: str | None
    changes: tuple[SettingChangeFacts, ...]
    fault: str | None


@dataclass(frozen=True, slots=True)
class SettingsFacts:
    """``segpipe settings show``."""

    generation: int
    saved_at: datetime | None
    saved_by: str | None
    settings: tuple[SettingFacts, ...]


@dataclass(frozen=True, slots=True)
class SettingsHistory:
    """``segpipe settings history``, the latest first."""

    generations: tuple[SettingsGeneration, ...]


@dataclass(frozen=True, slots=True)
class SettingsDifference:
    """``segpipe settings diff``, and what the other actions changed."""

    before: int
    after: int
    changes: tuple[SettingChangeFacts, ...]


@dataclass(frozen=True, slots=True)
class RejectedFacts:
    """A detection that was rejected, and the survivor that beat it."""

    detection: int
    survivor: int
    criterion: str
    value: float


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What some settings found in a photo."""

    settings: str
    segmenter: str
    found: int
    kept: tuple[int, ...]
    rejected: tuple[RejectedFacts, ...]
    new_in_passes: tuple[int, ...]
    seconds: float
    calls: int
    credits: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """``segpipe try``."""

    drawing: str
    trials: tuple[TrialResult, ...]

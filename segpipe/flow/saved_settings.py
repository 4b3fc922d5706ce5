"""The settings that somebody saved, for every run under a data root, and their history."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field

from segpipe.errors import ConfigError, SavedSettingsError, SettingsConflictError
from segpipe.flow.run_settings import FlowSettings, RunSettings
from segpipe.flow.setting_fields import SettingChange, differences, parse
from segpipe.refiners.build_refiner import AnyRefinerConfig
from segpipe.refiners.grabcut import GrabCutConfig
from segpipe.segmenters.build_segmenter import (
    AnySegmenterConfig,
    Sam3Config,
    innermost,
    with_innermost,
)
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.sam3.segmind import SegmindConfig
from segpipe.settings import Settings
from segpipe.store.settings_documents import (
    HOW_TO_RESTORE,
    SettingsDocument,
    SettingsKind,
)
from segpipe.store.store import DealStore

_MAX_NAMED = 5


class BudgetSettings(Settings):
    """What runs with saved settings may spend; a limit of the segmenter's own holds, too."""

    operational = frozenset({"max_paid_calls_per_run", "max_cost_per_run", "max_cost_per_day"})

    max_paid_calls_per_run: int = Field(
        default=0,
        ge=0,
        description="Paid calls of one request at most, in however many runs; 0 is no limit.",
    )
    max_cost_per_run: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="Credits of one request at most, in however many runs; 0 is no limit.",
    )
    max_cost_per_day: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="Credits that all runs of a day together may cost at most, by UTC; 0 is no "
        "limit.",
    )


class SavedSettings(FlowSettings):
    """All settings of runs: the segmenter, the refiner, the stages, and what they may spend.

    >>> SavedSettings().of_run(0).stages == FlowSettings()
    True
    """

    segmenter: AnySegmenterConfig = Field(
        default=ClassicalConfig(), discriminator="kind", description="Which segmenter, and how."
    )
    refiner: AnyRefinerConfig = Field(
        default=GrabCutConfig(), discriminator="kind", description="Which refiner, and how."
    )
    budget: BudgetSettings = BudgetSettings()

    def of_run(self, generation: int) -> RunSettings:
        """The settings of a run that is told none of its own."""
        stages: dict[str, Any] = {name: getattr(self, name) for name in FlowSettings.model_fields}
        segmenter = within_budget(self.segmenter, self.budget)
        return RunSettings(segmenter, self.refiner, FlowSettings(**stages), generation)


@dataclass(frozen=True, slots=True)
class Saved:
    """A generation of the saved settings.

    Attributes:
        generation: 0 is that before anything was saved: the defaults of the code.
        settings: The settings.
        document: Who saved them and when; None for generation 0.
    """

    generation: int
    settings: SavedSettings
    document: SettingsDocument | None


def within_budget(segmenter: AnySegmenterConfig, budget: BudgetSettings) -> AnySegmenterConfig:
    """The settings of a segmenter that may spend no more than a budget allows."""
    match innermost(segmenter):
        case Sam3Config(backend=SegmindConfig() as backend) as inner:
            limits = {
                "max_paid_calls": _lower(backend.max_paid_calls, budget.max_paid_calls_per_run),
                "max_cost": _lower(backend.max_cost, budget.max_cost_per_run),
                "max_cost_per_day": _lower(backend.max_cost_per_day, budget.max_cost_per_day),
            }
            limited = inner.model_copy(update={"backend": backend.model_copy(update=limits)})
            return with_innermost(segmenter, limited)
        case _:
            return segmenter


def read_saved(store: DealStore, generation: int | None = None) -> Saved:
    """A generation of the saved settings, the current one unless another is named.

    Raises:
        SavedSettingsError: There is none, or it cannot be used: it names the field, and says how
            to bring an earlier one back.
    """
    number = store.settings.newest_generation() if generation is None else generation
    if number == 0:
        return Saved(0, SavedSettings(), None)
    document = store.settings.read(number)
    return Saved(number, _parsed(document), document)


def generation_at(store: DealStore, moment: datetime) -> int:
    """The generation that was current at a time; 0 when nothing had been saved.

    Raises:
        SavedSettingsError: A newer one cannot be read, so nobody knows when it was saved.
    """
    for generation in range(store.settings.newest_generation(), 0, -1):
        if store.settings.read(generation).created_at <= moment:
            return generation
    return 0


def save(
    store: DealStore,
    settings: SavedSettings,
    *,
    by: str = "",
    note: str = "",
    expected: int | None = None,
) -> Saved:
    """Make settings the current ones, as the next generation.

    Args:
        store: The data root.
        settings: All of them; only those that differ from the defaults are kept.
        by: Who saves.
        note: What for.
        expected: The generation that was edited; None replaces whatever is current.

    Raises:
        SettingsConflictError: Another generation is current; it has the difference.
    """
    return _append(store, SettingsKind.SAVE, settings, by=by, note=note, expected=expected)


def reset(store: DealStore, *, by: str = "", note: str = "", expected: int | None = None) -> Saved:
    """Make the defaults of the code the current settings; as :func:`save`."""
    kind, settings = SettingsKind.RESET, SavedSettings()
    return _append(store, kind, settings, by=by, note=note, expected=expected)


def restore(
    store: DealStore, generation: int, *, by: str = "", note: str = "", expected: int | None = None
) -> Saved:
    """Make an earlier generation the current one again, as a new generation; as :func:`save`.

    Raises:
        SavedSettingsError: There is no such generation, or it cannot be used.
        SettingsConflictError: Another generation is current than was expected.
    """
    earlier = read_saved(store, generation)
    kind = earlier.document.kind if earlier.document else SettingsKind.RESET
    note = note or f"generation {generation} restored"
    return _append(store, kind, earlier.settings, by=by, note=note, expected=expected)


def changes_between(store: DealStore, before: int, after: int) -> tuple[SettingChange, ...]:
    """Which settings differ between two generations.

    Raises:
        SavedSettingsError: One of them cannot be used.
    """
    one, other = read_saved(store, before), read_saved(store, after)
    return tuple(differences(one.settings, other.settings))


def _append(
    store: DealStore,
    kind: SettingsKind,
    settings: SavedSettings,
    *,
    by: str,
    note: str,
    expected: int | None,
) -> Saved:
    kept = settings.changed()
    try:
        document = store.settings.append(kind, kept, by=by, note=note, expected=expected)
    except SettingsConflictError as error:
        if expected is not None:
            raise _with_changes(store, error, expected) from None
        raise
    return Saved(document.generation, settings, document)


def _with_changes(
    store: DealStore, error: SettingsConflictError, expected: int
) -> SettingsConflictError:
    """The same conflict with what others changed since."""
    told: tuple[str, ...]
    try:
        found = changes_between(store, expected, store.settings.newest_generation())
        told = tuple(map(str, found))
    except SavedSettingsError as fault:
        told = (fault.message,)
    named = ", ".join(told[:_MAX_NAMED]) + (", …" if len(told) > _MAX_NAMED else "")
    new = SettingsConflictError(f"{error.message}: {named or 'nothing differs'}")
    new.changes = told
    return new


def _parsed(document: SettingsDocument) -> SavedSettings:
    try:
        return parse(SavedSettings, document.settings)
    except ConfigError as error:
        raise SavedSettingsError(
            f"generation {document.generation} of the saved settings cannot be used: "
            f"{error.message}; {HOW_TO_RESTORE}",
            field=error.field,
        ) from None


def _lower(limit: float, other: float) -> float:
    """The lower of two limits, of which 0 is none."""
    return min(limit, other) if limit and other else limit or other

"""Which settings a run has: those that its config tells, and the saved ones for all the rest."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import dagster as dg

from segpipe.errors import ConfigError, SegpipeError, describe
from segpipe.flow.run_deal import is_retryable
from segpipe.flow.run_settings import FlowSettings, RunSettings
from segpipe.flow.saved_settings import generation_at, read_saved
from segpipe.flow.tools import Tools
from segpipe.pipeline.options import RunOptions, SavedOptions
from segpipe.pipeline.partitions import REQUEST_TAG
from segpipe.pipeline.resources import RefinerResource, SegmenterResource
from segpipe.prompt import Mode
from segpipe.refiners.build_refiner import build_refiner
from segpipe.segmenters.build_segmenter import build_segmenter
from segpipe.segmenters.kept_data import KeptData
from segpipe.settings import Settings
from segpipe.store.store import DealStore

SETTINGS_TAG = "segpipe/settings_generation"
"""The tag with the generation of the saved settings: 0 before anything was saved."""

BACKFILL_TAG = "dagster/backfill"
_PARENT_TAG = "dagster/parent_run_id"
_RETRY_TAG = "dagster/retry_number"
_ROOT_TAG = "dagster/root_run_id"
_LOOK_AT_RUNS = 25

SettingsT = TypeVar("SettingsT", bound=Settings)


def settings_of_run(
    store: DealStore,
    segmenter: SegmenterResource,
    refiner: RefinerResource,
    options: RunOptions | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    generation: int | None = None,
) -> RunSettings:
    """All settings of a run.

    Args:
        store: Where the saved ones are.
        segmenter: The segmenter's, or that it is the saved one.
        refiner: The same of the refiner.
        options: The settings of the mode, with the default of everything that nobody gave.
        given: Which of them somebody gave: the mode's section of run config, as it was written.
        generation: Of the saved settings, unless run config names one; None is the current one.

    Raises:
        ConfigError: Run config names two generations.
        SavedSettingsError: The saved ones cannot be used.
    """
    own = (segmenter.settings(), refiner.settings(), options.base if options else SavedOptions())
    saved = [each for each in own if isinstance(each, SavedOptions)]
    told = {each.generation for each in saved} - {None}
    if len(told) > 1:
        numbers = " and ".join(map(str, sorted(told, key=str)))
        raise ConfigError(f"a run uses one generation of the saved settings, not {numbers}")
    if not saved:
        return RunSettings(own[0], own[1], options or FlowSettings())
    found = read_saved(store, told.pop() if told else generation)
    rest = found.settings.of_run(found.generation)
    stages = rest.stages
    if options is not None:
        stages = _with_given(rest.stages, options, given or {}) if own[2] in saved else options
    return RunSettings(
        segmenter=rest.segmenter if own[0] in saved else own[0],
        refiner=rest.refiner if own[1] in saved else own[1],
        stages=stages,
        generation=found.generation,
    )


def settings_of_launched_run(
    context: dg.AssetExecutionContext,
    mode: Mode,
    store: DealStore,
    segmenter: SegmenterResource,
    refiner: RefinerResource,
    options: RunOptions,
) -> RunSettings:
    """All settings of the run of a step, decided once: they are logged, and its tag says which.

    Raises:
        dg.Failure: They cannot be used; a retry would find the same.
    """
    given: Any = context.run.run_config
    for part in ("ops", mode.value, "config"):
        given = given.get(part) if isinstance(given, Mapping) else None
    try:
        generation = _generation_of_run(context, store)
        settings = settings_of_run(
            store, segmenter, refiner, options, given=given, generation=generation
        )
    except SegpipeError as error:
        raise dg.Failure(describe(error), allow_retries=is_retryable(error)) from error
    if settings.generation is not None:
        context.instance.add_run_tags(context.run.run_id, settings_tag(settings))
    context.log.info(_told(settings))
    return settings


def settings_tag(settings: RunSettings) -> dict[str, str]:
    """The tag that makes the runs of one request use one generation; none where all was told."""
    return {} if settings.generation is None else {SETTINGS_TAG: str(settings.generation)}


def request_of_tags(tags: Mapping[str, str]) -> str:
    """The request that a run is a part of, whose budget it spends; "" when it is one by itself.

    That is a request of the studio, the command line, a sensor or a schedule, or a backfill. What
    Dagster retries spends the budget of what failed; what somebody starts again has one of its own.

    >>> request_of_tags({"segpipe/request": "a1"}), request_of_tags({"dagster/backfill": "b2"})
    ('a1', 'b2')
    >>> request_of_tags({"segpipe/request": "a1", "dagster/parent_run_id": "c3"})
    ''
    """
    if _is_started_again_by_hand(tags):
        return ""
    retried = tags.get(_ROOT_TAG, "") if _RETRY_TAG in tags else ""
    return tags.get(REQUEST_TAG) or tags.get(BACKFILL_TAG) or retried


def build_tools(
    segmenter: SegmenterResource,
    refiner: RefinerResource,
    settings: RunSettings,
    data: KeptData,
) -> Tools:
    """The tools of a run, built once, since loading a model is dear.

    Raises:
        dg.Failure: Something is missing, such as a key or weights; a retry would miss it, too.
    """
    try:
        return Tools(
            segmenter=build_segmenter(settings.segmenter, data)  # type: ignore[arg-type]
            if isinstance(segmenter.settings(), SavedOptions)
            else segmenter.build(data),
            refiner=build_refiner(settings.refiner)  # type: ignore[arg-type]
            if isinstance(refiner.settings(), SavedOptions)
            else refiner.build(),
            settings=settings,
        )
    except SegpipeError as error:
        raise dg.Failure(describe(error), allow_retries=is_retryable(error)) from error


def _generation_of_run(context: dg.AssetExecutionContext, store: DealStore) -> int | None:
    """The generation that was decided on before this step; None when none was."""
    run = context.instance.get_run_by_id(context.run.run_id) or context.run
    decided, inherited = run.tags.get(SETTINGS_TAG), context.run.tags.get(SETTINGS_TAG)
    # Who starts a run again by hand may have saved other settings for it.
    if decided and not (_is_started_again_by_hand(run.tags) and decided == inherited):
        return int(decided)
    backfill = run.tags.get(BACKFILL_TAG)
    return _generation_of_backfill(context.instance, store, backfill) if backfill else None


def _is_started_again_by_hand(tags: Mapping[str, str]) -> bool:
    return _PARENT_TAG in tags and _RETRY_TAG not in tags


def _generation_of_backfill(
    instance: dg.DagsterInstance, store: DealStore, backfill: str
) -> int | None:
    """What the first runs of a backfill decided on, else what was current when it was made."""
    filters = dg.RunsFilter(tags={BACKFILL_TAG: backfill})
    for run in instance.get_runs(filters, limit=_LOOK_AT_RUNS, ascending=True):
        if decided := run.tags.get(SETTINGS_TAG):
            return int(decided)
    found = instance.get_backfill(backfill)
    if found is None:
        return None
    return generation_at(store, datetime.fromtimestamp(found.backfill_timestamp, UTC))


def _with_given(saved: SettingsT, options: Settings, given: Mapping[str, Any]) -> SettingsT:
    """The saved settings with those that somebody gave in their place."""
    values = dict(saved)
    for name, inner in given.items():
        if name not in values:
            continue  # an option of the run itself
        value, mine = getattr(options, name), values[name]
        if isinstance(mine, Settings) and isinstance(value, type(mine)):
            told = inner if isinstance(inner, Mapping) else {}
            # Run config names the kind of a choice around its settings.
            told = told.get(getattr(value, "kind", None), told)
            value = _with_given(mine, value, told)
        values[name] = value
    return type(saved)(**values)


def _told(settings: RunSettings) -> str:
    if settings.generation is None:
        return "settings: all as told by the run's config"
    if settings.generation == 0:
        return "settings: the defaults, as none are saved, and what the run's config tells"
    return (
        f"settings: generation {settings.generation} of the saved ones, and what the run's "
        "config tells"
    )

"""Tells Dagster, deal by deal, what a run promoted: materialisations, checks, observations."""

import base64
from collections.abc import Iterable, Iterator, Mapping

import dagster as dg
import pyarrow as pa
from pydantic import JsonValue

from segpipe.errors import SegpipeError
from segpipe.flow.checks import CHECKS, Check, Finding
from segpipe.flow.deal import DealOutcome
from segpipe.flow.settings import CheckSettings
from segpipe.flow.stages import (
    CODE_VERSIONS,
    DEAL_PHOTOS,
    DEAL_PROMPTS,
    UPSTREAM,
    Stage,
    in_order,
)
from segpipe.flow.table_files import TABLES
from segpipe.prompt import Mode
from segpipe.store.prompts import NO_PROMPTS_VERSION
from segpipe.store.store import DealStore, Snapshot
from segpipe.store.version_info import UsageSummary
from segpipe.vision.image import decode_image
from segpipe.vision.overlay import inline_preview

PREVIEW_MAX_BYTES = 10_000
"""Of the picture in the metadata: Dagster keeps several copies of it, a third larger in base64."""

PHOTOS_KEY = dg.AssetKey(DEAL_PHOTOS)

_DATA_VERSION_TAG = "dagster/data_version"
_IS_OWN_DATA_VERSION_TAG = "dagster/data_version_is_user_provided"
_CODE_VERSION_TAG = "dagster/code_version"
_INPUT_DATA_VERSION_TAG = "dagster/input_data_version"
_INPUT_EVENT_POINTER_TAG = "dagster/input_event_pointer"


def asset_key(mode: Mode, stage: Stage) -> dg.AssetKey:
    """The key of a stage's asset: the mode is its prefix."""
    return dg.AssetKey([mode.value, stage.value])


def prompts_key(mode: Mode) -> dg.AssetKey:
    """The key of what a mode is asked to look for."""
    return dg.AssetKey([mode.value, DEAL_PROMPTS])


def record_outcome(
    outcome: DealOutcome, store: DealStore, instance: dg.DagsterInstance
) -> Iterator[dg.AssetMaterialization | dg.AssetObservation]:
    """The events of a promoted deal: what it was made from, and each asset in order.

    They carry the data versions of this very deal. Those that Dagster adds by itself to the
    outputs of a run of many deals are the same for all of them, which would show every deal as
    stale. Each event has to be logged before the next one is taken: that points to it.
    """
    deal, mode = outcome.task.deal, outcome.task.mode
    snapshot = store.snapshot(deal, mode, outcome.promotion.commit.generation)
    yield dg.AssetObservation(
        PHOTOS_KEY,
        partition=deal,
        metadata={"images": outcome.summary.counts.images},
        tags={_DATA_VERSION_TAG: outcome.summary.photos_version},
    )
    if Stage.SEGMENTATION in outcome.versions:
        yield dg.AssetObservation(
            prompts_key(mode),
            partition=deal,
            tags={_DATA_VERSION_TAG: _prompts_version(snapshot)},
        )
    preview = _preview(outcome.sheet) if outcome.sheet else {}
    for stage in in_order(outcome.versions):
        yield dg.AssetMaterialization(
            asset_key(mode, stage),
            partition=deal,
            metadata=_metadata(outcome, snapshot, stage, preview),
            tags=_lineage_tags(outcome, snapshot, stage, instance),
        )


def is_recorded(outcome: DealOutcome, instance: dg.DagsterInstance) -> bool:
    """Whether the last thing that Dagster knows of the deal's assets is this outcome.

    A run may be killed after it has promoted a deal and before it has said so.
    """
    for stage, version in outcome.versions.items():
        latest = instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key(outcome.task.mode, stage), asset_partitions=[outcome.task.deal]
            ),
            limit=1,
        ).records
        materialization = latest[0].asset_materialization if latest else None
        tags = (materialization and materialization.tags) or {}
        if tags.get(_DATA_VERSION_TAG) != version.manifest_sha256:
            return False
    return True


def record_checks(
    outcome: DealOutcome,
    store: DealStore,
    settings: CheckSettings,
    selected: Iterable[dg.AssetCheckKey],
) -> Iterator[dg.AssetCheckEvaluation]:
    """Check what was promoted for a deal, and give an evaluation for each check."""
    deal, mode = outcome.task.deal, outcome.task.mode
    snapshot = store.snapshot(deal, mode, outcome.promotion.commit.generation)
    wanted = frozenset(selected)
    for check in CHECKS:
        key = dg.AssetCheckKey(asset_key(mode, check.stage), check.name)
        if key in wanted and check.stage in outcome.versions:
            yield _evaluate(check, key, snapshot, settings, deal)


def _evaluate(
    check: Check,
    key: dg.AssetCheckKey,
    snapshot: Snapshot,
    settings: CheckSettings,
    deal: str,
) -> dg.AssetCheckEvaluation:
    try:
        finding = check.find(snapshot, settings)
    except SegpipeError as error:  # a damaged file fails the check, not the run
        finding = Finding(False, str(error), {})
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=finding.passed,
        description=finding.text,
        metadata=finding.numbers,
        severity=dg.AssetCheckSeverity.WARN if check.is_warning else dg.AssetCheckSeverity.ERROR,
        partition=deal,
    )


def _preview(sheet: bytes) -> dict[str, dg.MetadataValue]:
    picture = inline_preview(decode_image(sheet).rgb, max_bytes=PREVIEW_MAX_BYTES)
    data = base64.b64encode(picture).decode("ascii")
    picture_text = f"![contact sheet](data:image/jpeg;base64,{data})"
    return {"preview": dg.MetadataValue.md(picture_text)}


def _metadata(
    outcome: DealOutcome,
    snapshot: Snapshot,
    stage: Stage,
    preview: Mapping[str, dg.MetadataValue],
) -> dict[str, dg.MetadataValue]:
    summary = outcome.summary
    manifest = snapshot.manifest(stage)
    metadata: dict[str, dg.MetadataValue] = {
        **preview,
        **_count_metadata(outcome),
        "generation": dg.MetadataValue.int(snapshot.generation),
        "version": dg.MetadataValue.text(outcome.versions[stage].name),
        "segmenter": dg.MetadataValue.text(summary.segmenter),
        "config_digest": dg.MetadataValue.text(manifest.info.identity or ""),
        "settings": _json(manifest.info.settings or {}),
        "pass_stats": dg.MetadataValue.json([stats.model_dump() for stats in summary.pass_stats]),
        "files": dg.MetadataValue.int(len(manifest.files)),
        "bytes": dg.MetadataValue.int(sum(entry.size for entry in manifest.files)),
        "folder": dg.MetadataValue.path(snapshot.folder(stage)),
    }
    for name, seconds in summary.seconds.items():
        metadata[f"seconds/{name}"] = dg.MetadataValue.float(round(seconds, 3))
    if Stage.REFINEMENT in _known_stages(outcome):
        metadata["refiner"] = dg.MetadataValue.text(summary.refiner)
    if summary.warnings:
        metadata["warnings"] = dg.MetadataValue.md("\n".join(f"- {w}" for w in summary.warnings))
    if stage is Stage.SEGMENTATION:
        metadata |= _usage_metadata(summary.usage)
    if outcome.promotion.overtook:
        metadata["overtook_generations"] = dg.MetadataValue.json(list(outcome.promotion.overtook))
    if tables := TABLES[stage]:
        metadata["dagster/column_schema"] = _column_schema(list(tables.values())[-1])
    return metadata


def _count_metadata(outcome: DealOutcome) -> dict[str, dg.MetadataValue]:
    """The counts of the stages that were made or read; the others would be false zeros."""
    counts, known = outcome.summary.counts, _known_stages(outcome)
    numbers = {"images": counts.images, "detections": counts.detections}
    if Stage.DEDUP in known:
        numbers |= {"survivors": counts.survivors, "rejected": counts.rejected}
    if Stage.REFINEMENT in known:
        numbers |= {"refined": counts.refined}
    if Stage.CROPS in known:
        numbers |= {"crops": counts.crops, "failed_crops": counts.failed_crops}
    return {name: dg.MetadataValue.int(number) for name, number in numbers.items()}


def _usage_metadata(usage: UsageSummary) -> dict[str, dg.MetadataValue]:
    """What a paid or slow service took; nothing when no service was asked."""
    if not usage.calls and not usage.cached:
        return {}
    metadata: dict[str, dg.MetadataValue] = {
        "usage/calls": dg.MetadataValue.int(usage.calls),
        "usage/from_cache": dg.MetadataValue.int(usage.cached),
        "usage/cost": dg.MetadataValue.float(usage.cost),
    }
    if usage.remaining_credits is not None:
        metadata["usage/remaining_credits"] = dg.MetadataValue.float(usage.remaining_credits)
    return metadata


def _known_stages(outcome: DealOutcome) -> frozenset[Stage]:
    made = frozenset(outcome.versions)
    return made.union(*(UPSTREAM[stage] for stage in made))


def _column_schema(schema: pa.Schema) -> dg.MetadataValue:
    return dg.MetadataValue.table_schema(
        dg.TableSchema([dg.TableColumn(field.name, str(field.type)) for field in schema])
    )


def _lineage_tags(
    outcome: DealOutcome, snapshot: Snapshot, stage: Stage, instance: dg.DagsterInstance
) -> Mapping[str, str]:
    deal, mode = outcome.task.deal, outcome.task.mode
    inputs = {PHOTOS_KEY: outcome.summary.photos_version}
    if stage is Stage.SEGMENTATION:
        inputs[prompts_key(mode)] = _prompts_version(snapshot)
    for above in UPSTREAM[stage]:
        inputs[asset_key(mode, above)] = snapshot.version(above).manifest_sha256
    tags = {
        _DATA_VERSION_TAG: outcome.versions[stage].manifest_sha256,
        _IS_OWN_DATA_VERSION_TAG: "true",
        _CODE_VERSION_TAG: CODE_VERSIONS[stage],
    }
    for key, version in inputs.items():
        name = key.to_user_string()
        tags[f"{_INPUT_DATA_VERSION_TAG}/{name}"] = version
        # Dagster looks from this event on for newer versions of the input's partition.
        is_source = key in {PHOTOS_KEY, prompts_key(mode)}
        event = instance.get_latest_data_version_record(key, is_source, deal)
        tags[f"{_INPUT_EVENT_POINTER_TAG}/{name}"] = str(event.storage_id) if event else "NULL"
    return tags


def _prompts_version(snapshot: Snapshot) -> str:
    # A retry may tell of what an earlier release promoted, which knew no prompts.
    made_from = snapshot.version(Stage.SEGMENTATION).made_from
    return made_from.get(DEAL_PROMPTS, NO_PROMPTS_VERSION)


def _json(value: JsonValue) -> dg.MetadataValue:
    return dg.MetadataValue.json(value if isinstance(value, dict | list) else {"value": value})

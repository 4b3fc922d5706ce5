"""Tells Dagster, deal by deal, what a run promoted: materialisations, checks, observations."""

import base64
import contextlib
from collections.abc import Iterator, Mapping

import dagster as dg
from pydantic import JsonValue

from segpipe.errors import SegpipeError
from segpipe.flow.deal import DealOutcome, DealTask
from segpipe.flow.run_deal import current_outcome
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.report import REPORT, SHEET_FILE, previews_place
from segpipe.flow.stages.review import REVIEW, review_counts
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage import open_table
from segpipe.flow.stages.stage_registry import STAGES, AnyStage
from segpipe.pipeline.column_schemas import column_entry, column_schema, told_schema
from segpipe.prompt import Mode
from segpipe.store.manifests import PHOTOS, PROMPTS, REVIEWS
from segpipe.store.prompts import NO_PROMPTS_VERSION
from segpipe.store.reviews import NO_REVIEWS_VERSION
from segpipe.store.store import DealStore, Snapshot
from segpipe.store.version_info import UsageSummary
from segpipe.vision.image import decode_image
from segpipe.vision.overlay import inline_preview

PREVIEW_MAX_BYTES = 14_000
"""Of the picture in the metadata: Dagster keeps several copies of it, a third larger in base64."""

PHOTOS_KEY = dg.AssetKey(PHOTOS)

DealEvent = dg.AssetMaterialization | dg.AssetObservation
"""What Dagster is told of a deal."""

_DATA_VERSION_TAG = "dagster/data_version"
_IS_OWN_DATA_VERSION_TAG = "dagster/data_version_is_user_provided"
_CODE_VERSION_TAG = "dagster/code_version"
_INPUT_DATA_VERSION_TAG = "dagster/input_data_version"
_NO_DATA_VERSION = "NULL"  # Dagster's, of what was never materialised
_INPUT_EVENT_POINTER_TAG = "dagster/input_event_pointer"


def asset_key(mode: Mode, stage: str) -> dg.AssetKey:
    """The key of a stage's asset: the mode is its prefix."""
    return dg.AssetKey([mode.value, stage])


def prompts_key(mode: Mode) -> dg.AssetKey:
    """The key of what a mode is asked to look for."""
    return dg.AssetKey([mode.value, PROMPTS])


def reviews_key(mode: Mode) -> dg.AssetKey:
    """The key of what people decided about what a mode found."""
    return dg.AssetKey([mode.value, REVIEWS])


def parents(mode: Mode, stage: AnyStage) -> list[dg.AssetKey]:
    """What the lineage draws a stage from: what it reads, unless that comes by way of another.

    The photos and the prompts stand above the first stages alone; each later one is out of date
    with those. What people decided stands above all that it changes: Dagster tells of a stage by
    what is right above it alone, and a decision leaves the first stages as they are.
    """
    through = {name for above in stage.upstream for name in _all_above(above)}
    nearest = [above for above in stage.upstream if above.name not in through]
    prompts = [prompts_key(mode)] if stage.reads_prompts else []
    reviews = [reviews_key(mode)] if _stands_on_reviews(stage) else []
    photos = [] if nearest else [PHOTOS_KEY]
    return [*photos, *prompts, *reviews, *(asset_key(mode, above.name) for above in nearest)]


def _stands_on_reviews(stage: AnyStage) -> bool:
    return stage.reads_reviews or any(map(_stands_on_reviews, stage.upstream))


def _all_above(stage: AnyStage) -> set[str]:
    return {name for above in stage.upstream for name in (above.name, *_all_above(above))}


def record_outcome(
    outcome: DealOutcome, store: DealStore, instance: dg.DagsterInstance
) -> Iterator[DealEvent]:
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
    made = STAGES.in_order(outcome.versions)
    if any(stage.reads_prompts for stage in made):
        yield dg.AssetObservation(
            prompts_key(mode),
            partition=deal,
            tags={_DATA_VERSION_TAG: _prompts_version(snapshot)},
        )
    if any(stage.reads_reviews for stage in made):
        yield dg.AssetObservation(
            reviews_key(mode),
            partition=deal,
            tags={_DATA_VERSION_TAG: _reviews_version(snapshot)},
        )
    lacking = {
        stage.name
        for stage in STAGES.in_order(outcome.task.stages)
        if stage.is_later and not snapshot.has(stage.name)
    }
    for stage in STAGES.in_order({*outcome.versions, *lacking}):
        if stage.name in lacking:
            event = nothing_to_do(mode, stage, deal)
            metadata, description = event.metadata, event.description
        else:
            metadata, description = _metadata(outcome, snapshot, stage), None
        yield dg.AssetMaterialization(
            asset_key(mode, stage.name),
            partition=deal,
            description=description,
            metadata=metadata,
            tags=_lineage_tags(outcome, snapshot, stage, instance),
        )


def nothing_to_do(mode: Mode, stage: AnyStage, deal: str) -> dg.AssetMaterialization:
    """The event of a stage of which a deal has no version, as there was nothing to do."""
    return dg.AssetMaterialization(
        asset_key(mode, stage.name),
        partition=deal,
        description="There was nothing to do; the log of the run says why.",
    )


def told_without_review(
    store: DealStore, deal: str, mode: Mode, instance: dg.DagsterInstance
) -> Iterator[DealEvent]:
    """The events of a deal that an earlier release promoted and told of, which knew no reviews.

    Without them Dagster would take everything below the review for out of date, as what it is made
    from is another than it was told.
    """
    snapshot = store.current(deal, mode)
    if snapshot is None or snapshot.has(REVIEW.name) or not snapshot.has(CROPS.name):
        return
    crops = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key(mode, CROPS.name), asset_partitions=[deal]), limit=1
    ).records
    told = crops[0].asset_materialization if crops else None
    review = asset_key(mode, REVIEW.name).to_user_string()
    if told is None or f"{_INPUT_DATA_VERSION_TAG}/{review}" in (told.tags or {}):
        return
    stages = STAGES.names | {name for name in STAGES if snapshot.has(name)}
    task = DealTask(deal, snapshot.commit.run_id, mode=mode, stages=stages)
    if outcome := current_outcome(store, task):
        yield from record_outcome(outcome, store, instance)


def is_recorded(outcome: DealOutcome, instance: dg.DagsterInstance) -> bool:
    """Whether the last thing that Dagster knows of the deal's assets is this outcome.

    A run may be killed after it has promoted a deal and before it has said so.
    """
    task = outcome.task
    if not task.attempt and all(made.run_id == task.run_id for made in outcome.versions.values()):
        return False  # it was made just now
    for stage, version in outcome.versions.items():
        latest = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key(task.mode, stage), asset_partitions=[task.deal]),
            limit=1,
        ).records
        materialization = latest[0].asset_materialization if latest else None
        tags = (materialization and materialization.tags) or {}
        if tags.get(_DATA_VERSION_TAG) != version.manifest_sha256:
            return False
    return True


def _metadata(
    outcome: DealOutcome, snapshot: Snapshot, stage: AnyStage
) -> dict[str, dg.MetadataValue]:
    summary = outcome.summary
    manifest = snapshot.manifest(stage.name)
    metadata: dict[str, dg.MetadataValue] = {
        **_count_metadata(outcome),
        "generation": dg.MetadataValue.int(snapshot.generation),
        "version": dg.MetadataValue.text(outcome.versions[stage.name].name),
        "segmenter": dg.MetadataValue.text(summary.segmenter),
        "config_digest": dg.MetadataValue.text(manifest.info.identity or ""),
        "settings": _json(manifest.info.settings or {}),
        "files": dg.MetadataValue.int(len(manifest.files)),
        "bytes": dg.MetadataValue.int(sum(entry.size for entry in manifest.files)),
        "folder": dg.MetadataValue.path(str(snapshot.folder(stage.name))),
    }
    if generation := manifest.info.settings_generation:
        metadata["settings_generation"] = dg.MetadataValue.int(generation)
    if any(each.tool == "refiner" for each in _known_stages(outcome)):
        metadata["refiner"] = dg.MetadataValue.text(summary.refiner)
    if summary.warnings:
        metadata["warnings"] = dg.MetadataValue.md("\n".join(f"- {w}" for w in summary.warnings))
    if stage is SEGMENTATION:
        passes = [stats.model_dump() for stats in summary.pass_stats]
        metadata["pass_stats"] = dg.MetadataValue.json(passes)
        metadata |= _usage_metadata(summary.usage)
    if outcome.promotion.overtook:
        metadata["overtook_generations"] = dg.MetadataValue.json(list(outcome.promotion.overtook))
    with contextlib.suppress(SegpipeError):  # checks tell of a damaged file
        metadata |= _table_metadata(snapshot, stage)
        if stage is REVIEW:
            counts = review_counts(snapshot)
            metadata |= {f"items/{n}": dg.MetadataValue.int(counts[n]) for n in counts}
        if stage is REPORT:
            metadata = _pictures(snapshot) | metadata | _seconds_metadata(summary.seconds)
    return metadata


def _pictures(snapshot: Snapshot) -> dict[str, dg.MetadataValue]:
    """The contact sheet, as large as an event may hold it, and where it lies whole."""
    sheet = snapshot.read(REPORT.name, SHEET_FILE)
    picture = inline_preview(decode_image(sheet).rgb, max_bytes=PREVIEW_MAX_BYTES)
    data = base64.b64encode(picture).decode("ascii")
    return {
        "preview": dg.MetadataValue.md(f"![contact sheet](data:image/webp;base64,{data})"),
        "contact_sheet": dg.MetadataValue.path(str(snapshot.path(REPORT.name, SHEET_FILE))),
        "photo_previews": dg.MetadataValue.path(previews_place(snapshot)),
    }


def _count_metadata(outcome: DealOutcome) -> dict[str, dg.MetadataValue]:
    """The counts of the stages that were made or read; the others would be false zeros."""
    counts = outcome.summary.counts
    names = ["images", *(name for stage in _known_stages(outcome) for name in stage.counts)]
    return {name: dg.MetadataValue.int(getattr(counts, name)) for name in names}


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


def _seconds_metadata(seconds: Mapping[str, float]) -> dict[str, dg.MetadataValue]:
    """How long each stage took of the deal, with the report alone."""
    return {
        f"seconds/{name}": dg.MetadataValue.float(round(taken, 3))
        for name, taken in seconds.items()
    }


def _known_stages(outcome: DealOutcome) -> list[AnyStage]:
    made = frozenset(outcome.versions)
    return STAGES.in_order(made.union(stage.name for stage in STAGES.read_by(made)))


def _table_metadata(snapshot: Snapshot, stage: AnyStage) -> dict[str, dg.MetadataValue]:
    """How many rows the tables have, the main one last; and columns that the asset does not tell.

    Columns with their texts stand with the asset, not in the event of each deal.
    """
    metadata: dict[str, dg.MetadataValue] = {}
    for file in stage.tables:
        is_main = file == list(stage.tables)[-1]
        with open_table(snapshot, stage, file) as reader:
            rows = dg.MetadataValue.int(reader.row_count())
            found = column_schema(reader.schema(), stage)
        metadata["dagster/row_count" if is_main else f"rows/{file}"] = rows
        if _names(found) != _names(told_schema(stage, file)):
            metadata[column_entry(stage, file)] = found
    return metadata


def _names(columns: dg.TableSchemaMetadataValue) -> list[str]:
    return [column.name for column in columns.schema.columns]


def _lineage_tags(
    outcome: DealOutcome, snapshot: Snapshot, stage: AnyStage, instance: dg.DagsterInstance
) -> Mapping[str, str]:
    deal, mode = outcome.task.deal, outcome.task.mode
    known = {
        PHOTOS_KEY: outcome.summary.photos_version,
        prompts_key(mode): _prompts_version(snapshot) if stage.reads_prompts else "",
        reviews_key(mode): _reviews_version(snapshot),
        **{
            asset_key(mode, each.name): snapshot.version(each.name).manifest_sha256
            if snapshot.has(each.name)
            else _NO_DATA_VERSION
            for each in (*stage.upstream, stage)
        },
    }
    inputs = {key: known[key] for key in parents(mode, stage)}
    tags = {
        _DATA_VERSION_TAG: known.get(asset_key(mode, stage.name), _NO_DATA_VERSION),
        _IS_OWN_DATA_VERSION_TAG: "true",
        _CODE_VERSION_TAG: stage.code_version,
    }
    for key, version in inputs.items():
        name = key.to_user_string()
        tags[f"{_INPUT_DATA_VERSION_TAG}/{name}"] = version
        # Dagster looks from this event on for newer versions of the input's partition.
        is_source = key in {PHOTOS_KEY, prompts_key(mode), reviews_key(mode)}
        event = instance.get_latest_data_version_record(key, is_source, deal)
        tags[f"{_INPUT_EVENT_POINTER_TAG}/{name}"] = str(event.storage_id) if event else "NULL"
    return tags


def _prompts_version(snapshot: Snapshot) -> str:
    # A retry may tell of what an earlier release promoted, which knew no prompts.
    made_from = snapshot.version(SEGMENTATION.name).made_from
    return made_from.get(PROMPTS, NO_PROMPTS_VERSION)


def _reviews_version(snapshot: Snapshot) -> str:
    if not snapshot.has(REVIEW.name):  # an earlier release promoted it
        return NO_REVIEWS_VERSION
    return snapshot.version(REVIEW.name).made_from[REVIEWS]


def _json(value: JsonValue) -> dg.MetadataValue:
    return dg.MetadataValue.json(value if isinstance(value, dict | list) else {"value": value})

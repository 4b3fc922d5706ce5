"""What is current of a deal, stage by stage, against what would be made of it now."""

from collections.abc import Iterable, Iterator, Mapping

from segpipe.flow.deal_state import MAX_NAMED
from segpipe.flow.run_settings import RunSettings
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage_registry import STAGES, AnyStage
from segpipe.store.manifests import PHOTOS
from segpipe.store.store import Snapshot


def is_older(stage: AnyStage, snapshot: Snapshot) -> bool:
    """Whether a stage was made from other photos or versions than are current now."""
    photos = snapshot.version(SEGMENTATION.name).made_from[PHOTOS]
    made_from = snapshot.version(stage.name).made_from
    return made_from.get(PHOTOS) != photos or any(
        made_from.get(above.name) != snapshot.version(above.name).name
        if snapshot.has(above.name)
        else above.name in made_from or not above.is_later
        for above in stage.upstream
    )


def all_changes(
    snapshot: Snapshot, settings: RunSettings, stages: Iterable[str]
) -> Iterator[tuple[str, list[str]]]:
    """Those of these stages that other code or other settings made, and which settings differ.

    No setting differs where a release added or removed one, which nobody can have set.

    Args:
        snapshot: What is current.
        settings: Those that a run would have.
        stages: Their names.
    """
    for stage in STAGES.in_order(stages):
        name = stage.name
        if not snapshot.has(name):  # an earlier release did what its default does
            before = stage.settings().identity() if stage.settings else {}
            if before != settings.identity(stage):
                yield name, settings.changes(stage, before)
            continue
        info = snapshot.manifest(name).info
        if info.settings != settings.identity(stage):
            yield name, settings.changes(stage, info.settings or {})
        elif info.code_version != stage.code_version:
            yield name, []


def extras_out_of_date(
    snapshot: Snapshot, settings: RunSettings, *, replace_other_settings: bool
) -> dict[str, str]:
    """What was made by name at some time and is not what would be made now, each with the reason.

    Args:
        snapshot: What is current.
        settings: Those that a run would have.
        replace_other_settings: Whether what was made with others is out of date.
    """
    made = [one.name for one in STAGES.values() if one.is_optional and snapshot.has(one.name)]
    changes = dict(all_changes(snapshot, settings, made))
    reasons = {}
    for stage in STAGES.in_order(made):
        texts = changes.get(stage.name)
        if is_older(stage, snapshot):
            reasons[stage.name] = f"{stage.name} was made from older results than are current"
        elif texts == []:
            reasons[stage.name] = f"{stage.name} was made by another release of segpipe"
        elif texts and replace_other_settings:
            reasons[stage.name] = f"{stage.name} was made with other settings ({some_of(texts)})"
    return reasons


def texts_of(changes: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The changes of all stages."""
    return tuple(text for texts in changes.values() for text in texts)


def some_of(texts: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    given = tuple(texts)
    more = f" and {len(given) - MAX_NAMED} more" if len(given) > MAX_NAMED else ""
    return ", ".join(given[:MAX_NAMED]) + more

"""Reads how a deal stands: what is current in each mode, whether it needs a run, and why."""

from pathlib import Path

from segpipe.cli.facts import DealFacts, DealState, FailureFacts, Fault, ImageFacts, ModeFacts
from segpipe.errors import SegpipeError, describe
from segpipe.flow.saved_settings import Saved
from segpipe.flow.stages.crop_files import CROPS_ARCHIVE, crops_place
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.report import REPORT, REPORT_FILE, SHEET_FILE
from segpipe.flow.stages.segmentation import NOTHING_FOUND
from segpipe.flow.todo import todo_by_saved_settings
from segpipe.prompt import Mode
from segpipe.store.failures import Failure
from segpipe.store.store import DealStore, Snapshot
from segpipe.store.version_info import DealSummary, ImageSummary


def read_summary(snapshot: Snapshot | None) -> DealSummary | None:
    """The summary of a deal's current report; None when it has none."""
    if snapshot is None or not snapshot.has(REPORT.name):
        return None
    return DealSummary.model_validate_json(snapshot.read(REPORT.name, REPORT_FILE))


def read_state(store: DealStore, deal: str, mode: Mode, saved: Saved) -> DealState:
    """How a deal stands in a mode; never raises for what is wrong with the deal."""
    todo = todo_by_saved_settings(store, deal, mode, saved)
    try:
        snapshot = store.current(deal, mode)
        summary = read_summary(snapshot)
        failure = store.last_failure(deal, mode)
    except SegpipeError:
        snapshot, summary, failure = None, None, None  # the state says why
    return DealState(
        deal=deal,
        mode=mode.value,
        state=str(todo.state),
        reason=todo.reason,
        needs_run=todo.needs_run,
        generation=snapshot.generation if snapshot else None,
        promoted_at=snapshot.commit.created_at if snapshot else None,
        images=summary.counts.images if summary else None,
        crops=summary.counts.crops if summary else None,
        failure=failure_facts(failure) if failure else None,
    )


def read_deal(store: DealStore, deal: str, mode: Mode | None, saved: Saved) -> DealFacts:
    """What is current for a deal, in one mode or in each that has something."""
    photos: int | None = None
    fault: str | None = None
    try:
        photos = len(store.photos(deal))
    except SegpipeError as error:
        fault = describe(error)
    of_modes = {each: read_mode(store, deal, each, saved) for each in ([mode] if mode else Mode)}
    told = {each: facts for each, facts in of_modes.items() if mode or has_something(facts)}
    return DealFacts(deal, photos, fault, tuple(told.values()))


def has_something(facts: ModeFacts) -> bool:
    """Whether there is anything to tell of a mode."""
    return facts.generation is not None or facts.failure is not None


def read_mode(store: DealStore, deal: str, mode: Mode, saved: Saved) -> ModeFacts:
    """What is current for a deal in a mode."""
    todo = todo_by_saved_settings(store, deal, mode, saved)
    snapshot = store.current(deal, mode)
    summary = read_summary(snapshot)
    failure = store.last_failure(deal, mode)
    crops = crops_folder(snapshot, summary)
    warnings = list(summary.warnings) if summary else []
    if snapshot and summary:
        lost = _lost_items(store, deal, mode, snapshot, summary)
        told = {f"{file_name}: {NOTHING_FOUND}" for file_name in lost}
        warnings = [text for text in warnings if text not in told]
        warnings += [f"{file_name}: {NOTHING_FOUND}, {had}" for file_name, had in lost.items()]
    if snapshot and not summary:
        made = ", ".join(snapshot.commit.assets)
        warnings.append(f"there is no report; current are only {made}: run it to make the rest")
    return ModeFacts(
        mode=mode.value,
        state=str(todo.state),
        reason=todo.reason,
        needs_run=todo.needs_run,
        generation=snapshot.generation if snapshot else None,
        kind=snapshot.commit.kind.value if snapshot else None,
        run_id=snapshot.commit.run_id if snapshot else None,
        promoted_at=snapshot.commit.created_at if snapshot else None,
        segmenter=summary.segmenter if summary else None,
        refiner=summary.refiner if summary else None,
        crops_folder=crops,
        contact_sheet=contact_sheet(snapshot),
        images=tuple(_image(image, crops) for image in summary.images) if summary else (),
        warnings=tuple(warnings),
        failure=failure_facts(failure) if failure else None,
    )


def crops_folder(snapshot: Snapshot | None, summary: DealSummary | None) -> str | None:
    """Where the cut-outs of a deal lie; None when nothing was found in any photo."""
    if not (snapshot and summary and summary.counts.crops and snapshot.has(CROPS.name)):
        return None
    return crops_place(snapshot, CROPS.name)


def photos_without_items(summary: DealSummary | None) -> tuple[str, ...]:
    """The file names of the photos in which nothing was found."""
    images = summary.images if summary else ()
    return tuple(image.file_name for image in images if NOTHING_FOUND in image.warnings)


def contact_sheet(snapshot: Snapshot | None) -> str | None:
    """Where the contact sheet of a deal lies; None when it has no report."""
    if snapshot is None or not snapshot.has(REPORT.name):
        return None
    return f"{snapshot.stable_folder(REPORT.name)}/{SHEET_FILE}"


def failure_facts(failure: Failure) -> FailureFacts:
    """Why the last run promoted nothing."""
    return FailureFacts(
        run_id=failure.run_id,
        failed_at=failure.created_at,
        may_pass=failure.retryable,
        errors=tuple(Fault(item.image, item.error, item.message) for item in failure.errors),
    )


def short(path: str) -> str:
    """A path as people would type it: relative to where they are, when it is below."""
    return path.removeprefix(f"{Path.cwd()}/")


def _crops_of_image(image: str, crops: str) -> str:
    """Where the crops of a photo lie: a folder, or the tar of the deal."""
    return crops if crops.endswith(CROPS_ARCHIVE) else f"{crops}/{image}"


def _image(image: ImageSummary, crops: str | None) -> ImageFacts:
    counts = image.counts
    return ImageFacts(
        image=image.image,
        file_name=image.file_name,
        width=image.width,
        height=image.height,
        detections=counts.detections,
        survivors=counts.survivors,
        refined=counts.refined,
        crops=counts.crops,
        crops_folder=_crops_of_image(image.image, crops) if crops and counts.crops else None,
        warnings=image.warnings,
    )


def _lost_items(
    store: DealStore, deal: str, mode: Mode, snapshot: Snapshot, summary: DealSummary
) -> dict[str, str]:
    """What the report before this one had in the photos of which this one has none."""
    empty = {image.image: image for image in summary.images if not image.counts.survivors}
    if not empty:
        return {}
    report = snapshot.version(REPORT.name).name
    for commit in reversed(store.commits(deal, mode)):
        held = commit.assets.get(REPORT.name)
        if held is None or held.version == report or commit.generation > snapshot.generation:
            continue
        try:
            before = read_summary(store.snapshot(deal, mode, commit.generation))
        except SegpipeError:
            return {}  # 'segpipe verify' tells of it
        images = before.images if before else ()
        return {
            image.file_name: f"where generation {commit.generation} had {image.counts.survivors}"
            for image in images
            if image.image in empty and image.counts.survivors
        }
    return {}

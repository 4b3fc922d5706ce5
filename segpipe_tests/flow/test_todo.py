"""Whether a deal needs a run, and why: one answer, whoever asks."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from segpipe.cli.app import app
from segpipe.cli.instance import open_instance
from segpipe.detection import SegmentationResult, Thresholds
from segpipe.errors import DealFailedError
from segpipe.flow.deal import DealTask
from segpipe.flow.deal_state import State, Todo
from segpipe.flow.run_deal import process_in_run, record_finds
from segpipe.flow.run_settings import FlowSettings
from segpipe.flow.stages.coco import Coco
from segpipe.flow.stages.crop_settings import CropSettings
from segpipe.flow.stages.dedup import DedupSettings
from segpipe.flow.stages.report import ReportSettings
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.flow.todo import todo_of
from segpipe.flow.tools import Tools
from segpipe.pipeline.deal_jobs import unfinished_job_name
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name, only_stale
from segpipe.pipeline.options import LocalRoot
from segpipe.pipeline.partitions import DEALS, range_tags
from segpipe.pipeline.resources import DealStoreResource
from segpipe.pipeline.sensors import build_new_deals_sensor
from segpipe.progress import DealSkipped, Event, tell_nobody
from segpipe.prompt import Mode, Prompt
from segpipe.refiners.refiner import NoneConfig, NoneRefiner
from segpipe.store.prompts import PromptType
from segpipe.store.store import DealStore
from segpipe.vision.image import RgbImage
from segpipe_tests.deals import default_tools, make_deal, put_photos
from segpipe_tests.drawing import FIRST, boxed, draw
from segpipe_tests.goods import BrightSegmenter, goods_photo
from segpipe_tests.pipeline.dagster_runs import deals_of_backfill

FIND_ALL, INSIDE_BOX = Mode.FIND_ALL, Mode.INSIDE_BOX


def run(
    store: DealStore,
    deal: str,
    run_id: str = "run-1",
    mode: Mode = FIND_ALL,
    *,
    tools: Tools | None = None,
    stages: frozenset[str] = STAGES.names,
) -> None:
    """Do what a run does with a deal, whatever comes of it."""
    tools = tools or default_tools()
    task = DealTask(deal, run_id, mode=mode, stages=stages)
    with contextlib.suppress(DealFailedError):
        outcome = asyncio.run(process_in_run(store, task, tools, tell_nobody))
        if outcome:
            record_finds(store, outcome, tools, tell_nobody)


# Deals in every state


def make_photos_change(store: DealStore, deal: str) -> None:
    run(store, deal)
    put_photos(Path(store.root.place), deal, {"a.png": goods_photo(5)})


def make_prompts_change(store: DealStore, deal: str) -> None:
    run(store, deal)
    like = PromptType.POSITIVE_EXEMPLAR
    draw(store, "a", boxed("this", FIRST, mode=FIND_ALL, prompt_type=like), deal=deal)


def make_upstream_newer(store: DealStore, deal: str) -> None:
    run(store, deal)
    run(store, deal, "run-2", stages=frozenset({"segmentation"}))


def make_by_older_code(store: DealStore, deal: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Coco, "code_version", "0")
        run(store, deal)


def make_with_other_settings(store: DealStore, deal: str) -> None:
    run(store, deal, tools=default_tools(FlowSettings(dedup=DedupSettings(iou_threshold=0.9))))


def make_background_older(store: DealStore, deal: str) -> None:
    run(store, deal)
    run(store, deal, "run-2", stages=frozenset({"background"}))
    assert todo_of(store, deal, FIND_ALL, default_tools().settings).state is State.UP_TO_DATE
    run(store, deal, "run-3")


def make_other_settings_and_photos(store: DealStore, deal: str) -> None:
    make_with_other_settings(store, deal)
    put_photos(Path(store.root.place), deal, {"a.png": goods_photo(5)})


def make_rolled_back(store: DealStore, deal: str) -> None:
    run(store, deal)
    draw(store, "a", boxed("x", FIRST, mode=FIND_ALL, prompt_type=_LIKE), deal=deal)
    run(store, deal, "run-2")
    store.rollback(deal, FIND_ALL, 1)


_LIKE = PromptType.POSITIVE_EXEMPLAR


def make_rolled_back_and_changed(store: DealStore, deal: str) -> None:
    make_rolled_back(store, deal)
    put_photos(Path(store.root.place), deal, {"a.png": goods_photo(5)})


def make_known_bad(store: DealStore, deal: str) -> None:
    put_photos(Path(store.root.place), deal, {"x.jpg": b"text"})
    run(store, deal)


def make_mended(store: DealStore, deal: str) -> None:
    make_known_bad(store, deal)
    put_photos(Path(store.root.place), deal, {"x.jpg": goods_photo(1)})


class Busy(BrightSegmenter):
    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        raise ConnectionResetError("the line went dead")


def make_failed(store: DealStore, deal: str) -> None:
    settings = default_tools().settings
    run(store, deal, tools=Tools(Busy(), NoneRefiner(), settings))


def make_finds_unrecorded(store: DealStore, deal: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segpipe.store.disk.Disk.lock", refuse)
        run(store, deal)


def make_unreadable(store: DealStore, deal: str) -> None:
    run(store, deal)
    (commit,) = Path(store.root.place).glob(f"deals/{deal}/commits/find_all/*.json")
    commit.write_bytes(b"{")


def make_box(store: DealStore, deal: str) -> None:
    draw(store, "a", boxed("one", FIRST), deal=deal)


def make_boxes_done(store: DealStore, deal: str) -> None:
    make_box(store, deal)
    run(store, deal, mode=INSIDE_BOX)


@dataclass(frozen=True)
class Case:
    """How a deal comes to be as it is, and what is said of it."""

    make: Callable[[DealStore, str], None]
    state: State
    needs_run: bool
    says: str
    mode: Mode = FIND_ALL


CASES = {
    "never": Case(lambda *_: None, State.NEVER_MADE, True, "never made"),
    "done": Case(run, State.UP_TO_DATE, False, "up to date"),
    "photos": Case(make_photos_change, State.PHOTOS_CHANGED, True, "its photos changed"),
    "prompts": Case(make_prompts_change, State.PROMPTS_CHANGED, True, "its prompts changed"),
    "upstream": Case(
        make_upstream_newer,
        State.UPSTREAM_NEWER,
        True,
        "dedup, refinement, review, crops, coco, deal_report were made from older results",
    ),
    "code": Case(make_by_older_code, State.CODE_CHANGED, True, "coco were made by another release"),
    "settings": Case(
        make_with_other_settings,
        State.OTHER_SETTINGS,
        False,
        "made with other settings (dedup.iou_threshold 0.9 → 0.5)",
    ),
    "background": Case(
        make_background_older,
        State.EXTRA_OUT_OF_DATE,
        False,
        "background was made from older results than are current",
    ),
    "both": Case(
        make_other_settings_and_photos,
        State.PHOTOS_CHANGED,
        True,
        "its photos changed; it was made with other settings, which a run changes: "
        "dedup.iou_threshold 0.9 → 0.5",
    ),
    "rolled": Case(make_rolled_back, State.ROLLED_BACK, False, "rolled it back"),
    "rolled-photos": Case(
        make_rolled_back_and_changed, State.PHOTOS_CHANGED, True, "its photos changed"
    ),
    "bad": Case(make_known_bad, State.KNOWN_BAD, False, "nothing changed since: x.jpg: "),
    "mended": Case(make_mended, State.NEVER_MADE, True, "never made"),
    "failed": Case(make_failed, State.FAILED_BEFORE, True, "the line went dead"),
    "finds": Case(make_finds_unrecorded, State.FINDS_NOT_RECORDED, True, "not among its prompts"),
    "damaged": Case(make_unreadable, State.UNREADABLE, True, "cannot be read"),
    "boxless": Case(lambda *_: None, State.NOTHING_TO_ASK, False, "has a box", INSIDE_BOX),
    "box": Case(make_box, State.NEVER_MADE, True, "never made", INSIDE_BOX),
    "boxed": Case(make_boxes_done, State.UP_TO_DATE, False, "up to date", INSIDE_BOX),
}


def fill(root: Path, mode: Mode) -> tuple[DealStore, dict[str, Case]]:
    cases = {deal: case for deal, case in CASES.items() if case.mode is mode}
    store = DealStore(root)
    for deal, case in cases.items():
        make_deal(root, deal, items=(2,))
        case.make(store, deal)
    return store, cases


def requested(order: Sequence[str], requests: list[dict[str, str]]) -> set[str]:
    """The deals of runs, by their tags."""
    deals: set[str] = set()
    for tags in requests:
        start, end = (
            order.index(tags[f"dagster/asset_partition_range_{side}"]) for side in ("start", "end")
        )
        deals.update(order[start : end + 1])
    return deals


@pytest.fixture(params=Mode)
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Mode, dict[str, Case], Path]:
    """A deal for each case of a mode."""
    _, cases = fill(tmp_path, request.param)
    return request.param, cases, tmp_path


Filled = tuple[Mode, dict[str, Case], Path]


def test_everybody_gives_the_same_answer(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    mode, cases, root = filled
    store = DealStore(root)
    wanted = {deal for deal, case in cases.items() if case.needs_run}
    settings = default_tools().settings

    todos = {deal: todo_of(store, deal, mode, settings) for deal in cases}
    assert {deal: todo.state for deal, todo in todos.items()} == {
        deal: case.state for deal, case in cases.items()
    }
    for deal, case in cases.items():
        assert case.says in todos[deal].reason
        assert todos[deal].needs_run == case.needs_run

    # Dagster's sensor and nightly schedule.
    with open_instance(root) as instance:
        instance.add_dynamic_partitions(DEALS.name or "", list(cases))
        order = instance.get_dynamic_partitions(DEALS.name or "")
        assert requested(order, sensor_requests(root, instance, mode)) == wanted
        assert nightly_deals(root, instance, mode) == wanted

    # The command line: whatever needs no run is in none.
    monkeypatch.setenv("SEGPIPE_ROOT", str(root))
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, ["run", "--mode", mode])
    with open_instance(root) as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name=everything_job_name(mode)))
        assert requested(order, [dict(each.tags) for each in runs]) == wanted
    for deal, case in cases.items():
        is_told = case.state not in {State.UP_TO_DATE, State.NOTHING_TO_ASK}
        assert (f"{deal}: {todos[deal].reason}" in result.stderr) == is_told


def test_a_run_that_skips_what_is_up_to_date_asks_the_same(filled: Filled) -> None:
    mode, cases, root = filled
    skipped: dict[str, str] = {}

    def note(event: Event) -> None:
        if isinstance(event, DealSkipped):
            skipped[event.deal] = event.reason

    definitions = build_defs(
        {"store": DealStoreResource(root=LocalRoot(path=str(root))), "progress": note}
    )
    with open_instance(root) as instance:
        instance.add_dynamic_partitions(DEALS.name or "", list(cases))
        result = definitions.resolve_job_def(everything_job_name(mode)).execute_in_process(
            instance=instance,
            tags=range_tags(list(cases)),
            run_config=only_stale(mode),
            raise_on_error=False,
        )
    at_rest = {deal: case for deal, case in cases.items() if not case.needs_run}
    bad = {deal for deal, case in cases.items() if case.state is State.KNOWN_BAD}
    assert set(skipped) == set(at_rest) - bad
    for deal, reason in skipped.items():
        assert at_rest[deal].says in reason
    failures = [event for event in result.all_events if event.is_step_failure]
    assert bool(failures) == bool(bad)
    for failure in failures:
        assert "KnownFailureError" in str(failure.step_failure_data.user_failure_data)


def sensor_requests(root: Path, instance: dg.DagsterInstance, mode: Mode) -> list[dict[str, str]]:
    definitions = build_defs({"store": DealStoreResource(root=LocalRoot(path=str(root)))})
    sensor = build_new_deals_sensor(mode, settle_s=0.0)
    with dg.build_sensor_context(
        instance=instance, definitions=definitions, resources=definitions.resources
    ) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return [dict(request.tags) for request in result.run_requests or []]


def nightly_deals(root: Path, instance: dg.DagsterInstance, mode: Mode) -> set[str]:
    definitions = build_defs({"store": DealStoreResource(root=LocalRoot(path=str(root)))})
    job = definitions.resolve_job_def(unfinished_job_name(mode))
    assert job.execute_in_process(instance=instance).success
    (backfill,) = instance.get_backfills()
    return set(deals_of_backfill(instance, backfill))


# What is made anew


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    store = make_deal(tmp_path, "lot")
    run(store, "lot")
    return store


def todo(store: DealStore, settings: FlowSettings | None = None) -> Todo:
    """Of a run of settings that somebody chose."""
    wanted = default_tools(settings).settings
    return todo_of(store, "lot", FIND_ALL, wanted, replace_other_settings=True)


@pytest.mark.parametrize(
    ("settings", "stage", "says"),
    [
        (
            FlowSettings(dedup=DedupSettings(iou_threshold=0.9)),
            "dedup",
            "dedup.iou_threshold 0.5 → 0.9",
        ),
        (FlowSettings(crops=CropSettings(padding_px=1)), "crops", "crops.padding_px 0 → 1"),
        (FlowSettings(report=ReportSettings(columns=2)), "deal_report", "report.columns 4 → 2"),
    ],
)
def test_chosen_settings_make_their_stage_and_what_follows_anew(
    store: DealStore, settings: FlowSettings, stage: str, says: str
) -> None:
    left = todo(store, settings)
    assert (left.state, left.stages) == (State.SETTINGS_CHANGED, STAGES.with_downstream({stage}))
    assert says in left.reason
    assert todo(store).state is State.UP_TO_DATE


def test_another_segmenter_or_refiner_is_named_by_its_kind(store: DealStore) -> None:
    other = default_tools(refiner=NoneConfig()).settings
    left = todo_of(store, "lot", FIND_ALL, other)
    assert left.reason == "it was made with other settings (refiner grabcut → none)"


def test_a_setting_that_came_with_a_release_is_nobodys_choice(store: DealStore) -> None:
    """What recorded settings do not know yet makes its stage anew, as other code does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CropSettings, "operational", frozenset({"jpeg_quality"}))
        run(store, "lot", "run-2")
    left = todo_of(store, "lot", FIND_ALL, default_tools().settings)
    assert (left.state, left.stages) == (State.CODE_CHANGED, STAGES.with_downstream({"crops"}))


def test_photos_that_were_only_touched_are_the_same_unless_nobody_may_open_them(
    store: DealStore, tmp_path: Path
) -> None:
    os.utime(tmp_path / "deals" / "lot" / "images" / "a.png")
    assert todo(store).state is State.UP_TO_DATE
    (scanned,) = store.scan()
    left = todo_of(
        store, "lot", FIND_ALL, default_tools().settings, photos_fingerprint=scanned.version
    )
    assert left.state is State.PHOTOS_CHANGED


def test_chosen_settings_try_again_what_could_not_be_used_before(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    make_known_bad(store, "lot")
    assert todo(store).needs_run


def test_a_failure_that_was_not_the_photos_may_pass(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    run(store, "lot", stages=frozenset({"crops"}))
    left = todo(store)
    assert left.state is State.FAILED_BEFORE
    assert "must be made first" in left.reason


def test_a_deal_without_photos_or_that_is_not_there_is_for_a_run_to_tell(tmp_path: Path) -> None:
    put_photos(tmp_path, "lot", {})
    left = todo(DealStore(tmp_path))
    assert (left.state, left.needs_run) == (State.UNREADABLE, True)
    assert "no photos" in left.reason
    gone = todo_of(DealStore(tmp_path), "gone", FIND_ALL, default_tools().settings)
    assert gone.state is State.UNREADABLE


def test_a_deal_that_is_not_there_is_not_made_by_its_failure(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    with pytest.raises(DealFailedError, match="no such deal"):
        asyncio.run(process_in_run(store, DealTask("gone", "run-1"), default_tools(), tell_nobody))
    assert store.deals() == ["lot"]

"""Jobs over all deals: on a disk and on a real S3 server, and they go on where one was killed."""

from pathlib import Path

import dagster as dg
import pytest

from segpipe.flow.todo import todo_of
from segpipe.pipeline.deal_jobs import unfinished_job_name
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.options import LocalRoot, RemoteRoot, as_options
from segpipe.pipeline.resources import DealStoreResource, RefinerResource
from segpipe.prompt import Mode
from segpipe.refiners.refiner import NoneConfig
from segpipe.store.deal_folders import DealFolders, ScannedDeal
from segpipe.store.store import DealStore
from segpipe_tests.deals import promote
from segpipe_tests.goods import BrightSegmenter, goods_photo
from segpipe_tests.loopback.s3 import S3Server, use_s3
from segpipe_tests.pipeline.dagster_runs import FixedSegmenter, deals_of_backfill, run_deals

CHUNK = 3
DEALS = [f"lot-{number}" for number in range(8)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segpipe.store.job_progress.CHUNK", CHUNK)


@pytest.fixture(params=["disk", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DealStore:
    if request.param == "disk":
        store = DealStore(tmp_path / "data")
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        use_s3(monkeypatch, server.url)
        store = DealStore(server.root())
    for deal in DEALS:
        put(store, deal)
    return store


def put(store: DealStore, deal: str, name: str = "a.png") -> None:
    store.root.storage().replace(f"deals/{deal}/images/{name}", goods_photo(1))


def definitions_of(store: DealStore) -> dg.Definitions:
    place = store.root.place
    root = LocalRoot(path=place) if store.root.is_local else RemoteRoot(url=place)
    overrides = {
        "store": DealStoreResource(root=root),
        "segmenter": FixedSegmenter(BrightSegmenter),
        "refiner": RefinerResource(backend=as_options(NoneConfig())),
    }
    return build_defs(overrides)


def execute(
    store: DealStore, instance: dg.DagsterInstance, job: str, **options: object
) -> dg.ExecuteInProcessResult:
    resolved = definitions_of(store).resolve_job_def(job)
    return resolved.execute_in_process(instance=instance, **options)  # type: ignore[arg-type]


class DiesAt:
    """Breaks off, once, when a deal is looked at."""

    def __init__(self, deal: str) -> None:
        self._deal = deal
        self.seen: list[str] = []

    def __call__(self, deal: str) -> None:
        self.seen.append(deal)
        if deal == self._deal:
            self._deal = ""
            raise dg.Failure("as if killed", allow_retries=False)


def test_the_night_goes_on_where_it_was_killed_and_asks_for_each_deal_once(
    store: DealStore, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_deals(definitions_of(store), instance, [DEALS[1], DEALS[6]])
    instance.add_dynamic_partitions("deals", [*DEALS, "gone"])
    dies = DiesAt(DEALS[4])

    def look(store: DealStore, deal: str, *options: object) -> object:
        dies(deal)
        return todo_of(store, deal, *options)  # type: ignore[arg-type]

    monkeypatch.setattr("segpipe.pipeline.deal_jobs.todo_of", look)
    job = unfinished_job_name(Mode.FIND_ALL)
    assert not execute(store, instance, job, raise_on_error=False).success
    assert not instance.get_backfills()
    dies.seen.clear()
    assert execute(store, instance, job).success
    assert sorted(dies.seen) == DEALS[CHUNK:], "the first ones are not looked at again"
    (backfill,) = instance.get_backfills()
    wanted = [deal for deal in DEALS if deal not in {DEALS[1], DEALS[6]}]
    assert deals_of_backfill(instance, backfill) == wanted
    assert backfill.tags["segpipe/mode"] == "find_all"
    assert backfill.backfill_id == f"{backfill.tags['segpipe/request']}-0"
    dies.seen.clear()
    assert execute(store, instance, job).success
    assert sorted(dies.seen) == DEALS, "the next night begins anew"


def test_what_nobody_told_of_is_told_to_the_sensors_and_what_is_gone_is_no_partition(
    store: DealStore, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.add_dynamic_partitions("deals", [*DEALS[:4], "gone"])
    dies, real = DiesAt(DEALS[5]), DealFolders._scan

    def scan(folders: DealFolders, deal: str) -> ScannedDeal | None:
        dies(deal)
        return real(folders, deal)

    monkeypatch.setattr(DealFolders, "_scan", scan)
    assert not execute(store, instance, "find_changes", raise_on_error=False).success
    dies.seen.clear()
    assert execute(store, instance, "find_changes").success
    assert sorted(dies.seen) == DEALS[CHUNK:]
    told = {arrival.deal for arrival in store.arrivals.after("", 100)}
    assert told.issuperset(DEALS[4:])
    assert instance.get_dynamic_partitions("deals") == DEALS[:4]
    last = store.arrivals.after("", 100)[-1].place
    put(store, DEALS[2], "b.png")
    assert execute(store, instance, "find_changes").success
    assert DEALS[2] in {arrival.deal for arrival in store.arrivals.after(last, 100)}


def test_the_sweep_goes_on_and_counts_what_was_swept_before(
    store: DealStore, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for deal in DEALS:
        promote(store, "kept", deal=deal)
        left = f"deals/{deal}/runs/killed.0/find_all/crops/half.png"
        store.root.storage().replace(left, b"half")
    store.arrivals.put("lot", at=0.0)
    from segpipe.store import sweep as sweeping

    dies, real = DiesAt(DEALS[7]), sweeping.DealSweep.run

    def run(each: sweeping.DealSweep) -> sweeping.SweepReport:
        dies(each._deal)
        return real(each)

    monkeypatch.setattr(sweeping.DealSweep, "run", run)
    config = {"ops": {"sweep_store": {"config": {"min_age_hours": 0.0}}}}
    assert not execute(store, instance, "sweep", run_config=config, raise_on_error=False).success
    dies.seen.clear()
    result = execute(store, instance, "sweep", run_config=config)
    assert result.success
    assert sorted(dies.seen) == DEALS[6:]
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    assert event.step_output_data.metadata["versions"].value in {8, 7}
    assert event.step_output_data.metadata["skipped"].value == []
    assert store.arrivals.after("", 10) == [], "those of long ago are forgotten"
    assert list(store.verify()) == []

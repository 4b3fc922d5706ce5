"""A look costs as much as what is new, on a disk and on a real S3 server, and misses nothing."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from segpipe.pipeline.look_for_deals import Look, look_for_deals
from segpipe.pipeline.new_deals import Cursor, decide
from segpipe.store.arrivals import place_at
from segpipe.store.store import DealStore
from segpipe_tests.goods import goods_photo
from segpipe_tests.loopback.s3 import Between, S3Server, use_s3

FEW = 4
LIMIT = 10
PHOTO = goods_photo(1)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segpipe.pipeline.look_for_deals.FEW_DEALS", FEW)


@pytest.fixture
def between(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    between = Between(s3_server)
    with between.listening() as url:
        use_s3(monkeypatch, url)
        yield between


@pytest.fixture(params=["disk", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DealStore:
    if request.param == "disk":
        return DealStore(tmp_path / "data")
    server: S3Server = request.getfixturevalue("s3_server")
    use_s3(monkeypatch, server.url)
    return DealStore(server.root())


class Ticks:
    """What a sensor does with its looks, time after time."""

    def __init__(self, store: DealStore, instance: dg.DagsterInstance) -> None:
        self.store = store
        self.cursor = Cursor()
        self.look = Look([], None, frozenset(), [], self.cursor)
        self._instance = instance

    def __call__(self, *, settle_s: float = 0.0, now: float | None = None) -> list[str]:
        """The deals that are ready; they are partitions from then on."""
        self.look = look_for_deals(self.store, self._instance, self.cursor, limit=LIMIT)
        decision = decide(
            self.look.deals,
            self.look.cursor,
            known=self.look.known,
            arrived=self.look.arrived,
            now=now or time.time() + 1,
            settle_s=settle_s,
            limit=LIMIT,
        )
        self.cursor = Cursor.model_validate_json(decision.cursor.model_dump_json())
        ready = [deal.deal for deal in decision.ready]
        self._instance.add_dynamic_partitions("deals", ready)
        return ready


def put(store: DealStore, deal: str, name: str = "a.png") -> None:
    """As somebody who knows nothing of the log."""
    store.root.storage().replace(f"deals/{deal}/images/{name}", PHOTO)


@pytest.fixture
def ticks(store: DealStore, instance: dg.DagsterInstance) -> Ticks:
    """A sensor that knows more deals than it looks into each time."""
    for number in range(3 * FEW):
        put(store, f"old-{number:02}")
    ticks = Ticks(store, instance)
    asked: list[str] = []
    while found := ticks():
        asked += found
    assert sorted(asked) == [f"old-{number:02}" for number in range(3 * FEW)]
    return ticks


def test_a_quiet_look_looks_into_no_deal(ticks: Ticks) -> None:
    for _ in range(3):
        assert ticks() == []
        assert ticks.look.deals == []


def test_what_the_log_tells_of_is_found_once_whatever_else_there_is(
    ticks: Ticks, store: DealStore
) -> None:
    for number in range(3 * LIMIT):
        put(store, f"new-{number:02}")
        store.arrivals.put(f"new-{number:02}")
    put(store, "old-03", "b.png")
    store.arrivals.put("old-03")
    asked: list[str] = []
    for _ in range(6):
        found = ticks()
        assert len(found) <= LIMIT
        asked += found
    assert sorted(asked) == sorted([*(f"new-{n:02}" for n in range(3 * LIMIT)), "old-03"])
    assert ticks() == []
    assert ticks.cursor.waiting == frozenset()


def test_an_arrival_whose_clock_is_behind_is_found(ticks: Ticks, store: DealStore) -> None:
    put(store, "prompt")
    store.arrivals.put("prompt")
    assert ticks() == ["prompt"]
    put(store, "late")
    store.arrivals.put("late", time.time() - 40)
    assert ticks() == ["late"]
    assert ticks() == []


def test_a_deal_that_is_not_at_rest_waits_and_is_taken_when_it_is(
    ticks: Ticks, store: DealStore
) -> None:
    put(store, "slow")
    store.arrivals.put("slow")
    now = time.time()
    for wait in (0.0, 10.0, 20.0):
        assert ticks(settle_s=30, now=now + wait) == []
        assert [deal.deal for deal in ticks.look.deals] == ["slow"]
    assert ticks(settle_s=30, now=now + 40) == ["slow"]
    assert ticks(settle_s=30, now=now + 50) == []


def test_a_folder_that_is_dropped_on_a_disk_is_found_without_the_log(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    store = DealStore(tmp_path)
    for number in range(3 * FEW):
        put(store, f"old-{number:02}")
    ticks = Ticks(store, instance)
    while ticks():
        pass
    put(store, "dropped")
    assert ticks() == ["dropped"]
    assert ticks() == []


def test_a_cursor_of_an_earlier_release_goes_on(store: DealStore, ticks: Ticks) -> None:
    ticks.cursor = Cursor.model_validate_json(
        '{"seen_to": 5.0, "waiting": ["old-01"], "requested": {"old-02": "v"}}'
    )
    put(store, "new")
    store.arrivals.put("new")
    assert set(ticks()) | set(ticks()) == {"new", "old-01"}


def test_a_quiet_look_takes_at_most_five_requests_and_each_new_deal_a_few(
    between: Between, s3_server: S3Server, instance: dg.DagsterInstance
) -> None:
    store = DealStore(s3_server.root())
    for number in range(3 * FEW):
        put(store, f"old-{number:02}")
    ticks = Ticks(store, instance)
    while ticks():
        pass
    between.asked.clear()
    ticks()
    assert between.asked["LIST"] == between.asked.total() <= 5, between.asked
    put(store, "new")
    store.arrivals.put("new")
    between.asked.clear()
    assert ticks() == ["new"]
    assert between.asked["LIST"] == between.asked.total() <= 5 + 3, between.asked


def test_a_sensor_that_was_off_for_days_still_reads_what_came_meanwhile(
    ticks: Ticks, store: DealStore
) -> None:
    before = place_at(time.time() - 3 * 86_400)
    ticks.cursor = ticks.cursor.model_copy(update={"arrived_to": before, "recent": frozenset()})
    put(store, "meanwhile")
    store.arrivals.put("meanwhile", time.time() - 2 * 86_400)
    assert ticks() == ["meanwhile"]

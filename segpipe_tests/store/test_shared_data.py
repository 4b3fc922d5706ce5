"""Answers and accounts in an object store: for all machines, and as safe as on one disk."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from segpipe.errors import BudgetExceededError, ConfigError, StoreError
from segpipe.prompt import Prompt
from segpipe.segmenters.cache import CachedSegmenter
from segpipe.segmenters.http import Attempt, Outcome
from segpipe.segmenters.local_data import LocalData
from segpipe.segmenters.sam3.segmind.call_ledger import Bill, Budget, Ledger
from segpipe.segmenters.sam3.segmind.ledger_costs import cost_of_day, read_costs
from segpipe.segmenters.segmenter import CallContext
from segpipe.store.data_root import DataRoot
from segpipe.store.lease import LeaseTimes
from segpipe.store.shared_data import SharedAnswers, SharedData, SharedLines, kept_data
from segpipe.store.storage import Storage
from segpipe_tests.deals import memory_root
from segpipe_tests.goods import BrightConfig, BrightSegmenter, goods_image
from segpipe_tests.loopback.reply import Reply
from segpipe_tests.loopback.s3 import Between, S3Server, use_s3

SENT = Attempt(1)
TIMES = LeaseTimes(beat_s=0.2, dead_s=1.0, patience_s=30)
KEY = "ab" + "0" * 62


@pytest.fixture(params=["memory", "s3"])
def root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    if request.param == "memory":
        return DataRoot.parse(memory_root())
    server: S3Server = request.getfixturevalue("s3_server")
    use_s3(monkeypatch, server.url)
    return DataRoot.parse(server.root())


@pytest.fixture
def storage(root: DataRoot) -> Storage:
    return root.storage()


@pytest.fixture
def between(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    between = Between(s3_server)
    with between.listening() as url:
        use_s3(monkeypatch, url)
        yield between


def data_of(root: DataRoot) -> SharedData:
    """As a machine of its own has it."""
    return SharedData(root, root.storage(), TIMES)


def answered(cost: str | None) -> Attempt:
    headers = {"x-cost": cost} if cost else {}
    return Attempt(1, Outcome.ANSWERED, 200, httpx.Headers(headers))


def bill_of(root: DataRoot, run: str = "run-1", **budget: float) -> Bill:
    ledger = Ledger(data_of(root).ledgers("ledger"), run)
    return Bill(ledger, Budget(**budget), CallContext(run, "lot", "a.png"))  # type: ignore[arg-type]


def test_a_local_root_keeps_both_where_they_always_were(tmp_path: Path) -> None:
    assert kept_data(DataRoot.parse(tmp_path)) == LocalData(tmp_path)


def test_folders_of_this_machine_stay_on_it_and_none_lies_outside_the_root(
    root: DataRoot, tmp_path: Path
) -> None:
    data = kept_data(root)
    data.answers(str(tmp_path / "cache"), 1000).write(KEY, b"one")
    assert (tmp_path / "cache" / "ab" / f"{'0' * 62}.entry").read_bytes() == b"one"
    for folder in ("../other", ".", "a/../.."):
        with pytest.raises(ConfigError, match="below the data root"):
            data.answers(folder, 1000)


def test_answers_are_kept_under_the_names_of_a_local_folder(
    root: DataRoot, storage: Storage
) -> None:
    answers = data_of(root).answers("cache/segmentations", 1000)
    assert answers.read(KEY) is None
    answers.write(KEY, b"one")
    answers.write(KEY, b"two")
    answers.write("cd" + KEY, bytes(1001))
    assert data_of(root).answers("cache/segmentations", 1000).read(KEY) == b"two"
    assert [entry.name for entry in storage.walk("cache")] == [f"segmentations/ab/{'0' * 62}.entry"]


def test_room_is_made_from_the_oldest_and_never_much_more_is_kept(
    root: DataRoot, storage: Storage
) -> None:
    answers = SharedAnswers(storage, "cache", 10_000, TIMES)
    for number in range(120):
        answers.write(f"{number:064x}", bytes(500))
    answers.make_room()
    sizes = [entry.size for entry in storage.walk("cache")]
    assert 8_000 < sum(sizes) <= 10_000


def test_two_machines_that_ask_the_same_at_once_share_one_call(root: DataRoot) -> None:
    inner = BrightSegmenter()
    image = goods_image(3)

    async def body() -> None:
        machines = [
            CachedSegmenter(inner, data_of(root).answers("cache", 10**7), settings=BrightConfig())
            for _ in range(3)
        ]
        results = await asyncio.gather(*(each.segment(image, Prompt()) for each in machines))
        assert len({len(result.detections) for result in results}) == 1

    asyncio.run(body())
    assert inner.calls == 1


def test_a_bucket_that_fails_costs_the_keeping_and_not_the_answer(
    between: Between, s3_server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    root = DataRoot.parse(s3_server.root())
    forbidden = Reply(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
    between.fault = lambda received, forward: forbidden
    inner = BrightSegmenter()
    answers = data_of(root).answers("cache", 10**7)
    segmenter = CachedSegmenter(inner, answers, settings=BrightConfig())
    for _ in range(2):
        assert asyncio.run(segmenter.segment(goods_image(2), Prompt())).detections
    assert caplog.text.count("answers are not kept") == 1
    with pytest.raises(StoreError, match="without it no call is made"):
        bill_of(root).observe(SENT)


def test_a_question_takes_five_requests_and_a_kept_answer_one(
    between: Between, s3_server: S3Server
) -> None:
    answers = data_of(DataRoot.parse(s3_server.root())).answers("cache", 10**10)
    segmenter = CachedSegmenter(BrightSegmenter(), answers, settings=BrightConfig())
    asyncio.run(segmenter.segment(goods_image(2), Prompt()))
    assert between.asked == {"GET": 2, "PUT": 2, "POST": 1}, "to remove is a POST"
    between.asked.clear()
    asyncio.run(segmenter.segment(goods_image(2), Prompt()))
    assert between.asked == {"GET": 1}


def test_an_account_is_whole_over_many_objects_and_machines(
    root: DataRoot, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segpipe.store.shared_data._PART_BYTES", 2_000)
    workers, each = 4, 10

    def spend(_: int) -> None:
        for _ in range(each):
            bill = bill_of(root)
            bill.observe(SENT)
            bill.observe(answered("0.5"))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(spend, range(workers)))
    (cost,) = read_costs(data_of(root).ledgers("ledger"))
    assert (cost.run_id, cost.deal, cost.calls) == ("run-1", "lot", workers * each)
    assert (cost.cost, cost.unknown) == (0.5 * workers * each, 0)
    parts = [entry.size for entry in storage.walk("ledger")]
    assert len(parts) > 5
    assert max(parts) < 2_500


def test_machines_together_keep_the_limits_of_a_run(root: DataRoot) -> None:
    made: list[int] = []

    def spend() -> None:
        for _ in range(12):
            bill = bill_of(root, max_paid_calls=20)
            try:
                bill.observe(SENT)
            except BudgetExceededError:
                continue
            made.append(1)
            bill.observe(answered("0.5"))

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 20


def test_runs_at_once_never_pass_the_limit_of_a_day(root: DataRoot) -> None:
    made: list[int] = []

    def spend(run: str) -> None:
        for _ in range(4):
            bill = bill_of(root, run, max_cost_per_day=0.45, cost_per_call=0.1)
            try:
                bill.observe(SENT)
            except BudgetExceededError:
                continue
            made.append(1)
            bill.observe(answered("0.1"))

    threads = [threading.Thread(target=spend, args=(f"run-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while True:  # two that met may both have stood back
        try:
            bill = bill_of(root, "last", max_cost_per_day=0.45, cost_per_call=0.1)
            bill.observe(SENT)
        except BudgetExceededError:
            break
        made.append(1)
        bill.observe(answered("0.1"))
    assert len(made) == 4
    costs = read_costs(data_of(root).ledgers("ledger"))
    assert sum(cost.cost for cost in costs) == pytest.approx(0.4)
    assert all(cost.unknown == 0 for cost in costs)


def test_files_that_were_copied_from_a_disk_count_too(
    root: DataRoot, storage: Storage, tmp_path: Path
) -> None:
    local = LocalData(tmp_path).ledgers("ledger")
    bill = Bill(Ledger(local, "old"), Budget(), CallContext("old", "lot", "a.png"))
    bill.observe(SENT)
    bill.observe(answered("0.25"))
    storage.replace("ledger/old.jsonl", (tmp_path / "ledger" / "old.jsonl").read_bytes())
    bill_of(root).observe(SENT)
    ledgers = data_of(root).ledgers("ledger")
    assert {cost.run_id for cost in read_costs(ledgers)} == {"old", "run-1"}
    assert read_costs(ledgers) == read_costs(ledgers)
    assert cost_of_day(ledgers, datetime.now(UTC).date(), unknown=1.0) == 1.25
    storage.replace("ledger/bad/0000000001.jsonl", b"\xff")
    with pytest.raises(StoreError, match="cannot be read"):
        read_costs(ledgers)


def test_a_line_whose_answer_was_lost_is_written_once(
    between: Between, s3_server: S3Server
) -> None:
    storage = DataRoot.parse(s3_server.root()).storage()
    lines = SharedLines(storage, "ledger/run-1", "run-1")
    lost = [3]

    def lose(received: object, forward: object) -> Reply:
        reply: Reply = forward()  # type: ignore[operator]
        headers = received.headers  # type: ignore[attr-defined]
        if lost[0] and {"if-match", "if-none-match"} & set(headers):
            lost[0] -= 1
            return Reply(hang_up=True)
        return reply

    between.fault = lose
    for number in range(5):
        with lines.turn():
            assert lines.append(b"%d" % number)
    assert storage.read("ledger/run-1/0000000001.jsonl") == b"0\n1\n2\n3\n4\n"

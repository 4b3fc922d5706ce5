"""The ledger of a run, and the limits that it keeps."""

import asyncio
import json
import multiprocessing
import re
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from segpipe.errors import BudgetExceededError, StoreError
from segpipe.segmenters.http import Attempt, Outcome
from segpipe.segmenters.sam3.segmind.call_ledger import Bill, Budget, Ledger, amount
from segpipe.segmenters.sam3.segmind.ledger_folder import LedgerFolder
from segpipe.segmenters.segmenter import CallContext

RUN = CallContext("run-1", "deal-1", "a.png")
SENT = Attempt(1)


def answered(cost: str | None = "0.1", left: str | None = "9") -> Attempt:
    headers = {"x-cost": cost, "x-remaining-credits": left}
    return ended(Outcome.ANSWERED, 200, {k: v for k, v in headers.items() if v is not None})


def ended(outcome: Outcome, status: int | None = None, headers: Any = ()) -> Attempt:
    return Attempt(1, outcome, status, httpx.Headers(headers))


def bill_of(folder: Path, **budget: Any) -> Bill:
    """A bill by a ledger of its own, as a second process would have."""
    return Bill(Ledger(LedgerFolder(folder), RUN.run_id), Budget(**budget), RUN)


def lines_of(folder: Path, name: str = "run-1.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_a_call_has_a_line_when_it_is_sent_and_one_when_its_outcome_is_known(
    tmp_path: Path,
) -> None:
    bill = bill_of(tmp_path)
    bill.observe(SENT)
    bill.observe(answered())
    sent, done = lines_of(tmp_path)
    assert sent["call"] == done["call"]
    assert (sent["outcome"], sent["status"], sent["cost"]) == ("under_way", None, None)
    assert (done["outcome"], done["status"], done["cost"]) == ("answered", 200, 0.1)
    assert done["remaining_credits"] == 9
    assert (done["run"], done["deal"], done["image"]) == ("run-1", "deal-1", "a.png")
    assert sent["time"] <= done["time"]
    assert (bill.usage.calls, bill.usage.cost, bill.usage.remaining_credits) == (1, 0.1, 9)


@pytest.mark.parametrize(
    ("run_id", "start"),
    [("", "no-run.jsonl"), ("0c8f-12_A", "0c8f-12_A.jsonl"), ("../../etc/passwd", "etc_passwd.")],
)
def test_a_run_has_a_file_of_its_own_inside_the_folder(
    tmp_path: Path, run_id: str, start: str
) -> None:
    path = Path(Ledger(LedgerFolder(tmp_path), run_id).place)
    assert path.parent == tmp_path
    assert path.name.startswith(start)
    assert path.suffix == ".jsonl"


def test_names_that_are_made_safe_stay_different(tmp_path: Path) -> None:
    names = {
        Path(Ledger(LedgerFolder(tmp_path), run_id).place).name
        for run_id in ("a/b", "a_b", "a b", "ä", "\udc80", "a" * 300)
    }
    assert len(names) == 6
    assert max(map(len, names)) < 120


def test_the_call_that_would_pass_the_number_is_not_made(tmp_path: Path) -> None:
    bill = bill_of(tmp_path, max_paid_calls=2)
    for _ in range(2):
        bill.observe(SENT)
        bill.observe(answered())
    with pytest.raises(BudgetExceededError, match=r"paid call 3 .* the 2 allowed") as caught:
        bill.observe(SENT)
    assert caught.value.field == "max_paid_calls"
    assert len(lines_of(tmp_path)) == 4


def test_the_call_that_would_pass_the_cost_is_not_made(tmp_path: Path) -> None:
    bill = bill_of(tmp_path, max_cost=0.3, cost_per_call=0.1)
    for _ in range(3):
        bill.observe(SENT)
        bill.observe(answered("0.1"))
    with pytest.raises(BudgetExceededError, match=r"0\.4 credits, more than the 0\.3") as caught:
        bill.observe(SENT)
    assert caught.value.field == "max_cost"


def test_before_any_cost_is_known_the_estimate_counts(tmp_path: Path) -> None:
    with pytest.raises(BudgetExceededError):
        bill_of(tmp_path, max_cost=1, cost_per_call=2).observe(SENT)
    bill_of(tmp_path, max_cost=1, cost_per_call=0.5).observe(SENT)
    bill_of(tmp_path, max_cost=1, cost_per_call=0.5).observe(SENT)
    with pytest.raises(BudgetExceededError):
        bill_of(tmp_path, max_cost=1, cost_per_call=0.5).observe(SENT)


def test_calls_of_unknown_cost_count_with_the_highest_that_was_seen(tmp_path: Path) -> None:
    bill = bill_of(tmp_path, max_cost=1, cost_per_call=0.01)
    for attempt in (answered("0.4"), answered("0.1"), answered(None)):
        bill.observe(SENT)
        bill.observe(attempt)
    with pytest.raises(BudgetExceededError, match=r"1\.3 credits"):  # .4 + .1 + .4, and .4
        bill.observe(SENT)


@pytest.mark.parametrize(
    ("attempt", "is_paid"),
    [
        (answered(), True),
        (answered(None), True),
        (ended(Outcome.UNCERTAIN), True),
        (ended(Outcome.PROTOCOL, 200), True),
        (ended(Outcome.REFUSED, 401), False),
        (ended(Outcome.UNAVAILABLE, 429), False),
        (ended(Outcome.UNAVAILABLE), False),
        (ended(Outcome.REFUSED, 422, {"x-cost": "0.1"}), True),
    ],
)
def test_only_what_may_have_been_billed_is_a_paid_call(
    tmp_path: Path, attempt: Attempt, is_paid: bool
) -> None:
    bill = bill_of(tmp_path, max_paid_calls=1)
    bill.observe(SENT)
    bill.observe(attempt)
    if is_paid:
        with pytest.raises(BudgetExceededError):
            bill.observe(SENT)
    else:
        bill.observe(SENT)


def test_what_other_processes_and_killed_ones_have_under_way_counts(tmp_path: Path) -> None:
    bill_of(tmp_path, max_paid_calls=2).observe(SENT)  # and no more is heard of it
    second = bill_of(tmp_path, max_paid_calls=2)
    second.observe(SENT)
    with pytest.raises(BudgetExceededError):
        bill_of(tmp_path, max_paid_calls=2).observe(SENT)
    second.observe(ended(Outcome.UNAVAILABLE))
    bill_of(tmp_path, max_paid_calls=2).observe(SENT)


def test_while_no_cost_is_known_calls_take_turns_and_who_leaves_blocks_no_other(
    tmp_path: Path,
) -> None:
    ledger = Ledger(LedgerFolder(tmp_path), RUN.run_id)
    begun: list[str] = []

    async def call(name: str, max_cost: float) -> None:
        async with Bill(ledger, Budget(max_cost=max_cost), RUN).turn():
            begun.append(name)

    async def body() -> None:
        bill = Bill(ledger, Budget(max_cost=1), RUN)
        async with bill.turn():
            waiting = [asyncio.create_task(call(name, 1)) for name in ("second", "third")]
            await call("without a limit", 0)
            await asyncio.sleep(0)
            assert begun == ["without a limit"]
            waiting[0].cancel()
            bill.observe(SENT)
            bill.observe(answered())
            await call("with a known cost", 1)
            assert begun == ["without a limit", "with a known cost"]
        await waiting[1]

    asyncio.run(body())
    assert begun[2:] == ["third"]


def test_a_cost_that_comes_later_replaces_the_assumption(tmp_path: Path) -> None:
    bill = bill_of(tmp_path, max_cost=1, cost_per_call=0.6)
    bill.observe(SENT)
    bill.observe(answered(None, None))
    bill.settle(0.3, 5)
    bill.settle(99, 99)
    assert (bill.usage.calls, bill.usage.cost, bill.usage.remaining_credits) == (1, 0.3, 5)
    bill_of(tmp_path, max_cost=1, cost_per_call=0.6).observe(SENT)
    assert [line["cost"] for line in lines_of(tmp_path)] == [None, None, 0.3, None]


def test_work_that_failed_later_was_free(tmp_path: Path) -> None:
    bill = bill_of(tmp_path, max_paid_calls=1)
    bill.observe(SENT)
    bill.observe(answered(None))
    bill.settle(None, None, failed=True)
    bill.observe(SENT)


def test_a_line_that_a_full_disk_cut_off_counts_as_a_call_and_harms_no_other(
    tmp_path: Path,
) -> None:
    (tmp_path / "run-1.jsonl").write_bytes(b'{"call": "x", "outc')
    bill = bill_of(tmp_path, max_paid_calls=2)
    bill.observe(SENT)
    bill.observe(answered())
    with pytest.raises(BudgetExceededError):
        bill.observe(SENT)
    assert (tmp_path / "run-1.jsonl").read_bytes().count(b"\n") == 3


def test_without_a_ledger_no_call_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match="cannot be written"):
        Bill(Ledger(LedgerFolder(tmp_path / "file"), "r"), Budget(), RUN).observe(SENT)


def spend(folder: str, calls: int) -> int:
    """As much as the budget allows; how much that was."""
    made = 0
    for _ in range(calls):
        bill = bill_of(Path(folder), max_paid_calls=50)
        try:
            bill.observe(SENT)
        except BudgetExceededError:
            continue
        made += 1
        bill.observe(answered())
    return made


def test_several_processes_and_threads_together_keep_the_limit_and_whole_lines(
    tmp_path: Path,
) -> None:
    made: list[int] = []
    threads = [
        threading.Thread(target=lambda: made.append(spend(str(tmp_path), 20))) for _ in range(2)
    ]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        elsewhere = pool.starmap_async(spend, [(str(tmp_path), 20)] * 2)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made += elsewhere.get(60)
        pool.close()
        pool.join()
    assert sum(made) == 50
    assert len(lines_of(tmp_path)) == 100


@pytest.mark.parametrize(
    ("value", "sum_of_credits"),
    [
        ("0.25", 0.25),
        (3, 3),
        ("0", 0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("free", None),
        (None, None),
        (True, None),
        ([1], None),
        (10**400, None),
    ],
)
def test_an_amount_of_credits_is_a_number_from_0_up(
    value: object, sum_of_credits: float | None
) -> None:
    assert amount(value) == sum_of_credits


def test_the_file_is_only_ever_appended_to(tmp_path: Path) -> None:
    file = tmp_path / "run-1.jsonl"
    bill = bill_of(tmp_path)
    bill.observe(SENT)
    before, inode = file.read_bytes(), file.stat().st_ino
    bill.observe(answered())
    assert file.read_bytes().startswith(before)
    assert file.stat().st_ino == inode


def test_a_limit_of_a_day_counts_the_calls_of_all_runs_of_today(tmp_path: Path) -> None:
    def call(run: str) -> None:
        bill = Bill(
            Ledger(LedgerFolder(tmp_path), run),
            Budget(max_cost_per_day=0.3, cost_per_call=0.1),
            CallContext(run_id=run),
        )
        bill.observe(SENT)
        bill.observe(answered())

    for run in ("run-1", "run-2", "run-3"):
        call(run)
    with pytest.raises(BudgetExceededError, match="allowed a day") as caught:
        call("run-4")
    assert caught.value.field == "max_cost_per_day"
    # What was spent on other days does not count.
    text = (tmp_path / "run-1.jsonl").read_text()
    (tmp_path / "run-1.jsonl").write_text(re.sub(r"\d{4}-\d\d-\d\dT", "2020-01-01T", text))
    call("run-4")

"""A deal that kills the process of its run, in processes that die."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import dagster as dg
import pytest

from segpipe.errors import ConfigError
from segpipe.flow.deal_state import State
from segpipe.flow.todo import todo_of
from segpipe.pipeline.deal_order import BEGUN_TAG
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.options import LocalRoot
from segpipe.pipeline.partitions import (
    DEALS_PER_RUN_VARIABLE,
    configured_deals_per_run,
    contiguous_batches,
    range_tags,
)
from segpipe.pipeline.resources import DealStoreResource
from segpipe.progress import Event
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.deals import default_tools, make_deal
from segpipe_tests.goods import BrightSegmenter
from segpipe_tests.pipeline.dagster_runs import FixedSegmenter

POISON = "b"
DEALS = ["a", "b", "c", "d"]
QUIET = {"telemetry": {"enabled": False}}


def die(event: Event) -> None:
    """What becomes of a process that takes all memory."""
    if getattr(event, "deal", "") == POISON:
        os.kill(os.getpid(), signal.SIGKILL)


def attempt(folder: Path, root_run: str, number: int) -> None:
    """A run, in this process, which is the retry of others when it has a number."""
    definitions = build_defs(
        {
            "store": DealStoreResource(root=LocalRoot(path=str(folder / "data"))),
            "segmenter": FixedSegmenter(BrightSegmenter),
            "progress": die,
        }
    )
    retry = {"dagster/retry_number": str(number), "dagster/root_run_id": root_run}
    with dg.DagsterInstance.local_temp(str(folder / "dagster"), overrides=QUIET) as instance:
        definitions.resolve_job_def(everything_job_name(Mode.FIND_ALL)).execute_in_process(
            instance=instance,
            run_id=str(uuid.uuid4()) if number else root_run,
            tags=range_tags(DEALS) | (retry if number else {}),
            raise_on_error=False,
        )


def test_it_goes_last_on_a_retry_and_is_named_when_it_has_killed_two(tmp_path: Path) -> None:
    (tmp_path / "dagster").mkdir()
    for deal in DEALS:
        make_deal(tmp_path / "data", deal)
    store, root_run = DealStore(tmp_path / "data"), str(uuid.uuid4())
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=QUIET) as instance:
        instance.add_dynamic_partitions("deals", DEALS)

    done = []
    for number in range(3):
        program = (
            "from pathlib import Path\n"
            f"from {__name__} import attempt\n"
            f"attempt(Path({str(tmp_path)!r}), {root_run!r}, {number})\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=False,
        )
        done.append((ended.returncode, {d for d in DEALS if store.current(d, Mode.FIND_ALL)}))
        with dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=QUIET) as instance:
            runs = instance.get_runs()
            for run in runs:  # as monitoring does
                if not run.is_finished:
                    instance.report_run_failed(run, "its process is gone")

    others = set(DEALS) - {POISON}
    assert done == [(-signal.SIGKILL, {"a"}), (-signal.SIGKILL, others), (0, others)]
    assert [run.tags[BEGUN_TAG] for run in runs] == ["", POISON, POISON]
    failure = store.last_failure(POISON, Mode.FIND_ALL)
    assert failure
    assert "2 processes were killed while it was under way" in failure.errors[0].message
    assert todo_of(store, POISON, Mode.FIND_ALL, default_tools().settings).state is State.KNOWN_BAD


@pytest.mark.parametrize("asked", ["0", "251", "-1", "many", "2.5"])
def test_a_number_of_deals_that_no_run_can_handle_is_refused_in_words(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEALS_PER_RUN_VARIABLE, asked)
    with pytest.raises(ConfigError, match=r"no whole number from 1 to 250: .* more runs"):
        build_defs()


def test_one_setting_says_how_many_deals_a_run_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured_deals_per_run() == 25
    monkeypatch.setenv(DEALS_PER_RUN_VARIABLE, "100")
    assets = build_defs().resolve_asset_graph()
    policies = {node.backfill_policy for node in assets.asset_nodes if node.backfill_policy}
    assert policies == {dg.BackfillPolicy.multi_run(100)}
    batches = list(contiguous_batches([str(n) for n in range(150)], {str(n) for n in range(150)}))
    assert [len(batch) for batch in batches] == [100, 50]

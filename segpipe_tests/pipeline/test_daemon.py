"""Deals through the real daemon and the project's own settings, in processes of their own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import skimage.data
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.instance.ref import InstanceRef
from dagster._time import get_current_timestamp

from segpipe.definitions import defs
from segpipe.flow.stages import Stage
from segpipe.pipeline.recording import asset_key
from segpipe.segmenters.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.goods import goods_photo, put_photos

PROJECT = Path(__file__).parents[2]
PATIENCE_S = 200.0
COINS = Path(skimage.data.__file__).parent / "coins.png"

pytestmark = pytest.mark.timeout(600)


class Deployment:
    """A data root and an instance, with copies of the checkout's dagster.yaml and workspace.yaml.

    Args:
        folder: An empty folder; it stands for a checkout.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "data"
        self.root.mkdir()
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(PROJECT / name, folder / name)
        self.environment = os.environ | {
            "DAGSTER_HOME": str(folder),
            "SEGPIPE_ROOT": str(self.root),
            "PYTHONPATH": str(PROJECT),
        }

    def dagster(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "dagster", *arguments]
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True)

    def start_daemon(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "daemon.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def open_instance(self) -> dg.DagsterInstance:
        # dagster.yaml names its files relative to the checkout.
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(self.folder)))
        finally:
            os.chdir(before)

    def store(self) -> DealStore:
        return DealStore(self.root)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    # Two processes that both set up the same SQLite files at once would trip over each other.
    with deployment.open_instance() as instance:
        assert not instance.get_dynamic_partitions("deals")
    daemon = deployment.start_daemon()
    yield deployment
    os.killpg(daemon.pid, signal.SIGTERM)
    try:
        daemon.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


def wait_until(is_so: Callable[[], bool], deployment: Deployment) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            log = (deployment.folder / "daemon.log").read_text(errors="replace")
            pytest.fail(f"waited {PATIENCE_S:g} s in vain; the daemon's log ends:\n{log[-4000:]}")
        time.sleep(0.5)


def test_a_dropped_folder_becomes_crops_with_nothing_else_done(deployment: Deployment) -> None:
    store = deployment.store()
    store.add_photos("dropped", [COINS])
    store.mark_complete("dropped")

    deployment.dagster("sensor", "start", "new_deals", "-w", "workspace.yaml")

    wait_until(lambda: store.current("dropped", Mode.FIND_ALL) is not None, deployment)
    snapshot = store.current("dropped", Mode.FIND_ALL)
    assert snapshot is not None
    crops = [entry for entry in snapshot.files(Stage.CROPS) if entry.path.endswith(".png")]
    assert len(crops) == 24
    assert not list(store.verify("dropped"))


def test_a_backfill_over_deals_does_the_good_ones_and_names_the_bad_one(
    deployment: Deployment,
) -> None:
    deals = ["lot-1", "lot-2", "lot-3"]
    for deal in deals:
        put_photos(deployment.root, deal, {"a.png": goods_photo(3)})
    put_photos(deployment.root, "lot-2", {"b.jpg": b"text"})
    store = deployment.store()

    with deployment.open_instance() as instance:
        instance.add_dynamic_partitions("deals", deals)
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id="everything",
            asset_graph=defs.resolve_asset_graph(),
            partition_names=deals,
            asset_selection=[asset_key(Mode.FIND_ALL, stage) for stage in Stage],
            backfill_timestamp=get_current_timestamp(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(backfill)

        def is_over() -> bool:
            found = instance.get_backfill("everything")
            return found is not None and found.status not in {
                BulkActionStatus.REQUESTED,
                BulkActionStatus.FAILING,
                BulkActionStatus.CANCELING,
            }

        wait_until(is_over, deployment)
        crops = asset_key(Mode.FIND_ALL, Stage.CROPS)
        assert {"lot-1", "lot-3"} <= instance.get_materialized_partitions(crops)
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": "everything"}))
        assert [run.status for run in runs] == [dg.DagsterRunStatus.FAILURE]

    assert store.current("lot-1", Mode.FIND_ALL) is not None
    assert store.current("lot-2", Mode.FIND_ALL) is None
    failure = store.last_failure("lot-2", Mode.FIND_ALL)
    assert failure is not None
    assert [(item.image, item.error) for item in failure.errors] == [
        ("b.jpg", "UnsupportedFormatError")
    ]

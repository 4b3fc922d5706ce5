"""A run that is killed at any request: what is current in the bucket is the old set or the new."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from segpipe.store.store import DealStore
from segpipe_tests.loopback.reply import Reply
from segpipe_tests.loopback.s3 import Between, S3Server, use_s3
from segpipe_tests.loopback.server import Received

DEAL, MODE, ASSETS = "d1", "find_all", ("segmentation", "crops")
WAIT_S = 60
RUN = """
import sys
from segpipe.store.store import DealStore
with DealStore(sys.argv[1]).stage("d1", "find_all", run_id=sys.argv[2]) as staging:
    above = {"deal_photos": "0" * 64}
    for asset in ("segmentation", "crops"):
        staging.write(asset, "table.bin", f"{staging.version_name} {asset}".encode())
        staging.seal(asset, made_from=above)
        above = {asset: staging.version_name}
    staging.promote()
"""


@pytest.fixture
def between(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    between = Between(s3_server)
    with between.listening() as url:
        use_s3(monkeypatch, url)
        yield between


class KillsAt:
    """Kills a process at one of its writes: before the server sees it, or when it was done."""

    def __init__(self, number: int, *, is_done: bool) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.has_started = threading.Event()
        self._left = number
        self._is_done = is_done

    def __call__(self, received: Received, forward: Callable[[], Reply]) -> Reply:
        assert self.has_started.wait(WAIT_S)
        self._left -= received.method in {"PUT", "POST", "DELETE"}
        if self._left:
            return forward()
        if self._is_done:
            forward()
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        return Reply(hang_up=True)


def run(root: str, name: str, fault: KillsAt | None = None) -> int:
    """A run in a process of its own; what it exits with."""
    process = subprocess.Popen([sys.executable, "-c", RUN, root, name], env=os.environ)
    if fault:
        fault.process = process
        fault.has_started.set()
    return process.wait(WAIT_S)


def versions(store: DealStore) -> set[str]:
    """The versions that are current, each file read whole."""
    snapshot = store.current(DEAL, MODE)
    assert snapshot
    for asset in ASSETS:
        name = snapshot.version(asset).name
        assert snapshot.read(asset, "table.bin") == f"{name} {asset}".encode()
    return {snapshot.version(asset).name for asset in ASSETS}


def test_a_run_killed_at_any_write_leaves_the_old_set_or_the_new_one_whole(
    between: Between, s3_server: S3Server
) -> None:
    root = s3_server.root()
    store = DealStore(root, keep_commits=100)
    store.root.storage().replace(f"deals/{DEAL}/images/a.jpg", b"photo")
    assert run(root, "first") == 0
    old, seen = {"first.0"}, list[bool]()
    for number in range(1, 20):
        for is_done in (False, True):
            name = f"killed-{number}-{is_done}"
            between.fault = fault = KillsAt(number, is_done=is_done)
            code = run(root, name, fault)
            between.fault = None
            if code == 0:
                break
            assert code == -signal.SIGKILL
            now = versions(store)
            assert now in ({f"{name}.0"}, old)
            seen.append(now != old)
            old = now
        else:
            continue
        break
    # Two files, two manifests, one commit; the last of all has happened or not.
    assert seen == [False] * 9 + [True]
    assert versions(store) == {f"{name}.0"}
    assert store.sweep(min_age_s=0).versions > 4
    assert list(store.verify()) == []

"""Stores on a local disk, in memory and on a real S3 server."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from segpipe.store.store import DealStore
from segpipe_tests.deals import memory_root
from segpipe_tests.loopback.s3 import S3Server, use_s3

SHARED_MEMORY = Path("/dev/shm")
SMALL_DISK_BYTES = 256 * 1024


@pytest.fixture(params=["local", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data root of each kind that no other test uses."""
    if request.param == "local":
        return str(tmp_path)
    if request.param == "memory":
        return memory_root()
    server: S3Server = request.getfixturevalue("s3_server")
    use_s3(monkeypatch, server.url)
    return server.root()


@pytest.fixture
def store(root: str) -> DealStore:
    return DealStore(root)


@pytest.fixture
def local_store(tmp_path: Path) -> DealStore:
    return DealStore(tmp_path)


@pytest.fixture
def ram_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill needs no disk, and thousands of syncs none."""
    if not SHARED_MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KB."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        _cannot("there is no mount command")
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        _cannot("mounting is not permitted")
    yield folder
    subprocess.run([umount, "-l", str(folder)], check=True)


@pytest.fixture
def remount_read_only() -> Callable[[Path], None]:
    def remount(folder: Path) -> None:
        options = "remount,ro"
        subprocess.run(["mount", "-o", options, str(folder)], check=True)

    return remount


def _cannot(why: str) -> NoReturn:
    """Leave out what this machine does not allow; CI has to allow it."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)

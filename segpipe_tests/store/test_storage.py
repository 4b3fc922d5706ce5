"""What every storage promises, on a local disk and in memory."""

import errno
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from upath import UPath

from segpipe.errors import StoreError
from segpipe.store.disk import Disk
from segpipe.store.local_storage import LocalStorage
from segpipe.store.storage import Kind, Storage, is_temporary
from segpipe.store.store import storage_at


@pytest.fixture
def storage(root: UPath) -> Storage:
    return storage_at(root)


def test_put_if_absent_writes_once_and_never_overwrites(storage: Storage) -> None:
    storage.put_if_absent("a/b/1.json", [b"on", b"e"])
    with pytest.raises(FileExistsError):
        storage.put_if_absent("a/b/1.json", [b"two"])
    assert storage.read("a/b/1.json") == b"one"
    assert [entry.name for entry in storage.list("a/b")] == ["1.json"]


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns after every few instructions."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
def test_of_many_who_put_at_once_exactly_one_succeeds(storage: Storage) -> None:
    workers = 8
    for turn in range(20):
        barrier = threading.Barrier(workers)

        def put(worker: int, turn: int = turn, barrier: threading.Barrier = barrier) -> int | None:
            barrier.wait()
            try:
                storage.put_if_absent(f"{turn}.json", [str(worker).encode()])
            except FileExistsError:
                return None
            return worker

        with ThreadPoolExecutor(workers) as pool:
            winners = [worker for worker in pool.map(put, range(workers)) if worker is not None]
        assert [str(worker).encode() for worker in winners] == [storage.read(f"{turn}.json")]


def test_replace_overwrites(storage: Storage) -> None:
    storage.replace("a/x", b"one")
    storage.replace("a/x", b"two")
    assert storage.read("a/x") == b"two"
    assert [entry.name for entry in storage.list("a")] == ["x"]


def test_create_refuses_a_file_that_exists(storage: Storage) -> None:
    file = storage.create("a/x")
    file.write(b"one")
    file.finish()
    with pytest.raises(FileExistsError):
        storage.create("a/x")
    assert storage.read("a/x") == b"one"


def test_readers_of_one_file_do_not_disturb_each_other(storage: Storage) -> None:
    storage.replace("x", b"abcdef")
    with storage.open("x") as one, storage.open("x") as other:
        assert one.read(3) == b"abc"
        assert other.read(3) == b"abc"
        assert one.read() == b"def"


def test_what_is_not_there_lists_as_nothing(storage: Storage) -> None:
    assert storage.list("nowhere") == []
    assert list(storage.walk("nowhere")) == []
    assert storage.entry("nowhere") is None
    assert storage.remove_folder("nowhere") is False
    for look in (storage.read, storage.read_input, storage.refresh, storage.remove):
        with pytest.raises(FileNotFoundError):
            look("nowhere")


def test_entries_tell_kind_size_and_time(storage: Storage) -> None:
    storage.replace("a/x", b"abc")
    storage.replace("a/b/y", b"")
    entries = {entry.name: entry for entry in storage.list("a")}
    assert (entries["x"].kind, entries["x"].size) == (Kind.FILE, 3)
    assert entries["x"].modified_ns > 0
    assert entries["b"].kind is Kind.FOLDER
    assert storage.entry("a/x") == entries["x"]
    assert {e.name for e in storage.walk("a") if e.kind is Kind.FILE} == {"x", "b/y"}


def test_names_with_glob_characters_mean_themselves(storage: Storage) -> None:
    for name in ("a*", "a[1]", "a?", "ab"):
        storage.replace(f"f/{name}", name.encode())
    storage.remove("f/a*")
    assert {entry.name for entry in storage.list("f")} == {"a[1]", "a?", "ab"}
    assert storage.read("f/a?") == b"a?"


def test_a_local_put_leaves_no_temporary_file_when_it_loses(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put_if_absent("x", [b"one"])
    with pytest.raises(FileExistsError):
        storage.put_if_absent("x", [b"two"])
    assert os.listdir(tmp_path) == ["x"]  # noqa: PTH208 - dot files too


def test_a_local_file_is_seen_only_when_it_is_whole(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    seen: list[str] = []

    def chunks() -> Iterator[bytes]:
        yield b"one"
        seen.extend(entry.name for entry in storage.list(""))
        yield b"two"

    storage.put_if_absent("x", chunks())
    assert [is_temporary(name) for name in seen] == [True]


def test_walking_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (entry,) = LocalStorage(tmp_path).walk("a")
    assert (entry.name, entry.kind) == ("loop", Kind.SPECIAL)


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(tmp_path: Path) -> None:
    class Slow(Disk):
        def write(self, descriptor: int, data: memoryview) -> int:
            return super().write(descriptor, data[:3])

    LocalStorage(tmp_path, Slow()).put_if_absent("x", [b"0123456789", b"", b"ab"])
    assert (tmp_path / "x").read_bytes() == b"0123456789ab"


def test_a_file_system_without_hard_links_is_refused_clearly(tmp_path: Path) -> None:
    class NoLinks(Disk):
        def link(self, source: Path, target: Path) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(target))

    storage = LocalStorage(tmp_path, NoLinks())
    with pytest.raises(StoreError, match="without hard links"):
        storage.put_if_absent("x", [b"one"])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_sweep_removes_meanwhile_is_made_again(tmp_path: Path) -> None:
    class Swept(Disk):
        sweeps = 1

        def open_new(self, path: Path) -> int:
            if self.sweeps:
                self.sweeps -= 1
                path.parent.rmdir()
            return super().open_new(path)

    LocalStorage(tmp_path, Swept()).replace("a/b/x", b"one")
    assert (tmp_path / "a/b/x").read_bytes() == b"one"

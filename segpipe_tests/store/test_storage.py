"""What every storage promises, on a local disk, in memory and on a real S3 server."""

import contextlib
import errno
import io
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segpipe.errors import StoreError
from segpipe.store import disk
from segpipe.store.data_root import DataRoot
from segpipe.store.disk import Disk
from segpipe.store.local_storage import LOCK_NAME, LocalStorage
from segpipe.store.storage import Kind, Storage, is_temporary
from segpipe_tests.deals import memory_root


@pytest.fixture
def storage(root: str) -> Storage:
    return DataRoot.parse(root).storage()


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


def test_swap_writes_only_over_what_was_expected(storage: Storage) -> None:
    assert not storage.swap("a/x", b"zero", b"one"), "there is nothing yet"
    assert storage.entry("a/x") is None
    assert storage.swap("a/x", None, b"one")
    assert not storage.swap("a/x", None, b"two")
    assert not storage.swap("a/x", b"other", b"two")
    assert storage.read("a/x") == b"one"
    assert storage.swap("a/x", b"one", b"two")
    assert storage.read("a/x") == b"two"
    names = [entry.name for entry in storage.list("a")]
    assert [name for name in names if not name.startswith(".")] == ["x"]
    assert not any(map(is_temporary, names))


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize("before", [None, b"before"])
def test_of_many_who_swap_at_once_exactly_one_succeeds(
    storage: Storage, before: bytes | None
) -> None:
    workers = 6
    for turn in range(10):
        key = f"{turn}.json"
        barrier = threading.Barrier(workers)
        if before is not None:
            storage.replace(key, before)

        def swap(worker: int, key: str = key, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return storage.swap(key, before, str(worker).encode())

        with ThreadPoolExecutor(workers) as pool:
            done = list(pool.map(swap, range(workers)))
        winners = [str(worker).encode() for worker in range(workers) if done[worker]]
        assert winners == [storage.read(key)]


def test_what_comes_without_the_lock_is_not_written_over(tmp_path: Path) -> None:
    class Overtaken(Disk):
        def link(self, source: Path, target: Path) -> None:
            target.write_bytes(b"by hand")
            super().link(source, target)

    storage = LocalStorage(tmp_path, Overtaken())
    assert not storage.swap("x", None, b"one")
    assert storage.read("x") == b"by hand"


@pytest.mark.parametrize("expected", [None, b""])
def test_only_a_file_is_swapped(tmp_path: Path, expected: bytes | None) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    storage = LocalStorage(tmp_path)
    for name in ("fifo", "link", "folder"):
        assert not storage.swap(name, expected, b"one")


def test_a_lock_that_is_never_let_go_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_LOCK_PATIENCE_S", 0.01)
    held = Disk().lock(tmp_path / LOCK_NAME)
    with pytest.raises(TimeoutError):
        LocalStorage(tmp_path).swap("x", None, b"one")
    held.release()
    assert LocalStorage(tmp_path).swap("x", None, b"one")


def test_create_refuses_a_file_that_exists(storage: Storage) -> None:
    for data in (b"one", b"two"):
        with contextlib.ExitStack() as expected:
            if data == b"two":
                expected.enter_context(pytest.raises(FileExistsError))
            file = storage.create("a/x")
            file.write(data)
            file.finish()
    assert storage.read("a/x") == b"one"


def test_a_file_that_is_given_up_is_nowhere_on_an_object_store() -> None:
    storage = DataRoot.parse(memory_root()).storage()
    for size in (3, 9 * 1024 * 1024):
        file = storage.create(f"a/{size}")
        file.write(bytes(size))
        file.abandon()
    assert list(storage.walk("a")) == []


def test_a_large_file_is_written_and_read_in_pieces(storage: Storage) -> None:
    data = os.urandom(11 * 1024 * 1024)
    file = storage.create("a/large")
    for start in range(0, len(data), 700_001):
        file.write(memoryview(data)[start : start + 700_001])
    file.finish()
    entry = storage.entry("a/large")
    assert entry
    assert entry.size == len(data)
    with storage.open("a/large") as reader:
        assert reader.seek(-5, io.SEEK_END) == len(data) - 5
        assert reader.read() == data[-5:]
        reader.seek(1_000_000)
        assert reader.read(2_000_000) == data[1_000_000:3_000_000]
        reader.seek(0)
        assert reader.read() == data


def test_an_empty_file_is_read_like_others(storage: Storage) -> None:
    file = storage.create("a/empty")
    file.finish()
    with storage.open("a/empty") as reader:
        assert reader.read() == b""
        assert reader.seek(0, io.SEEK_END) == 0


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
    looks = [storage.read, storage.read_input, storage.refresh]
    if storage.settles:  # no object store tells whether there was anything to remove
        looks.append(storage.remove)
    for look in looks:
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

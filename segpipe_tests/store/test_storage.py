"""What every storage promises, on a local disk and in memory."""

import errno
import hashlib
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from segpipe.errors import StoreError
from segpipe.store import disk
from segpipe.store.disk import Disk
from segpipe.store.local_storage import LOCK_NAME, LocalStorage
from segpipe.store.object_storage import ObjectStorage
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


class S3Error(Exception):
    """An error of botocore as far as it is looked at."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class S3Like(MemoryFileSystem):  # type: ignore[misc]
    """The side of s3fs that conditional PUTs go through: tags, ``IfMatch``, and its errors."""

    protocol = ("s3", "s3a")
    cachable = False
    overtaken_by: bytes | None = None
    loses_answer = False
    code = "PreconditionFailed"

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        info: dict[str, Any] = super().info(path, **kwargs)
        return info | {"ETag": hashlib.md5(self.cat_file(path)).hexdigest()}

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **put: str) -> None:
        if "IfMatch" in put:
            if self.overtaken_by is not None:
                super().pipe_file(path, self.overtaken_by)
            if self.info(path)["ETag"] != put["IfMatch"]:
                raise OSError(errno.EINVAL, "condition") from S3Error(self.code)
        super().pipe_file(path, value, mode)
        if self.loses_answer:
            raise OSError(errno.EINVAL, "repeated, and refused") from S3Error(self.code)


@pytest.fixture
def s3() -> tuple[S3Like, ObjectStorage]:
    fs = S3Like()
    return fs, ObjectStorage(fs, f"/{uuid.uuid4().hex}")


def test_s3_swaps_by_tag(s3: tuple[S3Like, ObjectStorage]) -> None:
    fs, storage = s3
    assert storage.swap("x", None, b"one")
    assert not storage.swap("x", None, b"two")
    assert not storage.swap("x", b"other", b"two")
    assert not storage.swap("nothing", b"one", b"two")
    fs.overtaken_by = b"theirs"
    assert not storage.swap("x", b"one", b"two"), "between reading and writing"
    assert storage.read("x") == b"theirs"


def test_an_answer_that_s3_lost_is_no_refusal(s3: tuple[S3Like, ObjectStorage]) -> None:
    fs, storage = s3
    storage.replace("x", b"one")
    fs.loses_answer = True
    assert storage.swap("x", b"one", b"two")


def test_another_fault_of_s3_stays_one(s3: tuple[S3Like, ObjectStorage]) -> None:
    fs, storage = s3
    storage.replace("x", b"one")
    fs.overtaken_by, fs.code = b"theirs", "InvalidArgument"
    with pytest.raises(OSError, match="condition"):
        storage.swap("x", b"one", b"two")


def test_a_file_system_without_conditions_is_refused_clearly(tmp_path: Path) -> None:
    storage = ObjectStorage(LocalFileSystem(), str(tmp_path))
    storage.replace("x", b"one")
    with pytest.raises(StoreError, match="LocalFileSystem cannot replace"):
        storage.swap("x", b"one", b"two")
    assert storage.read("x") == b"one"


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

"""A folder that many write and read at once never gives half an entry and never grows too big."""

import asyncio
import contextlib
import errno
import hashlib
import os
import signal
import time
from pathlib import Path

import pytest
from filelock import FileLock

from segpipe.segmenters.cache.cache_folder import CacheFolder
from segpipe_tests.segmenters.cache.answers import exit_code, in_child

ROOMY = 1_000_000
HOURS_AGO = time.time() - 7200


def key(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.rglob(f"*{suffix}"))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in files(folder, ".entry"))


def only_file(folder: Path) -> Path:
    (path,) = files(folder, "")[1:]
    return path


def age(path: Path) -> None:
    os.utime(path, (HOURS_AGO, HOURS_AGO))


def test_what_was_written_is_read_and_another_key_has_nothing(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "new" / "cache", ROOMY)
    assert folder.read(key(1)) is None
    folder.write(key(1), b"one")
    folder.write(key(1), b"uno")
    assert folder.read(key(1)) == b"uno"
    assert folder.read(key(2)) is None


def test_files_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        CacheFolder(tmp_path, ROOMY).write(key(1), b"one")
    finally:
        os.umask(before)
    assert only_file(tmp_path).stat().st_mode & 0o777 == 0o640
    assert only_file(tmp_path).parent.stat().st_mode & 0o777 == 0o750


def test_the_entries_used_longest_ago_go_first(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 1000)
    for number in range(8):
        folder.write(key(number), bytes(100))
        os.utime(files(tmp_path, key(number)[2:] + ".entry")[0], (number + 1, number + 1))
    assert folder.read(key(0)) is not None  # now the one used last

    folder.write(key("large"), bytes(500))

    kept = [number for number in range(8) if folder.read(key(number)) is not None]
    assert kept == [0, 5, 6, 7]
    assert folder.read(key("large")) == bytes(500)


def test_the_folder_never_passes_its_size(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 10_000)
    for number in range(80):
        folder.write(key(number), bytes(100 + number % 7 * 90))
        assert size_of(tmp_path) <= 10_000
    assert size_of(tmp_path) > 5_000


def test_entries_that_are_there_when_a_process_starts_count(tmp_path: Path) -> None:
    CacheFolder(tmp_path, ROOMY).write(key("old"), bytes(900))
    CacheFolder(tmp_path, 1000).write(key("new"), bytes(200))
    assert [path.stat().st_size for path in files(tmp_path, ".entry")] == [200]


def test_an_entry_larger_than_the_folder_is_not_kept(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 1000)
    folder.write(key("small"), bytes(900))
    folder.write(key("large"), bytes(1001))
    assert folder.read(key("large")) is None
    assert folder.read(key("small")) is not None


def test_making_room_leaves_alone_what_others_are_writing_and_what_is_not_ours(
    tmp_path: Path,
) -> None:
    folder = CacheFolder(tmp_path, 1000)
    folder.write(key(1), bytes(900))
    shard = only_file(tmp_path).parent
    theirs = [shard / "0.tmp", tmp_path / "README", shard / "note.txt"]
    for path in theirs:
        path.write_bytes(bytes(5000))
    age(theirs[1])
    age(theirs[2])

    CacheFolder(tmp_path, 1000).write(key(2), bytes(900))

    assert all(path.exists() for path in theirs)
    assert folder.read(key(2)) is not None
    assert folder.read(key(1)) is None


def test_making_room_removes_what_killed_processes_left(tmp_path: Path) -> None:
    shard = tmp_path / "ab"
    shard.mkdir()
    left = [shard / "0.tmp", shard / "1.lock"]
    for path in left:
        path.touch()
        age(path)
    young = shard / "2.lock"
    young.touch()

    CacheFolder(tmp_path, ROOMY).write(key(1), b"one")

    assert not any(path.exists() for path in left)
    assert young.exists()


def test_making_room_leaves_an_old_lock_that_is_held(tmp_path: Path) -> None:
    path = tmp_path / "ab" / "0.lock"
    path.parent.mkdir()
    with FileLock(path):
        age(path)
        CacheFolder(tmp_path, ROOMY).write(key(1), b"one")
        assert path.exists()


@pytest.mark.parametrize("foreign", ["fifo", "link", "huge"])
def test_a_foreign_thing_in_the_place_of_an_entry_is_nothing_and_is_replaced(
    tmp_path: Path, foreign: str
) -> None:
    folder = CacheFolder(tmp_path, 1000)
    folder.write(key(1), b"one")
    path = only_file(tmp_path)
    path.unlink()
    if foreign == "fifo":
        os.mkfifo(path)
    elif foreign == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_bytes(bytes(1001))

    with contextlib.suppress(OSError):
        assert folder.read(key(1)) is None
    folder.write(key(1), b"uno")
    assert folder.read(key(1)) == b"uno"


def test_a_write_that_fails_leaves_the_old_entry_and_no_temporary_file(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse the bytes, as a full disk does."""

    def write_too_much() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        folder = CacheFolder(tmp_path, ROOMY)
        with pytest.raises(OSError) as failure:  # noqa: PT011 - the code is looked at
            folder.write(key(1), bytes(100_000))
        assert failure.value.errno == errno.EFBIG

    folder = CacheFolder(tmp_path, ROOMY)
    folder.write(key(1), b"one")
    assert exit_code(in_child(write_too_much)) == 0
    assert folder.read(key(1)) == b"one"
    assert not files(tmp_path, ".tmp")


def test_a_killed_writer_leaves_whole_entries_only(tmp_path: Path) -> None:
    """Killed with SIGKILL in the midst of writing, many times."""

    def write_for_ever() -> None:
        folder = CacheFolder(tmp_path, ROOMY)
        for number in range(10**9):
            folder.write(key(number % 3), bytes([number % 256]) * 50_000)

    for _ in range(8):
        child = in_child(write_for_ever)
        while not files(tmp_path, ".tmp"):
            os.sched_yield()
        os.kill(child, signal.SIGKILL)
        assert exit_code(child) == -signal.SIGKILL
        entries = [path.read_bytes() for path in files(tmp_path, ".entry")]
        assert all(len(entry) == 50_000 and len(set(entry)) == 1 for entry in entries)
        for path in files(tmp_path, ".tmp"):
            age(path)
        CacheFolder(tmp_path, ROOMY).write(key("next"), bytes(50_000))
        assert not files(tmp_path, ".tmp")


def test_processes_that_write_read_and_make_room_at_once_disturb_nobody(tmp_path: Path) -> None:
    def churn() -> None:
        folder = CacheFolder(tmp_path, 20_000)
        for number in range(150):
            name = number % 40
            folder.write(key(name), bytes([name]) * 1000)
            other = (7 * number) % 40
            assert folder.read(key(other)) in {None, bytes([other]) * 1000}

    children = [in_child(churn) for _ in range(3)]
    assert [exit_code(child) for child in children] == [0, 0, 0]
    assert size_of(tmp_path) <= 20_000 * (1 + 3 / 16)
    assert not files(tmp_path, ".tmp")


def test_a_lock_keeps_others_out_and_leaves_no_file(tmp_path: Path) -> None:
    inside = 0

    async def enter() -> None:
        nonlocal inside
        async with CacheFolder(tmp_path, ROOMY).locked(key(1)):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.005)
            inside -= 1

    async def crowd() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(enter())

    asyncio.run(crowd())
    assert not files(tmp_path, ".lock")


def test_locks_of_two_keys_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def both() -> None:
        folder = CacheFolder(tmp_path, ROOMY)
        async with folder.locked(key(1)), folder.locked(key(2)):
            pass

    asyncio.run(both())


def test_a_killed_holder_lets_go_of_its_lock(tmp_path: Path) -> None:
    held = tmp_path / "held"

    def hold_for_ever() -> None:
        async def hold() -> None:
            async with CacheFolder(tmp_path, ROOMY).locked(key(1)):
                held.touch()
                await asyncio.Event().wait()

        asyncio.run(hold())

    async def enter() -> None:
        async with asyncio.timeout(30), CacheFolder(tmp_path, ROOMY).locked(key(1)):
            pass

    child = in_child(hold_for_ever)
    while not held.exists():
        os.sched_yield()
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    asyncio.run(enter())
    assert not files(tmp_path, ".lock")

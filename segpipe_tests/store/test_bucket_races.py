"""Six processes at once at a real S3 server, 25 times: of each race there is exactly one winner."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

import pytest

from segpipe.store.data_root import DataRoot
from segpipe.store.storage import Storage
from segpipe_tests.loopback.s3 import S3Server, use_s3

RACERS, RACES = 6, 25
WAIT_S = 120
# The server makes some losers wait for a second, so several races are run beside each other.
LANES = 5
_spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def root(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    use_s3(monkeypatch, s3_server.url)
    return s3_server.root()


def put(storage: Storage, race: int, racer: int) -> bool:
    try:
        storage.put_if_absent(f"put/{race}", [b"%d" % racer])
    except FileExistsError:
        return False
    return True


def swap_in(storage: Storage, race: int, racer: int) -> bool:
    return storage.swap(f"new/{race}", None, b"%d" % racer)


def swap(storage: Storage, race: int, racer: int) -> bool:
    return storage.swap(f"old/{race}", b"before", b"%d" % racer)


STEPS = {"put": put, "new": swap_in, "old": swap}


def compete(
    root: str, racer: int, barriers: list[Barrier], won: "Queue[tuple[str, int, int]]"
) -> None:
    storage = DataRoot.parse(root).storage()
    storage.list("")  # the connection is there before the first race

    def run(lane: int) -> None:
        for race in range(lane, RACES, LANES):
            for name, step in STEPS.items():
                barriers[lane].wait(WAIT_S)
                if step(storage, race, racer):
                    won.put((name, race, racer))

    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(run, range(LANES)))
    won.close()


def test_of_six_processes_exactly_one_wins_each_race(root: str) -> None:
    storage = DataRoot.parse(root).storage()
    for race in range(RACES):
        storage.replace(f"old/{race}", b"before")
    barriers = [_spawn.Barrier(RACERS) for _ in range(LANES)]
    won: Queue[tuple[str, int, int]] = _spawn.Queue()
    processes = [
        _spawn.Process(target=compete, args=(root, racer, barriers, won)) for racer in range(RACERS)
    ]
    for process in processes:
        process.start()
    winners = [won.get(timeout=WAIT_S) for _ in range(len(STEPS) * RACES)]
    for process in processes:
        process.join(WAIT_S)
        assert process.exitcode == 0
    assert won.empty()
    assert {(name, race) for name, race, _ in winners} == {
        (name, race) for name in STEPS for race in range(RACES)
    }
    for name, race, racer in winners:
        assert storage.read(f"{name}/{race}") == b"%d" % racer

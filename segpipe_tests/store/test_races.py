"""Several processes at work on one deal at once."""

import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import NamedTuple

import pytest

from segpipe.errors import VersionNotFoundError
from segpipe.prompt import Mode
from segpipe.store.local_storage import LocalStorage
from segpipe.store.prompts import Annotation, ImagePrompts, PromptType
from segpipe.store.reviews import Decision, ImageReview
from segpipe.store.store import DealStore
from segpipe.vision.mask_codecs import mask_digest
from segpipe_tests.deals import ASSETS, DEAL, MODE, current, leftovers, promote, read_whole, stage
from segpipe_tests.reviews import accept, speckled

ROUNDS = 100
WAIT_S = 120
DAY_S = 86_400

_fork = multiprocessing.get_context("fork")


class Round(NamedTuple):
    runner: str
    number: int
    generation: int
    overtook: tuple[int, ...]
    conflicts: int


class MeetsBeforePut(LocalStorage):
    """Waits, before its first put of a round, until the other process is as far."""

    def __init__(self, root: Path, barrier: Barrier) -> None:
        super().__init__(root)
        self._barrier = barrier
        self.is_armed = False
        self.conflicts = 0

    def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
        if self.is_armed:
            self.is_armed = False
            self._barrier.wait(WAIT_S)
        try:
            super().put_if_absent(key, chunks)
        except FileExistsError:
            self.conflicts += 1
            raise


def run_rounds(root: Path, runner: str, barrier: Barrier, results: "Queue[Round]") -> None:
    storage = MeetsBeforePut(root, barrier)
    store = DealStore(root, storage=storage)
    for number in range(ROUNDS):
        with store.stage(DEAL, MODE, run_id=f"{runner}-{number}") as staging:
            stage(staging)
            storage.is_armed = True
            storage.conflicts = 0
            promotion = staging.promote()
        generation, overtook = promotion.commit.generation, promotion.overtook
        results.put(Round(runner, number, generation, overtook, storage.conflicts))
        barrier.wait(WAIT_S)


def read_until(root: Path, stop: Event, results: "Queue[list[int]]") -> None:
    """Read what is current, whole, again and again; tell the generations."""
    store = DealStore(root)
    seen: list[int] = []
    while not stop.is_set():
        snapshot = store.current(DEAL, MODE)
        if snapshot:
            versions = read_whole(snapshot)
            assert len(set(versions.values())) == 1, f"mixed: {versions}"
            seen.append(snapshot.generation)
    results.put(seen)


def start(target: Callable[..., None], *args: object) -> multiprocessing.Process:
    process = _fork.Process(target=target, args=args)
    process.start()
    return process  # type: ignore[return-value]


def join(*processes: multiprocessing.Process) -> None:
    for process in processes:
        process.join(WAIT_S)
        if process.exitcode is None:
            process.kill()
        assert process.exitcode == 0


def test_two_runs_of_one_deal_at_once_a_hundred_times(tmp_path: Path) -> None:
    barrier, stop = _fork.Barrier(2), _fork.Event()
    results: Queue[Round] = _fork.Queue()
    read: Queue[list[int]] = _fork.Queue()
    reader = start(read_until, tmp_path, stop, read)
    runners = [start(run_rounds, tmp_path, name, barrier, results) for name in ("a", "b")]
    rounds = [results.get(timeout=WAIT_S) for _ in range(2 * ROUNDS)]
    stop.set()
    seen = read.get(timeout=WAIT_S)
    join(reader, *runners)

    # No gap, no generation twice; and each round one came first and the other says so.
    assert sorted(each.generation for each in rounds) == list(range(1, 2 * ROUNDS + 1))
    for number in range(ROUNDS):
        first, second = sorted(
            (each for each in rounds if each.number == number), key=lambda each: each.generation
        )
        assert (first.overtook, first.conflicts) == ((), 0)
        assert (second.overtook, second.conflicts) == ((first.generation,), 1)

    # The reader only ever moved forward, and read while it happened.
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
    assert list(DealStore(tmp_path, keep_commits=2 * ROUNDS).verify()) == []


KEEP_COMMITS = 2


def make_old(root: Path, run: str) -> None:
    """Let a sweep with the default age take a run's files for leftovers, unless they are named."""
    then = time.time() - 2 * DAY_S
    folder = root / "deals" / DEAL / "runs" / f"{run}.0"
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (then, then))


def promote_and_age(root: Path, runs: int, stop: Event) -> None:
    store = DealStore(root, keep_commits=KEEP_COMMITS)
    for number in range(runs):
        promote(store, f"r{number}")
        make_old(root, f"r{number}")
        if number % 5 == 4:
            store.rollback_asset(DEAL, MODE, "segmentation", f"r{number - 1}")
    stop.set()


def sweep_until(root: Path, stop: Event, removed: "Queue[int]") -> None:
    store = DealStore(root, keep_commits=KEEP_COMMITS)
    versions = 0
    while not stop.is_set():
        versions += store.sweep().versions
    removed.put(versions)


def read_kept_until(root: Path, stop: Event, results: "Queue[list[int]]") -> None:
    """Read as above; a snapshot may only be lost to a sweep once it is no longer kept."""
    store = DealStore(root, keep_commits=KEEP_COMMITS)
    seen: list[int] = []
    while not stop.is_set():
        snapshot = store.current(DEAL, MODE)
        if snapshot is None:
            continue
        try:
            read_whole(snapshot)
            seen.append(snapshot.generation)
        except VersionNotFoundError:
            assert current(store).generation >= snapshot.generation + KEEP_COMMITS
    results.put(seen)


def test_sweeping_while_runs_promote_and_roll_back_removes_nothing_that_is_kept(
    tmp_path: Path,
) -> None:
    stop = _fork.Event()
    read: Queue[list[int]] = _fork.Queue()
    removed: Queue[int] = _fork.Queue()
    helpers = [
        start(read_kept_until, tmp_path, stop, read),
        start(sweep_until, tmp_path, stop, removed),
        start(sweep_until, tmp_path, stop, removed),
    ]
    runner = start(promote_and_age, tmp_path, ROUNDS, stop)
    runner.join(WAIT_S)
    stop.set()
    seen = read.get(timeout=WAIT_S)
    swept = removed.get(timeout=WAIT_S) + removed.get(timeout=WAIT_S)
    join(runner, *helpers)

    store = DealStore(tmp_path, keep_commits=KEEP_COMMITS)
    assert current(store).generation == ROUNDS + ROUNDS // 5
    assert seen == sorted(seen)
    assert swept > ROUNDS // 2, "the sweeps have to have had something to remove"
    assert list(store.verify()) == []
    store.sweep(min_age_s=0)
    assert leftovers(tmp_path, store) == set()


@pytest.mark.parametrize("where", ["run", "rollback"])
def test_many_at_once_all_get_their_generation(tmp_path: Path, where: str) -> None:
    promote(DealStore(tmp_path), "r0")
    workers, each = 4, 5

    def work(name: str) -> None:
        store = DealStore(tmp_path)
        for number in range(each):
            if where == "run":
                promote(store, f"{name}-{number}", ["segmentation"])
            else:
                store.rollback(DEAL, MODE, 1)

    join(*(start(work, f"w{worker}") for worker in range(workers)))
    store = DealStore(tmp_path, keep_commits=100)
    generations = [commit.generation for commit in store.commits(DEAL, MODE)]
    assert generations == list(range(1, workers * each + 2))
    assert list(store.verify()) == []
    assert set(read_whole(current(store))) == set(ASSETS)


EDITORS, EDITS = 4, 15


def annotate(root: Path, editor: str, barrier: Barrier) -> None:
    """Draw boxes one by one, each of them a read and a write of all that are there."""
    store = DealStore(root)
    barrier.wait(WAIT_S)
    for number in range(EDITS):
        drawn = Annotation(
            id=f"{editor}-{number}",
            mode=Mode.INSIDE_BOX,
            prompt_type=PromptType.SEGMENT,
            box=(0, 0, 1, 1),
        )

        def add(present: ImagePrompts, drawn: Annotation = drawn) -> ImagePrompts:
            return present.model_copy(update={"annotations": (*present.annotations, drawn)})

        store.prompts.edit_image(DEAL, "a", add)


def read_prompts_until(root: Path, stop: Event, results: "Queue[list[ImagePrompts]]") -> None:
    store = DealStore(root)
    seen = [store.prompts.of_image(DEAL, "a")]
    while not stop.is_set():
        store.sweep(min_age_s=DAY_S)
        seen.append(store.prompts.images(DEAL).get("a", seen[0]))
    results.put(seen)


def test_many_who_draw_on_one_photo_at_once_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "deals" / DEAL / "images").mkdir(parents=True)
    barrier, stop = _fork.Barrier(EDITORS), _fork.Event()
    read: Queue[list[ImagePrompts]] = _fork.Queue()
    reader = start(read_prompts_until, tmp_path, stop, read)
    join(*(start(annotate, tmp_path, f"e{editor}", barrier) for editor in range(EDITORS)))
    stop.set()
    seen = read.get(timeout=WAIT_S)
    join(reader)

    prompts = DealStore(tmp_path).prompts.of_image(DEAL, "a")
    wanted = {f"e{editor}-{number}" for editor in range(EDITORS) for number in range(EDITS)}
    assert {each.id for each in prompts.annotations} == wanted
    assert prompts.generation == EDITORS * EDITS
    # Whoever read meanwhile read whole files, each with all that the one before had.
    assert len({each.generation for each in seen}) > 2
    for before, after in itertools.pairwise(seen):
        assert after.annotations[: len(before.annotations)] == before.annotations
        assert after.generation == len(after.annotations)


def decide(root: Path, editor: int, barrier: Barrier) -> None:
    """Decide about items one by one, each time a read and a write of all that is decided."""
    store = DealStore(root)
    barrier.wait(WAIT_S)
    for number in range(EDITS):
        drawn = accept(speckled(EDITS * editor + number), by=f"e{editor}")

        def adding(now: ImageReview, drawn: Decision = drawn) -> ImageReview:
            return now.model_copy(update={"decisions": (*now.decisions, drawn)})

        store.reviews.edit(DEAL, Mode.FIND_ALL, "a", adding)


def test_many_who_review_one_photo_at_once_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "deals" / DEAL / "images").mkdir(parents=True)
    barrier = _fork.Barrier(EDITORS)
    join(*(start(decide, tmp_path, editor, barrier) for editor in range(EDITORS)))
    review = DealStore(tmp_path).reviews.of_image(DEAL, Mode.FIND_ALL, "a")
    wanted = {mask_digest(speckled(number)) for number in range(EDITORS * EDITS)}
    assert {each.key for each in review.decisions} == wanted
    assert review.generation == EDITORS * EDITS

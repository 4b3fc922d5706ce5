"""The chain of commits, and who comes first."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from segpipe.errors import PromotionConflictError, StaleUpstreamError, StoreError
from segpipe.store import commits
from segpipe.store.buckets import open_bucket
from segpipe.store.local_storage import LocalStorage
from segpipe.store.object_storage import ObjectStorage
from segpipe.store.store import DealStore
from segpipe_tests.deals import (
    ASSETS,
    DEAL,
    MODE,
    current,
    current_versions,
    leftovers,
    memory_root,
    promote,
    stage,
)


class Interrupted(LocalStorage):
    """Lets others act just before a commit is put."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.before_put: list[object] = []

    def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
        if self.before_put:
            act = self.before_put.pop(0)
            assert callable(act)
            act()
        super().put_if_absent(key, chunks)


def test_who_loses_the_race_decides_again_on_what_came_first(tmp_path: Path) -> None:
    storage = Interrupted(tmp_path)
    store, others = DealStore(tmp_path, storage=storage), DealStore(tmp_path)
    promote(others, "r1")
    storage.before_put = [
        lambda: promote(others, "r2", ["crops"]),
        lambda: promote(others, "r3", ["crops"]),
    ]
    promotion = promote(store, "late", ["crops"])
    assert promotion.overtook == (2, 3)
    assert promotion.commit.generation == 4
    assert current_versions(others) == {"segmentation": "r1.0", "crops": "late.0"}


def test_who_loses_the_race_is_refused_if_its_upstream_was_replaced(tmp_path: Path) -> None:
    storage = Interrupted(tmp_path)
    store, others = DealStore(tmp_path, storage=storage), DealStore(tmp_path)
    promote(others, "r1")
    storage.before_put = [lambda: promote(others, "r2")]
    with pytest.raises(StaleUpstreamError):
        promote(store, "late", ["crops"])
    assert current_versions(others) == dict.fromkeys(ASSETS, "r2.0")
    assert leftovers(tmp_path, others) == set()


def test_on_an_object_store_a_refused_run_leaves_nothing_either() -> None:
    root = memory_root()
    name = root.removeprefix("memory://")
    others = DealStore(root)

    class Overtaken(ObjectStorage):
        waits = True

        def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
            if self.waits:
                self.waits = False
                promote(others, "r2")
            super().put_if_absent(key, chunks)

    promote(others, "r1")
    store = DealStore(root, storage=Overtaken(open_bucket("memory", name), ""))
    with pytest.raises(StaleUpstreamError):
        promote(store, "late", ["crops"])
    assert {entry.name for entry in others.root.storage().list(f"deals/{DEAL}/runs")} == {
        "r1.0",
        "r2.0",
    }


def test_who_loses_too_often_gives_up_and_may_be_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "_MAX_TRIES", 3)
    storage = Interrupted(tmp_path)
    store, others = DealStore(tmp_path, storage=storage), DealStore(tmp_path)
    storage.before_put = [lambda run=run: promote(others, f"r{run}") for run in range(3)]
    with pytest.raises(PromotionConflictError) as caught:
        promote(store, "late")
    assert caught.value.retryable
    assert current_versions(others) == dict.fromkeys(ASSETS, "r2.0")
    assert leftovers(tmp_path, others) == set()


def test_a_generation_that_a_sweep_freed_is_no_success(tmp_path: Path) -> None:
    """A run that sleeps between its base and its put, while many promote and one sweeps."""
    storage = Interrupted(tmp_path)
    store = DealStore(tmp_path, storage=storage, keep_commits=2)
    others = DealStore(tmp_path, keep_commits=2)
    promote(others, "r0")

    def everything_moves_on() -> None:
        for run in range(1, 5):
            promote(others, f"r{run}", ["crops"])
        others.sweep(min_age_s=3600)  # generations 1 to 3 are free again

    storage.before_put = [everything_moves_on]
    with store.stage(DEAL, MODE, run_id="late") as staging:
        stage(staging)
        promotion = staging.promote()
    assert promotion.commit.generation == 6
    assert promotion.overtook == (2, 3, 4, 5)
    assert current_versions(others) == dict.fromkeys(ASSETS, "late.0")
    assert [commit.generation for commit in others.commits(DEAL, MODE)] == [5, 6]
    assert list(others.verify()) == []
    others.sweep(min_age_s=0)
    assert leftovers(tmp_path, others) == set()


def test_a_put_whose_answer_was_lost_is_recognised_as_done(tmp_path: Path) -> None:
    class Repeats(LocalStorage):
        def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
            data = list(chunks)
            super().put_if_absent(key, data)
            super().put_if_absent(key, data)

    store = DealStore(tmp_path, storage=Repeats(tmp_path))
    assert promote(store, "r1").commit.generation == 1
    assert promote(store, "r2").overtook == ()
    assert current(store).generation == 2


def test_versions_stay_when_nobody_knows_whether_they_were_committed(tmp_path: Path) -> None:
    class Unsure(LocalStorage):
        settles = False
        pending: tuple[str, list[bytes]]

        def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
            self.pending = key, list(chunks)
            raise TimeoutError

    storage = Unsure(tmp_path)
    store = DealStore(tmp_path, storage=storage)
    with pytest.raises(StoreError, match="data root failed"):
        promote(store, "r1")
    assert store.current(DEAL, MODE) is None
    LocalStorage(tmp_path).put_if_absent(*storage.pending)
    assert current_versions(store) == dict.fromkeys(ASSETS, "r1.0")


def test_commits_are_listed_oldest_first_and_only_kept_ones(tmp_path: Path) -> None:
    store = DealStore(tmp_path, keep_commits=3)
    for run in range(5):
        promote(store, f"r{run}")
    assert [commit.generation for commit in store.commits(DEAL, MODE)] == [3, 4, 5]
    assert [commit.generation for commit in DealStore(tmp_path).commits(DEAL, MODE)] == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_other_files_among_the_commits_are_no_commits(
    local_store: DealStore, tmp_path: Path
) -> None:
    promote(local_store, "r1")
    folder = tmp_path / "deals" / DEAL / "commits" / MODE
    for name in ("9999999999.json~", "99.json", "²²²²²²²²²².json", ".segpipe-x.tmp", "note"):
        (folder / name).write_bytes(b"?")
    assert current(local_store).generation == 1
    assert promote(local_store, "r2").commit.generation == 2

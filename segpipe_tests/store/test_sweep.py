import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from segpipe.errors import StoreError
from segpipe.store.disk import Disk
from segpipe.store.local_storage import LocalStorage
from segpipe.store.store import DealStore
from segpipe.store.sweep import SweepReport
from segpipe_tests.deals import (
    ASSETS,
    DEAL,
    MODE,
    current_versions,
    leftovers,
    payload,
    promote,
    read_whole,
    stage,
)

DAY_S = 86_400


def age(folder: Path, seconds: float) -> None:
    """Make everything in a folder look as old as that."""
    then = time.time() - seconds
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (then, then), follow_symlinks=False)


def killed(root: Path, run: str, asset: str = "crops") -> Path:
    """What a run leaves that was killed before it sealed."""
    folder = root / "deals" / DEAL / "runs" / f"{run}.0" / MODE / asset
    (folder / "crops").mkdir(parents=True)
    (folder / "crops" / "0.png").write_bytes(b"12345")
    return folder


def test_what_kept_commits_name_is_never_removed(store: DealStore) -> None:
    for run in range(4):
        promote(store, f"r{run}")
    assert store.sweep(min_age_s=0) == SweepReport()
    for commit in store.commits(DEAL, MODE):
        snapshot = store.snapshot(DEAL, MODE, commit.generation)
        assert read_whole(snapshot) == dict.fromkeys(ASSETS, f"r{commit.generation - 1}.0")
    assert list(store.verify()) == []


def test_commits_beyond_the_kept_ones_go_with_their_versions(tmp_path: Path) -> None:
    store = DealStore(tmp_path, keep_commits=2)
    promote(store, "r0")
    for run in range(1, 5):
        promote(store, f"r{run}", ["crops"])
    report = store.sweep(min_age_s=0)
    assert (report.commits, report.versions) == (3, 3)
    runs = tmp_path / "deals" / DEAL / "runs"
    assert {path.name for path in runs.iterdir()} == {"r0.0", "r3.0", "r4.0"}
    assert [path.name for path in (runs / "r0.0" / MODE).iterdir()] == ["segmentation"]
    assert leftovers(tmp_path, store) == set()
    assert current_versions(store) == {"segmentation": "r0.0", "crops": "r4.0"}


def test_every_kind_of_storage_is_swept_the_same_way(store: DealStore) -> None:
    promote(store, "r0")
    for asset in ASSETS:
        for name, data in payload("killed.0", asset).items():
            key = f"deals/{DEAL}/runs/killed.0/{MODE}/{asset}/{name}"
            store.root.storage().put_if_absent(key, [data])
    assert store.sweep().versions == 0
    assert store.sweep(min_age_s=0).versions == len(ASSETS)
    assert store.sweep(min_age_s=0) == SweepReport()
    assert list(store.verify()) == []


def test_leftovers_are_removed_once_they_are_old(local_store: DealStore, tmp_path: Path) -> None:
    promote(local_store, "r1")
    deal = tmp_path / "deals" / DEAL
    (deal / "images").mkdir()
    (deal / "failures").mkdir()
    strays = [
        deal / "runs" / "stray",
        deal / "runs" / "r1.0" / "stray",
        deal / "images" / ".segpipe-1.tmp",
        deal / "commits" / MODE / ".segpipe-2.tmp",
        deal / "failures" / ".segpipe-3.tmp",
        deal / ".segpipe-4.tmp",
    ]
    for path in strays:
        path.write_bytes(b"123")
    age(killed(tmp_path, "old"), 2 * DAY_S)
    killed(tmp_path, "young")
    (deal / "runs" / "empty.0" / MODE).mkdir(parents=True)

    assert local_store.sweep() == SweepReport(versions=1, bytes=5)
    assert (deal / "runs" / "young.0" / MODE / "crops" / "crops" / "0.png").exists()

    later = time.time() + DAY_S + 1
    report = local_store.sweep(now=later)
    assert (report.versions, report.files, report.bytes) == (1, 6, 23)
    assert leftovers(tmp_path, local_store) == set()
    assert [path.name for path in (deal / "runs").iterdir()] == ["r1.0"]


def test_dot_files_of_others_among_the_photos_stay(local_store: DealStore, tmp_path: Path) -> None:
    images = tmp_path / "deals" / DEAL / "images"
    images.mkdir(parents=True)
    for name in (".DS_Store", "a.jpg", ".hidden.tmp"):
        (images / name).write_bytes(b"")
    local_store.sweep(min_age_s=0)
    assert len(list(images.iterdir())) == 3


def test_a_dry_run_tells_the_same_and_removes_nothing(tmp_path: Path) -> None:
    store = DealStore(tmp_path, keep_commits=1)
    promote(store, "r0")
    promote(store, "r1")
    killed(tmp_path, "dead")
    before = sorted(tmp_path.rglob("*"))
    told = store.sweep(min_age_s=0, dry_run=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert told == store.sweep(min_age_s=0)
    assert (told.commits, told.versions) == (1, 3)


def test_a_run_that_goes_on_writing_is_not_taken_for_a_leftover(
    local_store: DealStore, tmp_path: Path
) -> None:
    with local_store.stage(DEAL, MODE, run_id="slow") as staging:
        staging.write("segmentation", "table.bin", b"")
        age(tmp_path / "deals" / DEAL / "runs", 2 * DAY_S)
        staging.write("segmentation", "more.bin", b"")
        local_store.sweep()
        staging.seal("segmentation", made_from={})
        staging.promote()
    assert list(local_store.verify()) == []


def test_a_run_that_slept_through_a_sweep_is_refused_and_nothing_changes(
    local_store: DealStore, tmp_path: Path
) -> None:
    promote(local_store, "r1")
    with local_store.stage(DEAL, MODE, run_id="sleepy") as staging:
        stage(staging)
        age(tmp_path / "deals" / DEAL / "runs" / "sleepy.0", 2 * DAY_S)
        assert local_store.sweep().versions == len(ASSETS)
        with pytest.raises(StoreError, match="min_age_s"):
            staging.promote()
    assert current_versions(local_store) == dict.fromkeys(ASSETS, "r1.0")
    assert leftovers(tmp_path, local_store) == set()


def test_a_run_refreshes_what_it_wrote_long_ago_right_before_it_commits(tmp_path: Path) -> None:
    class SweptBeforePut(LocalStorage):
        def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
            assert DealStore(tmp_path).sweep().versions == 0
            super().put_if_absent(key, chunks)

    store = DealStore(tmp_path, storage=SweptBeforePut(tmp_path))
    with store.stage(DEAL, MODE, run_id="slow") as staging:
        stage(staging)
        age(tmp_path / "deals" / DEAL / "runs", 2 * DAY_S)
        staging.promote()
    assert current_versions(store) == dict.fromkeys(ASSETS, "slow.0")


def test_a_run_that_wakes_up_during_a_sweep_is_spared(tmp_path: Path) -> None:
    class Waking(LocalStorage):
        def read(self, key: str) -> bytes:
            for manifest in tmp_path.rglob("slow.0/**/manifest.json"):
                os.utime(manifest)
            return super().read(key)

    store = DealStore(tmp_path)
    promote(store, "r1")
    with store.stage(DEAL, MODE, run_id="slow") as staging:
        stage(staging)
        age(tmp_path / "deals" / DEAL / "runs", 2 * DAY_S)
        assert DealStore(tmp_path, storage=Waking(tmp_path)).sweep().versions == 0
        staging.promote()
    assert current_versions(store) == dict.fromkeys(ASSETS, "slow.0")


def test_a_sweep_that_is_cut_off_has_taken_the_manifest_first(tmp_path: Path) -> None:
    class CutOff(Disk):
        removals = 0

        def unlink(self, path: Path) -> None:
            if self.removals:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self.removals += 1
            super().unlink(path)

    store = DealStore(tmp_path)
    with store.stage(DEAL, MODE, run_id="sleepy") as staging:
        stage(staging, ["segmentation"])
        age(tmp_path / "deals" / DEAL / "runs", 2 * DAY_S)
        report = DealStore(tmp_path, storage=LocalStorage(tmp_path, CutOff())).sweep()
        assert report.skipped == (DEAL,)
        with pytest.raises(StoreError, match="min_age_s"):
            staging.promote()
    assert store.current(DEAL, MODE) is None


@pytest.mark.parametrize("keep", [1, 20])
def test_versions_stay_while_a_kept_commit_cannot_be_read(tmp_path: Path, keep: int) -> None:
    store = DealStore(tmp_path, keep_commits=keep)
    promote(store, "r1")
    promote(store, "r1", mode="inside_box")
    killed(tmp_path, "dead")
    (tmp_path / "deals" / DEAL / "commits" / MODE / "0000000001.json").write_bytes(b"{")
    report = store.sweep(min_age_s=0)
    assert report.skipped == (f"{DEAL}/{MODE}",)
    assert report.versions == 0
    assert len(list((tmp_path / "deals" / DEAL / "runs").iterdir())) == 2


def test_a_version_rolled_back_to_while_another_sweep_drops_its_first_commit_stays(
    tmp_path: Path,
) -> None:
    class Overtaken(LocalStorage):
        waits = True

        def read(self, key: str) -> bytes:
            if self.waits:  # the kept commits are listed, and none is read yet
                self.waits = False
                others.rollback(DEAL, MODE, 1)
                assert others.sweep().commits == 1
            return super().read(key)

    others = DealStore(tmp_path, keep_commits=2)
    promote(others, "r0")
    promote(others, "r1")
    DealStore(tmp_path, keep_commits=2, storage=Overtaken(tmp_path)).sweep(min_age_s=0)
    assert current_versions(others) == dict.fromkeys(ASSETS, "r0.0")
    assert list(others.verify()) == []


def test_a_link_among_leftovers_goes_and_what_it_leads_to_stays(
    local_store: DealStore, tmp_path: Path
) -> None:
    promote(local_store, "r1")
    folder = killed(tmp_path, "dead")
    (folder / "folder").symlink_to(tmp_path / "deals" / DEAL / "runs" / "r1.0")
    (folder / "nothing").symlink_to(folder / "gone")
    local_store.sweep(min_age_s=0)
    assert not folder.exists()
    assert leftovers(tmp_path, local_store) == set()
    assert current_versions(local_store) == dict.fromkeys(ASSETS, "r1.0")


def test_every_deal_is_swept(local_store: DealStore, tmp_path: Path) -> None:
    promote(local_store, "r1", deal="d2")
    killed(tmp_path, "dead")
    assert local_store.sweep(min_age_s=0).versions == 1
    assert list(local_store.verify()) == []


def test_folders_with_names_that_no_run_gives_do_not_stop_a_sweep(
    local_store: DealStore, tmp_path: Path
) -> None:
    promote(local_store, "r1")
    odd = tmp_path / "deals" / DEAL / "runs" / ".x" / " y" / "z"
    odd.mkdir(parents=True)
    (odd / "file").write_bytes(b"1")
    (tmp_path / "deals" / DEAL / "commits" / ".trash").mkdir()
    assert local_store.sweep(min_age_s=0).files == 1
    assert not odd.parents[1].exists()
    assert current_versions(local_store) == dict.fromkeys(ASSETS, "r1.0")


def test_a_deal_that_cannot_be_listed_does_not_keep_the_others_from_being_swept(
    tmp_path: Path,
) -> None:
    for deal in ("bad", "good"):
        (tmp_path / "deals" / deal / "runs" / "killed.0" / "find_all" / "crops").mkdir(parents=True)
        (tmp_path / "deals" / deal / "runs" / "killed.0" / "find_all" / "crops" / "x").touch()
    (tmp_path / "deals" / "bad" / "commits").write_text("a file where the folder should be")
    report = DealStore(tmp_path).sweep(min_age_s=0)
    assert report.skipped == ("bad",)
    assert not (tmp_path / "deals" / "good" / "runs" / "killed.0").exists()

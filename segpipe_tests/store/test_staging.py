import contextlib
import os
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.errors import InvalidIdError, StaleUpstreamError, StoreError, UnsafePathError
from segpipe.store.manifests import PHOTOS, CommitKind
from segpipe.store.store import DealStore
from segpipe.store.version_info import VersionInfo
from segpipe_tests.deals import (
    ASSETS,
    DEAL,
    MODE,
    current,
    current_versions,
    leftovers,
    promote,
    read_whole,
    stage,
)


def test_nothing_is_current_before_the_first_promotion(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        stage(staging)
        assert store.current(DEAL, MODE) is None
        staging.promote()
    assert current_versions(store) == dict.fromkeys(ASSETS, "r1.0")


def test_a_promotion_makes_all_assets_current_together(store: DealStore) -> None:
    promote(store, "r1")
    promotion = promote(store, "r2", attempt=3)
    assert promotion.commit.generation == 2
    assert promotion.commit.kind is CommitKind.PROMOTE
    assert promotion.commit.run_id == "r2"
    assert promotion.overtook == ()
    assert current_versions(store) == dict.fromkeys(ASSETS, "r2.3")


def test_an_older_snapshot_stays_as_it_was(store: DealStore) -> None:
    promote(store, "r1")
    before = current(store)
    promote(store, "r2")
    assert read_whole(before) == dict.fromkeys(ASSETS, "r1.0")


def test_a_subset_run_carries_the_other_assets_over(store: DealStore) -> None:
    promote(store, "r1")
    promote(store, "r2", ["crops"])
    assert current_versions(store) == {"segmentation": "r1.0", "crops": "r2.0"}
    assert current(store).version("crops").made_from == {"segmentation": "r1.0"}


def test_modes_and_deals_are_promoted_apart(store: DealStore) -> None:
    promote(store, "r1")
    promote(store, "r1", mode="inside_box")
    promote(store, "r1", deal="d2")
    assert store.modes(DEAL) == ["find_all", "inside_box"]
    assert store.modes("d2") == ["find_all"]
    assert store.modes("d3") == []
    assert [current(store, "d2").generation, current(store).generation] == [1, 1]


def test_leaving_without_a_promotion_removes_what_was_staged(
    local_store: DealStore, tmp_path: Path
) -> None:
    promote(local_store, "r1")
    with contextlib.suppress(ZeroDivisionError), local_store.stage(DEAL, MODE, run_id="r2") as two:
        stage(two)
        two.write("report", "half.bin", b"half")
        raise ZeroDivisionError
    assert current_versions(local_store) == dict.fromkeys(ASSETS, "r1.0")
    assert leftovers(tmp_path, local_store) == set()
    assert os.listdir(tmp_path / "deals" / DEAL / "runs") == ["r1.0"]  # noqa: PTH208


def test_a_run_whose_upstream_was_replaced_is_refused(store: DealStore) -> None:
    promote(store, "r1")
    with store.stage(DEAL, MODE, run_id="late") as staging:
        stage(staging, ["crops"], current=current(store))
        promote(store, "r2")
        with pytest.raises(StaleUpstreamError, match=r"r1\.0.*r2\.0.*run it again") as caught:
            staging.promote()
    assert caught.value.deal == DEAL
    assert current_versions(store) == dict.fromkeys(ASSETS, "r2.0")


def test_a_run_whose_upstream_is_unchanged_goes_on_top_and_says_whom_it_overtook(
    store: DealStore,
) -> None:
    promote(store, "r1")
    with store.stage(DEAL, MODE, run_id="late") as staging:
        stage(staging, ["crops"], current=current(store))
        promote(store, "r2", ["crops"])
        promote(store, "r3", ["crops"])
        promotion = staging.promote()
    assert promotion.overtook == (2, 3)
    assert promotion.commit.generation == 4
    assert current_versions(store) == {"segmentation": "r1.0", "crops": "late.0"}


def test_an_upstream_that_was_never_promoted_is_refused(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        staging.seal("crops", made_from={"segmentation": "r0.0"})
        with pytest.raises(StaleUpstreamError, match="nothing"):
            staging.promote()


def test_an_upstream_staged_along_has_to_be_this_version(store: DealStore) -> None:
    promote(store, "r1")
    with store.stage(DEAL, MODE, run_id="r2") as staging:
        staging.seal("segmentation", made_from={PHOTOS: "0" * 64})
        staging.seal("crops", made_from={"segmentation": "r1.0"})
        with pytest.raises(StaleUpstreamError):
            staging.promote()


def test_a_version_is_written_once(store: DealStore) -> None:
    promote(store, "r1")
    with (
        store.stage(DEAL, MODE, run_id="r1") as staging,
        pytest.raises(StoreError, match="another run id or attempt"),
    ):
        staging.write("crops", "x", b"")
    assert current_versions(store) == dict.fromkeys(ASSETS, "r1.0")


def test_what_another_process_stages_under_the_same_name_is_left_alone(
    local_store: DealStore, tmp_path: Path
) -> None:
    with local_store.stage(DEAL, MODE, run_id="r1") as staging:
        staging.write("crops", "a", b"ours")
        other = tmp_path / "deals" / DEAL / "runs" / "r1.0" / MODE / "crops" / "b"
        other.write_bytes(b"theirs")
        with pytest.raises(StoreError, match="File exists"):
            staging.write("crops", "b", b"ours")
    assert other.read_bytes() == b"theirs"
    assert not other.with_name("a").exists()


def test_a_promotion_needs_everything_sealed(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        with pytest.raises(StoreError, match="nothing is staged"):
            staging.promote()
        staging.write("crops", "x", b"")
        with pytest.raises(StoreError, match="not sealed"):
            staging.promote()
        with (
            staging.open("crops", "y"),
            pytest.raises(StoreError, match="still open"),
        ):
            staging.seal("crops", made_from={})


def test_a_sealed_version_takes_nothing_more(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        staging.seal("crops", made_from={})
        with pytest.raises(StoreError, match="sealed"):
            staging.write("crops", "x", b"")
        with pytest.raises(StoreError, match="sealed"):
            staging.seal("crops", made_from={})


def test_a_file_cannot_leave_its_version(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        for name in ("../x", "/x", "a//b", "", "a\\b"):
            with pytest.raises(InvalidIdError):
                staging.write("crops", name, b"")


def test_a_file_name_is_used_once(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        staging.write("crops", "twice", b"1")
        for name in ("manifest.json", "twice"):
            with pytest.raises(StoreError, match="cannot add"):
                staging.write("crops", name, b"2")


def test_a_file_that_failed_is_not_part_of_the_version(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        with contextlib.suppress(ZeroDivisionError), staging.open("crops", "bad.bin") as file:
            file.write(b"half")
            raise ZeroDivisionError
        staging.write("crops", "good.bin", b"good")
        staging.seal("crops", made_from={})
        staging.promote()
    assert [entry.path for entry in current(store).files("crops")] == ["good.bin"]
    assert list(store.verify()) == []


def test_the_manifest_says_what_was_written(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1", attempt=2) as staging:
        staging.write("crops", "b/x", b"abc")
        staging.write("crops", "a", b"")
        version = staging.seal(
            "crops", made_from={PHOTOS: "f" * 64}, info=VersionInfo(settings={"n": [1, None]})
        )
        staging.promote()
    manifest = current(store).manifest("crops")
    assert version.name == "r1.2"
    assert current(store).version("crops") == version
    assert (manifest.run_id, manifest.attempt) == ("r1", 2)
    assert manifest.info == VersionInfo(settings={"n": [1, None]})
    assert [(entry.path, entry.size) for entry in manifest.files] == [("a", 0), ("b/x", 3)]
    assert manifest.files[1].sha256.startswith("ba7816bf8f01cfea")
    assert manifest.created_at.utcoffset() == timedelta(0)


def test_a_parquet_file_is_written_straight_into_a_version(store: DealStore) -> None:
    table = pa.table({"n": range(100_000)})
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        with (
            staging.open("crops", "t.parquet") as file,
            pq.ParquetWriter(file, table.schema) as writer,
        ):
            writer.write_table(table)
        staging.seal("crops", made_from={})
        staging.promote()
    with current(store).open("crops", "t.parquet") as stored:
        assert pq.read_table(stored) == table


def test_files_larger_than_the_buffer_arrive_whole(store: DealStore) -> None:
    data = os.urandom(1_000_003)
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        with staging.open("crops", "x") as file:
            for start in range(0, len(data), 70_001):
                file.write(data[start : start + 70_001])
            assert file.tell() == len(data)
        staging.seal("crops", made_from={})
        staging.promote()
    assert current(store).read("crops", "x") == data


def test_a_version_may_have_more_files_than_wait_to_be_synced_at_once(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        for number in range(150):
            staging.write("crops", f"{number:03}", str(number).encode())
        staging.seal("crops", made_from={})
        staging.promote()
    assert len(current(store).files("crops")) == 150
    assert list(store.verify()) == []


def test_a_closed_file_takes_nothing_more(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        with staging.open("crops", "x") as file:
            file.write(b"abc")
        with pytest.raises(ValueError, match="closed"):
            file.write(b"d")


def test_unsafe_names_are_refused_before_anything_is_written(root: str) -> None:
    store = DealStore(root)
    for bad in ("", "..", "a/b", "x" * 200):
        for deal, mode, run_id in ((bad, MODE, "r"), (DEAL, bad, "r"), (DEAL, MODE, bad)):
            with (
                pytest.raises(InvalidIdError),
                store.stage(deal, mode, run_id=run_id) as staging,
            ):
                staging.write("crops", "x", b"")
    assert store.root.storage().list("deals") == []


@pytest.mark.parametrize("folder", ["", "runs", "commits"])
def test_a_run_never_writes_through_a_link_that_leaves_the_root(
    tmp_path: Path, folder: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    link = root / "deals" / DEAL / folder
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(UnsafePathError):
        promote(DealStore(root), "r1")
    assert list(outside.iterdir()) == []


def test_of_a_file_that_is_written_only_its_name_and_digest_stay_in_memory(ram_disk: Path) -> None:
    files, size = 3000, 4096
    data = bytes(size)
    with DealStore(ram_disk).stage(DEAL, MODE, run_id="r1") as staging:
        staging.write("crops", "first", data)
        tracemalloc.start()
        for number in range(files):
            staging.write("crops", f"{number:06}.png", data)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held / files < 1000

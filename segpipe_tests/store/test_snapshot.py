from collections.abc import Callable
from pathlib import Path

import pytest

from segpipe.errors import (
    CorruptVersionError,
    NotPromotedError,
    StoreError,
    VersionNotFoundError,
)
from segpipe.store.store import DealStore
from segpipe_tests.deals import DEAL, MODE, current, promote

FILE = "crops/a/0000.bin"


def test_an_asset_that_was_never_promoted_is_named(store: DealStore) -> None:
    promote(store, "r1")
    snapshot = current(store)
    assert snapshot.has("crops")
    assert not snapshot.has("dedup")
    with pytest.raises(NotPromotedError, match="'dedup'") as caught:
        snapshot.version("dedup")
    assert caught.value.deal == DEAL


def test_only_files_that_the_manifest_names_can_be_read(
    local_store: DealStore, tmp_path: Path
) -> None:
    promote(local_store, "r1")
    snapshot = current(local_store)
    Path(snapshot.folder("crops"), "extra").write_bytes(b"")
    for name in ("extra", "manifest.json", "../segmentation/table.bin"):
        with pytest.raises(VersionNotFoundError):
            snapshot.read("crops", name)
        with pytest.raises(VersionNotFoundError), snapshot.open("crops", name):
            pass


def test_files_can_seek(store: DealStore) -> None:
    promote(store, "r1")
    with current(store).open("crops", FILE) as file:
        assert file.read(4) == b"r1.0"
        file.seek(1)
        assert file.read(3) == b"1.0"


def test_paths_lead_to_the_files(store: DealStore) -> None:
    promote(store, "r1")
    snapshot = current(store)
    assert snapshot.path("crops", FILE) == f"{snapshot.folder('crops')}/{FILE}"
    key = snapshot.path("crops", FILE).removeprefix(f"{store.root}/")
    assert store.root.storage().read(key) == snapshot.read("crops", FILE)


@pytest.mark.parametrize("damage", [b"r1.0 drops", b"r1.0 crop", b""])
def test_a_changed_file_is_not_read(local_store: DealStore, damage: bytes) -> None:
    promote(local_store, "r1")
    Path(current(local_store).path("crops", FILE)).write_bytes(damage)
    with pytest.raises(CorruptVersionError, match=FILE) as caught:
        current(local_store).read("crops", FILE)
    assert caught.value.deal == DEAL


def test_a_file_of_another_size_is_not_opened(local_store: DealStore) -> None:
    promote(local_store, "r1")
    snapshot = current(local_store)
    Path(snapshot.path("crops", FILE)).write_bytes(b"short")
    with pytest.raises(CorruptVersionError, match="5 bytes"), snapshot.open("crops", FILE):
        pass


@pytest.mark.parametrize("name", [FILE, "manifest.json"])
def test_a_missing_file_is_told(local_store: DealStore, name: str) -> None:
    promote(local_store, "r1")
    Path(current(local_store).folder("crops"), name).unlink()
    with pytest.raises(CorruptVersionError, match="missing"):
        current(local_store).read("crops", FILE)


def test_a_manifest_that_was_changed_is_not_believed(local_store: DealStore) -> None:
    promote(local_store, "r1")
    manifest = Path(current(local_store).folder("crops"), "manifest.json")
    manifest.write_bytes(manifest.read_bytes().replace(b'"size": 10', b'"size": 11'))
    with pytest.raises(CorruptVersionError):
        current(local_store).files("crops")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-20],
        lambda _: b"",
        lambda data: data.replace(b'"schema": 1', b'"schema": 2'),
        lambda data: data.replace(b'"kind"', b'"sort"'),
        lambda data: data.replace(b'"generation": 1', b'"generation": 7'),
        lambda data: data.replace(b"r1.0", b"../x"),
    ],
    ids=["cut", "empty", "schema", "field", "generation", "path"],
)
def test_a_damaged_commit_is_an_error_not_nothing(
    local_store: DealStore, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    promote(local_store, "r1")
    commit = tmp_path / "deals" / DEAL / "commits" / MODE / "0000000001.json"
    commit.write_bytes(damage(commit.read_bytes()))
    with pytest.raises(CorruptVersionError, match="generation 1") as caught:
        local_store.current(DEAL, MODE)
    assert caught.value.deal == DEAL


def test_a_generation_that_is_no_longer_kept_cannot_be_taken(tmp_path: Path) -> None:
    store = DealStore(tmp_path, keep_commits=2)
    for run in range(3):
        promote(store, f"r{run}")
    assert store.snapshot(DEAL, MODE, 2).generation == 2
    for generation in (0, 1, 4):
        with pytest.raises(VersionNotFoundError, match=f"generation {generation}"):
            store.snapshot(DEAL, MODE, generation)


def test_a_snapshot_that_was_swept_away_says_so(tmp_path: Path) -> None:
    store = DealStore(tmp_path, keep_commits=2)
    promote(store, "r0")
    old = current(store)
    for run in range(1, 3):
        promote(store, f"r{run}")
    store.sweep(min_age_s=0)
    with pytest.raises(VersionNotFoundError, match="generation 1 is no longer kept"):
        old.read("crops", FILE)


def test_a_folder_in_the_place_of_a_file_is_a_store_error(local_store: DealStore) -> None:
    promote(local_store, "r1")
    path = Path(current(local_store).path("crops", FILE))
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError):
        current(local_store).read("crops", FILE)


def test_a_relative_root_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = DealStore("data")
    promote(store, "r1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    snapshot = current(store)
    assert Path(snapshot.path("crops", FILE)).read_bytes() == snapshot.read("crops", FILE)

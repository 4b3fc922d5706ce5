"""A path to what is current that stays the same, for people and scripts."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segpipe.store.store import DealStore
from segpipe_tests.deals import DEAL, MODE, current, make_deal, payload, promote


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    return make_deal(tmp_path, DEAL)


def read_shown(root: Path) -> dict[str, bytes]:
    """Every file below the stable path."""
    folder = root / "deals" / DEAL / "current" / MODE
    return {
        f"{asset.name}/{path.relative_to(asset.resolve())}": path.read_bytes()
        for asset in folder.iterdir()
        for path in asset.resolve().rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def expected(store: DealStore) -> dict[str, bytes]:
    snapshot = current(store)
    return {
        f"{asset}/{name}": data
        for asset in snapshot.commit.assets
        for name, data in payload(snapshot.version(asset).name, asset).items()
    }


def test_the_path_leads_to_what_is_current_after_each_commit(
    store: DealStore, tmp_path: Path
) -> None:
    promote(store, "run-1")
    assert read_shown(tmp_path) == expected(store)
    promote(store, "run-2", ["crops"])
    assert read_shown(tmp_path) == expected(store)
    store.rollback(DEAL, MODE, 1)
    assert read_shown(tmp_path) == expected(store)
    names = {path.name for path in (tmp_path / "deals" / DEAL / "current").iterdir()}
    assert names == {".lock", MODE, f".{MODE}.2", f".{MODE}.3"}


def test_the_links_hold_when_the_root_is_moved(store: DealStore, tmp_path: Path) -> None:
    promote(store, "run-1")
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    shutil.copytree(tmp_path, moved, symlinks=True)
    assert read_shown(moved) == expected(store)


def test_a_later_generation_is_never_replaced_by_an_earlier_one(
    store: DealStore, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: promote(store, f"run-{number}"), range(12)))
    assert read_shown(tmp_path) == expected(store)


def test_who_looks_meanwhile_always_finds_one_whole_generation(
    store: DealStore, tmp_path: Path
) -> None:
    promote(store, "run-0")
    folder = tmp_path / "deals" / DEAL / "current" / MODE
    seen, done = set(), threading.Event()

    def look() -> None:
        while not done.is_set():
            links = folder.readlink()
            seen.add(links.name)
            assert (folder.parent / links).name.startswith(f".{MODE}.")
            assert folder.exists()

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for number in range(1, 15):
            promote(store, f"run-{number}")
        done.set()
        looking.result()
    assert len(seen) > 1


@pytest.mark.parametrize("obstacle", ["a file", "a link out of the root"])
def test_what_stands_in_the_way_costs_the_links_and_nothing_else(
    store: DealStore, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, obstacle: str
) -> None:
    place = tmp_path / "deals" / DEAL / "current"
    outside = tmp_path_factory.mktemp("outside")
    if obstacle == "a file":
        place.write_text("mine")
    else:
        place.symlink_to(outside)
    promote(store, "run-1")
    assert current(store).generation == 1
    assert list(outside.iterdir()) == []


def test_links_alone_are_no_deal(tmp_path: Path) -> None:
    (tmp_path / "deals" / "gone" / "current").mkdir(parents=True)
    assert DealStore(tmp_path).deals() == []


def test_nothing_of_the_store_counts_the_links(store: DealStore, tmp_path: Path) -> None:
    promote(store, "run-1")
    (scanned,) = store.scan()
    shutil.rmtree(tmp_path / "deals" / DEAL / "current")
    assert list(store.scan()) == [scanned]
    promote(store, "run-2")
    assert list(store.verify()) == []
    assert store.sweep(min_age_s=0).files == 0
    assert read_shown(tmp_path) == expected(store)


def test_a_snapshot_gives_the_stable_path_as_long_as_it_leads_there(
    store: DealStore, tmp_path: Path
) -> None:
    promote(store, "run-1")
    before, stable = current(store), tmp_path / "deals" / DEAL / "current" / MODE / "crops"
    assert before.stable_folder("crops") == str(stable)
    promote(store, "run-2")
    assert current(store).stable_folder("crops") == str(stable)
    assert before.stable_folder("crops") == before.folder("crops")
    (tmp_path / "deals" / DEAL / "current" / MODE).unlink()
    assert current(store).stable_folder("crops") == current(store).folder("crops")

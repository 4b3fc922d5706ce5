from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from segpipe.store.local_storage import LocalStorage
from segpipe.store.store import DealStore
from segpipe.store.verify import Damage
from segpipe_tests.deals import DEAL, MODE, current, promote

FILE = "crops/a/0000.bin"


@pytest.fixture
def crops(local_store: DealStore) -> Path:
    """The folder of the crops of the second of three generations."""
    promote(local_store, "r1")
    promote(local_store, "r2")
    folder = Path(current(local_store).folder("crops"))
    promote(local_store, "r3", ["segmentation"])
    return folder


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "file", "what"),
    [
        (lambda folder: flip(folder / FILE), FILE, "content changed"),
        (lambda folder: (folder / FILE).write_bytes(b"r2"), FILE, "2 bytes instead of 10"),
        (lambda folder: (folder / FILE).unlink(), FILE, "missing"),
        (lambda folder: flip(folder / "manifest.json"), "manifest.json", "not the one"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json", "missing"),
        (lambda folder: (folder / "crops/new").write_bytes(b""), "crops/new", "unexpected"),
        (lambda folder: (folder / "link").symlink_to(folder / FILE), "link", "unexpected"),
        (lambda folder: (folder / "link").symlink_to(folder), "link", "unexpected"),
    ],
)
def test_every_damage_is_found_and_located(
    local_store: DealStore,
    crops: Path,
    damage: Callable[[Path], object],
    file: str,
    what: str,
) -> None:
    assert list(local_store.verify()) == []
    damage(crops)
    (problem,) = local_store.verify()
    place = (problem.deal, problem.mode, problem.generation, problem.asset, problem.file)
    assert place == (DEAL, MODE, 3, "crops", file)
    assert what in problem.what


def test_versions_of_older_kept_commits_are_checked_too(
    local_store: DealStore, tmp_path: Path, crops: Path
) -> None:
    flip(tmp_path / "deals" / DEAL / "runs" / "r1.0" / MODE / "crops" / FILE)
    assert [problem.generation for problem in local_store.verify()] == [1]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: path.write_bytes(b"{"), "damaged"),
        (lambda path: path.unlink(), "missing"),
        (
            lambda path: path.write_bytes(path.read_bytes().replace(b'"r2"', b'"rx"')),
            "changed after it was written",
        ),
    ],
)
def test_a_damaged_commit_is_reported_not_raised(
    local_store: DealStore,
    tmp_path: Path,
    crops: Path,
    damage: Callable[[Path], object],
    what: str,
) -> None:
    damage(tmp_path / "deals" / DEAL / "commits" / MODE / "0000000002.json")
    (problem,) = local_store.verify()
    assert (problem.generation, problem.asset, problem.file) == (2, None, None)
    assert what in problem.what


def test_a_commit_that_lies_about_its_sources_is_found(
    local_store: DealStore, tmp_path: Path
) -> None:
    promote(local_store, "r1")
    path = tmp_path / "deals" / DEAL / "commits" / MODE / "0000000001.json"
    path.write_bytes(
        path.read_bytes().replace(b'"segmentation": "r1.0"', b'"segmentation": "r9.9"')
    )
    (problem,) = local_store.verify()
    assert problem.what == "says otherwise than the commit that names it"


def test_one_deal_or_all_are_verified(local_store: DealStore) -> None:
    for deal in ("d1", "d2"):
        promote(local_store, "r1", deal=deal)
        flip(Path(current(local_store, deal).path("crops", FILE)))
    assert {problem.deal for problem in local_store.verify()} == {"d1", "d2"}
    assert {problem.deal for problem in local_store.verify("d2")} == {"d2"}


def test_every_kind_of_storage_is_verified_the_same_way(store: DealStore) -> None:
    promote(store, "r1")
    assert list(store.verify()) == []
    key = current(store).path("crops", FILE).removeprefix(f"{store.root}/")
    store.root.storage().replace(key, b"r1.0 drops")
    expected = Damage(DEAL, MODE, 1, "crops", FILE, "content changed: its sha256 differs")
    assert list(store.verify(DEAL)) == [expected]


def test_what_a_sweep_removes_during_a_verification_is_no_problem(tmp_path: Path) -> None:
    class Overtaken(LocalStorage):
        waits = True

        def open(self, key: str) -> BinaryIO:
            if self.waits:
                self.waits = False
                promote(others, "r2")
                others.sweep(min_age_s=0)
            return super().open(key)

    others = DealStore(tmp_path, keep_commits=1)
    promote(others, "r1")
    store = DealStore(tmp_path, keep_commits=1, storage=Overtaken(tmp_path))
    assert list(store.verify()) == []
    assert current(others).generation == 2

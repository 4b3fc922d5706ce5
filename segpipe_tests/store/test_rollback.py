from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from segpipe.errors import StaleUpstreamError, VersionNotFoundError
from segpipe.prompt import Mode
from segpipe.store import commits
from segpipe.store.local_storage import LocalStorage
from segpipe.store.manifests import CommitKind
from segpipe.store.store import DealStore
from segpipe_tests.deals import ASSETS, DEAL, MODE, current, current_versions, promote


def test_a_rollback_is_a_new_commit_that_names_the_old_version(store: DealStore) -> None:
    promote(store, "r1")
    promote(store, "r2")
    promotion = store.rollback(DEAL, MODE, 1)
    assert promotion.commit.generation == 3
    assert promotion.commit.kind is CommitKind.ROLLBACK
    assert promotion.overtook == ()
    assert current_versions(store) == dict.fromkeys(ASSETS, "r1.0")
    assert list(store.verify()) == []


def test_a_generation_comes_back_whole_even_without_what_was_made_since(store: DealStore) -> None:
    promote(store, "r1", ["segmentation"])
    promote(store, "r2", ["crops"])
    store.rollback(DEAL, MODE, 1)
    assert current_versions(store) == {"segmentation": "r1.0"}
    store.rollback(DEAL, MODE, 2)
    assert current_versions(store) == {"segmentation": "r1.0", "crops": "r2.0"}


def test_a_generation_that_is_not_kept_is_refused_and_the_kept_ones_named(tmp_path: Path) -> None:
    store = DealStore(tmp_path, keep_commits=2)
    for run in range(3):
        promote(store, f"r{run}")
    for generation in (-1, 0, 1, 4):
        with pytest.raises(VersionNotFoundError, match="there are: 3, 2") as caught:
            store.rollback(DEAL, MODE, generation)
        assert caught.value.deal == DEAL


def test_an_asset_takes_along_what_was_made_from_it(store: DealStore) -> None:
    promote(store, "r1")
    promote(store, "r2", ["crops"])
    promote(store, "r3")
    store.rollback_asset(DEAL, MODE, "segmentation", "r1")
    assert current_versions(store) == {"segmentation": "r1.0", "crops": "r2.0"}
    store.rollback_asset(DEAL, MODE, "crops", "r1")
    assert current_versions(store) == dict.fromkeys(ASSETS, "r1.0")


def test_what_was_made_from_another_version_is_not_taken_along(store: DealStore) -> None:
    promote(store, "r1")
    promote(store, "r2", ["segmentation"])  # the crops are still those of r1
    promote(store, "r3")
    store.rollback_asset(DEAL, MODE, "segmentation", "r2")
    assert current_versions(store) == {"segmentation": "r2.0"}


def test_an_asset_that_was_made_from_other_versions_than_are_current_is_refused(
    store: DealStore,
) -> None:
    promote(store, "r1")
    promote(store, "r2")
    with pytest.raises(StaleUpstreamError, match="roll back to generation 1") as caught:
        store.rollback_asset(DEAL, MODE, "crops", "r1")
    assert caught.value.deal == DEAL
    assert current(store).generation == 2


def test_of_two_equal_rollbacks_at_the_same_moment_one_is_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Overtaken(LocalStorage):
        waits = True

        def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
            if self.waits:
                self.waits = False
                others.rollback(DEAL, MODE, 1)
            super().put_if_absent(key, chunks)

    others = DealStore(tmp_path)
    promote(others, "r1")
    monkeypatch.setattr(commits, "utc_now", lambda: datetime(2024, 1, 2, tzinfo=UTC))
    store = DealStore(tmp_path, storage=Overtaken(tmp_path))
    promotion = store.rollback(DEAL, MODE, 1)
    assert (promotion.commit.generation, promotion.overtook) == (3, (2,))


def test_a_rollback_can_be_rolled_back(store: DealStore) -> None:
    promote(store, "r1")
    promote(store, "r2")
    store.rollback(DEAL, MODE, 1)
    store.rollback(DEAL, MODE, 2)
    assert current_versions(store) == dict.fromkeys(ASSETS, "r2.0")


def test_a_version_is_named_by_its_run_or_an_unambiguous_part(store: DealStore) -> None:
    for attempt in (0, 2, 1):
        promote(store, "alpha", attempt=attempt)
    for run in ("beta", "gamma", "gamma-2"):
        promote(store, run)
    for name, version in {
        "alpha": "alpha.2",
        "alpha.0": "alpha.0",
        "alpha.1": "alpha.1",
        "al": "alpha.2",
        "b": "beta.0",
        "gamma": "gamma.0",
        "gamma-2": "gamma-2.0",
    }.items():
        store.rollback_asset(DEAL, MODE, "segmentation", name)
        assert current_versions(store) == dict.fromkeys(ASSETS, version), name


def test_an_unknown_or_ambiguous_version_is_refused_and_the_known_ones_named(
    store: DealStore,
) -> None:
    for run in ("alpha", "gamma", "gamma-2"):
        promote(store, run)
    known = r"gamma-2\.0, gamma\.0, alpha\.0"
    for name in ("gam", "unknown", "", "alpha.9", "a.0", ".0"):
        with pytest.raises(VersionNotFoundError, match=known) as caught:
            store.rollback_asset(DEAL, MODE, "segmentation", name)
        assert caught.value.deal == DEAL
    assert current(store).generation == 3


def test_there_is_nothing_to_roll_back_to_before_the_first_promotion(store: DealStore) -> None:
    with pytest.raises(VersionNotFoundError, match="none"):
        store.rollback_asset(DEAL, MODE, "segmentation", "r1")


def test_a_version_beyond_the_kept_commits_is_refused(tmp_path: Path) -> None:
    store = DealStore(tmp_path, keep_commits=2)
    for run in range(3):
        promote(store, f"r{run}")
    with pytest.raises(VersionNotFoundError):
        store.rollback_asset(DEAL, MODE, "segmentation", "r0")


def test_a_version_whose_manifest_is_gone_is_refused(local_store: DealStore) -> None:
    promote(local_store, "r1")
    Path(current(local_store).folder("segmentation"), "manifest.json").unlink()
    promote(local_store, "r2")
    with pytest.raises(VersionNotFoundError):
        local_store.rollback_asset(DEAL, MODE, "segmentation", "r1")


def test_a_rollback_is_refused_when_its_version_expires_before_it_commits(tmp_path: Path) -> None:
    """The rule that makes sweeping safe: only what the base's kept commits name."""

    class Slow(LocalStorage):
        waits = True

        def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
            if self.waits:
                self.waits = False
                promote(others, "r2")
                others.sweep(min_age_s=0)
            super().put_if_absent(key, chunks)

    others = DealStore(tmp_path, keep_commits=2)
    promote(others, "r0")
    promote(others, "r1")
    store = DealStore(tmp_path, keep_commits=2, storage=Slow(tmp_path))
    with pytest.raises(VersionNotFoundError, match=r"r2\.0, r1\.0"):
        store.rollback_asset(DEAL, MODE, "segmentation", "r0")
    assert current_versions(others) == dict.fromkeys(ASSETS, "r2.0")
    assert list(others.verify()) == []


def test_a_mode_is_named_as_people_write_it(store: DealStore) -> None:
    promote(store, "r1")
    with pytest.raises(VersionNotFoundError, match="in mode 'find_all' is named 'r9'"):
        store.rollback_asset(DEAL, Mode.FIND_ALL, "segmentation", "r9")

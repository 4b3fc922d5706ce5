"""Any order of promotions, rollbacks and sweeps, against a model of a few lines."""

import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from segpipe.errors import StaleUpstreamError, VersionNotFoundError
from segpipe.store.store import DealStore
from segpipe_tests.deals import (
    ASSETS,
    DEAL,
    MODE,
    current_versions,
    memory_root,
    promote,
    read_whole,
    stage,
)

KEEP_COMMITS = 3

Versions = dict[str, str]


class StoreMachine(RuleBasedStateMachine):
    """The store beside a list of what each commit made current."""

    is_local: ClassVar[bool]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp()) if self.is_local else None
        root = str(self.folder) if self.folder else memory_root()
        self.store = DealStore(root, keep_commits=KEEP_COMMITS)
        self.history: list[Versions] = []
        self.runs = 0
        self.made_from: Versions = {}
        """The segmentation that each version of the crops was made from."""

    def teardown(self) -> None:
        if self.folder:
            shutil.rmtree(self.folder)

    @property
    def now(self) -> Versions:
        return self.history[-1] if self.history else {}

    @property
    def kept(self) -> list[Versions]:
        return self.history[-KEEP_COMMITS:]

    def next_run(self) -> str:
        self.runs += 1
        return f"r{self.runs:04}"

    @rule()
    def promote_all(self) -> None:
        run = self.next_run()
        assert promote(self.store, run).commit.generation == len(self.history) + 1
        self.history.append(dict.fromkeys(ASSETS, f"{run}.0"))
        self.made_from[f"{run}.0"] = f"{run}.0"

    @precondition(lambda self: self.history)
    @rule(asset=st.sampled_from(ASSETS))
    def promote_one(self, asset: str) -> None:
        run = self.next_run()
        promote(self.store, run, [asset])
        self.history.append({**self.now, asset: f"{run}.0"})
        self.made_from[f"{run}.0"] = self.now["segmentation"]

    @rule()
    def give_up(self) -> None:
        with self.store.stage(DEAL, MODE, run_id=self.next_run()) as staging:
            stage(staging)

    @precondition(lambda self: self.history)
    @rule(other=st.sampled_from(ASSETS))
    def promote_late(self, other: str) -> None:
        """Crops staged before, promoted after another run."""
        late, early = self.next_run(), self.next_run()
        with self.store.stage(DEAL, MODE, run_id=late) as staging:
            stage(staging, ["crops"], current=self.store.current(DEAL, MODE))
            promote(self.store, early, [other])
            self.history.append({**self.now, other: f"{early}.0"})
            self.made_from |= dict.fromkeys((f"{early}.0", f"{late}.0"), self.now["segmentation"])
            if other == "segmentation":
                with pytest.raises(StaleUpstreamError):
                    staging.promote()
            else:
                assert staging.promote().overtook == (len(self.history),)
                self.history.append({**self.now, "crops": f"{late}.0"})

    @precondition(lambda self: self.history)
    @rule(back=st.integers(0, KEEP_COMMITS + 2))
    def roll_back(self, back: int) -> None:
        generation = len(self.history) - back
        if back < len(self.kept):
            self.store.rollback(DEAL, MODE, generation)
            self.history.append(self.history[generation - 1])
        else:
            with pytest.raises(VersionNotFoundError):
                self.store.rollback(DEAL, MODE, generation)

    @precondition(lambda self: self.history)
    @rule(asset=st.sampled_from(ASSETS), back=st.integers(0, KEEP_COMMITS + 2))
    def roll_one_back(self, asset: str, back: int) -> None:
        wanted = self.history[max(0, len(self.history) - 1 - back)].get(asset, "unknown")
        holders = [versions for versions in self.kept[::-1] if versions.get(asset) == wanted]
        if not holders:
            with pytest.raises(VersionNotFoundError):
                self.store.rollback_asset(DEAL, MODE, asset, wanted)
        elif asset == "segmentation":
            self.store.rollback_asset(DEAL, MODE, asset, wanted)
            crops = [held["crops"] for held in holders if self.crops_of(held) == wanted]
            now = {"segmentation": wanted, "crops": crops[0]} if crops else {"segmentation": wanted}
            self.history.append(now)
        elif self.made_from[wanted] == self.now["segmentation"]:
            self.store.rollback_asset(DEAL, MODE, asset, wanted)
            self.history.append({**self.now, "crops": wanted})
        else:
            with pytest.raises(StaleUpstreamError):
                self.store.rollback_asset(DEAL, MODE, asset, wanted)

    def crops_of(self, versions: Versions) -> str | None:
        """The segmentation that the crops of a commit were made from."""
        return self.made_from[versions["crops"]] if "crops" in versions else None

    @rule()
    def sweep(self) -> None:
        self.store.sweep(min_age_s=0)
        again = self.store.sweep(min_age_s=0)
        assert (again.commits, again.versions, again.files) == (0, 0, 0)

    @invariant()
    def what_is_current_is_what_was_promoted_last(self) -> None:
        assert current_versions(self.store) == self.now

    @invariant()
    def every_kept_generation_reads_whole(self) -> None:
        commits = self.store.commits(DEAL, MODE)
        assert [commit.generation for commit in commits] == list(
            range(len(self.history) - len(self.kept) + 1, len(self.history) + 1)
        )
        for commit, versions in zip(commits, self.kept, strict=True):
            snapshot = self.store.snapshot(DEAL, MODE, commit.generation)
            assert read_whole(snapshot) == versions
        assert list(self.store.verify()) == []


class LocalMachine(StoreMachine):
    is_local = True


class MemoryMachine(StoreMachine):
    is_local = False


LIMITS = settings(
    max_examples=15,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

TestLocalStore = LocalMachine.TestCase
TestLocalStore.settings = LIMITS
TestMemoryStore = MemoryMachine.TestCase
TestMemoryStore.settings = LIMITS

"""The commits of one deal and mode: a chain of small files, the highest generation current.

A commit's file appears whole or not at all, and only if its generation is still free, so of all who
append to the same base exactly one succeeds. The others read what came first and decide again.

Sweeping removes the oldest commits, which frees their generations. Someone who read its base, slept
through ``keep`` further commits and a sweep, and then appends, finds such a generation free: its
commit lies far below the highest, so nobody reads it, and it must not take that for success. Hence
the look back after each put: our commit is the highest, or the next one names it as its base.
"""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from segpipe.errors import (
    ConfigError,
    CorruptVersionError,
    PromotionConflictError,
    SegpipeError,
    StaleUpstreamError,
)
from segpipe.store import layout
from segpipe.store.current_links import link_current
from segpipe.store.ids import is_id
from segpipe.store.manifests import Commit, CommitKind, CommittedVersion, utc_now
from segpipe.store.numbered_files import NumberedFiles
from segpipe.store.storage import Kind, Storage

_MAX_TRIES = 64
DEFAULT_KEEP_COMMITS = 20
KEEP_COMMITS_VARIABLE = "SEGPIPE_KEEP_COMMITS"
"""The environment variable that says how many generations stay, for everyone under a root."""


def configured_keep_commits() -> int:
    """How many generations of a deal and mode stay where nobody says it in the call.

    Raises:
        ConfigError: ``SEGPIPE_KEEP_COMMITS`` is no whole number from 1 on.
    """
    text = os.environ.get(KEEP_COMMITS_VARIABLE) or str(DEFAULT_KEEP_COMMITS)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{text!r} is no whole number from 1 on", field=KEEP_COMMITS_VARIABLE)
    return int(text)


def modes_of(storage: Storage, deal: str) -> list[str]:
    """The modes of a deal for which there are commits, sorted."""
    folders = storage.list(layout.commits_key(deal))
    names = (entry.name for entry in folders if entry.kind is Kind.FOLDER and is_id(entry.name))
    return sorted(names)


class Draft(NamedTuple):
    """What a commit shall say; its place in the chain is not yet known."""

    kind: CommitKind
    run_id: str
    assets: Mapping[str, CommittedVersion]


class KeptCommit(NamedTuple):
    """A generation of the chain: its commit, or why that cannot be read."""

    generation: int
    commit: Commit | None
    fault: str | None


class _SweptMeanwhileError(Exception):
    """A commit that was among the kept ones when they were listed is so no longer."""


class _Stored(NamedTuple):
    commit: Commit
    sha256: str


class CommitLog:
    """Reads and appends the commits of one deal and mode.

    Args:
        storage: Where they lie.
        deal: The deal.
        mode: The mode.
        keep: How many of the latest commits count; older ones are as good as removed.
    """

    def __init__(self, storage: Storage, deal: str, mode: str, keep: int) -> None:
        self._storage = storage
        self._deal = deal
        self._mode = mode
        self._keep = keep
        self._files = NumberedFiles(storage, layout.commits_key(deal, mode))
        self._noted: _Stored | None = None
        self._has_noted = False

    def note_newest(self) -> Commit | None:
        """The current commit, which the next :meth:`append` takes for current without looking.

        If it no longer is, the new commit finds its place taken, and is decided upon anew.
        """
        self._noted, self._has_noted = self._newest(), True
        return self._noted.commit if self._noted else None

    def generations(self) -> list[int]:
        """Every generation that has a file, ascending, the swept ones' stragglers included."""
        return self._files.generations()

    def newest_generation(self) -> int:
        """The current generation; 0 before the first commit."""
        return max(self.generations(), default=0)

    def newest(self) -> Commit | None:
        """The current commit; None before the first.

        Raises:
            CorruptVersionError: Its file is damaged.
        """
        stored = self._newest()
        return stored.commit if stored else None

    def read(self, generation: int) -> Commit | None:
        """One kept commit; None when there is no such generation, or no longer.

        Raises:
            CorruptVersionError: Its file is damaged.
        """
        if generation not in self._window(self.newest_generation()):
            return None
        stored = self._read(generation)
        return stored.commit if stored else None

    def is_kept(self, generation: int) -> bool:
        """Whether a generation is among the last ``keep``."""
        return generation in self._window(self.newest_generation())

    def kept(self) -> list[KeptCommit]:
        """The last ``keep`` generations, oldest first, each checked against the one after it.

        All of them, as of one moment: a sweep decides by what they name.
        """
        for _ in range(_MAX_TRIES):
            generations = self.generations()
            window = self._window(max(generations, default=0))
            present = [generation for generation in generations if generation in window]
            with contextlib.suppress(_SweptMeanwhileError):
                return list(self._check_down(present))[::-1]
        raise self._too_fast()

    def expired(self) -> list[int]:
        """Generations beyond the last ``keep`` whose files are still there, oldest first."""
        generations = self.generations()
        window = self._window(max(generations, default=0))
        return [generation for generation in generations if generation not in window]

    def append(self, decide: Callable[[Commit | None], Draft]) -> Commit:
        """Add the next commit.

        Args:
            decide: Says, given the current commit, what the next one shall be; it may refuse by
                raising. Called again whenever another commit came first.

        Raises:
            PromotionConflictError: Others came first every time.
            CorruptVersionError: The current commit is damaged.
        """
        for _ in range(_MAX_TRIES):
            was_noted, self._has_noted = self._has_noted, False
            base = self._noted if was_noted else self._newest()
            try:
                draft = decide(base.commit if base else None)
            except StaleUpstreamError:
                if was_noted:
                    continue
                raise
            commit = Commit(
                id=uuid.uuid4().hex,
                deal=self._deal,
                mode=self._mode,
                generation=base.commit.generation + 1 if base else 1,
                kind=draft.kind,
                created_at=utc_now(),
                run_id=draft.run_id,
                base_sha256=base.sha256 if base else None,
                assets=dict(draft.assets),
            )
            try:
                self._put(commit)
            except PromotionConflictError:
                continue
            if self._is_in_chain(commit):
                versions = {asset: held.version for asset, held in commit.assets.items()}
                link_current(self._storage, self._deal, self._mode, commit.generation, versions)
                return commit
        raise PromotionConflictError(
            f"{_MAX_TRIES} other commits of mode '{self._mode}' came first; try again",
            deal=self._deal,
        )

    def _put(self, commit: Commit) -> None:
        """Take the commit's generation, or raise PromotionConflictError."""
        if not self._files.put(commit.generation, commit.to_bytes()):
            raise PromotionConflictError(
                f"generation {commit.generation} was committed by another run first",
                deal=self._deal,
            )

    def _is_in_chain(self, commit: Commit) -> bool:
        if self.newest_generation() == commit.generation:
            return True
        follower = self._read(commit.generation + 1)
        return follower is not None and follower.commit.base_sha256 == _sha256(commit.to_bytes())

    def _window(self, newest: int) -> range:
        return range(max(1, newest - self._keep + 1), newest + 1)

    def _newest(self) -> _Stored | None:
        for _ in range(_MAX_TRIES):
            generation = self.newest_generation()
            if generation == 0:
                return None
            stored = self._read(generation)
            if stored:  # else it was swept since it was listed: there are many newer ones
                return stored
        raise self._too_fast()

    def _read(self, generation: int) -> _Stored | None:
        data = self._files.read(generation)
        if data is None:
            return None
        what = f"the commit of generation {generation}"
        try:
            commit = Commit.from_bytes(data, what)
            if commit.deal != self._deal:
                raise CorruptVersionError(
                    f"the folder was renamed, or copied from deal {commit.deal!r}, which {what} "
                    "names: give it that name again, or remove commits/, runs/ and failures/ in "
                    "it and run it anew"
                )
            if (commit.mode, commit.generation) != (self._mode, generation):
                raise CorruptVersionError(f"{what} belongs to another mode or generation")
        except SegpipeError as error:
            raise error.at(deal=self._deal) from error.__cause__
        return _Stored(commit, _sha256(data))

    def _check_down(self, present: Sequence[int]) -> Iterator[KeptCommit]:
        """Every generation from the newest to the oldest that is present."""
        named: str | None = None  # the digest that the commit above gives
        for generation in range(max(present, default=0), min(present, default=1) - 1, -1):
            above, named = named, None
            try:
                stored = self._read(generation)
            except CorruptVersionError as error:
                yield KeptCommit(generation, None, error.message)
                continue
            if stored is None:
                if not self.is_kept(generation):
                    raise _SweptMeanwhileError
                yield KeptCommit(generation, None, "its commit file is missing")
                continue
            named = stored.commit.base_sha256
            changed = above is not None and above != stored.sha256
            fault = "its commit file was changed after it was written" if changed else None
            yield KeptCommit(generation, stored.commit, fault)

    def _too_fast(self) -> PromotionConflictError:
        return PromotionConflictError("commits come and go too fast; try again", deal=self._deal)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

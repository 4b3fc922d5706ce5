"""Sweeping: remove what no kept commit names, and nothing that one does or ever will.

The order is the proof that a sweep is safe while runs promote:

1. List the versions in which nothing was written for ``min_age_s``. A run that has just staged, or
   is about to commit (it refreshes its manifests right before), is not among them.
2. Then read the kept commits, up to generation N, and spare every version that they name. Should
   another sweep have dropped one of them meanwhile, read the then kept ones in their place.
3. Whatever is left can be named by no later commit: generation N + 1 carries versions over from N,
   or rolls back to one that the commits up to N name, or promotes what was staged, which is young.
   Each further generation takes from the one before in the same way. And a commit on an older base
   fails, as N is there.

So ``min_age_s`` has to be longer than a run may pause between refreshing a manifest and putting the
commit right after, and longer than it may go without writing a file.
"""

import contextlib
import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from segpipe.errors import StoreError
from segpipe.prompt import Mode
from segpipe.store import layout
from segpipe.store.commits import CommitLog, modes_of
from segpipe.store.deal_folders import map_deals
from segpipe.store.ids import is_id
from segpipe.store.storage import Entry, Kind, Storage, is_temporary, store_errors

_VERSION_DEPTH = 3  # runs/<version>/<mode>/<asset>


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep removed, or would remove.

    Attributes:
        commits: Commit files beyond the kept ones.
        versions: Version folders that no kept commit names.
        files: Temporary files, and others that are part of no version.
        bytes: Size of all removed files.
        skipped: ``<deal>/<mode>`` whose versions were left alone because a kept commit cannot be
            read, so what it names is unknown; ``<deal>`` that could not be listed or changed.
    """

    commits: int = 0
    versions: int = 0
    files: int = 0
    bytes: int = 0
    skipped: tuple[str, ...] = ()

    def __add__(self, other: "SweepReport") -> "SweepReport":
        return SweepReport(
            self.commits + other.commits,
            self.versions + other.versions,
            self.files + other.files,
            self.bytes + other.bytes,
            self.skipped + other.skipped,
        )


def sweep_deals(
    storage: Storage,
    deals: Iterable[str],
    log_of: Callable[[str, str], CommitLog],
    *,
    cutoff_ns: int,
    dry_run: bool,
) -> SweepReport:
    """Sweep deals, many at once where that saves time; see :class:`DealSweep`.

    Args:
        storage: The data root.
        deals: The deals.
        log_of: The commits of a deal and one of its modes.
        cutoff_ns: Nothing that changed after this moment is removed; nanoseconds since 1970.
        dry_run: Whether to count only.
    """

    def sweep(deal: str) -> SweepReport:
        each = DealSweep(storage, deal, partial(log_of, deal), cutoff_ns=cutoff_ns, dry_run=dry_run)
        try:
            with store_errors(deal):
                return each.run()
        except StoreError:  # one folder that cannot be listed must not keep the others full
            return SweepReport(skipped=(deal,))

    return sum(map_deals(storage, sweep, deals), SweepReport())


class DealSweep:
    """The sweep of one deal.

    Args:
        storage: The data root.
        deal: The deal.
        log_of: The commits of one of its modes.
        cutoff_ns: Nothing that changed after this moment is removed; nanoseconds since 1970.
        dry_run: Whether to count only.
    """

    def __init__(
        self,
        storage: Storage,
        deal: str,
        log_of: Callable[[str], CommitLog],
        *,
        cutoff_ns: int,
        dry_run: bool,
    ) -> None:
        self._storage = storage
        self._deal = deal
        self._log_of = log_of
        self._cutoff_ns = cutoff_ns
        self._dry_run = dry_run

    def run(self) -> SweepReport:
        """Remove what is left over, and tell what that was."""
        # The order matters: see the top of the module.
        tree = list(self._storage.walk(layout.runs_key(self._deal)))
        files, folders = _split(tree)
        old = {key: held for key, held in folders.items() if self._is_old(held)}
        modes = set(modes_of(self._storage, self._deal)) | {key.split("/")[1] for key in old}
        named = {mode: self._named(mode) for mode in sorted(modes)}

        report = SweepReport(
            skipped=tuple(f"{self._deal}/{mode}" for mode, names in named.items() if names is None)
        )
        report += self._drop_expired_commits(named)
        removed: set[str] = set()
        for key, held in old.items():
            version, mode, asset = key.split("/")
            names = named[mode]
            if names is not None and (asset, version) not in names:
                report += self._drop_version(key, held)
                removed.update(entry.name for entry in held)
        strays = [entry for entry in files if self._is_old([entry])]
        report += self._drop_files(layout.runs_key(self._deal), strays)
        removed.update(entry.name for entry in strays)
        self._drop_empty_folders(tree, removed)
        return report + self._drop_temporary_files()

    def _named(self, mode: str) -> set[tuple[str, str]] | None:
        """(asset, version) of everything that a kept commit names; None when that is unknown."""
        named: set[tuple[str, str]] = set()
        for kept in self._log_of(mode).kept():
            if kept.commit is None or kept.fault:
                return None
            named.update((asset, held.version) for asset, held in kept.commit.assets.items())
        return named

    def _drop_expired_commits(self, modes: Iterable[str]) -> SweepReport:
        report = SweepReport()
        for mode in modes:
            folder = layout.commits_key(self._deal, mode)
            expired = set(self._log_of(mode).expired())
            entries = [
                entry
                for entry in self._storage.list(folder)
                if layout.generation_of(entry.name) in expired
            ]
            dropped = self._drop_files(folder, sorted(entries, key=lambda entry: entry.name))
            report += SweepReport(commits=dropped.files, bytes=dropped.bytes)
        return report

    def _drop_version(self, key: str, held: Sequence[Entry]) -> SweepReport:
        # The manifest first, and only if it is still old: a run that has slept for longer than
        # min_age_s refreshes it before it commits, and must not miss that other files are gone.
        folder = layout.runs_key(self._deal)
        manifest = self._storage.entry(f"{folder}/{key}/{layout.MANIFEST}")
        if manifest and not self._is_old([manifest]):
            return SweepReport()
        files = [entry for entry in held if entry.kind is not Kind.FOLDER]
        files.sort(key=lambda entry: entry.name != f"{key}/{layout.MANIFEST}")
        dropped = self._drop_files(folder, files)
        return SweepReport(versions=1, bytes=dropped.bytes)

    def _drop_files(self, folder: str, entries: Iterable[Entry]) -> SweepReport:
        report = SweepReport()
        for entry in entries:
            # Another sweep may be at work.
            with contextlib.suppress(FileNotFoundError):
                if not self._dry_run:
                    self._storage.remove(f"{folder}/{entry.name}")
                report += SweepReport(files=1, bytes=entry.size)
        return report

    def _drop_empty_folders(self, tree: Sequence[Entry], removed: set[str]) -> None:
        occupied: set[str] = set()
        for entry in tree:  # children come before their folder
            is_empty = entry.kind is Kind.FOLDER and entry.name not in occupied
            if is_empty and self._is_old([entry]):
                if not self._dry_run:
                    self._storage.remove_folder(f"{layout.runs_key(self._deal)}/{entry.name}")
            elif entry.name not in removed:
                occupied.add(posixpath.dirname(entry.name))

    def _drop_temporary_files(self) -> SweepReport:
        folders = [
            layout.deal_key(self._deal),
            layout.images_key(self._deal),
            layout.prompts_key(self._deal),
            *(layout.reviews_key(self._deal, mode) for mode in Mode),
            layout.failures_key(self._deal),
            *(layout.commits_key(self._deal, mode) for mode in modes_of(self._storage, self._deal)),
        ]
        report = SweepReport()
        for folder in folders:
            found = [entry for entry in self._storage.list(folder) if is_temporary(entry.name)]
            report += self._drop_files(folder, [entry for entry in found if self._is_old([entry])])
        return report

    def _is_old(self, entries: Iterable[Entry]) -> bool:
        return max(entry.modified_ns for entry in entries) <= self._cutoff_ns


def _split(tree: Iterable[Entry]) -> tuple[list[Entry], dict[str, list[Entry]]]:
    """Files that are in no version's folder; and for each such folder, it and all it holds."""
    strays: list[Entry] = []
    folders: dict[str, list[Entry]] = {}
    for entry in tree:
        parts = entry.name.split("/")
        is_folder = entry.kind is Kind.FOLDER
        depth = len(parts) + is_folder
        if depth > _VERSION_DEPTH and all(map(is_id, parts[:_VERSION_DEPTH])):
            folders.setdefault("/".join(parts[:_VERSION_DEPTH]), []).append(entry)
        elif not is_folder:
            strays.append(entry)
    return strays, folders

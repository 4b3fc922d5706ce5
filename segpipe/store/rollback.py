"""Rolling back: a new commit that names old versions, all of which belong together.

A whole generation becomes current again as it was. A single asset does so only together with
everything that was made from it: dedup of one run beside crops of another would show the reader of
both tables items that neither run found.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from segpipe.errors import StaleUpstreamError, VersionNotFoundError
from segpipe.store import layout
from segpipe.store.commits import CommitLog, Draft
from segpipe.store.manifests import INPUTS, Commit, CommitKind, CommittedVersion
from segpipe.store.staging import Promotion
from segpipe.store.storage import Storage

Versions = Mapping[str, CommittedVersion]


@dataclass(frozen=True, slots=True)
class Rollback:
    """Rolls back one deal and mode.

    What is rolled back to is always one that a kept commit names, and that is read after the base
    of the new commit: a sweep removes a version only once there is a commit beyond that base, and
    then putting the new one fails.
    """

    storage: Storage
    log: CommitLog
    deal: str
    mode: str

    def to_generation(self, generation: int) -> Promotion:
        """Make a kept generation current again; see ``DealStore.rollback``."""

        def decide(_base: Commit | None) -> Draft:
            kept = {commit.generation: commit for commit in self._kept()}
            commit = kept.get(generation)
            if commit is None or not self._are_there(commit.assets):
                raise VersionNotFoundError(
                    f"there is no generation {generation} of mode '{self.mode}' to roll back to; "
                    f"there are: {', '.join(map(str, kept)) or 'none'}",
                    deal=self.deal,
                )
            return Draft(CommitKind.ROLLBACK, commit.run_id, commit.assets)

        return self._commit(decide)

    def to_version(self, asset: str, run_id: str) -> Promotion:
        """Make an old version of an asset current; see ``DealStore.rollback_asset``."""

        def decide(base: Commit | None) -> Draft:
            kept = [commit for commit in self._kept() if asset in commit.assets]
            known = list(dict.fromkeys(commit.assets[asset].version for commit in kept))
            name = _resolve(run_id, known)
            holders = [commit for commit in kept if commit.assets[asset].version == name]
            there = [commit for commit in holders if self._are_there({asset: commit.assets[asset]})]
            if base is None or name is None or not there:
                raise VersionNotFoundError(
                    f"no kept version of '{asset}' in mode '{self.mode}' is named {run_id!r}; "
                    f"there are: {', '.join(known) or 'none'}",
                    deal=self.deal,
                )
            assets = self._with_downstream(asset, base, there)
            return Draft(CommitKind.ROLLBACK, name.rpartition(".")[0], assets)

        return self._commit(decide)

    def _with_downstream(self, asset: str, base: Commit, holders: list[Commit]) -> Versions:
        """What is current with the version that these commits name, and most of what it made."""
        found = [self._beside(asset, base, holder) for holder in holders]
        fitting = [assets for assets in found if assets]
        if not fitting:
            first = holders[0]
            raise StaleUpstreamError(
                f"'{asset}' of version {first.assets[asset].version!r} was made from other "
                f"versions than are current: roll back to generation {first.generation} as a whole",
                deal=self.deal,
            )
        return max(fitting, key=len)

    def _beside(self, asset: str, base: Commit, holder: Commit) -> Versions:
        """The current assets with one as another commit has it; empty when it does not fit them."""
        below = _downstream(base.assets, asset) | {asset}
        assets = {name: held for name, held in base.assets.items() if name not in below}
        left = {asset: holder.assets[asset]}
        left |= {name: holder.assets[name] for name in _downstream(holder.assets, asset)}
        while fits := {name: held for name, held in left.items() if _fits(held, assets)}:
            assets |= fits
            left = {name: held for name, held in left.items() if name not in fits}
        return assets if asset in assets and self._are_there(assets) else {}

    def _kept(self) -> Iterator[Commit]:
        """The kept commits that can be read, latest first."""
        return (
            kept.commit
            for kept in reversed(self.log.kept())
            if kept.commit is not None and kept.fault is None
        )

    def _commit(self, decide: Callable[[Commit | None], Draft]) -> Promotion:
        before = self.log.newest_generation()
        commit = self.log.append(decide)
        return Promotion(commit, tuple(range(before + 1, commit.generation)))

    def _are_there(self, assets: Versions) -> bool:
        """Whether each version still has the manifest that it was promoted with."""
        return all(self._is_there(asset, held) for asset, held in assets.items())

    def _is_there(self, asset: str, held: CommittedVersion) -> bool:
        folder = layout.version_key(self.deal, held.version, self.mode, asset)
        try:
            manifest = self.storage.read(f"{folder}/{layout.MANIFEST}")
        except FileNotFoundError:
            return False
        return hashlib.sha256(manifest).hexdigest() == held.manifest_sha256


def _downstream(assets: Versions, asset: str) -> set[str]:
    """The assets that were made from this one, directly or not."""
    found: set[str] = set()
    above = {asset}
    while above:
        above = {name for name, held in assets.items() if above & held.made_from.keys()} - found
        found |= above
    return found


def _fits(held: CommittedVersion, assets: Versions) -> bool:
    """Whether a version was made from those that these assets have."""
    return all(
        upstream in assets and assets[upstream].version == made_from
        for upstream, made_from in held.made_from.items()
        if upstream not in INPUTS
    )


def _resolve(wanted: str, names: list[str]) -> str | None:
    """The version meant by its whole name, its run id, or a prefix that fits one run only."""
    if wanted in names:
        return wanted
    runs = {name: name.rpartition(".")[0] for name in names}
    fitting = [name for name in names if runs[name] == wanted]
    if not fitting and wanted:
        fitting = [name for name in names if name.startswith(wanted)]
    is_one_run = len({runs[name] for name in fitting}) == 1
    return max(fitting, key=lambda name: int(name.rpartition(".")[2])) if is_one_run else None

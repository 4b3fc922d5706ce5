"""Staging: write one run's versions for a deal and mode, then make them current together.

Nothing names a staged file until the commit does, so nobody reads it; and the commit is put only
when every file, manifest and folder would survive a power cut. A kill before it leaves the old set
current, a kill after it the new one.
"""

import contextlib
import posixpath
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import BinaryIO

from segpipe.errors import (
    DealNotFoundError,
    PromotionConflictError,
    SegpipeError,
    StaleUpstreamError,
    StoreError,
)
from segpipe.store import layout
from segpipe.store.commits import CommitLog, Draft
from segpipe.store.ids import check_file_name, check_id
from segpipe.store.manifests import (
    INPUTS,
    Commit,
    CommitKind,
    CommittedVersion,
    FileEntry,
    Manifest,
    Version,
    utc_now,
)
from segpipe.store.snapshot import Snapshot
from segpipe.store.staged_file import (
    BackgroundWriter,
    HashedFile,
    StagedAsset,
    buffered,
    wait_for,
    write_whole,
)
from segpipe.store.storage import NewFile, Storage, store_errors
from segpipe.store.version_info import VersionInfo

_NO_INFO = VersionInfo()


@dataclass(frozen=True, slots=True)
class Promotion:
    """A commit that was made.

    Attributes:
        commit: The commit, current when it was made.
        overtook: Generations that others committed between the start of this staging (or
            rollback) and this commit; empty when nobody raced.
    """

    commit: Commit
    overtook: tuple[int, ...]


class Staging:
    """What one attempt of a run writes for one deal and mode; made by ``DealStore.stage``.

    Different files may be written from several threads at once. ``before`` is what was current when
    it began; None when nothing was.
    """

    def __init__(
        self,
        storage: Storage,
        log: CommitLog,
        deal: str,
        mode: str,
        *,
        run_id: str,
        attempt: int,
        before: Snapshot | None,
    ) -> None:
        self.deal = deal
        self.mode = mode
        self.version_name = f"{check_id(run_id, field='run_id')}.{attempt}"
        self._run_id = run_id
        self._attempt = attempt
        self._storage = storage
        self._log = log
        self.before = before
        # An object store has no folder that is left empty: what was staged goes with the deal.
        self._had_photos = storage.keeps_empty_folders and self._has_photos()
        self._begun: frozenset[str] | None = None
        self._assets: dict[str, StagedAsset] = {}
        self._claiming = threading.Lock()
        self._attempted: list[str] = []
        self._created: list[str] = []
        self._background = BackgroundWriter()
        self._unsynced: set[Future[None]] = set()
        self._is_promoted = False
        self._may_be_named = False

    @property
    def prefers_few_files(self) -> bool:
        """Whether each file costs a request, so that many small ones are better packed into one."""
        return self._storage.prefers_few_files

    @contextlib.contextmanager
    def open(self, asset: str, name: str) -> Iterator[BinaryIO]:
        """A new file of an asset's version, to write to from front to back.

        Args:
            asset: The asset.
            name: Its relative POSIX path in the version, such as ``crops/a/000.png``.

        Raises:
            InvalidIdError: The name is not allowed.
            StoreError: The file or version is there already, or the storage failed.
        """
        staged, name, file = self._new_file(asset, name)
        try:
            with buffered(file) as writer:
                yield writer
        except BaseException:
            # The version can go on without this file, once no part of it is left.
            key = f"{staged.folder}/{name}"
            with contextlib.suppress(OSError):
                self._storage.remove(key)
                self._created.remove(key)
                del staged.files[name]
            raise
        staged.take(name, file)
        self._background.track(self._unsynced, file.finish)

    def write(self, asset: str, name: str, data: bytes) -> None:
        """Write a whole file in the background; see :meth:`open`.

        When the storage cannot take it, the next call or :meth:`seal` says so.
        """
        with store_errors(self.deal):
            self._background.raise_failure()
        staged, name, file = self._new_file(asset, name)

        def write() -> None:
            write_whole(file, data)
            staged.take(name, file)

        self._background.track(staged.under_way, write)

    def seal(
        self, asset: str, *, made_from: Mapping[str, str], info: VersionInfo = _NO_INFO
    ) -> Version:
        """Complete an asset's version: write its manifest, the last file of it.

        Args:
            asset: The asset.
            made_from: The version of each upstream asset; ``deal_photos``: that of the photos.
            info: How it was made.

        Raises:
            StoreError: A file is still open, it is sealed already, or the storage failed.
        """
        staged = self._staged(asset)
        with store_errors(self.deal):
            wait_for(staged.under_way)
        if staged.version or None in staged.files.values():
            state = "it is sealed already" if staged.version else "a file of it is still open"
            raise StoreError(f"cannot seal '{asset}': {state}", deal=self.deal)
        files = [
            FileEntry(path=name, size=file.size, sha256=file.sha256)
            for name, file in staged.files.items()
            if file
        ]
        manifest = Manifest(
            deal=self.deal,
            mode=self.mode,
            asset=asset,
            run_id=self._run_id,
            attempt=self._attempt,
            created_at=utc_now(),
            files=tuple(sorted(files, key=lambda entry: entry.path)),
            made_from=dict(made_from),
            info=info,
        )
        file = HashedFile(self._create(f"{staged.folder}/{layout.MANIFEST}"), self.deal)
        with buffered(file) as writer:
            writer.write(manifest.to_bytes())
        self._background.track(self._unsynced, file.finish)
        staged.version = Version(asset, self.version_name, file.sha256, manifest.made_from)
        return staged.version

    def promote(self) -> Promotion:
        """Make everything that was sealed current, all at once; other assets stay as they are.

        When another run commits first, what it committed becomes the base and the rule is applied
        anew: each upstream that is not promoted along must still be current.

        Raises:
            StoreError: Nothing is sealed, or a staged asset is not; or the storage failed.
            StaleUpstreamError: What a version was made from is no longer current.
            DealNotFoundError: The deal was removed meanwhile.
            PromotionConflictError: Others came first too many times.
        """
        unsealed = [asset for asset, staged in self._assets.items() if not staged.version]
        if unsealed or not self._assets or self._is_promoted:
            what = f"{unsealed} not sealed" if unsealed else "nothing is staged"
            raise StoreError(f"cannot promote: {what}", deal=self.deal)
        with store_errors(self.deal):
            # From here on everything staged survives a power cut, as the commit is to.
            wait_for(self._unsynced)
            folders = layout.folders_above(self._created, layout.runs_key(self.deal))
            try:
                self._check_deal_is_there()
                self._storage.sync_folders(sorted(folders))
                commit = self._log.append(self._decide)
            except (PromotionConflictError, StaleUpstreamError):
                self._may_be_named = False  # each put was answered: another commit was first
                raise
            except FileNotFoundError as error:
                if not self._storage.list(layout.deal_key(self.deal)):
                    raise _removed() from error
                raise StoreError(
                    "the staged files are gone: a sweep took them for leftovers; give sweep a "
                    "min_age_s that is longer than any run"
                ) from error
        self._is_promoted = True
        first = self.before.generation + 1 if self.before else 1
        return Promotion(commit, tuple(range(first, commit.generation)))

    def close(self) -> None:
        """End the staging; unless it was promoted, remove what it wrote, as far as possible."""
        self._background.close()
        if self._is_promoted or (self._may_be_named and not self._is_surely_unnamed()):
            return
        for key in self._created:
            with contextlib.suppress(OSError):
                self._storage.remove(key)
        # Deepest first; a folder that others use too is not empty and stays.
        folders = layout.folders_above(self._attempted, layout.deal_key(self.deal))
        for folder in sorted(folders, key=len, reverse=True):
            with contextlib.suppress(OSError):
                self._storage.remove_folder(folder)

    def _staged(self, asset: str) -> StagedAsset:
        """The asset's state; the first time, claim its folder."""
        with self._claiming:
            if asset not in self._assets:
                folder = layout.version_key(self.deal, self.version_name, self.mode, asset)
                with store_errors(self.deal):
                    if self._was_begun(asset, folder):
                        raise StoreError(
                            f"version {self.version_name!r} of '{asset}' was begun before; "
                            "versions never change: use another run id or attempt",
                            deal=self.deal,
                        )
                self._assets[asset] = StagedAsset(folder)
            return self._assets[asset]

    def _was_begun(self, asset: str, folder: str) -> bool:
        """Whether there is anything in the folder of an asset's version."""
        if self._begun is None:  # one listing tells of all assets
            listed = self._storage.list(posixpath.dirname(folder))
            self._begun = frozenset(entry.name for entry in listed)
        return asset in self._begun and bool(self._storage.list(folder))

    def _new_file(self, asset: str, name: str) -> tuple[StagedAsset, str, HashedFile]:
        """A file that is open for writing, among those of its asset."""
        staged = self._staged(asset)
        name = check_file_name(name)
        if staged.version or name in staged.files or name == layout.MANIFEST:
            state = "sealed" if staged.version else "that it has already, or keeps for itself"
            raise StoreError(f"cannot add {name!r} to '{asset}': {state}", deal=self.deal)
        file = HashedFile(self._create(f"{staged.folder}/{name}"), self.deal)
        staged.files[name] = None
        return staged, name, file

    def _create(self, key: str) -> NewFile:
        self._attempted.append(key)  # its folders may come to be, even if it does not
        with store_errors(self.deal):
            file = self._storage.create(key)
        self._created.append(key)
        return file

    def _decide(self, base: Commit | None) -> Draft:
        """What the next commit shall be on top of this one."""
        versions = [staged.version for staged in self._assets.values() if staged.version]
        for version in versions:
            self._check_upstreams(version, base)
        self._refresh()
        self._may_be_named = True
        assets = dict(base.assets) if base else {}
        for version in versions:
            assets[version.asset] = CommittedVersion(
                version=version.name,
                manifest_sha256=version.manifest_sha256,
                made_from=dict(version.made_from),
            )
        return Draft(CommitKind.PROMOTE, self._run_id, assets)

    def _check_deal_is_there(self) -> None:
        """Before the commit, which would bring back the folder of a deal that was removed."""
        if self._had_photos and not self._has_photos():
            raise _removed()

    def _has_photos(self) -> bool:
        return self._storage.is_folder(layout.images_key(self.deal))

    def _check_upstreams(self, version: Version, base: Commit | None) -> None:
        for upstream, made_from in version.made_from.items():
            if upstream in INPUTS:
                continue
            if upstream in self._assets:
                now: str | None = self.version_name
            else:
                held = base.version(upstream) if base else None
                now = held.name if held else None
            if now != made_from:
                raise StaleUpstreamError(
                    f"'{version.asset}' was made from {made_from!r} of {upstream!r}, but "
                    f"{now or 'nothing'!r} is current by now; run it again",
                    deal=self.deal,
                )

    def _refresh(self) -> None:
        """Show a sweep that these versions are not leftovers, however long the run took."""
        folders = [staged.folder for staged in self._assets.values()]
        self._storage.refresh([f"{folder}/{layout.MANIFEST}" for folder in folders])

    def _is_surely_unnamed(self) -> bool:
        """Whether no commit names these versions, and none ever will, though a put failed."""
        if not self._storage.settles:
            return False
        try:
            kept = self._log.kept()
        except (OSError, SegpipeError):
            return False
        return all(
            commit is not None
            and self.version_name not in {held.version for held in commit.assets.values()}
            for _, commit, _ in kept
        )


def _removed() -> DealNotFoundError:
    return DealNotFoundError("the deal was removed while a run worked on it")

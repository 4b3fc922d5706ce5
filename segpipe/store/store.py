"""The deal store: where a deal's photos, versions and commits live. Nothing else writes there."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from segpipe.errors import ConfigError, InputError, VersionNotFoundError
from segpipe.store import failures, layout
from segpipe.store import verify as verification
from segpipe.store.arrivals import Arrivals
from segpipe.store.commits import CommitLog, configured_keep_commits, modes_of
from segpipe.store.data_root import DataRoot
from segpipe.store.deal_folders import (
    DealFolders,
    ScannedDeal,
    check_deal,
    check_stays_inside,
    find_deals,
    list_folders,
    remove_deal,
)
from segpipe.store.failures import Failure
from segpipe.store.ids import check_deal_id, check_id
from segpipe.store.inputs import Inputs, Photo, PhotosPlan
from segpipe.store.manifests import Commit, Version
from segpipe.store.prompts.prompt_files import PromptFiles
from segpipe.store.quality_files import QualityFiles
from segpipe.store.reviews.review_files import ReviewFiles
from segpipe.store.rollback import Rollback
from segpipe.store.settings_documents import SettingsFiles
from segpipe.store.snapshot import Snapshot
from segpipe.store.staging import Promotion, Staging
from segpipe.store.storage import Storage, store_errors
from segpipe.store.sweep import SweepReport, sweep_deals
from segpipe.store.verify import Damage

__all__ = [
    "Damage",
    "DealStore",
    "Photo",
    "Promotion",
    "Snapshot",
    "Staging",
    "SweepReport",
    "Version",
]

DEFAULT_MIN_AGE_S = 86_400
_NS_PER_S = 1_000_000_000


class DealStore:
    """The deals under one data root.

    Args:
        root: A local folder, or the URL of an object store, such as ``s3://bucket/prefix``.
        keep_commits: How many generations of a deal and mode stay readable and can be rolled back
            to; by default what ``SEGPIPE_KEEP_COMMITS`` says, else 20. Everyone who sweeps or rolls
            back under one root has to use the same number.
        storage: Where the files are; by default what the root names.

    ``prompts``, ``reviews`` and ``settings`` have what people edit, ``quality`` what was measured.

    Every error is a :class:`~segpipe.errors.SegpipeError` that names the deal. The data root's own
    faults (no space left, read-only, …) are StoreErrors; nothing current is lost by them.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        keep_commits: int | None = None,
        storage: Storage | None = None,
    ) -> None:
        if keep_commits is None:
            keep_commits = configured_keep_commits()
        if keep_commits < 1:
            raise ConfigError(
                f"at least the current commit has to be kept, got {keep_commits}",
                field="keep_commits",
            )
        self.root = DataRoot.parse(root)
        self._keep_commits = keep_commits
        self._storage = storage or self.root.storage()
        self._inputs = Inputs(self._storage)
        self.prompts = PromptFiles(self._storage)
        self.reviews = ReviewFiles(self._storage)
        self.settings = SettingsFiles(self._storage)
        self.quality = QualityFiles(self._storage)
        self.folders = DealFolders(self._storage)
        self.arrivals = Arrivals(self._storage)

    # Inputs

    def deals(self, known: Set[str] = frozenset()) -> list[str]:
        """The sorted ids of all deals, but for unusable names; known ones are not looked into."""
        return find_deals(self._storage, known)

    def invalid_deals(self) -> dict[str, InputError]:
        """The folders that cannot be deals, and why: an unusable name, a link out of the root."""
        return list_folders(self._storage)[1]

    def scan(self) -> Iterator[ScannedDeal]:
        """A quick look at every deal that has an ``images/`` folder; opens and checks no file.

        A deal that cannot be listed has a ``fault``; StoreError when the root cannot be.
        """
        return self.folders.scan()

    def photos(self, deal: str) -> tuple[Photo, ...]:
        """The photos of a deal, sorted by name; dot files and file managers' litter left out.

        Raises:
            InvalidIdError: The deal's id is not allowed.
            DealNotFoundError: There is no such deal.
            EmptyDealError: It has no photos.
            UnreadablePhotoError: Something in ``images/`` is no file, or its name is no text.
            UnsafePathError: A link leaves the data root.
            DuplicateImageError: Two photos have the same image id.
            BadPhotosError: Several of these; it has each.
        """
        return self._inputs.photos(check_deal_id(deal))

    def read_photo(self, deal: str, photo: Photo) -> bytes:
        """The bytes of a photo, as it was when it was listed.

        Raises:
            UnreadablePhotoError: It was removed, or is no file any more.
            UnsafePathError: It has become a link that leaves the data root.
            PhotosChangedError: Its size or time is another.
        """
        return self._inputs.read(check_deal_id(deal), photo)

    def plan_photos(self, deal: str, files: Sequence[Path]) -> PhotosPlan:
        """What :meth:`add_photos` would do, with all that is in its way; copies nothing."""
        return self._inputs.plan(check_deal_id(deal), files)

    def add_photos(self, deal: str, files: Sequence[Path]) -> tuple[Photo, ...]:
        """Copy photos into a deal, each whole or not at all; a photo that is there is no error.

        Nothing is copied unless all can be.

        Args:
            deal: The deal; made when it is new.
            files: Local files; each keeps its name, in Unicode's NFC form.

        Raises:
            InvalidIdError: The deal's id or a file's name is not allowed.
            UnreadablePhotoError: A file is missing, or no regular file.
            DuplicateImageError: Another photo has that name or image id.
        """
        photos = self._inputs.add(check_deal_id(deal), files)
        self.arrivals.put(deal)
        return photos

    def mark_complete(self, deal: str) -> None:
        """Say that no more photos of a deal will come; DealNotFoundError where there is none."""
        deal = check_deal_id(deal)
        with store_errors(deal):
            check_deal(self._storage, deal)
            self._storage.replace(layout.complete_key(deal), b"")
        self.arrivals.put(deal)

    def remove_deal(self, deal: str) -> int:
        """Remove a deal with all that is in its folder; how many files that were.

        Raises:
            DealNotFoundError: There is no such deal.
            UnsafePathError: Its folder is a link.
        """
        deal = check_deal_id(deal)
        with store_errors(deal):
            return remove_deal(self._storage, deal)

    # Writing versions

    @contextlib.contextmanager
    def stage(self, deal: str, mode: str, *, run_id: str, attempt: int = 0) -> Iterator[Staging]:
        """Write versions of a deal and mode; left without a promotion, they are removed.

        Args:
            deal: The deal.
            mode: The mode.
            run_id: The run; with the attempt it names the versions, so both together are used
                once for each asset.
            attempt: The attempt of the run, from 0.

        Raises:
            InvalidIdError: The deal, mode or run id is not allowed.
            UnsafePathError: A folder of the deal is a link that leaves the data root.
        """
        deal = check_deal_id(deal)
        with store_errors(deal):
            folders = (layout.deal_key(deal), layout.runs_key(deal), layout.commits_key(deal))
            check_stays_inside(self._storage, *folders)
            log = self._log(deal, mode)
            before = self._snapshot(log, log.note_newest())
            staging = Staging(
                self._storage, log, deal, mode, run_id=run_id, attempt=attempt, before=before
            )
        try:
            yield staging
        finally:
            staging.close()

    def rollback(self, deal: str, mode: str, generation: int) -> Promotion:
        """Make a kept generation current again as a whole, with a new commit.

        Raises:
            VersionNotFoundError: There is none, or no longer; the message names those there are.
        """
        deal = check_deal_id(deal)
        with store_errors(deal):
            return self._rollback(deal, mode).to_generation(generation)

    def rollback_asset(self, deal: str, mode: str, asset: str, run_id: str) -> Promotion:
        """Make an old version of an asset, and what was made from it, current with a new commit.

        Assets above it stay as they are. Those that are made from it become what was made from
        that version, and are no longer current where nothing was.

        Args:
            deal: The deal.
            mode: The mode.
            asset: The asset.
            run_id: ``<run_id>.<attempt>``, or a run id (its latest attempt), or as much of the
                beginning as fits one run only.

        Raises:
            VersionNotFoundError: No kept commit names such a version; the message names those
                that there are.
            StaleUpstreamError: It was made from other versions than are current; the message
                names the generation to roll back to as a whole.
        """
        deal = check_deal_id(deal)
        with store_errors(deal):
            return self._rollback(deal, mode).to_version(asset, run_id)

    # Reading versions

    def current(self, deal: str, mode: str) -> Snapshot | None:
        """What is current, taken once; None before the first promotion.

        Raises:
            CorruptVersionError: The current commit file is damaged.
        """
        deal = check_deal_id(deal)
        with store_errors(deal):
            log = self._log(deal, mode)
            return self._snapshot(log, log.newest())

    def snapshot(self, deal: str, mode: str, generation: int) -> Snapshot:
        """A kept generation.

        Raises:
            VersionNotFoundError: There is none, or it is no longer kept.
            CorruptVersionError: Its commit file is damaged.
        """
        deal = check_deal_id(deal)
        with store_errors(deal):
            log = self._log(deal, mode)
            commit = log.read(generation)
            if commit is None:
                raise VersionNotFoundError(
                    f"generation {generation} of mode '{mode}' does not exist or is no longer kept"
                )
        return Snapshot(self.root, self._storage, log, commit)

    def commits(self, deal: str, mode: str) -> list[Commit]:
        """The kept commits, oldest first; :meth:`verify` tells of any that cannot be read."""
        deal = check_deal_id(deal)
        with store_errors(deal):
            return [kept.commit for kept in self._log(deal, mode).kept() if kept.commit]

    def modes(self, deal: str) -> list[str]:
        """The modes of a deal in which something has been promoted, sorted."""
        deal = check_deal_id(deal)
        with store_errors(deal):
            modes = modes_of(self._storage, deal)
            return [mode for mode in modes if self._log(deal, mode).newest_generation()]

    # Failures

    def record_failure(self, deal: str, mode: str, failure: Failure) -> None:
        """Keep why a run promoted nothing, in place of the last such record.

        Raises:
            DealNotFoundError: There is no such deal, perhaps no longer: a record alone is none.
        """
        deal = check_deal_id(deal)
        with store_errors(deal):
            check_deal(self._storage, deal)
            failures.record_failure(self._storage, self._log(deal, mode), deal, mode, failure)

    def last_failure(self, deal: str, mode: str) -> Failure | None:
        """The failure recorded last; None when something has been promoted since."""
        deal = check_deal_id(deal)
        with store_errors(deal):
            return failures.last_failure(self._storage, self._log(deal, mode), deal, mode)

    def forget_failure(self, deal: str, mode: str) -> None:
        """Remove that record: what it tells of has been put right without a promotion."""
        deal = check_deal_id(deal)
        with store_errors(deal):
            failures.forget_failure(self._storage, deal, mode)

    # Maintenance

    def verify(self, deal: str | None = None) -> Iterator[Damage]:
        """Compare every byte that kept commits name with what was promoted.

        Args:
            deal: The deal; None for all.
        """
        for each in self.deals() if deal is None else [check_deal_id(deal)]:
            with store_errors(each):
                for mode in self.modes(each):
                    yield from verification.verify(self._storage, self._log(each, mode), each, mode)

    def sweep(
        self,
        deals: Sequence[str] | None = None,
        *,
        min_age_s: float = DEFAULT_MIN_AGE_S,
        now: float | None = None,
        dry_run: bool = False,
    ) -> SweepReport:
        """Remove what no kept commit names.

        Args:
            deals: The deals; None for all.
            min_age_s: What was written within this time stays: it may belong to a run under way.
                Longer than any run goes without writing a file. 0 only while nothing runs.
            now: The time that ages are taken to; seconds since 1970.
            dry_run: Remove nothing, tell what would be.
        """
        cutoff_ns = int(((time.time() if now is None else now) - min_age_s) * _NS_PER_S)
        swept = self.deals() if deals is None else deals
        return sweep_deals(self._storage, swept, self._log, cutoff_ns=cutoff_ns, dry_run=dry_run)

    def _rollback(self, deal: str, mode: str) -> Rollback:
        return Rollback(self._storage, self._log(deal, mode), deal, mode)

    def _snapshot(self, log: CommitLog, commit: Commit | None) -> Snapshot | None:
        return Snapshot(self.root, self._storage, log, commit) if commit else None

    def _log(self, deal: str, mode: str) -> CommitLog:
        return CommitLog(self._storage, deal, check_id(mode, field="mode"), self._keep_commits)

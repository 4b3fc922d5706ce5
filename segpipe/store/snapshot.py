"""What is current for a deal and mode at one moment: a commit, and the files that it names."""

import contextlib
import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO

from segpipe.errors import CorruptVersionError, NotPromotedError, VersionNotFoundError
from segpipe.store import layout
from segpipe.store.archives import Member, crc32_of
from segpipe.store.commits import CommitLog
from segpipe.store.current_links import is_same_folder
from segpipe.store.data_root import DataRoot
from segpipe.store.manifests import Commit, FileEntry, Manifest, Version
from segpipe.store.storage import Storage, store_errors


class Snapshot:
    """One generation of a deal and mode; it stays what it is, whatever is promoted meanwhile.

    Everything that is read is what the run wrote: the commit gives the manifest's digest, the
    manifest each file's. Made by ``DealStore.current`` and ``DealStore.snapshot``.

    >>> import tempfile
    >>> from segpipe.store.store import DealStore
    >>> with tempfile.TemporaryDirectory() as root:
    ...     store = DealStore(root)
    ...     with store.stage("lot-7", "find_all", run_id="run-1") as staging:
    ...         staging.write("colours", "value.json", b'{"gold": 3}')
    ...         _ = staging.seal("colours", made_from={})
    ...         before = store.current("lot-7", "find_all")
    ...         _ = staging.promote()
    ...     snapshot = store.current("lot-7", "find_all")
    ...     before, snapshot.generation, snapshot.read("colours", "value.json")
    (None, 1, b'{"gold": 3}')
    """

    def __init__(self, root: DataRoot, storage: Storage, log: CommitLog, commit: Commit) -> None:
        self.deal = commit.deal
        self.mode = commit.mode
        self.generation = commit.generation
        self.commit = commit
        self._root = root
        self._storage = storage
        self._log = log
        self._manifests: dict[str, Manifest] = {}

    def has(self, asset: str) -> bool:
        """Whether a version of the asset is current."""
        return asset in self.commit.assets

    def version(self, asset: str) -> Version:
        """The current version of an asset; raises NotPromotedError when there is none."""
        version = self.commit.version(asset)
        if version is None:
            raise NotPromotedError(
                f"no '{asset}' of mode '{self.mode}' has been promoted yet; run it first",
                deal=self.deal,
            )
        return version

    def manifest(self, asset: str) -> Manifest:
        """The manifest of an asset's current version.

        Raises:
            NotPromotedError: There is none.
            CorruptVersionError: It is missing, or not the one that was promoted.
            VersionNotFoundError: So many commits were made since that a sweep removed it.
        """
        if asset not in self._manifests:
            self._manifests[asset] = self._read_manifest(self.version(asset))
        return self._manifests[asset]

    def files(self, asset: str) -> list[FileEntry]:
        """The files of an asset's current version, sorted by path; raises as :meth:`manifest`."""
        return list(self.manifest(asset).files)

    @contextlib.contextmanager
    def open(self, asset: str, name: str) -> Iterator[BinaryIO]:
        """Open a file that the manifest names, to read; it can seek.

        Its size is checked, its content is not: see :meth:`read`. Raises as :meth:`manifest`.
        """
        entry = self._entry(asset, name)
        with contextlib.ExitStack() as stack:
            with self._read_errors(asset, name):
                file = stack.enter_context(self._storage.open(self._key(asset, name)))
                size = file.seek(0, io.SEEK_END)
                file.seek(0)
            self._check(asset, name, f"{size} bytes", f"{entry.size} bytes")
            yield file

    def read(self, asset: str, name: str) -> bytes:
        """A whole file that the manifest names, its digest checked; raises as :meth:`manifest`."""
        entry = self._entry(asset, name)
        with self._read_errors(asset, name):
            data = self._storage.read(self._key(asset, name))
        self._check(asset, name, hashlib.sha256(data).hexdigest(), entry.sha256)
        return data

    def read_member(self, asset: str, name: str, member: Member) -> bytes:
        """One member of an archive that the manifest names, nothing else of it; its CRC is checked.

        Raises as :meth:`manifest`.
        """
        self._entry(asset, name)
        with self._read_errors(asset, name):
            data = self._storage.read_range(self._key(asset, name), member.offset, member.length)
        self._check(asset, name, f"CRC {crc32_of(data):08x}", f"CRC {member.crc32:08x}")
        return data

    def path(self, asset: str, name: str) -> str:
        """The path or URL of a file that the manifest names; raises as :meth:`manifest`."""
        self._entry(asset, name)
        return self._root.at(self._key(asset, name))

    def folder(self, asset: str) -> str:
        """The path or URL of an asset's current version; raises NotPromotedError."""
        version = self.version(asset).name
        return self._root.at(layout.version_key(self.deal, version, self.mode, asset))

    def stable_folder(self, asset: str) -> str:
        """The path that stays when another run is promoted, as long as it leads to this version.

        Where there are no links, or they lead elsewhere by now, it is :meth:`folder`.
        """
        folder = self.folder(asset)
        stable = self._root.at(f"{layout.current_key(self.deal)}/{self.mode}/{asset}")
        is_shown = self._storage.local_root is not None and is_same_folder(stable, folder)
        return stable if is_shown else folder

    def _entry(self, asset: str, name: str) -> FileEntry:
        for entry in self.manifest(asset).files:
            if entry.path == name:
                return entry
        raise VersionNotFoundError(
            f"version {self.version(asset).name!r} of '{asset}' has no file {name!r}",
            deal=self.deal,
        )

    def _key(self, asset: str, name: str) -> str:
        version = self.version(asset).name
        return f"{layout.version_key(self.deal, version, self.mode, asset)}/{name}"

    def _read_manifest(self, version: Version) -> Manifest:
        with self._read_errors(version.asset, layout.MANIFEST):
            data = self._storage.read(self._key(version.asset, layout.MANIFEST))
        digest = hashlib.sha256(data).hexdigest()
        self._check(version.asset, layout.MANIFEST, digest, version.manifest_sha256)
        with store_errors(self.deal):
            return Manifest.from_bytes(data, f"the manifest of '{version.asset}'")

    def _check(self, asset: str, name: str, found: str, expected: str) -> None:
        if found != expected:
            raise CorruptVersionError(
                f"{name!r} of '{asset}' is not what was promoted: expected {expected}, found "
                f"{found}; run it again or roll back",
                deal=self.deal,
            )

    @contextlib.contextmanager
    def _read_errors(self, asset: str, name: str) -> Iterator[None]:
        with store_errors(self.deal):
            try:
                yield
            except FileNotFoundError as error:
                if not self._log.is_kept(self.generation):
                    raise VersionNotFoundError(
                        f"generation {self.generation} is no longer kept, and a sweep removed its "
                        "files; read what is current now",
                    ) from error
                raise CorruptVersionError(
                    f"{name!r} of '{asset}' is missing; run it again or roll back"
                ) from error

"""Verifying: every byte that a kept commit names, against the digests it was promoted with."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

from segpipe.errors import CorruptVersionError
from segpipe.store import layout
from segpipe.store.commits import CommitLog
from segpipe.store.manifests import Commit, FileEntry, Manifest, Version
from segpipe.store.storage import Kind, Storage

_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it was promoted.

    Attributes:
        deal: The deal.
        mode: The mode.
        generation: The latest generation concerned.
        asset: The asset; None when it is the commit file.
        file: The file, relative to the version's folder; None when it is the commit file.
        what: What is wrong.
    """

    deal: str
    mode: str
    generation: int
    asset: str | None
    file: str | None
    what: str


def verify(storage: Storage, log: CommitLog, deal: str, mode: str) -> Iterator[Damage]:
    """The problems of one deal and mode, found file by file."""
    seen: set[tuple[str, str, str]] = set()
    for kept in reversed(log.kept()):
        if kept.fault:
            yield Damage(deal, mode, kept.generation, None, None, kept.fault)
        for version in _versions(kept.commit):
            key = (version.asset, version.name, version.manifest_sha256)
            if key in seen:
                continue
            seen.add(key)
            for file, what in _faults(storage, deal, mode, version):
                # A sweep may have removed what was kept when we began.
                if log.is_kept(kept.generation):
                    yield Damage(deal, mode, kept.generation, version.asset, file, what)


def _versions(commit: Commit | None) -> list[Version]:
    found = [commit.version(asset) for asset in commit.assets] if commit else []
    return [version for version in found if version]


def _faults(storage: Storage, deal: str, mode: str, version: Version) -> Iterator[tuple[str, str]]:
    """Files of a version that are not as promoted, and how."""
    folder = layout.version_key(deal, version.name, mode, version.asset)
    try:
        data = storage.read(f"{folder}/{layout.MANIFEST}")
    except FileNotFoundError:
        yield layout.MANIFEST, "missing"
        return
    except OSError as error:
        yield layout.MANIFEST, f"cannot be read: {error.strerror or error}"
        return
    if hashlib.sha256(data).hexdigest() != version.manifest_sha256:
        yield layout.MANIFEST, "not the one that was promoted"
        return
    try:
        manifest = Manifest.from_bytes(data, "the manifest")
    except CorruptVersionError as error:
        yield layout.MANIFEST, error.message
        return
    promoted = (deal, mode, version.asset, version.name, version.made_from)
    name = f"{manifest.run_id}.{manifest.attempt}"
    if (manifest.deal, manifest.mode, manifest.asset, name, manifest.made_from) != promoted:
        yield layout.MANIFEST, "says otherwise than the commit that names it"
    for entry in manifest.files:
        what = _file_fault(storage, f"{folder}/{entry.path}", entry)
        if what:
            yield entry.path, what
    named = {entry.path for entry in manifest.files} | {layout.MANIFEST}
    for found in storage.walk(folder):
        if found.kind is not Kind.FOLDER and found.name not in named:
            yield found.name, "unexpected: the manifest does not name it"


def _file_fault(storage: Storage, key: str, entry: FileEntry) -> str | None:
    try:
        with storage.open(key) as file:
            size = file.seek(0, io.SEEK_END)
            if size != entry.size:
                return f"{size} bytes instead of {entry.size}"
            file.seek(0)
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None if digest.hexdigest() == entry.sha256 else "content changed: its sha256 differs"

"""Rolling back: a new commit that names an old version."""

import hashlib

from segpipe.errors import VersionNotFoundError
from segpipe.store import layout
from segpipe.store.commits import CommitLog, Draft
from segpipe.store.documents import Commit, CommitKind, CommittedVersion
from segpipe.store.staging import Promotion
from segpipe.store.storage import Storage


def rollback(
    storage: Storage, log: CommitLog, deal: str, mode: str, asset: str, run_id: str
) -> Promotion:
    """Make an old version of one asset current again; see ``DealStore.rollback``."""

    def decide(base: Commit | None) -> Draft:
        # Only what a kept commit names, and read after the base: a sweep removes it only once there
        # is a commit beyond the base, and then the put at base + 1 fails.
        known = _known_versions(log, asset)
        name = _resolve(run_id, list(known))
        if base is None or name is None or not _is_there(storage, deal, mode, asset, known[name]):
            raise VersionNotFoundError(
                f"no kept version of {asset!r} in mode '{mode}' is named {run_id!r}; "
                f"there are: {', '.join(known) or 'none'}",
                deal=deal,
            )
        assets = {**base.assets, asset: known[name]}
        return Draft(CommitKind.ROLLBACK, name.rpartition(".")[0], assets)

    before = log.newest_generation()
    commit = log.append(decide)
    return Promotion(commit, tuple(range(before + 1, commit.generation)))


def _known_versions(log: CommitLog, asset: str) -> dict[str, CommittedVersion]:
    """The versions of an asset that the kept commits name, latest first."""
    known: dict[str, CommittedVersion] = {}
    for kept in reversed(log.kept()):
        if kept.commit and kept.fault is None:
            held = kept.commit.assets.get(asset)
            if held:
                known.setdefault(held.version, held)
    return known


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


def _is_there(storage: Storage, deal: str, mode: str, asset: str, held: CommittedVersion) -> bool:
    key = f"{layout.version_key(deal, held.version, mode, asset)}/{layout.MANIFEST}"
    try:
        return hashlib.sha256(storage.read(key)).hexdigest() == held.manifest_sha256
    except FileNotFoundError:
        return False

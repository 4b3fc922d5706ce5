"""Checks of what was promoted, from the promoted files alone; each stage has its own."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from segpipe.errors import SegpipeError
from segpipe.settings import Settings
from segpipe.store.snapshot import Snapshot

_CHUNK_BYTES = 1 << 20
_MAX_NAMED = 20


class CheckSettings(Settings):
    """When checks warn; no result depends on it."""

    max_rejected_percent: float = Field(
        default=50.0, ge=0, le=100, description="Warn when dedup rejects more than this."
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: whether it passed, what to tell people, and its numbers."""

    passed: bool
    text: str
    numbers: Mapping[str, int | float]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one asset.

    Attributes:
        name: Its name, unique in its stage.
        description: What it promises.
        is_warning: Whether a failure is a warning rather than an error.
        find: Does it; never raises for what it is meant to find.
    """

    name: str
    description: str
    is_warning: bool
    find: Callable[[Snapshot, CheckSettings], Finding]


def _files_of_all_assets(snapshot: Snapshot, _: CheckSettings) -> Finding:
    files = size = 0
    bad: list[str] = []
    for asset in sorted(snapshot.commit.assets):
        try:
            for entry in snapshot.files(asset):
                if _digest(snapshot, asset, entry.path) != entry.sha256:
                    bad.append(f"{asset}: {entry.path} is not what was written")
                files, size = files + 1, size + entry.size
        except SegpipeError as error:
            bad.append(f"{asset}: {error}")
    if bad:
        return Finding(False, some_of("damaged", bad), {"files": files, "damaged": len(bad)})
    return Finding(True, f"{files} files are what was written", {"files": files, "bytes": size})


def _digest(snapshot: Snapshot, asset: str, path: str) -> str:
    digest = hashlib.sha256()
    with snapshot.open(asset, path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


MANIFEST_VERIFIES = Check(
    name="manifest_verifies",
    description="Every file of every asset has the size and sha256 that its manifest names.",
    is_warning=False,
    find=_files_of_all_assets,
)
"""One check for all assets of a mode: Dagster works for each check of each run that it makes."""


def some_of(what: str, items: Sequence[str]) -> str:
    """The text of a finding about these items; of many, the first are named."""
    more = f" and {len(items) - _MAX_NAMED} more" if len(items) > _MAX_NAMED else ""
    return f"{what}: {', '.join(items[:_MAX_NAMED])}{more}"

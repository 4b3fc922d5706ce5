"""A path to what is current that stays the same: ``deals/<deal>/current/<mode>/<asset>/…``.

It is for people and scripts, on disks that have symbolic links; nothing in segpipe reads it. The
commit is the truth, and has been written before: should a process die in between, the next commit
puts the links right.

``current/<mode>`` is a link to a folder of links, one for each asset, and is replaced whole by a
rename: who goes through it once sees the assets of one generation.
"""

import contextlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from segpipe.store import layout
from segpipe.store.storage import Storage

_LOCK = ".lock"
_LOCK_PATIENCE_S = 10.0

_log = logging.getLogger(__name__)


def link_current(
    storage: Storage, deal: str, mode: str, generation: int, versions: Mapping[str, str]
) -> None:
    """Have the stable path lead to a generation that was just committed.

    Nothing happens on an object store, and where a later generation is shown already. A disk that
    refuses links costs the stable path and nothing else.

    Args:
        storage: The data root.
        deal: The deal.
        mode: The mode.
        generation: The generation.
        versions: The version of each asset that is current with it.
    """
    if storage.local_root is None:
        return
    folder = storage.local_root / layout.current_key(deal)
    try:
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise NotADirectoryError(f"{folder} is a link; remove it")
        # Of two who have committed at the same time the later generation has to stay.
        with FileLock(folder / _LOCK, _LOCK_PATIENCE_S, fallback_to_soft=False):
            if _shown(folder, mode) < generation:
                _show(folder, deal, mode, generation, versions)
    except (OSError, Timeout, NotImplementedError) as error:
        _log.info("deal %r has no links to what is current: %s", deal, error)


def is_same_folder(link: str, folder: str) -> bool:
    """Whether a path leads to a folder, through whatever links."""
    try:
        return Path(link).samefile(folder)
    except OSError:
        return False


def _shown(folder: Path, mode: str) -> int:
    """The generation that the link of a mode leads to; 0 for none."""
    try:
        name = (folder / mode).readlink().name
    except OSError:
        return 0
    digits = name.rpartition(".")[2]
    return int(digits) if digits.isdecimal() else 0


def _show(folder: Path, deal: str, mode: str, generation: int, versions: Mapping[str, str]) -> None:
    links = folder / f".{mode}.{generation}"
    shutil.rmtree(links, ignore_errors=True)  # of one who was killed here
    links.mkdir()
    for asset, version in versions.items():
        above = layout.deal_key(deal)
        target = layout.version_key(deal, version, mode, asset).removeprefix(f"{above}/")
        (links / asset).symlink_to(Path("..", "..", target))
    before, link = folder / f".{mode}.{_shown(folder, mode)}", folder / f".{mode}.link"
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(links.name)
    link.replace(folder / mode)
    # Who is on the way through the link before has time to arrive.
    for old in folder.glob(f".{mode}.*"):
        if old not in {links, before}:
            shutil.rmtree(old, ignore_errors=True)

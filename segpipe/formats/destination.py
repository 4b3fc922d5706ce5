"""Where an export is written: beside the place where it shall be, and moved there once it is whole.

A killed export leaves nothing but a hidden ``.segpipe-….part``, which may be removed.
"""

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from segpipe.errors import ConfigError, InvalidIdError

EXPORT_FILE = "export.json"
"""What every exported folder holds: which versions of which deals are in it."""


class ExportFolder:
    """A folder under construction.

    Args:
        path: Where it is while it is made.
        final: Where it shall be.
    """

    def __init__(self, path: Path, final: Path) -> None:
        self.path = path
        self.final = final
        self._made: list[Path] = []

    def write(self, name: str, data: bytes) -> None:
        """Write a new file; its name is a relative POSIX path."""
        with self._new(name).open("xb") as file:
            file.write(data)

    def link(self, name: str, target: Path) -> None:
        """Make a symbolic link to a file elsewhere."""
        self._new(name).symlink_to(target)

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is written inside stays only if the inside ends without an error."""
        self._made.clear()
        try:
            yield
        except BaseException:
            for path in self._made:
                path.unlink(missing_ok=True)
                self._remove_empty(path.parent)
            raise

    def _remove_empty(self, folder: Path) -> None:
        with contextlib.suppress(OSError):
            while folder != self.path:
                folder.rmdir()
                folder = folder.parent

    def _new(self, name: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._made.append(path)
        return path


def check_deal_folder(deal: str, *taken: str) -> None:
    """Raise InvalidIdError for a deal whose folder would be where another file of the export is."""
    if deal.casefold() in taken:
        raise InvalidIdError(
            f"a deal called {deal!r} has no place in an export that has a file of that name beside "
            "its deals: export it in another format",
            deal=deal,
        )


@contextlib.contextmanager
def new_file(path: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A file that appears at its place once the inside ends without an error.

    Raises:
        ConfigError: There is something at that place already, or nothing can be written there.
    """
    path = path.resolve()
    _check_file(path, overwrite=overwrite)
    with _refused_by_name(path):
        part = _part_beside(path)
        opened = part.open("xb")
    try:
        with opened as file:
            yield file
        _check_file(path, overwrite=overwrite)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path, *, overwrite: bool) -> Iterator[ExportFolder]:
    """A folder that appears at its place once the inside ends without an error.

    Raises:
        ConfigError: There is something at that place already; what shall be overwritten is no
            export; or nothing can be written there.
    """
    path = path.resolve()
    _check_folder(path, overwrite=overwrite)
    with _refused_by_name(path):
        part = _part_beside(path)
        part.mkdir()
    try:
        yield ExportFolder(part, path)
        _check_folder(path, overwrite=overwrite)
        _move(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _refused_by_name(path: Path) -> Iterator[None]:
    """Turn an error of the system about the place into ours, which names it."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"nothing can be written at {path} ({error.strerror}): name another place", field="out"
        ) from error


def _part_beside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".segpipe-{uuid.uuid4().hex}.part")


def _check_file(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file", field="out")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} is there already; remove it, or overwrite it", field="out")


def _check_folder(path: Path, *, overwrite: bool) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise ConfigError(f"{path} is a file; name a folder", field="out")
    if not any(path.iterdir()):
        return
    if not overwrite:
        raise ConfigError(f"{path} is not empty; remove it, or overwrite it", field="out")
    if not (path / EXPORT_FILE).is_file():
        raise ConfigError(
            f"{path} holds no {EXPORT_FILE}, so it is no export and is not overwritten", field="out"
        )


def _move(part: Path, path: Path) -> None:
    """Put a folder at its place; what was there goes first aside, then away."""
    old = _part_beside(path)
    try:
        if path.exists():
            path.rename(old)
        part.rename(path)
    except BaseException:  # an interrupt in between too
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)

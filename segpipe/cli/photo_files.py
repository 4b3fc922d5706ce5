"""Finds the photos in what somebody names: files and folders, with what cameras and disks leave."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segpipe.errors import (
    BadPhotosError,
    EmptyDealError,
    PhotoError,
    UnreadablePhotoError,
    UnsupportedFormatError,
)
from segpipe.store.deal_folders import is_ignored
from segpipe.store.store import DealStore
from segpipe.vision.image import upright_size

_COMPANIONS = frozenset(
    {".aae", ".mov", ".mp4", ".m4v", ".3gp", ".avi", ".mts", ".thm", ".lrv", ".xmp", ".ctg", ".dat"}
)
"""Endings of what phones and cameras put beside photos: edits, films, previews of films."""

_LITTER_FOLDERS = frozenset(
    {"@eadir", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "system volume information"}
)
"""What NAS boxes and systems put into folders, in small letters; dot folders are left out, too."""


@dataclass(slots=True)
class FoundPhotos:
    """What was found in the files and folders that somebody named.

    Attributes:
        photos: The photos, by their content, in the order of their paths.
        skipped: What is no photo and is always beside some, by path.
        faults: What cannot be used, each with its path.
    """

    photos: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    faults: list[PhotoError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AddedPhotos:
    """What became of the files that somebody wanted in a deal.

    Attributes:
        new: The names of the photos that it did not have.
        same: The names of those that it had.
        skipped: What is no photo and is always beside some, by path.
    """

    new: tuple[str, ...]
    same: tuple[str, ...]
    skipped: tuple[Path, ...]


def add_photos(store: DealStore, deal: str, named: Sequence[Path]) -> AddedPhotos:
    """Copy photos into a deal, whole or not at all; nothing is added unless all can be.

    Args:
        store: The deals.
        deal: The deal; made when it is new.
        named: Photos, or folders of them.

    Raises:
        InvalidIdError: The deal's id is not allowed.
        BadPhotosError: Files that cannot be used, each of them.
        EmptyDealError: There is no photo among them.
    """
    found = find_photos(named)
    plan = store.plan_photos(deal, found.photos)
    if faults := [*found.faults, *plan.faults]:
        raise BadPhotosError(faults).at(deal=deal)
    if not found.photos:
        raise EmptyDealError("there are no photos in what was given", deal=deal)
    store.add_photos(deal, found.photos)
    return AddedPhotos(tuple(plan.new), plan.same, tuple(found.skipped))


def find_photos(named: Sequence[Path]) -> FoundPhotos:
    """Find the photos in files and folders, and in all folders below."""
    found = FoundPhotos()
    for path in named:
        if path.is_dir():
            for file in _walk(path, found.skipped):
                _look_at(file, found)
        else:
            _look_at(path, found)
    return found


def _walk(folder: Path, skipped: list[Path]) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        litter = {name for name in folders if _is_litter_folder(here / name)}
        skipped += [here / name for name in sorted(litter)]
        folders[:] = sorted(set(folders) - litter)
        yield from (here / name for name in sorted(files))


def _is_litter_folder(folder: Path) -> bool:
    name = folder.name
    return name.startswith(".") or name.lower() in _LITTER_FOLDERS or folder.is_symlink()


def _look_at(file: Path, found: FoundPhotos) -> None:
    if is_ignored(file.name):
        found.skipped.append(file)
        return
    if not file.is_file():
        found.faults.append(
            UnreadablePhotoError("no such file, or not a regular one", image=str(file))
        )
        return
    try:
        upright_size(file.read_bytes())
    except UnsupportedFormatError as error:
        if file.suffix.lower() in _COMPANIONS:
            found.skipped.append(file)
        else:
            found.faults.append(error.at(image=str(file)))
    except PhotoError as error:
        found.faults.append(error.at(image=str(file)))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        found.faults.append(UnreadablePhotoError(reason, image=str(file)))
    else:
        found.photos.append(file)

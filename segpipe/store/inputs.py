"""The photos of a deal: what people put in, and runs only read."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from segpipe.errors import (
    BadPhotosError,
    DealNotFoundError,
    DuplicateImageError,
    EmptyDealError,
    InvalidIdError,
    PhotoError,
    PhotosChangedError,
    UnreadablePhotoError,
)
from segpipe.store import layout
from segpipe.store.deal_folders import (
    check_deal,
    check_inside,
    check_stays_inside,
    is_ignored,
    list_if_folder,
    listing_digest,
)
from segpipe.store.ids import MAX_FILE_NAME_BYTES, image_id_of
from segpipe.store.storage import Entry, Kind, Storage, store_errors

_CHUNK_BYTES = 1024 * 1024
_UNREADABLE = {
    Kind.FOLDER: "is a folder, not a photo; move it out of images/",
    Kind.BROKEN_LINK: "is a link to nothing; restore what it points to, or remove it",
    Kind.SPECIAL: "is a FIFO, socket or device, not a photo; remove it",
}


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of a deal, as listed.

    Attributes:
        image: Its image id, unique in the deal.
        name: Its file name in ``images/``.
        size: Bytes.
        modified_ns: When it last changed, nanoseconds since 1970.
    """

    image: str
    name: str
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class PhotosPlan:
    """What adding photos to a deal would do.

    Attributes:
        new: The photos to copy, by the name that each gets.
        same: The names that the deal has with the very same bytes.
        faults: What is in the way; nothing is copied while there is any.
    """

    new: Mapping[str, Path]
    same: tuple[str, ...]
    faults: tuple[PhotoError, ...]


def fingerprint(photos: Sequence[Photo]) -> str:
    """A sha256 that changes when any photo's name, size or time does; opens no photo."""
    return listing_digest([(photo.name, photo.size, photo.modified_ns) for photo in photos])


class Inputs:
    """The photos of the deals under a data root.

    Args:
        storage: The data root.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def photos(self, deal: str) -> tuple[Photo, ...]:
        """The photos of a deal, sorted by name; see ``DealStore.photos`` for what it raises."""
        with store_errors(deal):
            images = layout.images_key(deal)
            check_stays_inside(self._storage, layout.deal_key(deal), images)
            entries = list_if_folder(self._storage, images)
            visible = (entry for entry in entries if not is_ignored(entry.name))
            photos = _photos(sorted(visible, key=lambda entry: entry.name))
            if not photos:
                check_deal(self._storage, deal)
                raise EmptyDealError("the deal has no photos; put some into its images/ folder")
        return tuple(photos)

    def read(self, deal: str, photo: Photo) -> bytes:
        """The bytes of a photo as it was listed; see ``DealStore.read_photo``."""
        with store_errors(deal):
            try:
                data, entry = self._storage.read_input(f"{layout.images_key(deal)}/{photo.name}")
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                raise UnreadablePhotoError(
                    f"the photo was listed, but cannot be read any more: {reason}",
                    image=photo.name,
                ) from error
            _check_readable(entry, photo.name)
            if (entry.size, entry.modified_ns) != (photo.size, photo.modified_ns):
                raise PhotosChangedError(
                    "the photo changed after it was listed; run again once it is at rest",
                    image=photo.name,
                )
        return data

    def plan(self, deal: str, files: Sequence[Path]) -> PhotosPlan:
        """What adding photos would do; see ``DealStore.plan_photos``."""
        with store_errors(deal):
            present = self._present(deal)
            names = {photo.image: photo.name for photo in present.values()}
            folded = {name.casefold(): name for name in present}
            new: dict[str, Path] = {}
            same: dict[str, None] = {}
            faults: list[PhotoError] = []
            for file in files:
                try:
                    name = _source_name(file)
                    _check_alone(name, names.setdefault(image_id_of(name), name))
                    _check_case(name, folded.setdefault(name.casefold(), name))
                    if name in present:
                        self._check_same(deal, name, file)
                        same[name] = None
                    elif _digest(new.setdefault(name, file)) != _digest(file):
                        raise _two_sources(new[name], file)
                except PhotoError as fault:
                    faults.append(fault.at(deal=deal))
        return PhotosPlan(new, tuple(same), tuple(faults))

    def add(self, deal: str, files: Sequence[Path]) -> tuple[Photo, ...]:
        """Copy photos into a deal; see ``DealStore.add_photos``."""
        plan = self.plan(deal, files)
        if plan.faults:
            raise plan.faults[0] if len(plan.faults) == 1 else BadPhotosError(plan.faults)
        with store_errors(deal):
            for name, file in plan.new.items():
                try:
                    self._put(deal, name, file)
                except FileExistsError:
                    self._check_same(deal, name, file)
            listed = self._present(deal)
        return tuple(listed[_source_name(file)] for file in files)

    def _put(self, deal: str, name: str, file: Path) -> None:
        images = layout.images_key(deal)
        try:
            self._storage.put_if_absent(f"{images}/{name}", _chunks(file))
        except BaseException:
            # The folders of a new deal, if nothing came to be in them.
            for folder in (images, layout.deal_key(deal)):
                with contextlib.suppress(OSError):
                    self._storage.remove_folder(folder)
            raise

    def _present(self, deal: str) -> dict[str, Photo]:
        """The photos by name; none when there is no such deal yet."""
        try:
            return {photo.name: photo for photo in self.photos(deal)}
        except (DealNotFoundError, EmptyDealError):
            return {}

    def _check_same(self, deal: str, name: str, file: Path) -> None:
        held, _ = self._storage.read_input(f"{layout.images_key(deal)}/{name}")
        if hashlib.sha256(held).digest() != _digest(file):
            raise _different(name)


def _check_readable(entry: Entry, name: str) -> None:
    check_inside(entry, name)
    if entry.kind is not Kind.FILE:
        raise UnreadablePhotoError(f"{name!r} {_UNREADABLE[entry.kind]}", image=name)


def _photo(entry: Entry) -> Photo:
    _check_readable(entry, entry.name)
    _check_text(entry.name)
    return Photo(image_id_of(entry.name), entry.name, entry.size, entry.modified_ns)


def _check_text(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UnreadablePhotoError(
            "the file's name is not valid UTF-8; rename the file", image=name
        ) from error


def _photos(entries: Sequence[Entry]) -> list[Photo]:
    """The photos that these entries are; all that is wrong with them is told at once."""
    photos: dict[str, Photo] = {}
    faults: list[PhotoError] = []
    for entry in entries:
        try:
            photo = _photo(entry)
            if other := photos.get(photo.image):
                raise _duplicate(other.name, photo.name)
            photos[photo.image] = photo
        except PhotoError as fault:
            faults.append(fault)
    if len(faults) > 1:
        raise BadPhotosError(faults)
    if faults:
        raise faults[0]
    return list(photos.values())


def _duplicate(one: str, other: str) -> DuplicateImageError:
    return DuplicateImageError(
        f"{one!r} and {other!r} have the same image id {image_id_of(one)!r}; rename one",
        image=other,
    )


def _check_alone(name: str, other: str) -> None:
    if other != name:
        raise _duplicate(other, name)


def _check_case(name: str, other: str) -> None:
    if other != name:
        raise DuplicateImageError(
            f"{other!r} and {name!r} differ in case only, which not every disk can hold; rename "
            "one",
            image=name,
        )


def _two_sources(one: Path, other: Path) -> DuplicateImageError:
    return DuplicateImageError(
        f"{str(one)!r} and {str(other)!r} are different photos of one name; rename one",
        image=other.name,
    )


def _different(name: str) -> DuplicateImageError:
    return DuplicateImageError(
        "the deal has a different photo of that name; rename one", image=name
    )


def _source_name(file: Path) -> str:
    """The name that a photo from outside gets in the deal."""
    name = normalize("NFC", file.name)
    if not name or is_ignored(name):
        raise InvalidIdError(f"a deal ignores files named like {name!r}; rename it", field="file")
    try:
        size = len(name.encode())
        is_file = stat.S_ISREG(file.stat().st_mode)
    except (OSError, UnicodeEncodeError):
        size, is_file = len(os.fsencode(file.name)), False
    if size > MAX_FILE_NAME_BYTES:
        raise InvalidIdError(
            f"the name of a photo may take {MAX_FILE_NAME_BYTES} bytes in UTF-8, this one takes "
            f"{size}; shorten it",
            field="file",
        ).at(image=name)
    if not is_file:
        raise UnreadablePhotoError("no such file, or not a regular one", image=name)
    return name


def _digest(file: Path) -> bytes:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").digest()


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            yield chunk

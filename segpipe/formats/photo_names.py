"""Which photo of a deal a label file speaks of.

Labelling tools put things around a photo's own name: Label Studio eight digits before it
(``1a2b3c4d-a.jpg``), Roboflow its own digits behind it (``a_jpg.rf.<digits>.jpg``). Exports of
segpipe name the deal, too.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from unicodedata import normalize
from urllib.parse import unquote

from segpipe.errors import PromptError
from segpipe.formats.labels import PhotoLabels
from segpipe.store.ids import image_id_of
from segpipe.store.inputs import Photo

_LABEL_STUDIO = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""https://github.com/HumanSignal/label-studio: ``upload_name_generator``."""
_ROBOFLOW = re.compile(r"_([A-Za-z]{3,4})\.rf\.[0-9A-Za-z]{8,64}(\.[^.]*)?$")
_NO_LETTERS = re.compile(r"[\W_]+")
_HASH_DIGITS = 8


def photo_path(name: str) -> PurePosixPath:
    """What a label file calls a photo: a path of any system, in Unicode's NFC form."""
    return PurePosixPath(normalize("NFC", name.replace("\\", "/").replace("\0", "")))


def flat_name(deal: str, image: str) -> str:
    """What a photo is called in a folder of all deals."""
    return f"{deal}__{image}"


def short_flat_name(deal: str, image: str, max_bytes: int) -> str:
    """The same where that is too long, or another's name: cut, and with a hash."""
    ending = _ending(deal, image)
    kept = flat_name(deal, image).encode()[: max_bytes - len(ending)].decode(errors="ignore")
    return f"{kept}{ending}"


def _ending(deal: str, image: str) -> str:
    return f"-{hashlib.sha256(f'{deal}/{image}'.encode()).hexdigest()[:_HASH_DIGITS]}"


@dataclass(frozen=True, slots=True)
class MatchedLabels:
    """The labels of each photo that has some, and what of the labels is of no photo of the deal."""

    of_photos: tuple[tuple[Photo, PhotoLabels], ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Match:
    """The photos that some labels may be of.

    Attributes:
        labels: The labels.
        photos: One, or several that are called alike.
        rank: How far the names are from each other; 0 when they are the same.
        names_deal: Whether the labels name the deal.
    """

    labels: PhotoLabels
    photos: tuple[Photo, ...]
    rank: int
    names_deal: bool


def match_photos(
    deal: str, photos: Sequence[Photo], labels: Sequence[PhotoLabels]
) -> MatchedLabels:
    """Find the photo of each of some labels.

    As soon as some labels name the deal (as a folder, say), those that do not are left out. Of
    several labels for a photo those count whose name is nearest to its own.

    Raises:
        PromptError: Nobody knows which labels are those of a photo, or which photo is meant.
    """
    names = _PhotoNames(deal, photos)
    matches = [match for each in labels if (match := names.find(each))]
    if any(match.names_deal for match in matches):
        matches = [match for match in matches if match.names_deal]
    by_photo: dict[str, list[_Match]] = defaultdict(list)
    for match in matches:
        by_photo[_only_photo(match).image].append(match)
    chosen = [_nearest(of_photo) for of_photo in by_photo.values()]
    known = {id(match.labels) for match in chosen}
    return MatchedLabels(
        tuple((match.photos[0], match.labels) for match in chosen),
        tuple(str(each.photo) for each in labels if id(each) not in known),
    )


def _only_photo(match: _Match) -> Photo:
    if len(match.photos) > 1:
        one, other = (photo.name for photo in match.photos[:2])
        raise PromptError(
            f"{match.labels.file}: {str(match.labels.photo)!r} is ambiguous: it may be the photo "
            f"{one!r} or {other!r}; write the photo's very name"
        )
    return match.photos[0]


def _nearest(matches: Sequence[_Match]) -> _Match:
    nearest = min(match.rank for match in matches)
    best = [match for match in matches if match.rank == nearest]
    if len(best) > 1:
        one, other = (f"{str(match.labels.photo)!r}" for match in best[:2])
        raise PromptError(
            f"{best[0].labels.file}: the labels of this photo are ambiguous, {one} and {other} are "
            "both called like it: leave one out, or call the folder of the right one as the deal",
            image=best[0].photos[0].name,
        )
    return best[0]


class _PhotoNames:
    """The photos of a deal by all that labels may call them.

    Args:
        deal: The deal.
        photos: Its photos.
    """

    def __init__(self, deal: str, photos: Sequence[Photo]) -> None:
        self._deal = deal
        self._by_ending = {_ending(deal, photo.image): photo for photo in photos}
        self._by_flat_name = {flat_name(deal, photo.image): photo for photo in photos}
        self._own = [(way, _index(photos, way)) for way in (_whole, image_id_of, _folded)]
        self._wrapped = [*self._own, (_uploaded, _index(photos, _uploaded))]

    def find(self, labels: PhotoLabels) -> _Match | None:
        """The photo of some labels; None when the deal has no such one."""
        name = labels.photo.name
        found = self._find(name)
        if exported := self._find_exported(PurePosixPath(_whole(name)).stem):
            photo, rank = exported
            own = found[0] if found and found[1] == 0 else ()
            return _Match(labels, (photo, *own), rank, names_deal=True)
        if found is None:
            return None
        in_folder = self._deal in labels.photo.parts[:-1]
        names_deal = labels.deal == self._deal if labels.deal else in_folder
        return _Match(labels, *found, names_deal=names_deal)

    def _find(self, name: str) -> tuple[tuple[Photo, ...], int] | None:
        rank = 0
        for inner in _unwrapped(name):
            for way, photos in self._own if inner == name else self._wrapped:
                if found := photos.get(way(inner)):
                    return tuple(found), rank
                rank += 1
        return None

    def _find_exported(self, stem: str) -> tuple[Photo, int] | None:
        """The photo that has this name in a folder of all deals; one with a hash is sure."""
        ending = stem[-_HASH_DIGITS - 1 :]
        photo = self._by_ending.get(ending)
        if photo and flat_name(self._deal, photo.image).startswith(stem.removesuffix(ending)):
            return photo, 0
        plain = self._by_flat_name.get(stem)
        return (plain, 1) if plain else None


def _index(photos: Iterable[Photo], way: Callable[[str], str]) -> dict[str, list[Photo]]:
    found: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        found[way(photo.name)].append(photo)
    return found


def _whole(name: str) -> str:
    return normalize("NFC", name)


def _folded(name: str) -> str:
    """The name whatever its case, and without its suffix."""
    return image_id_of(name).casefold()


def _uploaded(name: str) -> str:
    """What is left of a name that was uploaded: other characters stand for spaces and the like."""
    return _NO_LETTERS.sub("-", _folded(name)).strip("-")


def _unwrapped(name: str) -> Iterator[str]:
    """The name, and what may be the photo's own inside it."""
    yield name
    plain = unquote(name)
    if plain != name:
        yield plain
    for inner in (_LABEL_STUDIO.sub("", plain, count=1), plain):
        original = _ROBOFLOW.sub(r".\1", inner)
        if original not in {name, plain}:
            yield original

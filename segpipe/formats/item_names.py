"""The names of files of items, by a template that people write: ``{deal}_{image}_{n}``."""

import hashlib
import re
from dataclasses import dataclass
from itertools import pairwise
from string import Formatter
from typing import ClassVar
from unicodedata import category, normalize

from segpipe.errors import ConfigError
from segpipe.formats.labels import UNLABELLED

DEFAULT_ITEM_NAME = "{image}/{detection:04}"

_FIELD = "file_name"
_NUMBERS = frozenset({"n", "detection"})
_TEXTS = frozenset({"deal", "image", "label"})
_NUMBER_FORMAT = re.compile(r"0[1-9]")
_NO_NAME = re.compile(r'[<>:"|?*\\{}]')
_NO_LABEL = re.compile(r"[^\w+-]+|_+")
_MAX_LABEL_BYTES = 60
_MAX_PART_BYTES = 200
"""Leaves room for a suffix in the 255 that file systems take."""
_HASH_DIGITS = 8


@dataclass(frozen=True, slots=True)
class ItemName:
    """What a template is filled with.

    Attributes:
        deal: The deal.
        image: The image id.
        n: The number of the item among those found in its photo, from 1.
        detection: The index of its detection, from 0.
        label: Its label; "" when it has none.
    """

    deal: str
    image: str
    n: int
    detection: int
    label: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text as it stands, then a field: ``-{n:03}``; the last piece has no field."""

    text: str
    field: str | None
    width: str


class ItemNameTemplate:
    """A template of file names, without a suffix; a slash makes a folder.

    No two items of a deal have the same name: image and number can be told from it.

    Args:
        template: Text with the fields ``deal``, ``image``, ``n`` (from 1), ``detection`` (from 0)
            and ``label``; ``{n:03}`` has three digits.

    Raises:
        ConfigError: It has an unknown field, could give two items one name, or names a place
            outside its folder.

    Examples:
        >>> gem = ItemName(deal="lot", image="a", n=2, detection=7, label="gold ring")
        >>> ItemNameTemplate("{deal}_{image}_{n}").name(gem)
        'lot_a_2'
        >>> ItemNameTemplate("{label}/{image}_{n:03}").name(gem)
        'gold-ring/a_002'
    """

    FIELDS: ClassVar = ("deal", "image", "n", "detection", "label")

    def __init__(self, template: str) -> None:
        self.template = template = normalize("NFC", template)
        self._folders = [_pieces(part, template) for part in template.split("/")]
        for pieces in self._folders:
            _check_part(pieces, template)
        fields = {piece.field for pieces in self._folders for piece in pieces}
        if "image" not in fields or fields.isdisjoint(_NUMBERS):
            raise _refused(
                template, "two items could have one name: it needs {image}, and {n} or {detection}"
            )

    def name(self, item: ItemName) -> str:
        """The name of an item, a relative POSIX path; a part that is too long ends in a hash."""
        return "/".join(_shortened(_filled(pieces, item), item) for pieces in self._folders)


def check_item_names(template: str) -> str:
    """The template as it is; raises ConfigError as :class:`ItemNameTemplate`."""
    return ItemNameTemplate(template).template


def _pieces(part: str, template: str) -> list[_Piece]:
    try:
        parsed = list(Formatter().parse(part))
    except ValueError as error:
        raise _refused(template, f"{part!r} is not closed or opened: {error}") from None
    pieces = []
    for text, field, width, conversion in parsed:
        if field is not None and field not in ItemNameTemplate.FIELDS:
            there_are = ", ".join(ItemNameTemplate.FIELDS)
            raise _refused(template, f"there is no field {field!r}; there are: {there_are}")
        if field is not None and (
            conversion or (width and not (field in _NUMBERS and _NUMBER_FORMAT.fullmatch(width)))
        ):
            raise _refused(template, f"{field} takes no such format; {{n:03}} has three digits")
        pieces.append(_Piece(text, field, width or ""))
    return pieces


def _check_part(pieces: list[_Piece], template: str) -> None:
    """Whether a part of the path is a name that every system takes, and can be taken apart."""
    text = "".join(piece.text for piece in pieces)
    if not pieces or (pieces[0].text or "x")[0] in {".", " "} or _ends_badly(pieces[-1]):
        raise _refused(
            template, "no part of a path is empty, starts with a dot or ends with a dot or space"
        )
    if _NO_NAME.search(text) or any(category(letter)[0] == "C" for letter in text):
        raise _refused(template, 'a name holds no \\ < > : " | ? * { } and nothing invisible')
    if [piece.field for piece in pieces].count("image") > 1:
        raise _refused(template, "{image} stands twice in a name")
    for before, piece in pairwise(pieces):
        if piece.field is None or before.field is None:
            continue
        between = piece.text
        if not (_parts(between[:1], before.field) and _parts(between[-1:], piece.field)):
            raise _refused(
                template,
                f"two items could have one name: put an underscore between {{{before.field}}} and "
                f"{{{piece.field}}}",
            )


def _ends_badly(last: _Piece) -> bool:
    return last.field is None and last.text[-1:] in {".", " "}


def _parts(letter: str, field: str) -> bool:
    """Whether a letter can be no part of a field beside it, so that it tells where that ends."""
    if field in _NUMBERS:
        return bool(letter) and not letter.isdigit()
    return letter in {"_", "."} if field == "label" else True


def _filled(pieces: list[_Piece], item: ItemName) -> str:
    label = _NO_LABEL.sub("-", normalize("NFC", item.label)).strip("-")
    label = label.encode("utf-8", "ignore")[:_MAX_LABEL_BYTES].decode(errors="ignore")
    texts = {"deal": item.deal, "image": item.image, "label": label or UNLABELLED}
    numbers = {"n": item.n, "detection": item.detection}
    filled = ""
    for piece in pieces:
        filled += piece.text
        if piece.field in numbers:
            filled += format(numbers[piece.field], piece.width)
        elif piece.field:
            filled += texts[piece.field]
    return filled


def _shortened(part: str, item: ItemName) -> str:
    if len(part.encode()) <= _MAX_PART_BYTES:
        return part
    digest = hashlib.sha256(f"{item.image}/{item.detection}/{part}".encode()).hexdigest()
    ending = f"-{digest[:_HASH_DIGITS]}"
    return part.encode()[: _MAX_PART_BYTES - len(ending)].decode(errors="ignore") + ending


def _refused(template: str, why: str) -> ConfigError:
    return ConfigError(f"{template!r} names no files: {why}", field=_FIELD)

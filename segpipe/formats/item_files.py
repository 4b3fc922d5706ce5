"""A file of each item, with a name that people read, and a table of them."""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from unicodedata import normalize

from segpipe.formats.destination import EXPORT_FILE, ExportFolder, check_deal_folder
from segpipe.formats.item_names import ItemName, ItemNameTemplate
from segpipe.formats.label_format import PhotoFile
from segpipe.formats.labels import CutOut, LabelledItem, LabelledPhoto
from segpipe.formats.lines_on_disk import LinesOnDisk

COLUMNS = (
    "file",
    "deal",
    "photo",
    "number",
    "label",
    "score",
    "x1",
    "y1",
    "x2",
    "y2",
    "detection",
)
"""Of the table; the box is in pixels of the upright photo."""

_NO_FILE_NAME = re.compile(r'[^\w.+-]+|[<>:"|?*]')
_NO_PHOTO_NAME = re.compile(r'[<>:"|?*]')
_MAX_LABEL_BYTES = 60
_HASH_DIGITS = 8
_NO_MORE: Mapping[str, Callable[[LabelledItem], int]] = {}


class ItemFiles:
    """Writes ``<deal>/<photo>-<number>-<label>.<suffix>``, and a CSV of them.

    Args:
        folder: Where it goes.
        lines: Where the rows of the table wait.
        table_file: What the table is called.
        file_of: Gives the file of an item; None when it has none.
        file_names: What files are called in the folder of their deal; None for the above.
        more: Further columns of the table.
    """

    def __init__(
        self,
        folder: ExportFolder,
        lines: LinesOnDisk,
        table_file: str,
        file_of: Callable[[LabelledItem], CutOut | None],
        file_names: str | None = None,
        more: Mapping[str, Callable[[LabelledItem], int]] = _NO_MORE,
    ) -> None:
        self._folder = folder
        self._lines = lines
        self._table_file = table_file
        self._file_of = file_of
        self._more = more
        self._template = None if file_names is None else ItemNameTemplate(file_names)
        self._names: frozenset[str] = frozenset()

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is added inside stays only if the inside ends without an error."""
        mark = self._lines.mark()
        self._names = frozenset()  # those of one deal
        try:
            with self._folder.all_or_nothing():
                yield
        except BaseException:
            self._lines.rewind(mark)
            raise

    def add(self, photo: LabelledPhoto, file: PhotoFile) -> None:
        """Write the files of one photo; an item without one is in the table all the same.

        Raises:
            InvalidIdError: The deal is called as a file of the export.
        """
        check_deal_folder(photo.deal, EXPORT_FILE, self._table_file)
        for number, item in enumerate(photo.items, start=1):
            name = ""
            if written := self._file_of(item):
                stem = self._free_name(photo, number, item)
                name = f"{photo.deal}/{stem}{written.suffix}"
                self._folder.write(name, written.read())
            row = [name, photo.deal, photo.file_name, number, item.label, item.score, *item.box]
            row += [item.detection, *(value(item) for value in self._more.values())]
            self._lines.append(json.dumps(row).encode("ascii"))

    def finish(self) -> None:
        """Write the table."""
        # Spreadsheets take a file without a mark at its start for one of another encoding.
        with (self._folder.path / self._table_file).open(
            "x", encoding="utf-8-sig", errors="replace", newline=""
        ) as file:
            table = csv.writer(file)
            table.writerow((*COLUMNS, *self._more))
            table.writerows(json.loads(line) for line in self._lines)

    def _free_name(self, photo: LabelledPhoto, number: int, item: LabelledItem) -> str:
        """The name that is asked for; with a hash where another has it, in any case of letters."""
        image = _NO_PHOTO_NAME.sub("-", photo.image)
        if self._template:
            name = self._template.name(
                ItemName(photo.deal, image, number, item.detection, item.label)
            )
        else:
            label = _NO_FILE_NAME.sub("-", normalize("NFC", item.label)).strip("-.")
            label = label.encode("utf-8", "ignore")[:_MAX_LABEL_BYTES].decode(errors="ignore")
            name = f"{image}-{number}-{label or 'item'}"
        if name.casefold() in self._names:
            digest = hashlib.sha256(f"{photo.image}/{item.detection}".encode()).hexdigest()
            name = f"{name}-{digest[:_HASH_DIGITS]}"
        self._names |= {name.casefold()}
        return name

"""The pictures of items as plain files with names that people read, and a table of them."""

import csv
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from unicodedata import normalize

from segpipe.formats.destination import EXPORT_FILE, ExportFolder, check_deal_folder
from segpipe.formats.label_format import ExportFormat, LabelWriter, PhotoFile, WriteOptions
from segpipe.formats.labels import LabelledItem, LabelledPhoto
from segpipe.formats.lines_on_disk import LinesOnDisk

TABLE_FILE = "cutouts.csv"

_COLUMNS = (
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
_NO_FILE_NAME = re.compile(r'[^\w.+-]+|[<>:"|?*]')
_NO_PHOTO_NAME = re.compile(r'[<>:"|?*]')
_MAX_LABEL_BYTES = 60
_HASH_DIGITS = 8


class _CutOuts:
    """Writes ``<deal>/<photo>-<number>-<label>.png``, and a CSV of them.

    Args:
        folder: Where it goes.
        lines: Where the rows of the table wait.
    """

    def __init__(self, folder: ExportFolder, lines: LinesOnDisk) -> None:
        self._folder = folder
        self._lines = lines
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
        """Write the pictures of one photo; an item without one is in the table all the same.

        Raises:
            InvalidIdError: The deal is called as a file of the export.
        """
        check_deal_folder(photo.deal, EXPORT_FILE, TABLE_FILE)
        for number, item in enumerate(photo.items, start=1):
            name = ""
            if item.cutout:
                stem = self._free_name(photo, number, item)
                name = f"{photo.deal}/{stem}{item.cutout.suffix}"
                self._folder.write(name, item.cutout.read())
            row = [name, photo.deal, photo.file_name, number, item.label, item.score, *item.box]
            self._lines.append(json.dumps([*row, item.detection]).encode("ascii"))

    def finish(self) -> None:
        """Write the table."""
        # Spreadsheets take a file without a mark at its start for one of another encoding.
        with (self._folder.path / TABLE_FILE).open(
            "x", encoding="utf-8-sig", errors="replace", newline=""
        ) as file:
            table = csv.writer(file)
            table.writerow(_COLUMNS)
            table.writerows(json.loads(line) for line in self._lines)

    def _free_name(self, photo: LabelledPhoto, number: int, item: LabelledItem) -> str:
        """``<photo>-<number>-<label>``; with a hash where another has that name."""
        label = _NO_FILE_NAME.sub("-", normalize("NFC", item.label)).strip("-.")
        label = label.encode("utf-8", "ignore")[:_MAX_LABEL_BYTES].decode(errors="ignore")
        name = f"{_NO_PHOTO_NAME.sub('-', photo.image)}-{number}-{label or 'item'}"
        if name.casefold() in self._names:
            digest = hashlib.sha256(f"{photo.image}/{item.detection}".encode()).hexdigest()
            name = f"{name}-{digest[:_HASH_DIGITS]}"
        self._names |= {name.casefold()}
        return name


@contextmanager
def _write_folder(folder: ExportFolder, _: WriteOptions) -> Iterator[LabelWriter]:
    with LinesOnDisk(folder.path) as lines:
        writer = _CutOuts(folder, lines)
        yield writer
        writer.finish()


EXPORT = ExportFormat(
    write_folder=_write_folder, has_cutouts=True, contact_sheet="contact_sheet.jpg"
)

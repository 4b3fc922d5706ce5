"""The mask of each item as a PNG of one channel, 255 is the item, and a table of them."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from segpipe.errors import InputError, PromptError
from segpipe.formats.destination import ExportFolder
from segpipe.formats.item_files import ItemFiles
from segpipe.formats.label_format import ExportFormat, ImportFormat, LabelWriter, WriteOptions
from segpipe.formats.label_json import Finite, parse
from segpipe.formats.labels import CutOut, DrawnBox, LabelledItem, PhotoBoxes, PhotoLabels
from segpipe.formats.lines_on_disk import LinesOnDisk
from segpipe.formats.photo_names import photo_path
from segpipe.vision.boxes import Box, PixelWindow, pixel_window
from segpipe.vision.crop import MaskArea
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import from_png, window_to_png

TABLE_FILE = "masks.csv"

_SUFFIX = ".png"
_Offset = Annotated[int, Field(ge=0, le=1_000_000)]


@contextmanager
def _write_folder(folder: ExportFolder, options: WriteOptions) -> Iterator[LabelWriter]:
    def shown(item: LabelledItem) -> PixelWindow:
        mask = item.mask
        if options.mask_area is MaskArea.BOX:
            return mask.tight().window
        return PixelWindow(0, 0, mask.image_width, mask.image_height)

    def file_of(item: LabelledItem) -> CutOut:
        return CutOut(_SUFFIX, partial(window_to_png, item.mask, shown(item)))

    more = {"mask_x": lambda item: shown(item).x1, "mask_y": lambda item: shown(item).y1}
    with LinesOnDisk(folder.path) as lines:
        writer = ItemFiles(folder, lines, TABLE_FILE, file_of, options.file_names, more)
        yield writer
        writer.finish()


class _Row(BaseModel):
    """A line of the table.

    Attributes:
        mask_x: Where the left column of the file's pixels lies in the photo.
        mask_y: The same of the top row.
    """

    file: str
    deal: str
    photo: str
    label: str
    x1: Finite
    y1: Finite
    x2: Finite
    y2: Finite
    mask_x: _Offset
    mask_y: _Offset


def _read(place: Path, _: tuple[str, ...] | None) -> list[PhotoLabels]:
    """The masks of a folder, or beside a table, by the photos that the table names."""
    table = place / TABLE_FILE if place.is_dir() else place
    if not table.is_file():
        raise PromptError(f"there is no {TABLE_FILE} in {place.name!r}: name the file")
    rows: dict[tuple[str, str], list[tuple[str, _Row]]] = defaultdict(list)
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            for number, raw in enumerate(csv.DictReader(file), start=2):
                where = f"line {number}"
                row = parse(_Row, raw, f"{table.name}, {where}")
                rows[row.deal, row.photo].append((where, row))
    except (UnicodeDecodeError, csv.Error) as error:
        raise PromptError(f"{table.name} is no table: {error}") from error
    return [
        PhotoLabels(table.name, photo_path(photo), partial(_read_boxes, table, of_photo), deal)
        for (deal, photo), of_photo in rows.items()
    ]


def _read_boxes(table: Path, rows: list[tuple[str, _Row]]) -> PhotoBoxes:
    boxes = (DrawnBox(where, _box_of(table, where, row), row.label) for where, row in rows)
    return PhotoBoxes(tuple(boxes))


def _box_of(table: Path, where: str, row: _Row) -> Box:
    """The box of the table; that around the pixels of the file, where somebody changed them."""
    mask = _read_mask(table, where, row)
    box = mask.box
    if box is None:
        raise PromptError(f"{table.name}, {where}: {row.file} has no white pixel: leave it out")
    found = Box(box.x1 + row.mask_x, box.y1 + row.mask_y, box.x2 + row.mask_x, box.y2 + row.mask_y)
    said = Box(row.x1, row.y1, row.x2, row.y2)
    right, bottom = row.mask_x + mask.image_width, row.mask_y + mask.image_height
    touched = pixel_window(said, image_width=max(1, right), image_height=max(1, bottom))
    return said if tuple(found) == tuple(touched) else found


def _read_mask(table: Path, where: str, row: _Row) -> Mask:
    folder = table.parent.resolve()
    path = (folder / row.file.replace("\0", "")).resolve()
    if not path.is_relative_to(folder):
        raise PromptError(f"{table.name}, {where}: {row.file!r} is not in the folder of the table")
    if not path.is_file():
        raise PromptError(f"{table.name}, {where}: there is no file {row.file!r}")
    try:
        return from_png(path.read_bytes())
    except InputError as error:
        raise PromptError(f"{table.name}, {where}: {row.file}: {error.message}") from error


IMPORT = ImportFormat(_read)
EXPORT = ExportFormat(write_folder=_write_folder, is_of_items=True)

"""The pictures of items as plain files with names that people read, and a table of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

from segpipe.formats.destination import ExportFolder
from segpipe.formats.item_files import ItemFiles
from segpipe.formats.label_format import ExportFormat, LabelWriter, WriteOptions
from segpipe.formats.lines_on_disk import LinesOnDisk

TABLE_FILE = "cutouts.csv"


@contextmanager
def _write_folder(folder: ExportFolder, options: WriteOptions) -> Iterator[LabelWriter]:
    with LinesOnDisk(folder.path) as lines:
        pictures = attrgetter("cutout")
        writer = ItemFiles(folder, lines, TABLE_FILE, pictures, options.file_names)
        yield writer
        writer.finish()


EXPORT = ExportFormat(
    write_folder=_write_folder,
    has_cutouts=True,
    is_of_items=True,
    contact_sheet="contact_sheet.jpg",
)

"""YOLO's text files: segments for training.

The format is https://docs.ultralytics.com/datasets/segment/: a text file for each photo with a line
for each item, its class and the corners of its outline, as fractions of the photo's sides.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import numpy as np
import yaml

from segpipe.formats.destination import ExportFolder
from segpipe.formats.export_format import ExportFormat, LabelWriter, PhotoFile, WriteOptions
from segpipe.formats.labels import LabelledPhoto
from segpipe.formats.lines_on_disk import LinesOnDisk
from segpipe.formats.polygons import Polygon, join_parts, parts_of
from segpipe.store.ids import MAX_FILE_NAME_BYTES

IMAGES_FOLDER = "images"
LABELS_FOLDER = "labels"
DATA_FILE = "data.yaml"

_DATA_HEADER = "# Every photo is for training and for validation: divide them first.\n"
_DECIMALS = 6
_HASH_DIGITS = 8


class _YoloSegments:
    """Writes ``labels/<deal>__<image>.txt``, ``images/`` of the same names, and ``data.yaml``.

    Classes are the labels in the order of their names, from 0. A class has its number only when
    all are known, so the lines wait on disk until the end. An item of several parts is one outline:
    see :func:`join_parts`.

    Args:
        folder: Where it goes.
        lines: Where lines wait.
    """

    def __init__(self, folder: ExportFolder, lines: LinesOnDisk) -> None:
        self._folder = folder
        self._lines = lines
        self._labels: frozenset[str] = frozenset()
        self._names: set[str] = set()

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is added inside stays only if the inside ends without an error."""
        labels, mark = self._labels, self._lines.mark()
        try:
            with self._folder.all_or_nothing():
                yield
        except BaseException:
            self._labels = labels
            self._lines.rewind(mark)
            raise

    def add(self, photo: LabelledPhoto, file: PhotoFile) -> None:
        """Write one photo and its items."""
        size = (photo.width, photo.height)
        lines = [
            (item.label, _fractions(join_parts(parts_of(item)), *size)) for item in photo.items
        ]
        suffix = PurePosixPath(photo.file_name).suffix
        name = self._free_name(photo.deal, photo.image, len(suffix.encode()))
        file.place(self._folder, f"{IMAGES_FOLDER}/{name}{suffix}")
        self._labels |= {item.label for item in photo.items}
        self._lines.append(json.dumps([name, lines]).encode("ascii"))

    def finish(self) -> None:
        """Write the labels, now that every class has its number."""
        names = sorted(self._labels)
        numbers = {label: number for number, label in enumerate(names)}
        for waiting in self._lines:
            name, lines = json.loads(waiting)
            text = "".join(f"{numbers[label]} {fractions}\n" for label, fractions in lines)
            self._folder.write(f"{LABELS_FOLDER}/{name}.txt", text.encode("ascii"))
        data = {"train": IMAGES_FOLDER, "val": IMAGES_FOLDER, "names": dict(enumerate(names))}
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        self._folder.write(DATA_FILE, (_DATA_HEADER + text).encode())

    def _free_name(self, deal: str, image: str, suffix_bytes: int) -> str:
        """``<deal>__<image>``; cut, and with a hash, where that is too long or another's name."""
        name = f"{deal}__{image}"
        limit = MAX_FILE_NAME_BYTES - max(suffix_bytes, len(".txt"))
        if len(name.encode()) > limit or name.casefold() in self._names:
            digest = hashlib.sha256(f"{deal}/{image}".encode()).hexdigest()[:_HASH_DIGITS]
            kept = name.encode()[: limit - len(digest) - 1].decode(errors="ignore")
            name = f"{kept}-{digest}"
        self._names.add(name.casefold())
        return name


def _fractions(polygon: Polygon, width: int, height: int) -> str:
    inside = np.clip(polygon / (width, height), 0, 1)
    return " ".join(f"{value:.{_DECIMALS}f}" for value in inside.ravel().tolist())


@contextmanager
def _write_folder(folder: ExportFolder, _: WriteOptions) -> Iterator[LabelWriter]:
    with LinesOnDisk(folder.path) as lines:
        writer = _YoloSegments(folder, lines)
        yield writer
        writer.finish()


EXPORT_SEGMENTS = ExportFormat(write_folder=_write_folder)

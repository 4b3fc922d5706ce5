"""YOLO's text files: a file for each photo, and a line for each item.

A line holds a class and then a box (https://docs.ultralytics.com/datasets/detect/: its centre and
its size) or the corners of an outline (https://docs.ultralytics.com/datasets/segment/), all in
fractions of the photo's sides. The number of numbers does not tell which: other tasks have lines of
the same lengths.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import yaml
from pydantic import BaseModel

from segpipe.errors import PromptError
from segpipe.formats.destination import ExportFolder
from segpipe.formats.label_format import (
    ExportFormat,
    ImportFormat,
    LabelWriter,
    PhotoFile,
    WriteOptions,
)
from segpipe.formats.label_json import parse
from segpipe.formats.labels import DrawnBox, LabelledPhoto, PhotoBoxes, PhotoLabels
from segpipe.formats.lines_on_disk import LinesOnDisk
from segpipe.formats.photo_names import flat_name, photo_path, short_flat_name
from segpipe.formats.polygons import Polygon, join_parts, parts_of
from segpipe.store.ids import MAX_FILE_NAME_BYTES
from segpipe.vision.boxes import Box

IMAGES_FOLDER = "images"
LABELS_FOLDER = "labels"
DATA_FILE = "data.yaml"

_DATA_HEADER = "# Every photo is for training and for validation: divide them first.\n"
_DECIMALS = 6
_SUFFIX = ".txt"
_PHOTO_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Of ultralytics' ``IMG_FORMATS``: those of photos that go along."""
_SUFFIX_OF_FORMAT = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "WEBP": ".webp",
}


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
        suffix = PurePosixPath(file.name).suffix
        if suffix.lower() not in _PHOTO_SUFFIXES:  # the loader would not look at it
            suffix = _SUFFIX_OF_FORMAT[file.format] if file.goes_along else suffix
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
            self._folder.write(f"{LABELS_FOLDER}/{name}{_SUFFIX}", text.encode("ascii"))
        data = {"train": IMAGES_FOLDER, "val": IMAGES_FOLDER, "names": dict(enumerate(names))}
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        self._folder.write(DATA_FILE, (_DATA_HEADER + text).encode())

    def _free_name(self, deal: str, image: str, suffix_bytes: int) -> str:
        """``<deal>__<image>``; cut, and with a hash, where that is too long or another's name."""
        name = flat_name(deal, image)
        limit = MAX_FILE_NAME_BYTES - max(suffix_bytes, len(_SUFFIX))
        if len(name.encode()) > limit or name.casefold() in self._names:
            name = short_flat_name(deal, image, limit)
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


# Reading

_BOX_COLUMNS = ("class", "x", "y", "w", "h")
_POLYGON_COLUMNS = ("class", "polygon")
_FURTHER_COLUMNS = ("conf", "id", "skip")
_MIN_CORNER_NUMBERS = 6
_TASKS = {"detect": _BOX_COLUMNS, "segment": _POLYGON_COLUMNS, "obb": _POLYGON_COLUMNS}
_DATA_FILES = (DATA_FILE, "data.yml", "dataset.yaml")
_CLASSES_FILE = "classes.txt"
_MAX_KEYPOINT_NUMBERS = 1000
_FOLDERS_ABOVE = 2  # labels/train/ lies two below data.yaml


@dataclass(frozen=True, slots=True)
class _DataSet:
    """What stands beside label files.

    Attributes:
        names: The name of each class.
        columns: What the lines hold; None when nothing says so.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None


def _read(usual: tuple[str, ...], place: Path, given: tuple[str, ...] | None) -> list[PhotoLabels]:
    """The text files of a folder, or one file, each for the photo that has its name."""
    data = _read_data_set(place)
    if given:
        _check_columns(given)
    elif usual is _POLYGON_COLUMNS and data.columns not in {None, usual}:
        raise PromptError(
            f"the data set of {place.name!r} says that its lines hold "
            f"'{' '.join(data.columns or ())}': take --format yolo, or say --columns"
        )
    columns = given or data.columns or usual
    return [
        PhotoLabels(file.name, photo, partial(_read_file, file, columns, data.names))
        for photo, file in _text_files(place)
    ]


def _check_columns(columns: tuple[str, ...]) -> None:
    known = {*_BOX_COLUMNS, "polygon", *_FURTHER_COLUMNS}
    needed = _POLYGON_COLUMNS if "polygon" in columns else _BOX_COLUMNS
    twice = [name for name in columns if name != "skip" and columns.count(name) > 1]
    if twice or not known.issuperset(columns) or not set(needed).issubset(columns):
        raise PromptError(
            f"{' '.join(columns)!r} are no columns: give class x y w h, or class polygon, and "
            f"further {', '.join(_FURTHER_COLUMNS)} where they stand",
            field="--columns",
        )


def _text_files(place: Path) -> list[tuple[PurePosixPath, Path]]:
    """Label files, and what each calls its photo; those in folders ``labels`` if there are any."""
    if not place.is_dir():
        return [(photo_path(place.name), place)]
    found = sorted(
        path
        for path in place.rglob("*")
        if path.suffix.lower() == _SUFFIX and path.name != _CLASSES_FILE
    )
    in_labels = [path for path in found if LABELS_FOLDER in path.relative_to(place).parts]
    if not found:
        raise PromptError(f"there is no label file *{_SUFFIX} in {place.name!r}")
    return [(photo_path(str(path.relative_to(place.parent))), path) for path in in_labels or found]


def _read_data_set(place: Path) -> _DataSet:
    """What ``data.yaml`` or ``classes.txt`` says, beside the labels or above."""
    start = (place if place.is_dir() else place.parent).resolve()
    for folder in (start, *list(start.parents)[:_FOLDERS_ABOVE]):
        for name in _DATA_FILES:
            if (folder / name).is_file():
                return _parse_data_file(folder / name)
        if (folder / _CLASSES_FILE).is_file():
            lines = _read_lines(folder / _CLASSES_FILE)
            return _DataSet({number: line.strip() for number, line in enumerate(lines)})
    return _DataSet()


class _DataFile(BaseModel):
    names: dict[int, str | int | float] | list[str | int | float] = []
    task: str | None = None
    kpt_shape: tuple[int, int] | None = None


def _parse_data_file(file: Path) -> _DataSet:
    try:
        data = parse(_DataFile, yaml.safe_load(file.read_bytes()), file.name)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PromptError(f"{file.name} is no YAML: {error}") from error
    pairs = data.names.items() if isinstance(data.names, dict) else enumerate(data.names)
    columns = _TASKS.get(data.task or "")
    if data.kpt_shape and 0 < math.prod(data.kpt_shape) <= _MAX_KEYPOINT_NUMBERS:
        columns = (*_BOX_COLUMNS, *["skip"] * math.prod(data.kpt_shape))
    return _DataSet({number: str(name) for number, name in pairs}, columns)


def _read_file(file: Path, columns: tuple[str, ...], names: Mapping[int, str]) -> PhotoBoxes:
    boxes: list[DrawnBox] = []
    unnamed: set[int] = set()
    for number, line in enumerate(_read_lines(file), start=1):
        if words := line.split():
            place = f"line {number}"
            kind, box = _parse_line(words, columns, f"{file.name}, {place}")
            boxes.append(DrawnBox(place, box, names.get(kind)))
            unnamed.update({kind} - names.keys())
    notes = [f"class {kind} has no name in the data set" for kind in sorted(unnamed) if names]
    return PhotoBoxes(tuple(boxes), are_fractions=True, notes=tuple(notes))


def _read_lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise PromptError(f"{file.name} is no text in UTF-8") from error


def _parse_line(words: Sequence[str], columns: tuple[str, ...], where: str) -> tuple[int, Box]:
    """The class and the box of a line, in fractions of the photo."""
    corners = len(words) - len(columns) + 1  # how many words "polygon" stands for
    has_polygon = "polygon" in columns
    if has_polygon and (corners < _MIN_CORNER_NUMBERS or corners % 2):
        raise PromptError(
            f"{where}: {corners} numbers are no corners x y x y x y …; of boxes (class x y w h) "
            "say --format yolo, and name what stands behind corners: --columns 'class polygon conf'"
        )
    if not has_polygon and len(words) != len(columns):
        raise PromptError(f"{where}: {_unknown_columns(len(words), columns)}")
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise PromptError(f"{where}: {error}; YOLO's lines hold numbers alone") from error
    if not all(map(math.isfinite, numbers)):
        raise PromptError(f"{where}: a number is not finite")
    kind = numbers[_place_of("class", columns, len(words))]
    if kind != int(kind) or kind < 0:
        raise PromptError(f"{where}: the class {kind:g} is no whole number from 0 on")
    if has_polygon:
        first = columns.index("polygon")
        xs, ys = numbers[first : first + corners : 2], numbers[first + 1 : first + corners : 2]
        return int(kind), Box(min(xs), min(ys), max(xs), max(ys))
    x, y, width, height = (numbers[columns.index(name)] for name in "xywh")
    return int(kind), Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _place_of(name: str, columns: tuple[str, ...], words: int) -> int:
    place = columns.index(name)
    is_behind = "polygon" in columns[:place]
    return place + words - len(columns) if is_behind else place


def _unknown_columns(words: int, columns: tuple[str, ...]) -> str:
    """What to do about a line of another length."""
    said = f"{words} numbers, where '{' '.join(columns)}' are {len(columns)}"
    further = words - len(_BOX_COLUMNS)
    if further < 0:
        return f"{said}: correct the line"
    if further < len(_FURTHER_COLUMNS):
        likely = " ".join([*_BOX_COLUMNS, *_FURTHER_COLUMNS[:further]])
        return f"{said}: say what each is, such as --columns '{likely}'"
    return (
        f"{said}: take --format yolo-seg if they are a class and corners, or say what each is: "
        "--columns 'class x y w h skip skip …'"
    )


IMPORT_BOXES = ImportFormat(partial(_read, _BOX_COLUMNS), has_columns=True)
IMPORT_SEGMENTS = ImportFormat(partial(_read, _POLYGON_COLUMNS), has_columns=True)

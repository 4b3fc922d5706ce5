"""labelme's JSON: a file for each photo, with a polygon for each part of an item.

The format is that of https://github.com/wkentaro/labelme, release 5.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from pydantic import BaseModel

from segpipe.errors import PromptError
from segpipe.formats.destination import EXPORT_FILE, ExportFolder, check_deal_folder
from segpipe.formats.label_format import (
    ExportFormat,
    ImportFormat,
    LabelWriter,
    PhotoFile,
    WriteOptions,
)
from segpipe.formats.label_json import Finite, json_files, parse, read_json
from segpipe.formats.labels import DrawnBox, LabelledItem, LabelledPhoto, PhotoBoxes, PhotoLabels
from segpipe.formats.photo_names import photo_path
from segpipe.formats.polygons import parts_of
from segpipe.store.ids import MAX_FILE_NAME_BYTES
from segpipe.vision.boxes import Box

_VERSION = "5.5.0"
_JSON = ".json"
_DECIMALS = 2
_FEWEST_POINTS = {"polygon": 3, "rectangle": 2, "oriented_rectangle": 4, "circle": 2, "mask": 2}
"""By the kinds of shape that have an area; a mask's points are the corners of its box."""


class _LabelmeFiles:
    """Writes ``<deal>/<photo>.json``, where labelme looks for it: beside the photo.

    Args:
        folder: Where it goes.
    """

    def __init__(self, folder: ExportFolder) -> None:
        self._folder = folder

    def all_or_nothing(self) -> AbstractContextManager[None]:
        """What is added inside stays only if the inside ends without an error."""
        return self._folder.all_or_nothing()

    def add(self, photo: LabelledPhoto, file: PhotoFile) -> None:
        """Write one photo and its items.

        Raises:
            InvalidIdError: The deal is called as the file that says what is in the export.
        """
        deal = photo.deal
        check_deal_folder(deal, EXPORT_FILE)
        file.place(self._folder, f"{deal}/{file.name}")
        image_path = file.name
        if not file.goes_along:
            image_path = os.path.relpath(file.path, self._folder.final / deal)
        document: dict[str, object] = {
            "version": _VERSION,
            "flags": {},
            "shapes": [shape for item in photo.items for shape in _shapes(item)],
            "imagePath": image_path,
            "imageData": None,
            "imageHeight": photo.height,
            "imageWidth": photo.width,
        }
        text = json.dumps(document, ensure_ascii=False)
        self._folder.write(f"{deal}/{_json_name(photo, file.name)}", text.encode())


def _shapes(item: LabelledItem) -> list[dict[str, object]]:
    """The parts of an item, held together by a group; its box when it has no mask."""
    if item.has_mask:
        outlines = [part.round(_DECIMALS).tolist() for part in parts_of(item)]
    else:
        outlines = [[[item.box.x1, item.box.y1], [item.box.x2, item.box.y2]]]
    return [
        {
            "label": item.label,
            "points": points,
            "group_id": item.detection if len(outlines) > 1 else None,
            "description": f"detection {item.detection}, score {item.score:.3f}",
            "shape_type": "polygon" if item.has_mask else "rectangle",
            "flags": {},
        }
        for points in outlines
    ]


def _json_name(photo: LabelledPhoto, file_name: str) -> str:
    """The name that labelme gives it: that of the photo, with another suffix."""
    name = f"{PurePosixPath(file_name).stem}{_JSON}"
    if name == file_name:  # a photo may be called .json
        return f"{file_name}{_JSON}"
    return name if len(name.encode()) <= MAX_FILE_NAME_BYTES else f"{photo.image}{_JSON}"


@contextmanager
def _write_folder(folder: ExportFolder, _: WriteOptions) -> Iterator[LabelWriter]:
    yield _LabelmeFiles(folder)


class _Shape(BaseModel):
    label: str
    points: list[tuple[Finite, Finite]]
    shape_type: str | None = None
    group_id: int | str | None = None


class _File(BaseModel):
    shapes: list[object]
    imagePath: str | None = None  # noqa: N815 - labelme's name
    imageWidth: int | None = None  # noqa: N815
    imageHeight: int | None = None  # noqa: N815


def _read(place: Path, _: tuple[str, ...] | None) -> list[PhotoLabels]:
    """The JSON files of a folder and below it, or one file, each for the photo that it names."""
    files = [path for path in json_files(place, f"*{_JSON}") if path.name != EXPORT_FILE]
    return [_photo_labels(file, place if place.is_dir() else file) for file in files]


def _photo_labels(file: Path, place: Path) -> PhotoLabels:
    content = parse(_File, read_json(file), f"{file.name} is no labelme file")
    path = photo_path(content.imagePath or file.name)  # it opens a.json along with a.jpg
    # The photo lies beside the file, or where the path leads from there.
    folder = photo_path(str(file.relative_to(place.parent).parent))
    return PhotoLabels(file.name, folder / path, partial(_read_boxes, file.name, content))


def _read_boxes(file: str, content: _File) -> PhotoBoxes:
    """A box around each item; shapes of one label and one group are parts of an item."""
    boxes: dict[object, DrawnBox] = {}
    notes: list[str] = []
    for number, raw in enumerate(content.shapes, start=1):
        place = f"shape {number}"
        shape = parse(_Shape, raw, f"{file}, {place}")
        box = _box_of(shape, f"{file}, {place}")
        if box is None:
            notes.append(f"{place} ({shape.label!r}) is a {shape.shape_type}: left out")
            continue
        item = number if shape.group_id is None else (shape.label, shape.group_id)
        part = boxes.get(item, DrawnBox(place, box, shape.label))
        boxes[item] = replace(part, box=_around(part.box, box))
    size = None
    if content.imageWidth and content.imageHeight:
        size = (content.imageWidth, content.imageHeight)
    return PhotoBoxes(tuple(boxes.values()), size, notes=tuple(notes))


def _box_of(shape: _Shape, where: str) -> Box | None:
    """The box around a shape; None around one that has no area."""
    kind = shape.shape_type or "polygon"  # as labelme has it
    if kind not in _FEWEST_POINTS:
        return None
    if len(shape.points) < _FEWEST_POINTS[kind]:
        raise PromptError(
            f"{where}: a {kind} has at least {_FEWEST_POINTS[kind]} points, got {len(shape.points)}"
        )
    if kind == "circle":
        (x, y), edge = shape.points[:2]
        radius = math.dist((x, y), edge)
        return Box(x - radius, y - radius, x + radius, y + radius)
    xs, ys = zip(*shape.points, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys))


def _around(one: Box, other: Box) -> Box:
    return Box(*map(min, one[:2], other[:2]), *map(max, one[2:], other[2:]))


IMPORT = ImportFormat(_read)
EXPORT = ExportFormat(write_folder=_write_folder, points_to_photos=True)

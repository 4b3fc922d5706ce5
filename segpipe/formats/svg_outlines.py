"""A JSON list of outlines as SVG path data, in the form in which segpipe gives them.

Each is an object with ``image`` (the photo's file name), ``path``, ``bbox`` and perhaps ``label``.
The path is in shares of its box: 0,0 is its top left corner and 1,1 its bottom right one. The box
is ``[x1, y1, x2, y2]`` in pixels of the upright photo, as the column ``box`` has it; or an object
``{x_min, y_min, x_max, y_max}`` in shares of the photo, as the service answers.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from segpipe.errors import PathError, PromptError
from segpipe.formats.label_format import ImportFormat
from segpipe.formats.label_json import Finite, json_files, parse, place_of, read_json
from segpipe.formats.labels import DrawnBox, PhotoBoxes, PhotoLabels
from segpipe.formats.photo_names import photo_path
from segpipe.vision.boxes import Box
from segpipe.vision.svg_path import flatten, parse_path

_FLATNESS = 1e-4
"""How far lines may stay from a curve, in shares of the path's box: the last digit of a path."""


class _Shares(BaseModel):
    x_min: Finite
    y_min: Finite
    x_max: Finite
    y_max: Finite


class _Outline(BaseModel):
    image: str
    path: str
    bbox: tuple[Finite, Finite, Finite, Finite] | _Shares
    label: str | None = None


def _read(place: Path, _: tuple[str, ...] | None) -> list[PhotoLabels]:
    return [labels for file in json_files(place, "*.json") for labels in _read_file(file)]


def _read_file(file: Path) -> Iterator[PhotoLabels]:
    content = read_json(file)
    if not isinstance(content, list):
        raise PromptError(f"{file.name} has to hold a list of outlines, in brackets")
    photos: dict[tuple[str, bool], list[tuple[str, _Outline]]] = {}
    for number, raw in enumerate(content, start=1):
        place = place_of(raw, "outline", number)
        outline = parse(_Outline, raw, f"{file.name}, {place}")
        key = outline.image, isinstance(outline.bbox, _Shares)
        photos.setdefault(key, []).append((place, outline))
    for (image, are_fractions), outlines in photos.items():
        if are_fractions and (image, False) in photos:
            raise PromptError(f"{file.name}: {image!r} has boxes in pixels and in shares; take one")
        read = partial(_read_boxes, file.name, outlines, are_fractions=are_fractions)
        yield PhotoLabels(file.name, photo_path(image), read)


def _read_boxes(
    file: str, outlines: list[tuple[str, _Outline]], *, are_fractions: bool
) -> PhotoBoxes:
    boxes = (
        DrawnBox(place, _box_of(outline, f"{file}, {place}"), outline.label)
        for place, outline in outlines
    )
    return PhotoBoxes(tuple(boxes), are_fractions=are_fractions)


def _box_of(outline: _Outline, where: str) -> Box:
    """The box around what a path draws."""
    try:
        drawing = parse_path(outline.path)
        lines = np.concatenate([drawing.lines, flatten(drawing.curves, _FLATNESS)])
    except PathError as error:
        raise PromptError(f"{where}: {error.message}", field="path") from error
    if len(lines) == 0:
        raise PromptError(f"{where}: the path draws nothing", field="path")
    said = outline.bbox
    bbox = (
        Box(said.x_min, said.y_min, said.x_max, said.y_max)
        if isinstance(said, _Shares)
        else Box(*said)
    )
    width, height = bbox.x2 - bbox.x1, bbox.y2 - bbox.y1
    if not (width > 0 and height > 0):
        raise PromptError(
            f"{where}: bbox {tuple(bbox)} has no area; it goes from x1, y1 to x2, y2", field="bbox"
        )
    return Box(
        bbox.x1 + float(lines.real.min()) * width,
        bbox.y1 + float(lines.imag.min()) * height,
        bbox.x1 + float(lines.real.max()) * width,
        bbox.y1 + float(lines.imag.max()) * height,
    )


IMPORT = ImportFormat(_read)

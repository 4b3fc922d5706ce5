"""Label files of other tools, for the tests."""

import json
from pathlib import Path
from typing import Any

from segpipe.formats.format_registry import import_format
from segpipe.formats.labels import PhotoBoxes


def read(place: Path, file_format: str, columns: str | None = None) -> list[PhotoBoxes]:
    """The boxes of each photo in a label file."""
    chosen = import_format(file_format)
    labels = chosen.read(place, tuple(columns.split()) if columns else None)
    return [each.read() for each in labels]


def boxes(place: Path, file_format: str, columns: str | None = None) -> list[tuple[float, ...]]:
    """All boxes in a label file, rounded."""
    return [
        tuple(round(value, 4) for value in each.box)
        for photo in read(place, file_format, columns)
        for each in photo.boxes
    ]


def coco_file(place: Path, *annotations: dict[str, Any], **fields: Any) -> Path:
    """COCO JSON of one photo of 480 x 360 pixels."""
    content = {
        "categories": [{"id": 3, "name": "ring"}],
        "images": [{"id": 1, "file_name": "a.jpg", "width": 480, "height": 360}],
        "annotations": list(annotations),
    }
    place.write_text(json.dumps(content | fields))
    return place


def text_file(place: Path, *lines: str) -> Path:
    """A text file, with the folders above it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(f"{line}\n" for line in lines))
    return place

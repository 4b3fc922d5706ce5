"""labelme's JSON: a file for each photo, with a polygon for each part of an item.

The format is that of https://github.com/wkentaro/labelme, release 5.
"""

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import PurePosixPath

from segpipe.errors import InvalidIdError
from segpipe.formats.destination import EXPORT_FILE, ExportFolder
from segpipe.formats.export_format import ExportFormat, LabelWriter, PhotoFile, WriteOptions
from segpipe.formats.labels import LabelledItem, LabelledPhoto
from segpipe.formats.polygons import parts_of
from segpipe.store.ids import MAX_FILE_NAME_BYTES

_VERSION = "5.5.0"
_JSON = ".json"
_DECIMALS = 2


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
        if deal.casefold() == EXPORT_FILE:
            raise InvalidIdError(
                f"a deal called {deal!r} has no place in a labelme export, which has a file of "
                "that name beside its deals: export it as coco or yolo-seg",
                deal=deal,
            )
        file.place(self._folder, f"{deal}/{photo.file_name}")
        image_path = photo.file_name
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
        self._folder.write(f"{deal}/{_json_name(photo)}", text.encode())


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


def _json_name(photo: LabelledPhoto) -> str:
    """The name that labelme gives it: that of the photo, with another suffix."""
    name = f"{PurePosixPath(photo.file_name).stem}{_JSON}"
    if name == photo.file_name:  # a photo may be called .json
        return f"{photo.file_name}{_JSON}"
    return name if len(name.encode()) <= MAX_FILE_NAME_BYTES else f"{photo.image}{_JSON}"


@contextmanager
def _write_folder(folder: ExportFolder, _: WriteOptions) -> Iterator[LabelWriter]:
    yield _LabelmeFiles(folder)


EXPORT = ExportFormat(write_folder=_write_folder, points_to_photos=True)

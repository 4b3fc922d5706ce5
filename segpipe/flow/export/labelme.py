"""The export for labelme: a JSON for each photo, with a polygon for each part of an item.

The format is that of https://github.com/wkentaro/labelme, release 5.
"""

import json
import os
from contextlib import AbstractContextManager
from pathlib import PurePosixPath

from segpipe.errors import InvalidIdError
from segpipe.flow.export.items import ExportedItem, exported_items
from segpipe.flow.export.photos import DealPhotos
from segpipe.flow.export.target import EXPORT_FILE, ExportFolder
from segpipe.flow.refinement import RefinedImage
from segpipe.flow.segmentation import SegmentedImage
from segpipe.store.ids import MAX_FILE_NAME_BYTES

_VERSION = "5.5.0"
_JSON = ".json"
_DECIMALS = 2


class LabelmeFormat:
    """Writes ``<deal>/<photo>.json``, where labelme looks for it: beside the photo.

    Args:
        folder: Where it goes.
    """

    def __init__(self, folder: ExportFolder) -> None:
        self._folder = folder

    def all_or_nothing(self) -> AbstractContextManager[None]:
        """What is added inside stays only if the inside ends without an error."""
        return self._folder.all_or_nothing()

    def add(
        self, deal: str, segmented: SegmentedImage, refined: RefinedImage, photos: DealPhotos
    ) -> None:
        """Write one photo and its survivors.

        Raises:
            InvalidIdError: The deal is called as the file that says what is in the export.
        """
        if deal.casefold() == EXPORT_FILE:
            raise InvalidIdError(
                f"a deal called {deal!r} has no place in a labelme export, which has a file of "
                "that name beside its deals: export it as coco or yolo-seg",
                deal=deal,
            )
        photos.place(segmented, self._folder, f"{deal}/{segmented.file_name}")
        image_path = segmented.file_name
        if not photos.go_along:
            image_path = os.path.relpath(photos.path(segmented), self._folder.final / deal)
        document: dict[str, object] = {
            "version": _VERSION,
            "flags": {},
            "shapes": [
                shape for item in exported_items(segmented, refined) for shape in _shapes(item)
            ],
            "imagePath": image_path,
            "imageData": None,
            "imageHeight": segmented.result.image_height,
            "imageWidth": segmented.result.image_width,
        }
        text = json.dumps(document, ensure_ascii=False)
        self._folder.write(f"{deal}/{_json_name(segmented)}", text.encode())

    def finish(self) -> None:
        """Nothing: each photo is complete by itself."""


def _shapes(item: ExportedItem) -> list[dict[str, object]]:
    """The parts of an item, held together by a group; its box when it has no mask."""
    if item.box:
        outlines = [[[item.box.x1, item.box.y1], [item.box.x2, item.box.y2]]]
    else:
        outlines = [part.round(_DECIMALS).tolist() for part in item.parts]
    return [
        {
            "label": item.label,
            "points": points,
            "group_id": item.detection if len(outlines) > 1 else None,
            "description": f"detection {item.detection}, score {item.score:.3f}",
            "shape_type": "rectangle" if item.box else "polygon",
            "flags": {},
        }
        for points in outlines
    ]


def _json_name(segmented: SegmentedImage) -> str:
    """The name that labelme gives it: that of the photo, with another suffix."""
    name = f"{PurePosixPath(segmented.file_name).stem}{_JSON}"
    if name == segmented.file_name:  # a photo may be called .json
        return f"{segmented.file_name}{_JSON}"
    return name if len(name.encode()) <= MAX_FILE_NAME_BYTES else f"{segmented.image}{_JSON}"

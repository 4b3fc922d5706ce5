"""Boxes out of the files of labelling tools: COCO's JSON, and YOLO's text files.

COCO: https://cocodataset.org/#format-data, boxes ``x, y, width, height`` in pixels.
YOLO: https://docs.ultralytics.com/datasets/detect/, a file for each photo and a line for each item:
its class, and the centre and size of its box in fractions of the photo. Lines of segmentation
(class, then corners) give the box around them, and a confidence at the end of a line is left out.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from segpipe.errors import PromptError
from segpipe.vision.boxes import Box

_YOLO_SUFFIX = ".txt"
_YOLO_BOX_NUMBERS = 4
_YOLO_MIN_POLYGON_NUMBERS = 6
_SLACK_PX = 1.0
"""How far a box may stick out of its photo and is still cut: labelling tools round."""

_Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """One box of a label file.

    Attributes:
        place: Where it is in the file, for errors: ``line 3``, ``annotation 17``.
        box: In pixels, or in fractions of the photo.
    """

    place: str
    box: Box


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """What a label file says about one photo.

    Attributes:
        file: The label file's name, for errors.
        image: The photo's file name as the labels have it; of YOLO's, the label file's own.
        boxes: Its boxes, in the order of the file.
        size: Width and height of the photo that was labelled, pixels; None when boxes are in
            fractions of it.
    """

    file: str
    image: str
    boxes: tuple[LabelledBox, ...]
    size: tuple[int, int] | None

    def in_pixels(self, width: int, height: int) -> tuple[Box, ...]:
        """The boxes in pixels of the upright photo of this size, cut where they stick out a bit.

        Raises:
            PromptError: The labels are of a photo of another size, or a box is empty or not in it.
        """
        if self.size not in {None, (width, height)}:
            raise PromptError(
                f"{self.file} has labels for a photo of {self.size[0]} x {self.size[1]} pixels "
                f"and the upright photo has {width} x {height}: label the photo as it is",
                image=self.image,
            )
        scale = (1.0, 1.0) if self.size else (float(width), float(height))
        return tuple(self._in_pixels(each, scale, width, height) for each in self.boxes)

    def _in_pixels(
        self, each: LabelledBox, scale: tuple[float, float], width: int, height: int
    ) -> Box:
        x1, y1, x2, y2 = (value * factor for value, factor in zip(each.box, scale * 2, strict=True))
        cut = Box(max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        inside = min(x1, y1) >= -_SLACK_PX and x2 <= width + _SLACK_PX and y2 <= height + _SLACK_PX
        if not inside or not (cut.x1 < cut.x2 and cut.y1 < cut.y2):
            what = "is not inside the photo" if not inside else "is empty"
            raise PromptError(
                f"{self.file}, {each.place}: box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) {what}, which "
                f"has {width} x {height} pixels upright; correct the labels",
                image=self.image,
            )
        return cut


class _CocoImage(BaseModel):
    id: int | str
    file_name: str
    width: int
    height: int


class _CocoAnnotation(BaseModel):
    id: int | str | None = None
    image_id: int | str
    bbox: tuple[_Finite, _Finite, _Finite, _Finite]
    iscrowd: int = 0


class _CocoFile(BaseModel):
    images: tuple[_CocoImage, ...]
    annotations: tuple[_CocoAnnotation, ...]


def read_coco(file: Path) -> list[LabelledImage]:
    """The photos of a COCO file that have boxes; crowds (``iscrowd``), being no items, left out.

    Raises:
        PromptError: It is no such file, or an annotation is for no image of it.
        OSError: It cannot be read.
    """
    try:
        coco = _CocoFile.model_validate(json.loads(file.read_bytes()))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise PromptError(f"{file.name} is no COCO file: {place}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{file.name} is no JSON: {error}") from error
    images = {image.id: image for image in coco.images}
    boxes: dict[int | str, list[LabelledBox]] = {}
    for index, annotation in enumerate(coco.annotations):
        number = index if annotation.id is None else annotation.id
        place = f"annotation {number}"
        if annotation.image_id not in images:
            raise PromptError(
                f"{file.name}, {place}: there is no image {annotation.image_id!r} in the file"
            )
        if not annotation.iscrowd:
            x, y, width, height = annotation.bbox
            box = Box(x, y, x + width, y + height)
            boxes.setdefault(annotation.image_id, []).append(LabelledBox(place, box))
    return [
        LabelledImage(
            file.name,
            PurePosixPath(images[key].file_name.replace("\\", "/")).name,
            tuple(of_image),
            (images[key].width, images[key].height),
        )
        for key, of_image in boxes.items()
    ]


def yolo_files(place: Path) -> list[Path]:
    """The text files of a folder, sorted; or the file itself.

    Raises:
        PromptError: There is none.
    """
    if not place.is_dir():
        return [place]
    found = sorted(path for path in place.iterdir() if path.suffix.lower() == _YOLO_SUFFIX)
    if not found:
        raise PromptError(f"there is no file *{_YOLO_SUFFIX} in {place.name!r}")
    return found


def read_yolo(file: Path) -> LabelledImage:
    """The boxes of one text file, in fractions of the photo that has its name.

    Raises:
        PromptError: A line is none of YOLO's.
        OSError: It cannot be read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise PromptError(f"{file.name} is no text in UTF-8") from error
    boxes = [
        LabelledBox(f"line {number}", _yolo_box(line.split(), f"{file.name}, line {number}"))
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    return LabelledImage(file.name, file.name, tuple(boxes), None)


def _yolo_box(words: Sequence[str], where: str) -> Box:
    try:
        _, *numbers = (float(word) for word in words)
    except ValueError as error:
        raise PromptError(f"{where}: {error}; YOLO's lines hold numbers alone") from error
    if not all(map(math.isfinite, numbers)):
        raise PromptError(f"{where}: a number is not finite")
    count = len(numbers)
    if count in {_YOLO_BOX_NUMBERS, _YOLO_BOX_NUMBERS + 1}:
        x, y, width, height = numbers[:_YOLO_BOX_NUMBERS]
        return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if count < _YOLO_MIN_POLYGON_NUMBERS:
        raise PromptError(
            f"{where}: {len(words)} numbers are neither a class and a box nor a class and corners"
        )
    # Corners are pairs, so of an odd number of numbers the last is a confidence.
    xs, ys = numbers[: count // 2 * 2 : 2], numbers[1 : count // 2 * 2 : 2]
    return Box(min(xs), min(ys), max(xs), max(ys))

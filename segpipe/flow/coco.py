"""COCO JSON: what was found in photos, as the tools of object detection read it.

The format is https://cocodataset.org/#format-data. Beside its own fields, an image has ``deal`` and
``sha256``, and an annotation has ``score``, ``deal``, ``detection``, ``pass_index`` and
``has_mask``. Coordinates are pixels of the upright photo: who opens one applies its EXIF
orientation.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypedDict

from pydantic import JsonValue

from segpipe.detection import Detection
from segpipe.flow.refinement import RefinedImage, RefinedItem, items_found
from segpipe.flow.segmentation import SegmentedImage
from segpipe.flow.settings import CocoMasks, CocoSettings
from segpipe.flow.spool import Spool
from segpipe.vision.contour import mask_outlines
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import to_coco_rle

COCO_FILE = "coco.json"

UNLABELLED = "item"
"""The category of what has no label."""

_AFTER_CATEGORY = b"\t"  # JSON writes a tab inside of a string as \t


class CocoRleText(TypedDict):
    """A mask as COCO's compressed run-length encoding, as JSON holds it."""

    size: list[int]
    """[image height, image width]."""
    counts: str


Polygons = list[list[int]]
"""Closed outlines along the edges of pixels, each x, y, x, y, … from the photo's corner on."""


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """One survivor.

    Attributes:
        category: The name of its category: its label.
        segmentation: Its pixels; they decode to the mask bit for bit.
        area: How many they are.
        bbox: Left, top, width and height of the mask's tight box, pixels.
        score: The segmenter's confidence, 0 to 1.
        detection: Its index among the raw detections of the photo.
        pass_index: The pass of a recursive segmenter that found it, from 0.
        has_mask: Whether it has a mask. Without one the box is the detection's, and the pixels are
            those that it touches, as pycocotools has it for detections that are boxes.
    """

    category: str
    segmentation: CocoRleText | Polygons
    area: int
    bbox: tuple[float, float, float, float]
    score: float
    detection: int
    pass_index: int
    has_mask: bool


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One photo and its survivors, in the order of their detections.

    Attributes:
        deal: Its deal.
        image: Its image id.
        file_name: Its file name in the deal.
        width: Pixels of the upright photo.
        height: Pixels of the upright photo.
        sha256: Digest of its bytes.
        annotations: The survivors.
    """

    deal: str
    image: str
    file_name: str
    width: int
    height: int
    sha256: str
    annotations: tuple[CocoAnnotation, ...]


def coco_image(
    deal: str, segmented: SegmentedImage, refined: RefinedImage, settings: CocoSettings
) -> CocoImage:
    """The survivors of one photo as COCO has them; a drawn box with nothing in it is left out."""
    found = segmented.result.detections
    return CocoImage(
        deal=deal,
        image=segmented.image,
        file_name=segmented.file_name,
        width=segmented.result.image_width,
        height=segmented.result.image_height,
        sha256=segmented.digest,
        annotations=tuple(
            _annotation(item, found[item.detection], segmented, settings.masks)
            for item in items_found(segmented, refined)
        ),
    )


def category_of(detection: Detection) -> str:
    """The name of the category of a detection."""
    return detection.label or UNLABELLED


def item_mask(item: RefinedItem, segmented: SegmentedImage) -> tuple[Mask, bool]:
    """The pixels of a survivor, and whether they are its mask: without one, they are its box."""
    if item.mask is not None and not item.mask.is_empty:
        return item.mask, True
    result = segmented.result
    size = (result.image_width, result.image_height)
    return Mask.from_box(item.box, image_width=size[0], image_height=size[1]), False


def _annotation(
    item: RefinedItem, detection: Detection, segmented: SegmentedImage, masks: CocoMasks
) -> CocoAnnotation:
    mask, has_mask = item_mask(item, segmented)
    box = (mask.box if has_mask else None) or item.box
    return CocoAnnotation(
        category=category_of(detection),
        segmentation=_polygons(mask) if masks is CocoMasks.POLYGONS else _rle(mask),
        area=mask.area,
        bbox=(box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1),
        score=detection.score,
        detection=item.detection,
        pass_index=detection.pass_index,
        has_mask=has_mask,
    )


def _rle(mask: Mask) -> CocoRleText:
    rle = to_coco_rle(mask)
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


def _polygons(mask: Mask) -> Polygons | CocoRleText:
    """Outlines that decode to the very mask; RLE when it has holes.

    Readers take the union of the polygons, so a hole cannot be one. Those along the edges of pixels
    are exact in pycocotools, which moves any others by up to half a pixel.
    """
    outlines = mask_outlines(mask, tolerance_px=0)
    if any(outline.is_hole for outline in outlines):
        return _rle(mask)
    return [outline.corners.astype(int).ravel().tolist() for outline in outlines]


class CocoWriter:
    """Writes COCO JSON, photo by photo; a context manager, whose end completes the file.

    Ids count from 1: images and annotations in the order they are added, categories by name. As
    categories are known only at the end, images and annotations wait on disk until then; memory
    holds one photo, however many there are.

    Args:
        file: Where the JSON goes; it is whole only after the end without an error.
        info: What the field ``info`` says.
        spool_folder: Where images and annotations wait; None for the system's temporary files.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        info: Mapping[str, JsonValue] | None = None,
        spool_folder: Path | None = None,
    ) -> None:
        self._file = file
        self._info = dict(info or {})
        self._spools = ExitStack()
        self._images = self._spools.enter_context(Spool(spool_folder))
        self._annotations = self._spools.enter_context(Spool(spool_folder))
        self._image_count = 0
        self._annotation_count = 0
        self._categories: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._spools:
            if kind is None:
                self._write_all()

    def add(self, image: CocoImage, *, file_name: str | None = None) -> None:
        """Add a photo and its survivors.

        Args:
            image: The photo.
            file_name: What it is called where the JSON is used; by default as in its deal.
        """
        self._image_count += 1
        self._images.append(
            _json(
                {
                    "id": self._image_count,
                    "file_name": file_name or image.file_name,
                    "width": image.width,
                    "height": image.height,
                    "deal": image.deal,
                    "sha256": image.sha256,
                }
            )
        )
        for annotation in image.annotations:
            self._annotation_count += 1
            body = _json(
                {
                    "id": self._annotation_count,
                    "image_id": self._image_count,
                    "segmentation": annotation.segmentation,
                    "area": annotation.area,
                    "bbox": annotation.bbox,
                    # One item each: in COCO a crowd is many in one annotation, RLE or not.
                    "iscrowd": 0,
                    "score": annotation.score,
                    "deal": image.deal,
                    "detection": annotation.detection,
                    "pass_index": annotation.pass_index,
                    "has_mask": annotation.has_mask,
                }
            )
            self._annotations.append(_json(annotation.category) + _AFTER_CATEGORY + body)
        self._categories |= {annotation.category for annotation in image.annotations}

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is added inside stays only if the inside ends without an error."""
        before = (self._image_count, self._annotation_count, self._categories)
        images, annotations = self._images.mark(), self._annotations.mark()
        try:
            yield
        except BaseException:
            self._image_count, self._annotation_count, self._categories = before
            self._images.rewind(images)
            self._annotations.rewind(annotations)
            raise

    def _write_all(self) -> None:
        names = sorted(self._categories)
        ids = {_json(name): number for number, name in enumerate(names, start=1)}
        categories = (_json({"id": ids[_json(name)], "name": name}) for name in names)
        self._file.write(b'{"info": ' + _json(self._info))
        self._write_list("licenses", ())
        self._write_list("categories", categories)
        self._write_list("images", self._images)
        self._write_list("annotations", _with_category_ids(self._annotations, ids))
        self._file.write(b"}\n")

    def _write_list(self, name: str, lines: Iterable[bytes]) -> None:
        self._file.write(b",\n" + _json(name) + b": [")
        for index, line in enumerate(lines):
            self._file.write((b",\n" if index else b"\n") + line)
        self._file.write(b"]")


def _with_category_ids(lines: Iterable[bytes], ids: Mapping[bytes, int]) -> Iterator[bytes]:
    for line in lines:
        category, _, body = line.partition(_AFTER_CATEGORY)
        yield b'{"category_id": %d, ' % ids[category] + body.removeprefix(b"{")


def _json(value: object) -> bytes:
    """JSON in ASCII: pycocotools reads files in whatever encoding the machine has."""
    return json.dumps(value, allow_nan=False).encode("ascii")

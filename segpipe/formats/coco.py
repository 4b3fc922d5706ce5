"""COCO JSON: items of photos, as the tools of object detection read them.

The format is https://cocodataset.org/#format-data. Beside its own fields, an image has ``deal`` and
``sha256``, and an annotation has ``score``, ``deal``, ``detection``, ``pass_index`` and
``has_mask``. Coordinates are pixels of the upright photo: who opens one applies its EXIF
orientation.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pydantic import BaseModel, JsonValue

from segpipe.errors import PromptError
from segpipe.formats.coco_segmentation import box_of, segmentation_of
from segpipe.formats.destination import ExportFolder
from segpipe.formats.label_format import (
    CocoMasks,
    ExportFormat,
    ImportFormat,
    LabelWriter,
    PhotoFile,
    WriteOptions,
)
from segpipe.formats.label_json import Finite, json_files, parse, place_of, read_json
from segpipe.formats.labels import DrawnBox, LabelledItem, LabelledPhoto, PhotoBoxes, PhotoLabels
from segpipe.formats.lines_on_disk import LinesOnDisk
from segpipe.formats.photo_names import photo_path

ANNOTATIONS_FILE = "annotations.json"
IMAGES_FOLDER = "images"

_AFTER_CATEGORY = b"\t"  # JSON writes a tab inside of a string as \t


@dataclass(frozen=True, slots=True)
class CocoPhoto:
    """One photo as COCO has it, but for the ids, which count over a whole file.

    Attributes:
        image: The JSON object of the photo.
        annotations: The category of each item, and its JSON object.
    """

    image: bytes
    annotations: tuple[tuple[str, bytes], ...]


def coco_photo(
    photo: LabelledPhoto, masks: CocoMasks = CocoMasks.RLE, *, file_name: str | None = None
) -> CocoPhoto:
    """What stands in COCO JSON about one photo.

    Args:
        photo: The photo.
        masks: How the pixels of its items are said.
        file_name: What it is called where the JSON is used; by default as in its deal.
    """
    image = {
        "file_name": file_name or photo.file_name,
        "width": photo.width,
        "height": photo.height,
        "deal": photo.deal,
        "sha256": photo.sha256,
    }
    annotations = ((item.label, _json(_annotation(item, photo, masks))) for item in photo.items)
    return CocoPhoto(_json(image), tuple(annotations))


def _annotation(item: LabelledItem, photo: LabelledPhoto, masks: CocoMasks) -> dict[str, object]:
    box = item.box
    return {
        # The pixels decode to the mask bit for bit. Those of a box without one are all that it
        # touches, as pycocotools has it for detections that are boxes.
        "segmentation": segmentation_of(item.mask, masks),
        "area": item.mask.area,
        "bbox": (box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1),
        # One item each: in COCO a crowd is many in one annotation, RLE or not.
        "iscrowd": 0,
        "score": item.score,
        "deal": photo.deal,
        "detection": item.detection,
        "pass_index": item.pass_index,
        "has_mask": item.has_mask,
    }


class CocoWriter:
    """Writes COCO JSON, photo by photo; a context manager, whose end completes the file.

    Ids count from 1: images and annotations in the order they are added, categories by name. As
    categories are known only at the end, images and annotations wait on disk until then; memory
    holds one photo, however many there are.

    Args:
        file: Where the JSON goes; it is whole only after the end without an error.
        info: What the field ``info`` says.
        lines_folder: Where images and annotations wait; None for the system's temporary files.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        info: Mapping[str, JsonValue] | None = None,
        lines_folder: Path | None = None,
    ) -> None:
        self._file = file
        self._info = dict(info or {})
        self._waiting = ExitStack()
        self._images = self._waiting.enter_context(LinesOnDisk(lines_folder))
        self._annotations = self._waiting.enter_context(LinesOnDisk(lines_folder))
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
        with self._waiting:
            if kind is None:
                self._write_all()

    def add(self, photo: CocoPhoto) -> None:
        """Add a photo and its items."""
        self._image_count += 1
        self._images.append(_with_ids({"id": self._image_count}, photo.image))
        for category, annotation in photo.annotations:
            self._annotation_count += 1
            ids = {"id": self._annotation_count, "image_id": self._image_count}
            self._annotations.append(_json(category) + _AFTER_CATEGORY + _with_ids(ids, annotation))
        self._categories |= {category for category, _ in photo.annotations}

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
        yield _with_ids({"category_id": ids[category]}, body)


def _with_ids(ids: Mapping[str, int], body: bytes) -> bytes:
    """A JSON object with further fields before its own."""
    return _json(ids).removesuffix(b"}") + b", " + body.removeprefix(b"{")


def _json(value: object) -> bytes:
    """JSON in ASCII: pycocotools reads files in whatever encoding the machine has."""
    return json.dumps(value, allow_nan=False).encode("ascii")


class _CocoExport:
    """The labels of many deals, in which a photo is called ``<deal>/<file name>``.

    Args:
        writer: Where the JSON goes.
        masks: How it says which pixels are an item's.
        folder: Where photos go, into ``images/``; None when they stay where they are.
    """

    def __init__(
        self, writer: CocoWriter, masks: CocoMasks, folder: ExportFolder | None = None
    ) -> None:
        self._writer = writer
        self._masks = masks
        self._folder = folder

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What is added inside stays only if the inside ends without an error."""
        with ExitStack() as both:
            both.enter_context(self._writer.all_or_nothing())
            if self._folder:
                both.enter_context(self._folder.all_or_nothing())
            yield

    def add(self, photo: LabelledPhoto, file: PhotoFile) -> None:
        """Write one photo and its items."""
        name = f"{photo.deal}/{file.name}"
        if self._folder:
            file.place(self._folder, f"{IMAGES_FOLDER}/{name}")
        self._writer.add(coco_photo(photo, self._masks, file_name=name))


@contextmanager
def _write_folder(folder: ExportFolder, options: WriteOptions) -> Iterator[LabelWriter]:
    # What waits on disk does so where there has to be space for the export anyway.
    with (
        (folder.path / ANNOTATIONS_FILE).open("xb") as file,
        CocoWriter(file, info=_info(options), lines_folder=folder.path) as writer,
    ):
        yield _CocoExport(writer, options.masks, folder)


@contextmanager
def _write_file(file: BinaryIO, options: WriteOptions) -> Iterator[LabelWriter]:
    lines_folder = Path(file.name).parent
    with CocoWriter(file, info=_info(options), lines_folder=lines_folder) as writer:
        yield _CocoExport(writer, options.masks)


def _info(options: WriteOptions) -> dict[str, JsonValue]:
    return {"description": "exported by segpipe", "mode": options.mode.value}


EXPORT = ExportFormat(write_folder=_write_folder, write_file=_write_file, file_suffix=".json")


class _Image(BaseModel):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None
    deal: str | None = None


class _Category(BaseModel):
    id: int | str
    name: str


class _Annotation(BaseModel):
    image_id: int | str
    category_id: int | str | None = None
    bbox: list[Finite] | None = None
    segmentation: object = None
    iscrowd: int | None = None


class _File(BaseModel):
    images: list[object]
    annotations: list[object]
    categories: list[object] | None = None


def _read(place: Path, _: tuple[str, ...] | None) -> list[PhotoLabels]:
    """The photos of COCO files that have boxes.

    A box that is missing is that of the segmentation. Crowds (``iscrowd``), being no items, are
    left out, and noted.
    """
    files = json_files(place, ANNOTATIONS_FILE, "_annotations.coco.json", "*.json")
    return [labels for file in files for labels in _read_file(file)]


def _read_file(file: Path) -> list[PhotoLabels]:
    content = parse(_File, read_json(file), f"{file.name} is no COCO file")
    images: dict[int | str, _Image] = {}
    for number, raw in enumerate(content.images, start=1):
        image = parse(_Image, raw, f"{file.name}, {place_of(raw, 'image', number)}")
        if image.id in images:
            raise PromptError(
                f"{file.name}: two images have the id {image.id!r}, {images[image.id].file_name!r} "
                f"and {image.file_name!r}: nobody knows whose its annotations are; renumber them"
            )
        images[image.id] = image
    categories = {
        category.id: category.name
        for number, raw in enumerate(content.categories or (), start=1)
        for category in [parse(_Category, raw, f"{file.name}, {place_of(raw, 'category', number)}")]
    }
    boxes: dict[int | str, list[DrawnBox]] = {}
    notes: dict[int | str, list[str]] = {}
    for number, raw in enumerate(content.annotations, start=1):
        place = place_of(raw, "annotation", number)
        annotation = parse(_Annotation, raw, f"{file.name}, {place}")
        if annotation.image_id not in images:
            raise PromptError(
                f"{file.name}, {place}: there is no image {annotation.image_id!r} in the file"
            )
        if annotation.iscrowd:
            notes.setdefault(annotation.image_id, []).append(
                f"{place} is a crowd, no item: left out"
            )
            continue
        box = box_of(annotation.bbox, annotation.segmentation, f"{file.name}, {place}")
        label = _label_of(annotation, categories, f"{file.name}, {place}")
        boxes.setdefault(annotation.image_id, []).append(DrawnBox(place, box, label))
    return [
        _photo_labels(file.name, images[key], boxes.get(key, []), notes.get(key, []))
        for key in images
        if key in boxes or key in notes
    ]


def _photo_labels(
    file: str, image: _Image, boxes: Sequence[DrawnBox], notes: Sequence[str]
) -> PhotoLabels:
    # Tools that do not know a size leave it out, or write 0.
    size = (image.width, image.height) if image.width and image.height else None
    content = PhotoBoxes(tuple(boxes), size, notes=tuple(notes))
    return PhotoLabels(file, photo_path(image.file_name), lambda: content, image.deal)


def _label_of(
    annotation: _Annotation, categories: Mapping[int | str, str], where: str
) -> str | None:
    if annotation.category_id is None or not categories:
        return None
    if annotation.category_id not in categories:
        raise PromptError(f"{where}: there is no category {annotation.category_id!r} in the file")
    return categories[annotation.category_id]


IMPORT = ImportFormat(_read)

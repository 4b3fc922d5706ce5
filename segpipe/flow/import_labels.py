"""Boxes of labelling tools become prompts of a deal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segpipe.errors import ConfigError, PromptError, SegpipeError
from segpipe.formats.format_registry import import_format
from segpipe.formats.labels import DrawnBox, PhotoLabels
from segpipe.formats.photo_names import match_photos
from segpipe.prompt import Mode
from segpipe.store.inputs import Photo
from segpipe.store.manifests import utc_now
from segpipe.store.prompts import ImagePrompts
from segpipe.store.prompts.prompt_edits import BOX_TYPES, Mark, add_marks, clear_marks, marks_of
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.image import LARGEST_PX, upright_size

"""Of a photo whose size alone is read; what a run takes is a setting of the run."""


@dataclass(frozen=True, slots=True)
class ImportTask:
    """What to take over.

    Attributes:
        labels: The label file, or a folder of such.
        format: The name of its format: see :data:`segpipe.formats.format_registry.IMPORTS`.
        mode: What the boxes are for: with ``inside_box`` each is around one item to cut out, with
            ``find_all`` each is an example of what to find.
        by: Who drew them.
        columns: What each column of a line means; None for the format's own columns.
        replace: Whether such boxes that the labels do not have are removed from their photos.
    """

    labels: Path
    format: str
    mode: Mode
    by: str
    columns: tuple[str, ...] | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        boxes: How many boxes the labels have for photos of the deal.
        photos: For how many photos.
        added: How many of them were not among the prompts.
        unknown: What the labels call photos that the deal does not have.
        notes: What else of the labels was not taken over, and why.
    """

    boxes: int
    photos: int
    added: int
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


def import_labels(store: DealStore, deal: str, task: ImportTask) -> ImportReport:
    """Add the boxes of a label file to the prompts of a deal; all are checked before any is added.

    Raises:
        PromptError: The labels make no sense, or do not say of which photo they are.
        ConfigError: There is no such format, or it has no columns.
        PhotoError: A photo cannot be opened.
        OSError: The labels cannot be read.
    """
    chosen = import_format(task.format)
    if task.columns and not chosen.has_columns:
        raise ConfigError(f"{task.format} has no columns; leave them out", field="--columns")
    labels = chosen.read(task.labels, task.columns)
    try:
        matched = match_photos(deal, store.photos(deal), labels)
    except PromptError as error:
        raise error.at(deal=deal) from error.__cause__
    marks: dict[str, list[Mark]] = {}
    notes: list[str] = []
    for photo, of_photo in matched.of_photos:
        content = of_photo.read()
        notes += [f"{of_photo.file}: {note}" for note in content.notes]
        try:
            size = photo_size(store, deal, photo)
            drawn = content.in_pixels(*size, file=of_photo.file)
            marks[photo.image] = _marks(drawn, of_photo, task.mode)
        except SegpipeError as error:
            raise error.at(deal=deal, image=photo.name) from error.__cause__
    for image in marks:  # what cannot be read stops us here, before anything is written
        store.prompts.of_image(deal, image)
    added = 0
    for image, of_image in marks.items():
        added += len(set(of_image) - marks_of(store.prompts.of_image(deal, image)))
        store.prompts.edit_image(deal, image, _change(task, of_image))
    store.arrivals.put(deal)
    return ImportReport(
        sum(map(len, marks.values())), len(marks), added, matched.unknown, tuple(notes)
    )


def photo_size(store: DealStore, deal: str, photo: Photo) -> tuple[int, int]:
    """Width and height of an upright photo, pixels; only its header is looked at.

    Raises:
        PhotoError: It cannot be read.
    """
    try:
        return upright_size(store.read_photo(deal, photo), max_pixels=LARGEST_PX)
    except SegpipeError as error:
        raise error.at(deal=deal, image=photo.name) from error.__cause__


def _marks(drawn: Sequence[DrawnBox], labels: PhotoLabels, mode: Mode) -> list[Mark]:
    """The marks of a photo, each once."""
    found: dict[Box, DrawnBox] = {}
    for each in drawn:
        same = found.setdefault(each.box, each)
        if same.label != each.label:
            raise PromptError(
                f"{labels.file}: {same.place} and {each.place} are the same box, called "
                f"{same.label!r} and {each.label!r}; remove one"
            )
    return [
        Mark(mode, BOX_TYPES[mode], box=each.box, category=each.label) for each in found.values()
    ]


def _change(task: ImportTask, marks: Sequence[Mark]) -> Callable[[ImagePrompts], ImagePrompts]:
    def change(present: ImagePrompts) -> ImagePrompts:
        if task.replace:
            present = clear_marks(present, task.mode, only=BOX_TYPES[task.mode], keep=marks)
        return add_marks(present, marks, created_by=task.by, created_at=utc_now())

    return change

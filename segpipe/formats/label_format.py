"""What a label format offers: writers for exports, a reader for imports."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

from segpipe.formats.destination import ExportFolder
from segpipe.formats.labels import LabelledPhoto, PhotoLabels
from segpipe.prompt import Mode
from segpipe.vision.crop import MaskArea


class CocoMasks(StrEnum):
    """How COCO JSON says which pixels are an item's."""

    RLE = "rle"
    POLYGONS = "polygons"


OPENED_EVERYWHERE = frozenset({"JPEG", "PNG", "BMP", "TIFF", "WEBP"})
"""The formats of photos that every tool opens whose labels we write; others become JPEG."""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How an export is written.

    Attributes:
        mode: Whose results they are.
        masks: How pixels are said, where a format leaves a choice.
        mask_area: What the file of a mask shows.
        file_names: What the files of items are called, a template as
            :class:`segpipe.formats.item_names.ItemNameTemplate` takes; None for the format's own.
    """

    mode: Mode = Mode.FIND_ALL
    masks: CocoMasks = CocoMasks.RLE
    mask_area: MaskArea = MaskArea.PHOTO
    file_names: str | None = None


class PhotoFile(Protocol):
    """The file of a photo, which may go into the export."""

    @property
    def goes_along(self) -> bool:
        """Whether photos are in the export."""
        ...

    @property
    def name(self) -> str:
        """What it is called in the export: its name in the deal, with the suffix of its format."""
        ...

    @property
    def format(self) -> str:
        """The format of the file in the export, one of :data:`segpipe.vision.image.FORMATS`."""
        ...

    @property
    def path(self) -> Path:
        """Where it lies in the data root, a local folder."""
        ...

    def place(self, folder: ExportFolder, name: str) -> None:
        """Put it into the export, if photos go along."""
        ...


class LabelWriter(Protocol):
    """Writes photos in one format."""

    def all_or_nothing(self) -> AbstractContextManager[None]:
        """What is added inside stays only if the inside ends without an error."""
        ...

    def add(self, photo: LabelledPhoto, file: PhotoFile) -> None:
        """Write one photo and its items."""
        ...


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format that results are exported in.

    Attributes:
        write_folder: Opens a writer into a folder; its end without an error completes it.
        write_file: The same into a single file, without photos; None when that cannot be.
        file_suffix: How the name of the single file ends.
        points_to_photos: Whether it says where photos lie that do not go along.
        has_cutouts: Whether it is made of the pictures of items.
        is_of_items: Whether it has a file for each item, so that photos have no place in it.
        contact_sheet: What the contact sheet of a deal is called in the deal's folder; "" when it
            has no place.
    """

    write_folder: Callable[[ExportFolder, WriteOptions], AbstractContextManager[LabelWriter]]
    write_file: Callable[[BinaryIO, WriteOptions], AbstractContextManager[LabelWriter]] | None = (
        None
    )
    file_suffix: str = ""
    points_to_photos: bool = False
    has_cutouts: bool = False
    is_of_items: bool = False
    contact_sheet: str = ""


@dataclass(frozen=True, slots=True)
class ImportFormat:
    """A format that boxes are taken over from.

    Attributes:
        read: The labels of each photo in a file or folder. It raises PromptError for what makes no
            sense, and OSError for what cannot be read. Its second argument is what each column of
            a line means; None for the format's own columns.
        has_columns: Whether it is a format of lines and columns.
    """

    read: Callable[[Path, tuple[str, ...] | None], Sequence[PhotoLabels]]
    has_columns: bool = False

"""What an export is asked for, and what it tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from segpipe.errors import SegpipeError
from segpipe.flow.settings import CocoMasks
from segpipe.prompt import Mode


class ExportFormat(StrEnum):
    """What the export is made for."""

    COCO = "coco"
    YOLO_SEG = "yolo-seg"
    LABELME = "labelme"


class Images(StrEnum):
    """What becomes of the photos."""

    COPY = "copy"
    LINK = "link"
    """A symbolic link to the photo in the data root."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ExportTask:
    """What to export, and where to.

    Attributes:
        format: What for.
        out: The folder to make; or for COCO the file, when its name ends in ``.json``.
        mode: Whose results.
        images: Whether the photos go along.
        masks: How COCO says which pixels are an item's.
        overwrite: Whether to put it in place of an earlier export.
    """

    format: ExportFormat
    out: Path
    mode: Mode = Mode.FIND_ALL
    images: Images = Images.NONE
    masks: CocoMasks = CocoMasks.RLE
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ExportedDeal:
    """What of a deal was exported: the generation, the version of each asset, and how much."""

    generation: int
    versions: Mapping[str, str]
    photos: int
    items: int


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export holds, deal by deal, and why other deals are not in it."""

    deals: Mapping[str, ExportedDeal]
    left_out: Mapping[str, SegpipeError]


class ExportProgress(Protocol):
    """Told as the work goes on; an implementation must not raise."""

    def deal_started(self, deal: str, photos: int) -> None:
        """A deal begins."""
        ...

    def photo_done(self, deal: str, file_name: str) -> None:
        """One of its photos is written."""
        ...

    def deal_done(self, deal: str) -> None:
        """All of them are."""
        ...

    def deal_left_out(self, deal: str, reason: SegpipeError) -> None:
        """The deal is not in the export."""
        ...

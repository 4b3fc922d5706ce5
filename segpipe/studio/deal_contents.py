"""What a deal's page shows: its photos with what became of each, its cut-outs, its report."""

from collections.abc import Sequence
from dataclasses import dataclass

from segpipe.errors import BadPhotosError, SegpipeError
from segpipe.flow.results import DealResults
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.crops_table import CROPS_FILE
from segpipe.flow.stages.report import REPORT, REPORT_FILE
from segpipe.prompt import Mode
from segpipe.store.failures import Failure
from segpipe.store.store import DealStore, Photo, Snapshot
from segpipe.store.version_info import DealSummary, ImageSummary
from segpipe.studio.pictures import photo_tag

_CROP_COLUMNS = ["detection", "file", "width", "height", "reason"]


@dataclass(frozen=True, slots=True)
class PhotoCard:
    """A photo of a deal, and what became of it in a mode.

    Attributes:
        image: Its image id.
        name: Its file name.
        tag: Of its content, for addresses of its pictures.
        found: What the current report says of it; None where it was not there yet.
        faults: What was wrong with it in the last run, which failed.
    """

    image: str
    name: str
    tag: str
    found: ImageSummary | None
    faults: Sequence[str]


@dataclass(frozen=True, slots=True)
class CropCard:
    """A cut-out; where there is none, why.

    Attributes:
        image: The image id of its photo.
        detection: The number of its detection in the photo.
        width: Pixels; None where there is no picture.
        height: Pixels.
        reason: Why there is no picture.
    """

    image: str
    detection: int
    width: int | None
    height: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class CropPage:
    """A page of cut-outs: from which one on, and where the next page begins."""

    crops: Sequence[CropCard]
    total: int
    following: int | None


@dataclass(frozen=True, slots=True)
class DealContents:
    """A deal in a mode, at one moment.

    Attributes:
        snapshot: What is current; None before the first promotion.
        report: The current report; None where there is none, or it cannot be read.
        failure: Why the last run promoted nothing; None when it did.
        photos: Its photos.
        photo_faults: What is wrong with the photos as they are now.
        deal_faults: What was wrong with the deal itself in the last run.
    """

    snapshot: Snapshot | None
    report: DealSummary | None
    failure: Failure | None
    photos: Sequence[PhotoCard]
    photo_faults: Sequence[str]
    deal_faults: Sequence[str]


def read_contents(store: DealStore, deal: str, mode: Mode) -> DealContents:
    """What a deal's page shows; what is damaged is left out, as its status says so."""
    photos, photo_faults = _photos(store, deal)
    try:
        snapshot, failure = store.current(deal, mode), store.last_failure(deal, mode)
        report = read_report(snapshot)
    except SegpipeError:
        snapshot, failure, report = None, None, None
    found = {image.image: image for image in report.images} if report else {}
    faults: dict[str | None, list[str]] = {}
    for item in failure.errors if failure else ():
        faults.setdefault(item.image, []).append(item.message)
    cards = [
        PhotoCard(
            image=photo.image,
            name=photo.name,
            tag=photo_tag(photo),
            found=found.get(photo.image),
            faults=faults.pop(photo.name, []) + faults.pop(photo.image, []),
        )
        for photo in photos
    ]
    others = [f"{image}: {said}" if image else said for image in faults for said in faults[image]]
    return DealContents(snapshot, report, failure, cards, photo_faults, others)


def read_crops_page(snapshot: Snapshot, *, start: int, size: int) -> CropPage:
    """The cut-outs of a generation from one on, photo by photo.

    Raises:
        NotPromotedError: There are none.
        CorruptVersionError: The table is damaged.
    """
    shown: list[CropCard] = []
    before = 0
    with DealResults(snapshot.deal, snapshot, [CROPS]) as results:
        for image in results.images():
            rows = results.rows(CROPS, CROPS_FILE, image)
            first, last = max(start - before, 0), max(start + size - before, 0)
            before += rows.num_rows
            chosen = rows.slice(first, max(last - first, 0)) if first < rows.num_rows else rows[:0]
            shown += [
                CropCard(image, row["detection"], row["width"], row["height"], row["reason"])
                for row in chosen.select(_CROP_COLUMNS).to_pylist()
            ]
    end = start + size
    return CropPage(shown, before, end if end < before else None)


def _photos(store: DealStore, deal: str) -> tuple[Sequence[Photo], Sequence[str]]:
    try:
        return store.photos(deal), ()
    except BadPhotosError as error:
        return (), [str(each.message) for each in error.errors]
    except SegpipeError as error:
        return (), [error.message]


def read_report(snapshot: Snapshot | None) -> DealSummary | None:
    """What the report of a generation says; None where there is none."""
    if snapshot is None or not snapshot.has(REPORT.name):
        return None
    return DealSummary.model_validate_json(snapshot.read(REPORT.name, REPORT_FILE))

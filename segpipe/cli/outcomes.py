"""What commands tell of what they did, in the form that ``--json`` prints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Added:
    """``segpipe add``."""

    deal: str
    new: tuple[str, ...]
    same: tuple[str, ...]
    skipped: tuple[str, ...]
    photos: int


@dataclass(frozen=True, slots=True)
class DealRun:
    """What a run made of a deal; ``outcome`` is done, skipped, failed or not done."""

    deal: str
    outcome: str
    reason: str | None
    images: int | None
    detections: int | None
    survivors: int | None
    crops: int | None
    seconds: float | None
    crops_folder: str | None
    contact_sheet: str | None
    photos_without_items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """``segpipe run``."""

    mode: str
    deals: tuple[DealRun, ...]
    run_ids: tuple[str, ...]
    errors: tuple[str, ...]
    is_interrupted: bool


@dataclass(frozen=True, slots=True)
class SampleDeals:
    """``segpipe samples``."""

    deals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """``segpipe import-prompts``; ``unknown`` are labels that the deal has no photo for."""

    deal: str
    boxes: int
    photos: int
    new: int
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DealExport:
    """A deal in an export; ``converted`` are the photos that went along as JPEG."""

    deal: str
    photos: int
    items: int
    converted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A deal that is not in an export, and why."""

    deal: str
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Exported:
    """``segpipe export``."""

    out: str
    format: str
    mode: str
    deals: tuple[DealExport, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class Erased:
    """``segpipe erase``: the new picture, its mask when it was kept, and how much went."""

    picture: str
    mask: str | None
    erased_px: int


@dataclass(frozen=True, slots=True)
class Removed:
    """``segpipe remove``."""

    deal: str
    files: int
    is_partition_removed: bool
    runs_removed: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A part of the installation: ``state`` is ok, note or fault; ``advice`` says what to do."""

    part: str
    state: str
    what: str
    advice: str | None


@dataclass(frozen=True, slots=True)
class Diagnoses:
    """``segpipe doctor``."""

    version: str
    root: str
    parts: tuple[Diagnosis, ...]

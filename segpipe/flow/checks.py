"""What is checked about a deal after promotion, from the promoted files alone."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from segpipe.errors import SegpipeError
from segpipe.flow.crops import CROPS_FILE
from segpipe.flow.dedup import DEDUP_FILE
from segpipe.flow.prompts import prompt_from_row
from segpipe.flow.refinement import REFINEMENT_FILE
from segpipe.flow.segmentation import DETECTIONS_FILE, IMAGES_FILE
from segpipe.flow.settings import CheckSettings
from segpipe.flow.stages import Stage
from segpipe.flow.table_files import open_table
from segpipe.store.store import Snapshot

_CHUNK_BYTES = 1 << 20
_MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: whether it passed, what to tell people, and its numbers."""

    passed: bool
    text: str
    numbers: Mapping[str, int | float]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one asset.

    Attributes:
        name: Its name, unique for its stage.
        stage: The asset that it is about.
        description: What it promises.
        is_warning: Whether failing is worth a look rather than an error.
        find: Does it; never raises for what it is meant to find.
    """

    name: str
    stage: Stage
    description: str
    is_warning: bool
    find: Callable[[Snapshot, CheckSettings], Finding]


def _verify_manifest(stage: Stage) -> Callable[[Snapshot, CheckSettings], Finding]:
    def find(snapshot: Snapshot, _: CheckSettings) -> Finding:
        files = size = 0
        try:
            for entry in snapshot.files(stage):
                digest = hashlib.sha256()
                with snapshot.open(stage, entry.path) as stream:
                    while chunk := stream.read(_CHUNK_BYTES):
                        digest.update(chunk)
                if digest.hexdigest() != entry.sha256:
                    return Finding(False, f"{entry.path} is not what was written", {"files": files})
                files, size = files + 1, size + entry.size
        except SegpipeError as error:
            return Finding(False, str(error), {"files": files})
        return Finding(True, f"{files} files are what was written", {"files": files, "bytes": size})

    return find


def _masks_inside(snapshot: Snapshot, _: CheckSettings) -> Finding:
    sizes: dict[str, tuple[int, int]] = {}
    for table in _tables(snapshot, Stage.SEGMENTATION, IMAGES_FILE):
        for row in table.select(["image", "width", "height"]).to_pylist():
            sizes[row["image"]] = (row["width"], row["height"])
    masks, outside = 0, []
    for table in _tables(snapshot, Stage.SEGMENTATION, DETECTIONS_FILE):
        for row in table.select(["image", "detection", "mask"]).to_pylist():
            if (mask := row["mask"]) is None:
                continue
            masks += 1
            width, height = sizes[row["image"]]
            inside_x = mask["x"] >= 0 and mask["x"] + mask["w"] <= width
            inside_y = mask["y"] >= 0 and mask["y"] + mask["h"] <= height
            if not (inside_x and inside_y):
                outside.append(f"{row['image']} {row['detection']}")
    if outside:
        return Finding(False, _named("outside their image", outside), {"masks": masks})
    return Finding(True, f"{masks} masks lie inside their images", {"masks": masks})


def _has_detections(snapshot: Snapshot, _: CheckSettings) -> Finding:
    found: dict[str, int] = {}
    for table in _tables(snapshot, Stage.SEGMENTATION, IMAGES_FILE):
        for row in table.select(["image", "prompt"]).to_pylist():
            if prompt_from_row(row["prompt"]):
                found[row["image"]] = 0
    for table in _tables(snapshot, Stage.SEGMENTATION, DETECTIONS_FILE):
        for row in table.select(["image", "reason"]).to_pylist():
            found[row["image"]] += row["reason"] is None
    empty = [image for image, count in found.items() if not count]
    numbers = {"detections": sum(found.values()), "images_without": len(empty)}
    if empty:
        return Finding(False, _named("nothing was found in", empty), numbers)
    return Finding(True, "something was found in every photo that was asked about", numbers)


def _few_rejected(snapshot: Snapshot, settings: CheckSettings) -> Finding:
    detections = kept = 0
    for table in _tables(snapshot, Stage.DEDUP, DEDUP_FILE):
        detections += table.num_rows
        kept += sum(table["kept"].to_pylist())
    percent = 100 * (detections - kept) / detections if detections else 0.0
    return Finding(
        passed=percent <= settings.max_rejected_percent,
        text=f"{detections - kept} of {detections} detections were rejected ({percent:.0f} %, "
        f"the limit is {settings.max_rejected_percent:g} %)",
        numbers={"rejected": detections - kept, "percent": percent},
    )


def _survivors_have_crops(snapshot: Snapshot, _: CheckSettings) -> Finding:
    files = {entry.path for entry in snapshot.files(Stage.CROPS)}
    crops: dict[tuple[str, int], bool] = {}
    for table in _tables(snapshot, Stage.CROPS, CROPS_FILE):
        for row in table.to_pylist():
            explained = row["file"] in files if row["file"] else bool(row["reason"])
            crops[row["image"], row["detection"]] = explained
    missing, survivors = [], 0
    for table in _tables(snapshot, Stage.REFINEMENT, REFINEMENT_FILE):
        for row in table.select(["image", "detection"]).to_pylist():
            survivors += 1
            if not crops.get((row["image"], row["detection"]), False):
                missing.append(f"{row['image']} {row['detection']}")
    numbers = {"survivors": survivors, "crops": len(crops), "missing": len(missing)}
    if missing:
        return Finding(False, _named("no crop and no reason for", missing), numbers)
    return Finding(True, f"{survivors} survivors have a crop or a logged reason", numbers)


CHECKS: tuple[Check, ...] = (
    *(
        Check(
            name="manifest_verifies",
            stage=stage,
            description="Every file has the size and sha256 that its manifest names.",
            is_warning=False,
            find=_verify_manifest(stage),
        )
        for stage in Stage
    ),
    Check(
        name="masks_inside_image",
        stage=Stage.SEGMENTATION,
        description="Every mask lies inside its photo.",
        is_warning=False,
        find=_masks_inside,
    ),
    Check(
        name="has_detections",
        stage=Stage.SEGMENTATION,
        description="Something was found in every photo that was asked about.",
        is_warning=True,
        find=_has_detections,
    ),
    Check(
        name="few_rejected",
        stage=Stage.DEDUP,
        description="Dedup rejected no more than the percentage in the settings.",
        is_warning=True,
        find=_few_rejected,
    ),
    Check(
        name="survivors_have_crops",
        stage=Stage.CROPS,
        description="Every survivor has a crop, or a reason why it has none.",
        is_warning=False,
        find=_survivors_have_crops,
    ),
)
"""Every check, by asset in the order of the stages."""


def _tables(snapshot: Snapshot, stage: Stage, name: str) -> Iterator[pa.Table]:
    """The rows of each photo in turn."""
    with open_table(snapshot, stage, name) as reader:
        for image in reader.images():
            yield reader.read(image)


def _named(what: str, items: list[str]) -> str:
    more = f" and {len(items) - _MAX_NAMED} more" if len(items) > _MAX_NAMED else ""
    return f"{what}: {', '.join(items[:_MAX_NAMED])}{more}"

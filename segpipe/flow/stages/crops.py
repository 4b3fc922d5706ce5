"""Crops: the cut-out of every survivor."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import pyarrow as pa
from typing_extensions import override

from segpipe.flow.checks import Check, CheckSettings, Finding, some_of
from segpipe.flow.photo import PhotoInfo
from segpipe.flow.stages.crop_files import CROPS_ARCHIVE, CropsOutput
from segpipe.flow.stages.crop_settings import CropSettings
from segpipe.flow.stages.crops_table import (
    CROPS_FILE,
    CROPS_SCHEMA,
    CROPS_TEXTS,
    LATER_COLUMNS,
    crops_from_table,
    crops_table,
)
from segpipe.flow.stages.cutting import CroppedImage, ItemCrop, crop_image, crop_names
from segpipe.flow.stages.dedup import DEDUP
from segpipe.flow.stages.refinement import REFINEMENT, REFINEMENT_FILE
from segpipe.flow.stages.review import REVIEW, REVIEW_FILE
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage import (
    PhotoResults,
    PhotoWork,
    Stage,
    StageOutput,
    each_photo,
)
from segpipe.progress import Counts
from segpipe.store.snapshot import Snapshot
from segpipe.store.staging import Staging
from segpipe.threads import finish_in_thread


def _survivors_have_crops(snapshot: Snapshot, _: CheckSettings) -> Finding:
    sizes = {entry.path: entry.size for entry in snapshot.files(CROPS.name)}
    crops: dict[tuple[str, int], bool] = {}
    for table in each_photo(snapshot, CROPS, CROPS_FILE):
        images = table["image"].to_pylist()
        for image, crop in zip(images, crops_from_table(table), strict=True):
            is_explained = _is_there(crop, sizes) if crop.file else bool(crop.reason)
            crops[image, crop.detection] = is_explained
    missing, survivors = [], 0
    for image, detection in _survivors(snapshot):
        survivors += 1
        if not crops.get((image, detection), False):
            missing.append(f"{image} {detection}")
    numbers = {"survivors": survivors, "crops": len(crops), "missing": len(missing)}
    if missing:
        return Finding(False, some_of("no crop and no reason for", missing), numbers)
    return Finding(True, f"{survivors} survivors have a crop or a logged reason", numbers)


def _survivors(snapshot: Snapshot) -> Iterator[tuple[str, int]]:
    """The photo and number of each item that goes on."""
    if not snapshot.has(REVIEW.name):
        for table in each_photo(snapshot, REFINEMENT, REFINEMENT_FILE):
            yield from zip(
                *(table[name].to_pylist() for name in ("image", "detection")), strict=True
            )
        return
    for table in each_photo(snapshot, REVIEW, REVIEW_FILE):
        for row in table.select(["image", "detection", "kept"]).to_pylist():
            if row["kept"]:
                yield row["image"], row["detection"]


def _is_there(crop: ItemCrop, sizes: Mapping[str, int]) -> bool:
    """Whether its picture is among the files of these sizes."""
    if crop.member:
        return crop.member.offset + crop.member.length <= sizes.get(CROPS_ARCHIVE, 0)
    return crop.file in sizes


class Crops(Stage[CroppedImage, CropSettings]):
    """Cuts the survivors out."""

    name = "crops"
    description = (
        "The picture of each item, cut out of its photo (PNG with a see-through background, or "
        "JPEG), and a table of them. This is what the next stage reads."
    )
    code_version = "2"
    upstream = (SEGMENTATION, DEDUP, REFINEMENT, REVIEW)
    settings = CropSettings
    settings_name = "crops"
    tables: ClassVar = {CROPS_FILE: CROPS_SCHEMA}
    columns: ClassVar = CROPS_TEXTS
    later_columns = LATER_COLUMNS
    counts = ("crops", "failed_crops")
    checks = (
        Check(
            name="survivors_have_crops",
            description="Every survivor has a crop, or a reason why it has none.",
            is_warning=False,
            find=_survivors_have_crops,
        ),
    )

    @override
    async def make(self, work: PhotoWork, settings: CropSettings) -> CroppedImage:
        reviewed = work.results.of(REVIEW)
        image = work.loaded.info.image
        names = crop_names(work.deal, image, reviewed, settings)
        return await finish_in_thread(crop_image, image, work.rgb, reviewed, settings, names)

    @override
    def rows(self, photo: PhotoInfo, result: CroppedImage) -> dict[str, pa.Table]:
        return {CROPS_FILE: crops_table(photo.image, result)}

    @override
    def read(self, photo: PhotoResults) -> CroppedImage:
        return CroppedImage(crops_from_table(photo.rows(self, CROPS_FILE)))

    @override
    def count(self, result: CroppedImage) -> Counts:
        written = sum(crop.file is not None for crop in result.crops)
        return Counts(crops=written, failed_crops=len(result.crops) - written)

    @override
    def output(self, staging: Staging, settings: CropSettings) -> StageOutput:
        return CropsOutput(self, staging, settings)


CROPS = Crops()

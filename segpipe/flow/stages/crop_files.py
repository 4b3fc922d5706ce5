"""Where the pictures of crops are: each a file of its own, or all of a deal in one tar.

The tar is a data set for WebDataset (https://github.com/webdataset/webdataset): a sample for each
item, ``<image>/<detection>.png`` and beside it ``.json`` with its box, score, label and deal, and
``.mask.png`` where masks are wanted.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pyarrow as pa
from typing_extensions import override

from segpipe.errors import VersionNotFoundError
from segpipe.flow.stages.crop_settings import CropSettings, CropsLayout
from segpipe.flow.stages.crops_table import (
    CROPS_FILE,
    CROPS_SCHEMA,
    LATER_COLUMNS,
    crops_from_table,
)
from segpipe.flow.stages.cutting import CroppedImage, ItemCrop
from segpipe.flow.stages.review import REVIEW
from segpipe.flow.stages.reviewed_items import ReviewedItem
from segpipe.flow.stages.stage import PhotoResults, Stage, StageOutput, open_table
from segpipe.store.archives import ArchiveWriter
from segpipe.store.snapshot import Snapshot
from segpipe.store.staging import Staging

CROPS_ARCHIVE = "crops.tar"
CROPS_FOLDER = "crops"

_to_json = json.JSONEncoder(ensure_ascii=False).encode


def packs_crops(settings: CropSettings, staging: Staging) -> bool:
    """Whether the crops of a version become one tar."""
    if settings.layout is None:
        return staging.prefers_few_files
    return settings.layout is CropsLayout.TAR


class CropsOutput(StageOutput):
    """Writes the table of crops and their pictures.

    Args:
        stage: The stage.
        staging: Where the version is staged.
        settings: How crops are kept.
    """

    def __init__(
        self, stage: Stage[CroppedImage, CropSettings], staging: Staging, settings: CropSettings
    ) -> None:
        super().__init__(stage, staging)
        self._packs = packs_crops(settings, staging)
        self._archive: ArchiveWriter | None = None

    @override
    def schemas(self) -> Mapping[str, pa.Schema]:
        """Where each crop is a file, the table is that of release 0.1."""
        if self._packs:
            return super().schemas()
        columns = [field for field in CROPS_SCHEMA if field.name not in LATER_COLUMNS]
        return {CROPS_FILE: pa.schema(columns)}

    @override
    def open_files(self, opened: ExitStack) -> None:
        super().open_files(opened)
        if self._packs:
            archive = ArchiveWriter(self.staging, self.stage.name, CROPS_ARCHIVE)
            self._archive = opened.enter_context(archive)

    @override
    def add(self, results: PhotoResults) -> None:
        cropped: CroppedImage = results.of(self.stage)
        if self._archive:
            results.put(self.stage, _packed(self._archive, self.staging.deal, results, cropped))
        else:
            for crop in cropped.crops:
                if crop.file:
                    self.staging.write(self.stage.name, crop.file, crop.data)
                if crop.mask_file:
                    self.staging.write(self.stage.name, crop.mask_file, crop.mask)
        super().add(results)


def _packed(
    archive: ArchiveWriter, deal: str, results: PhotoResults, cropped: CroppedImage
) -> CroppedImage:
    """Put the pictures of a photo into the archive; the crops that know where they are."""
    items = {item.detection: item for item in results.of(REVIEW).kept}
    image, crops = results.photo.image, []
    for crop in cropped.crops:
        if crop.file:
            name = f"{image}/{crop.detection:04d}"
            member = archive.add(f"{name}.{crop.format}", crop.data)
            item = items[crop.detection]
            archive.add(f"{name}.json", _to_json(_about(deal, image, item)).encode())
            if crop.mask:
                archive.add(f"{name}.mask.png", crop.mask)
            file = f"{CROPS_FOLDER}/{name}.{crop.format}"
            crop = replace(crop, file=file, member=member)  # noqa: PLW2901 - the same crop
        crops.append(crop)
    return CroppedImage(tuple(crops))


def _about(deal: str, image: str, item: ReviewedItem) -> dict[str, Any]:
    """What stands beside the picture of an item."""
    return {
        "deal": deal,
        "image": image,
        "detection": item.detection,
        "box": [float(edge) for edge in item.box],
        "score": item.score,
        "label": item.label,
    }


def read_crop(snapshot: Snapshot, asset: str, crop: ItemCrop) -> bytes:
    """The picture of a crop, whichever layout it is kept in; of a tar only its part is read.

    Args:
        snapshot: The generation that is read.
        asset: The asset that the crop is of.
        crop: The crop, from the table of that generation.

    Raises:
        VersionNotFoundError: It failed, so there is no picture; or a sweep removed it.
        CorruptVersionError: The picture is not what was promoted.
    """
    if crop.file is None:
        raise VersionNotFoundError(
            f"detection {crop.detection} has no crop: {crop.reason}", deal=snapshot.deal
        )
    if crop.member:
        return snapshot.read_member(asset, CROPS_ARCHIVE, crop.member)
    return snapshot.read(asset, crop.file)


def packed_crops(snapshot: Snapshot, stage: Stage[CroppedImage, Any]) -> Mapping[str, ItemCrop]:
    """The crops that are members of the tar, by their names; none where each is a file."""
    if all(entry.path != CROPS_ARCHIVE for entry in snapshot.files(stage.name)):
        return {}
    with open_table(snapshot, stage, CROPS_FILE) as table:
        crops = (crop for image in table.images() for crop in crops_from_table(table.read(image)))
        return {crop.file: crop for crop in crops if crop.file and crop.member}


def crops_place(snapshot: Snapshot, asset: str) -> str:
    """The path or URL of the pictures of a deal: a folder, or the tar; the stable one if it is."""
    is_packed = any(entry.path == CROPS_ARCHIVE for entry in snapshot.files(asset))
    return f"{snapshot.stable_folder(asset)}/{CROPS_ARCHIVE if is_packed else CROPS_FOLDER}"

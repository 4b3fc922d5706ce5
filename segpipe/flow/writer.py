"""Writes what a run makes of a deal, photo by photo, into the versions that it stages."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

import pyarrow as pa

from segpipe.detection import Usage
from segpipe.flow.coco import COCO_FILE
from segpipe.flow.crops import CROPS_FILE, crops_table
from segpipe.flow.deal_inputs import photos_version
from segpipe.flow.dedup import DEDUP_FILE, dedup_table
from segpipe.flow.refinement import REFINEMENT_FILE, refinement_table
from segpipe.flow.report import (
    REPORT_FILE,
    SHEET_FILE,
    SHEET_MAX_TILES,
    draw_contact_sheet,
    same_bytes_warnings,
    sum_passes,
)
from segpipe.flow.result import ImageResult
from segpipe.flow.segmentation import (
    DETECTIONS_FILE,
    IMAGES_FILE,
    detections_table,
    images_table,
)
from segpipe.flow.stages import DEAL_PHOTOS, DEAL_PROMPTS, UPSTREAM, Stage, in_order
from segpipe.flow.table_files import TABLES
from segpipe.flow.tools import Tools
from segpipe.formats.coco import CocoWriter
from segpipe.progress import Counts
from segpipe.prompt import Mode
from segpipe.store.inputs import Photo, fingerprint
from segpipe.store.store import Staging, Version
from segpipe.store.tables import TableWriter
from segpipe.store.version_info import (
    DealSummary,
    ImageSummary,
    PassSummary,
    UsageSummary,
    VersionInfo,
)
from segpipe.vision.encode import encode_jpeg

_SHEET_JPEG_QUALITY = 88


@dataclass(frozen=True, slots=True, eq=False)
class SealedDeal:
    """What was staged: a version for each stage that was made, the summary and the sheet."""

    versions: dict[Stage, Version]
    summary: DealSummary
    sheet: bytes


class DealWriter:
    """Writes the results of a deal's photos as they come; a context manager, ended by ``seal``.

    Args:
        staging: Where the versions are staged.
        stages: The stages that are made.
        tools: What the run works with, for the lineage.
        upstream: The name of the version of each stage that is read.
        producers: The segmenter or refiner that made each of them.
        prompts_version: The data version of the prompts, when segmentation is made.
    """

    def __init__(
        self,
        staging: Staging,
        stages: Iterable[Stage],
        tools: Tools,
        upstream: Mapping[Stage, str],
        producers: Mapping[Stage, str],
        *,
        prompts_version: str,
    ) -> None:
        self._staging = staging
        self._stages = in_order(stages)
        self._tools = tools
        self._upstream = upstream
        self._producers = producers
        self._prompts_version = prompts_version
        self._open = contextlib.ExitStack()
        self._writers: dict[str, TableWriter] = {}
        self._coco: CocoWriter | None = None
        self._images: list[ImageSummary] = []
        self._passes: list[PassSummary] = []
        self._usage = Usage()
        self._tiles: list[tuple[bytes, str]] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:  # closes those before it when one cannot be opened
            for stage in self._stages:
                for name, schema in TABLES[stage].items():
                    writer = TableWriter(self._staging, stage, name, schema)
                    self._writers[name] = opened.enter_context(writer)
            if Stage.COCO in self._stages:
                file = opened.enter_context(self._staging.open(Stage.COCO, COCO_FILE))
                self._coco = opened.enter_context(CocoWriter(file))
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, result: ImageResult) -> None:
        """Write one photo's rows and files."""
        for name, table in _tables_of(result).items():
            if name in self._writers:
                self._writers[name].write(result.segmented.image, table)
        if Stage.CROPS in self._stages and result.cropped:
            for crop in result.cropped.crops:
                if crop.file:
                    self._staging.write(Stage.CROPS, crop.file, crop.data)
        if self._coco and result.coco:
            self._coco.add(result.coco)
        if Stage.DEAL_REPORT in self._stages:
            name = f"previews/{result.preview.image}.jpg"
            self._staging.write(Stage.DEAL_REPORT, name, result.preview.preview)
        self._images.append(result.summary())
        self._passes = sum_passes(self._passes, result.segmented)
        if Stage.SEGMENTATION in self._stages:
            self._usage += result.segmented.result.usage
        if len(self._tiles) < SHEET_MAX_TILES:  # a deal may have 100,000 photos
            self._tiles.append((result.preview.tile, result.preview.caption))

    def seal(
        self, deal: str, mode: Mode, photos: Sequence[Photo], seconds: Mapping[str, float]
    ) -> SealedDeal:
        """Write the report and every manifest, and give the versions."""
        self._open.close()
        summary = DealSummary(
            deal=deal,
            mode=mode,
            counts=sum((image.counts for image in self._images), Counts()),
            photos_version=photos_version(
                {image.file_name: image.digest for image in self._images}
            ),
            segmenter=self._producers.get(Stage.SEGMENTATION, self._tools.segmenter.id),
            refiner=self._producers.get(Stage.REFINEMENT, self._tools.refiner.id),
            pass_stats=tuple(self._passes),
            usage=UsageSummary(**asdict(self._usage)),
            seconds=dict(seconds),
            warnings=tuple(self._warnings()),
            images=tuple(self._images),
        )
        sheet = encode_jpeg(
            draw_contact_sheet(
                deal, self._tiles, len(self._images), self._tools.settings.stages.report
            ),
            quality=_SHEET_JPEG_QUALITY,
        )
        if Stage.DEAL_REPORT in self._stages:
            self._staging.write(Stage.DEAL_REPORT, SHEET_FILE, sheet)
            report = summary.model_dump_json(indent=2).encode()
            self._staging.write(Stage.DEAL_REPORT, REPORT_FILE, report)
        versions = {
            stage: self._seal_stage(stage, summary, fingerprint(photos)) for stage in self._stages
        }
        return SealedDeal(versions, summary, sheet)

    def _warnings(self) -> list[str]:
        own = [f"{image.file_name}: {text}" for image in self._images for text in image.warnings]
        return own + same_bytes_warnings(self._images)

    def _seal_stage(self, stage: Stage, summary: DealSummary, photos_fingerprint: str) -> Version:
        made_from = {DEAL_PHOTOS: summary.photos_version}
        if stage is Stage.SEGMENTATION:
            made_from[DEAL_PROMPTS] = self._prompts_version
        for above in UPSTREAM[stage]:
            made_from[above] = self._upstream.get(above, self._staging.version_name)
        identity = self._tools.identity(stage)
        return self._staging.seal(
            stage,
            made_from=made_from,
            info=VersionInfo(
                identity=identity.digest,
                code_version=identity.code_version,
                producer=identity.producer,
                settings=identity.settings,
                photos_fingerprint=photos_fingerprint,
                # The photos are listed in the report; here they would be in every manifest.
                summary=summary.model_copy(update={"images": ()}),
            ),
        )


def _tables_of(result: ImageResult) -> dict[str, pa.Table]:
    """The rows of one photo, by file."""
    tables = {
        IMAGES_FILE: images_table(result.segmented),
        DETECTIONS_FILE: detections_table(result.segmented),
    }
    if result.deduped:
        tables[DEDUP_FILE] = dedup_table(result.deduped)
    if result.refined:
        tables[REFINEMENT_FILE] = refinement_table(result.refined)
    if result.cropped:
        tables[CROPS_FILE] = crops_table(result.cropped)
    return tables

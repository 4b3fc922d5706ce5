"""One deal from its photos to its promoted versions: the road through every stage."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass

from segpipe.errors import BadPhotosError, DealFailedError, PhotosChangedError, SegpipeError
from segpipe.flow.coco import labelled_photo
from segpipe.flow.crops import CroppedImage, crop_image
from segpipe.flow.dedup import DedupedImage, dedup_image
from segpipe.flow.ordered import map_in_order
from segpipe.flow.photo import LoadedPhoto, load_photo
from segpipe.flow.prompts import ModePrompts, read_prompts
from segpipe.flow.refinement import RefinedImage, refine_image
from segpipe.flow.report import ImagePreview, preview_image
from segpipe.flow.result import ImageResult
from segpipe.flow.segmentation import SegmentedImage, segment_photo
from segpipe.flow.stages import ALL_STAGES, Stage
from segpipe.flow.stopwatch import Stopwatch
from segpipe.flow.tools import Tools
from segpipe.flow.upstream import Upstream
from segpipe.flow.writer import DealWriter
from segpipe.formats.coco import CocoPhoto, coco_photo
from segpipe.progress import DealDone, DealFailed, DealStarted, PhotoDone, Tell, tell_nobody
from segpipe.prompt import Mode
from segpipe.segmenters.segmenter import call_context
from segpipe.store.inputs import Photo
from segpipe.store.store import DealStore, Promotion, Version
from segpipe.store.version_info import DealSummary
from segpipe.vision.image import RgbImage


@dataclass(frozen=True, slots=True)
class DealTask:
    """What to do: which stages of which deal, for which run.

    Attributes:
        deal: The deal.
        run_id: The run that the versions will be named after.
        attempt: The attempt of that run, from 0.
        mode: How prompts are answered.
        stages: The stages to make anew; the others are read from the current versions.
        skip_up_to_date: Whether to leave out those of them that are up to date.
        keep_other_settings: Whether those that were made with other settings count as up to date.
    """

    deal: str
    run_id: str
    attempt: int = 0
    mode: Mode = Mode.FIND_ALL
    stages: frozenset[Stage] = ALL_STAGES
    skip_up_to_date: bool = False
    keep_other_settings: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class DealOutcome:
    """What a run made of a deal.

    Attributes:
        task: What was asked for.
        promotion: The commit that made the versions current, and whom it overtook.
        versions: The version of each stage that was made.
        summary: Counts, warnings and seconds.
        sheet: The contact sheet, JPEG; smaller pictures for metadata are made from it. Empty
            when what an earlier attempt promoted has none.
    """

    task: DealTask
    promotion: Promotion
    versions: dict[Stage, Version]
    summary: DealSummary
    sheet: bytes


async def process_deal(
    store: DealStore, task: DealTask, tools: Tools, tell: Tell = tell_nobody
) -> DealOutcome:
    """Put the photos of a deal through the stages and promote what they made, all together.

    Photos are streamed: as many are in memory as settings allow in flight.

    Raises:
        DealFailedError: Something is wrong with the deal; it has every reason that was found.
            Nothing was promoted, and what was current still is.
    """
    try:
        photos = store.photos(task.deal)
        tell(DealStarted(task.deal, len(photos)))
        asks = Stage.SEGMENTATION in task.stages
        prompts = read_prompts(store, task.deal, task.mode, photos) if asks else None
        snapshot = store.current(task.deal, task.mode)
        with (
            closing(Upstream(task.deal, snapshot, task.stages)) as upstream,
            store.stage(task.deal, task.mode, run_id=task.run_id, attempt=task.attempt) as staging,
            DealWriter(
                staging,
                task.stages,
                tools,
                upstream.versions(),
                upstream.producers(),
                prompts_version=prompts.version if prompts else "",
            ) as writer,
        ):
            upstream.require_same_images(photo.image for photo in photos)
            stopwatch = Stopwatch()
            road = _Road(store, task, tools, upstream, prompts, stopwatch)
            async with aclosing(
                map_in_order(road.travel, photos, limit=tools.images_in_flight)
            ) as results:
                async for result in results:
                    if result is None:
                        continue
                    with stopwatch.time("write"):
                        writer.add(result)
                    tell(PhotoDone(task.deal, result.file_name, result.counts))
            road.raise_errors()
            with stopwatch.time("write"):
                sealed = writer.seal(task.deal, task.mode, photos, stopwatch.seconds)
            _require_unchanged(store, task.deal, photos)
            promotion = staging.promote()
    except Exception as error:
        failure = _as_failure(task.deal, error)
        tell(DealFailed(task.deal, failure.message))
        raise failure from error
    tell(DealDone(task.deal, sealed.summary.counts))
    return DealOutcome(task, promotion, sealed.versions, sealed.summary, sealed.sheet)


class _Road:
    """Takes one photo through the stages; collects what went wrong instead of raising it."""

    def __init__(
        self,
        store: DealStore,
        task: DealTask,
        tools: Tools,
        upstream: Upstream,
        prompts: ModePrompts | None,
        stopwatch: Stopwatch,
    ) -> None:
        self.errors: dict[str, Exception] = {}
        self._store = store
        self._task = task
        self._tools = tools
        self._upstream = upstream
        self._prompts = prompts
        self._stopwatch = stopwatch

    async def travel(self, photo: Photo) -> ImageResult | None:
        """The result of one photo; None when the deal has failed, and then it is only read.

        Reading on is cheap and names every bad photo at once; segmenting on might be paid for.
        """
        try:
            with self._stopwatch.time("decode"):
                loaded = await load_photo(
                    self._store, self._task.deal, photo, self._tools.settings.stages.photos
                )
            return None if self.errors else await self._through_stages(loaded)
        except SegpipeError as error:
            self.errors[photo.name] = error.at(deal=self._task.deal, image=photo.name)
        except Exception as error:  # noqa: BLE001 - reported with the deal's other errors
            error.add_note(f"deal {self._task.deal!r}, image {photo.name!r}")
            self.errors[photo.name] = error
        return None

    def raise_errors(self) -> None:
        """Raise DealFailedError when any photo failed."""
        if self.errors:
            ordered = [self.errors[name] for name in sorted(self.errors)]
            raise DealFailedError(self._task.deal, ordered) from ordered[0]

    async def _through_stages(self, loaded: LoadedPhoto) -> ImageResult:
        stages, tools, clock = self._task.stages, self._tools, self._stopwatch
        rgb, image = loaded.decoded.rgb, loaded.photo.image

        # Everything the segmenter finds.
        with clock.time(Stage.SEGMENTATION):
            if self._prompts:
                asked = self._prompts.ask(
                    image,
                    width=rgb.shape[1],
                    height=rgb.shape[0],
                    settings=tools.settings.stages.prompts,
                    default_texts=tools.segmenter.default_texts,
                )
                with call_context(self._task.run_id, self._task.deal, loaded.photo.name):
                    segmented = await segment_photo(loaded, tools.segmenter, asked)
            else:
                segmented = self._upstream.segmented(loaded)

        # One detection for each item.
        deduped: DedupedImage | None = None
        with clock.time(Stage.DEDUP):
            if Stage.DEDUP in stages:
                deduped = await asyncio.to_thread(
                    dedup_image, segmented, tools.settings.stages.dedup
                )
            elif self._upstream.needs(Stage.DEDUP):
                deduped = self._upstream.deduped(image)

        # Sharper masks for the survivors.
        refined: RefinedImage | None = None
        with clock.time(Stage.REFINEMENT):
            if Stage.REFINEMENT in stages and deduped:
                refined = await refine_image(rgb, segmented, deduped, tools.refiner)
            elif self._upstream.needs(Stage.REFINEMENT):
                refined = self._upstream.refined(segmented)

        # Their cut-outs and their COCO records, and at the same time a picture of it all.
        cropped, coco, preview = await asyncio.gather(
            self._crops(rgb, segmented, refined),
            self._coco(segmented, refined),
            self._preview(rgb, segmented, deduped, refined),
        )
        return ImageResult(segmented, deduped, refined, cropped, coco, preview)

    async def _crops(
        self, rgb: RgbImage, segmented: SegmentedImage, refined: RefinedImage | None
    ) -> CroppedImage | None:
        with self._stopwatch.time(Stage.CROPS):
            if Stage.CROPS in self._task.stages and refined:
                settings, missing = self._tools.settings.stages.crops, segmented.missing
                return await asyncio.to_thread(crop_image, rgb, refined, settings, missing)
            needed = self._upstream.needs(Stage.CROPS)
            return self._upstream.cropped(segmented.image) if needed else None

    async def _coco(
        self, segmented: SegmentedImage, refined: RefinedImage | None
    ) -> CocoPhoto | None:
        if Stage.COCO not in self._task.stages or refined is None:
            return None
        with self._stopwatch.time(Stage.COCO):
            masks = self._tools.settings.stages.coco.masks

            def make() -> CocoPhoto:
                return coco_photo(labelled_photo(self._task.deal, segmented, refined), masks)

            return await asyncio.to_thread(make)

    async def _preview(
        self,
        rgb: RgbImage,
        segmented: SegmentedImage,
        deduped: DedupedImage | None,
        refined: RefinedImage | None,
    ) -> ImagePreview:
        report = self._tools.settings.stages.report
        in_report = Stage.DEAL_REPORT in self._task.stages
        with self._stopwatch.time(Stage.DEAL_REPORT):
            return await asyncio.to_thread(
                preview_image,
                rgb,
                segmented,
                deduped,
                refined,
                side_px=report.preview_side_px if in_report else report.tile_px,
                tile_px=report.tile_px,
            )


def _require_unchanged(store: DealStore, deal: str, photos: Sequence[Photo]) -> None:
    if store.photos(deal) != tuple(photos):
        raise PhotosChangedError(
            "photos were added, removed or changed while the run read them: run the deal again",
            deal=deal,
        )


def _as_failure(deal: str, error: Exception) -> DealFailedError:
    if isinstance(error, DealFailedError):
        return error
    if isinstance(error, SegpipeError):
        error.at(deal=deal)
    if isinstance(error, BadPhotosError):
        return DealFailedError(deal, error.errors)
    return DealFailedError(deal, [error])

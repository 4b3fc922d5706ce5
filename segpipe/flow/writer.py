"""Writes what a run makes of a deal, photo by photo, into the versions that it stages."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from segpipe.detection import Usage
from segpipe.flow.deal_inputs import photos_version
from segpipe.flow.results import DealResults
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.segmentation import SEGMENTATION, SegmentedImage
from segpipe.flow.stages.stage import PhotoResults, StageOutput
from segpipe.flow.stages.stage_registry import AnyStage
from segpipe.flow.tools import Tools
from segpipe.progress import Counts
from segpipe.prompt import Mode
from segpipe.store.inputs import Photo, fingerprint
from segpipe.store.manifests import PHOTOS, PROMPTS, REVIEWS
from segpipe.store.store import Staging, Version
from segpipe.store.version_info import (
    DealSummary,
    ImageSummary,
    PassSummary,
    UsageSummary,
    VersionInfo,
)


@dataclass(frozen=True, slots=True, eq=False)
class SealedDeal:
    """What was staged: a version for each stage that was made, by name, and the summary."""

    versions: dict[str, Version]
    summary: DealSummary


class DealWriter:
    """Writes the results of a deal's photos as they come; a context manager, ended by ``seal``.

    Args:
        staging: Where the versions are staged.
        made: The stages that are made, in order.
        read: What is read of the others.
        read_stages: Which those are.
        tools: What the run works with, for the lineage.
        prompts_version: The data version of the prompts, when they are read.
        reviews_version: That of the reviews, when they are.
    """

    def __init__(
        self,
        staging: Staging,
        made: Sequence[AnyStage],
        read: DealResults,
        read_stages: Sequence[AnyStage],
        tools: Tools,
        *,
        prompts_version: str,
        reviews_version: str,
    ) -> None:
        self._staging = staging
        self._made = made
        self._read = read
        self._known = (*read_stages, *made)
        self._tools = tools
        self._prompts_version = prompts_version
        self._reviews_version = reviews_version
        self._open = ExitStack()
        self._outputs: list[StageOutput] = []
        self._images: list[ImageSummary] = []
        self._passes: list[PassSummary] = []
        self._usage = Usage()

    def __enter__(self) -> Self:
        with ExitStack() as opened:  # closes those before it when one cannot be opened
            for stage in self._made:
                output = stage.output(self._staging, self._tools.settings.of(stage))
                self._outputs.append(opened.enter_context(output))
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, results: PhotoResults) -> ImageSummary:
        """Write one photo's rows and files, and say what became of it."""
        for output in self._outputs:
            output.add(results)
        summary = _summary(results, self._known, self._made)
        self._images.append(summary)
        if SEGMENTATION in self._known:
            segmented = results.of(SEGMENTATION)
            self._passes = sum_passes(self._passes, segmented)
            if SEGMENTATION in self._made:
                self._usage += segmented.result.usage
        return summary

    def seal(
        self, deal: str, mode: Mode, photos: Sequence[Photo], seconds: Mapping[str, float]
    ) -> SealedDeal:
        """Write what is known at the end, and every manifest, and give the versions."""
        self._open.close()
        producers = self._read.producers
        summary = DealSummary(
            deal=deal,
            mode=mode,
            counts=sum((image.counts for image in self._images), Counts()),
            photos_version=photos_version(
                {image.file_name: image.digest for image in self._images}
            ),
            segmenter=producers.get(SEGMENTATION.name, self._tools.segmenter.id),
            refiner=producers.get(REFINEMENT.name, self._tools.refiner.id),
            pass_stats=tuple(self._passes),
            usage=UsageSummary(**asdict(self._usage)),
            seconds=dict(seconds),
            warnings=tuple(self._warnings()),
            images=tuple(self._images),
        )
        for output in self._outputs:
            output.finish(summary)
        listed = fingerprint(photos)
        return SealedDeal(
            {stage.name: self._seal_stage(stage, summary, listed) for stage in self._made}, summary
        )

    def _warnings(self) -> list[str]:
        own = [f"{image.file_name}: {text}" for image in self._images for text in image.warnings]
        return own + same_bytes_warnings(self._images)

    def _seal_stage(
        self, stage: AnyStage, summary: DealSummary, photos_fingerprint: str
    ) -> Version:
        made_from = {PHOTOS: summary.photos_version}
        if stage.reads_prompts:
            made_from[PROMPTS] = self._prompts_version
        if stage.reads_reviews:
            made_from[REVIEWS] = self._reviews_version
        for above in stage.upstream:
            if above in self._made:
                made_from[above.name] = self._staging.version_name
            elif version := self._read.versions.get(above.name):  # else an earlier release made it
                made_from[above.name] = version
        identity = self._tools.identity(stage)
        return self._staging.seal(
            stage.name,
            made_from=made_from,
            info=VersionInfo(
                identity=identity.digest,
                code_version=identity.code_version,
                producer=identity.producer,
                settings=identity.settings,
                settings_generation=self._tools.settings.generation or None,
                photos_fingerprint=photos_fingerprint,
                # The photos are listed in the report; here they would be in every manifest.
                summary=summary.model_copy(update={"images": ()}),
            ),
        )


def _summary(
    results: PhotoResults, known: Sequence[AnyStage], made: Sequence[AnyStage]
) -> ImageSummary:
    """A photo's entry in the report; a stage that is not known counts nothing."""
    given = [(stage, results.of(stage)) for stage in known if stage.counts or stage in made]
    photo = results.photo
    return ImageSummary(
        image=photo.image,
        file_name=photo.file_name,
        digest=photo.digest,
        width=photo.width,
        height=photo.height,
        counts=sum((stage.count(result) for stage, result in given), Counts(images=1)),
        warnings=tuple(text for stage, result in given for text in stage.warnings(result)),
    )


def sum_passes(summed: Sequence[PassSummary], segmented: SegmentedImage) -> list[PassSummary]:
    """Add the passes over one photo to those of the photos before it."""
    total = list(summed)
    for index, stats in enumerate(segmented.result.pass_stats):
        if index == len(total):
            total.append(PassSummary(found=0, new=0, elapsed_ms=0.0))
        before = total[index]
        total[index] = PassSummary(
            found=before.found + stats.found,
            new=before.new + stats.new,
            elapsed_ms=before.elapsed_ms + stats.elapsed_ms,
        )
    return total


def same_bytes_warnings(images: Sequence[ImageSummary]) -> list[str]:
    """Say which photos of a deal have the very same bytes."""
    first_of: dict[str, str] = {}
    warnings = []
    for image in images:
        first = first_of.setdefault(image.digest, image.file_name)
        if first != image.file_name:
            warnings.append(f"{image.file_name} has the same bytes as {first}")
    return warnings

"""What settings would find in one photo: the first stages of a run, with nothing written.

A paid call has its line in the ledger; no answer is kept, so that nothing else under the data root
changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from segpipe.detection import Detection
from segpipe.errors import DealNotFoundError
from segpipe.flow.mode_prompts import PhotoPrompt, PromptSettings, read_prompts
from segpipe.flow.stages.dedup import DedupedImage, DedupSettings, dedup_image
from segpipe.flow.stages.segmentation import SegmentedImage, segment_image
from segpipe.prompt import Mode
from segpipe.segmenters.build_segmenter import (
    AnySegmenterConfig,
    Sam3Config,
    innermost,
    with_innermost,
)
from segpipe.segmenters.segmenter import Segmenter, call_context
from segpipe.store.inputs import Photo
from segpipe.store.store import DealStore
from segpipe.threads import finish_in_thread
from segpipe.vision.boxes import Box
from segpipe.vision.contour import masks_to_paths
from segpipe.vision.dedup import Rejection
from segpipe.vision.image import DecodedImage, RgbImage
from segpipe.vision.overlay import OverlayItem, contact_sheet, draw_overlay


def trial_run() -> str:
    """The run that the ledger and 'segpipe costs' name for paid calls of today's trials.

    A limit of a run is that of a day of trials.
    """
    return f"trial-{datetime.now(UTC):%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class TracedOutline:
    """An outline.

    Attributes:
        box: ``xyxy`` pixels of the upright photo.
        path: SVG path data relative to the box, 0 to 1.
    """

    box: Box
    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What was found in a photo.

    Attributes:
        segmented: All that the segmenter found.
        deduped: Which of it stays, and what beat the others; None where nobody asked.
        outlines: Of each detection; None where it has no mask, or its outline is too long.
    """

    segmented: SegmentedImage
    deduped: DedupedImage | None
    outlines: tuple[TracedOutline | None, ...]

    @property
    def detections(self) -> tuple[Detection, ...]:
        """All that was found."""
        return self.segmented.result.detections

    @property
    def kept(self) -> tuple[int, ...]:
        """What stays: all where nobody asked."""
        return self.deduped.kept if self.deduped else tuple(range(len(self.detections)))

    @property
    def rejections(self) -> dict[int, Rejection]:
        """What beat each of the others, by index."""
        return {one.index: one for one in self.deduped.rejections} if self.deduped else {}


def without_kept_answers(segmenter: AnySegmenterConfig) -> AnySegmenterConfig:
    """The settings of a segmenter that keeps no answers, and so writes none."""
    inner = innermost(segmenter)
    if not isinstance(inner, Sam3Config):
        return segmenter
    cache = inner.cache.model_copy(update={"enabled": False})
    return with_innermost(segmenter, inner.model_copy(update={"cache": cache}))


async def try_photo(
    decoded: DecodedImage,
    segmenter: Segmenter,
    asked: PhotoPrompt,
    dedup: DedupSettings | None,
    *,
    deal: str = "",
    image: str = "",
) -> Trial:
    """Find the items of a photo as the first stages of a run do.

    Args:
        decoded: The photo.
        segmenter: Who finds; see :func:`without_kept_answers`.
        asked: What to look for.
        dedup: What counts as the same item; None keeps all.
        deal: The deal that the photo is from, for the ledger.
        image: The photo's id, for the ledger.

    Raises:
        SegmenterError: The segmenter failed.
        PromptError: The segmenter cannot follow the prompt.
    """
    with call_context(trial_run(), deal, image):
        segmented = await segment_image(decoded, segmenter, asked)
    deduped = await finish_in_thread(dedup_image, segmented, dedup) if dedup else None
    outlines = await finish_in_thread(_outlines, segmented.result.detections)
    return Trial(segmented, deduped, outlines)


def find_photo(store: DealStore, deal: str, image: str) -> Photo:
    """A photo of a deal by its id.

    Raises:
        DealNotFoundError: There is no such deal, or no such photo in it.
        InvalidIdError: The id is not allowed.
    """
    for photo in store.photos(deal):
        if photo.image == image:
            return photo
    raise DealNotFoundError(f"the deal has no photo {image!r}", deal=deal, image=image)


def prompt_of_deal(
    store: DealStore,
    deal: str,
    photo: Photo,
    mode: Mode,
    decoded: DecodedImage,
    settings: PromptSettings,
    default_texts: tuple[str, ...],
) -> PhotoPrompt:
    """What a run of a mode would ask of a photo.

    Raises:
        PromptError: What is drawn or written makes no sense.
    """
    prompts = read_prompts(store, deal, mode, store.photos(deal))
    height, width = decoded.rgb.shape[:2]
    return prompts.ask(
        photo.image, width=width, height=height, settings=settings, default_texts=default_texts
    )


def draw_trial(rgb: RgbImage, trial: Trial, *, max_side_px: int = 1600) -> RgbImage:
    """What stays, tinted; the others dashed and faded, each with what beat it.

    Args:
        rgb: The upright photo, (h, w, 3) uint8.
        trial: What was found in it.
        max_side_px: The longest side of the drawing.
    """
    found, rejections = trial.detections, trial.rejections
    kept = frozenset(trial.kept)
    survivors = [
        OverlayItem(found[index].box, found[index].mask, index, found[index].label)
        for index in trial.kept
    ]
    rejected = [
        OverlayItem(one.box, one.mask, index, f"by {rejections[index].survivor}")
        for index, one in enumerate(found)
        if index not in kept and index in rejections
    ]
    return draw_overlay(rgb, survivors, rejected, max_side_px=max_side_px)


def side_by_side(pictures: Sequence[tuple[RgbImage, str]]) -> RgbImage:
    """Drawings of one photo beside each other, each with its caption."""
    side = max(max(picture.shape[:2]) for picture, _ in pictures)
    return contact_sheet(pictures, columns=len(pictures), tile_px=side)


def _outlines(detections: Sequence[Detection]) -> tuple[TracedOutline | None, ...]:
    masked = {index: one.mask for index, one in enumerate(detections) if one.mask}
    paths = dict(zip(masked, masks_to_paths(list(masked.values())), strict=True))
    return tuple(
        TracedOutline(mask.box, path)
        if (mask := masked.get(index)) and mask.box and (path := paths[index])
        else None
        for index in range(len(detections))
    )

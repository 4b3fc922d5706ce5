"""COCO: the survivors of a deal as one JSON of detection data sets."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from pydantic import Field
from typing_extensions import override

from segpipe.flow.photo import PhotoInfo
from segpipe.flow.stages.dedup import DEDUP
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.review import REVIEW
from segpipe.flow.stages.reviewed_items import ReviewedItem
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage import PhotoResults, PhotoWork, Stage, StageOutput
from segpipe.formats.coco import CocoPhoto, CocoWriter, coco_photo
from segpipe.formats.label_format import CocoMasks
from segpipe.formats.labels import UNLABELLED, CutOut, LabelledItem, LabelledPhoto
from segpipe.settings import Settings
from segpipe.store.staging import Staging
from segpipe.threads import finish_in_thread

COCO_FILE = "coco.json"


class CocoSettings(Settings):
    """The COCO JSON of a deal."""

    masks: CocoMasks = Field(
        default=CocoMasks.RLE,
        description="rle, or polygons along the edges of pixels; a mask with holes, which polygons "
        "cannot say, is rle all the same. Both decode to every pixel of the mask.",
    )


_NO_CUTOUTS: Mapping[int, CutOut] = {}


def labelled_photo(
    deal: str,
    photo: PhotoInfo,
    items: Sequence[ReviewedItem],
    cutouts: Mapping[int, CutOut] = _NO_CUTOUTS,
) -> LabelledPhoto:
    """Items of one photo, as label files have them.

    A drawn box in which nothing was found is left out.

    Args:
        deal: Its deal.
        photo: The photo.
        items: Those that are meant.
        cutouts: Their pictures, by detection, when they are wanted.
    """
    return LabelledPhoto(
        deal=deal,
        image=photo.image,
        file_name=photo.file_name,
        width=photo.width,
        height=photo.height,
        sha256=photo.digest,
        items=tuple(
            _item(item, photo, cutouts.get(item.detection))
            for item in items
            if item.missing is None
        ),
    )


def _item(item: ReviewedItem, photo: PhotoInfo, cutout: CutOut | None) -> LabelledItem:
    tight = item.mask.box if item.mask else None
    return LabelledItem(
        detection=item.detection,
        label=item.label or UNLABELLED,
        score=item.score,
        pass_index=item.pass_index,
        box=tight or item.box,
        mask=item.shown_mask(photo.width, photo.height),
        has_mask=tight is not None,
        cutout=cutout,
    )


class Coco(Stage[CocoPhoto, CocoSettings]):
    """Writes the survivors as COCO has them."""

    name = "coco"
    description = (
        "The items of the deal as a data set in COCO's format, coco.json: the masks and boxes of "
        "the kept detections, for training and for other tools."
    )
    code_version = "1"
    upstream = (SEGMENTATION, DEDUP, REFINEMENT, REVIEW)
    settings = CocoSettings
    settings_name = "coco"
    kinds = frozenset({"json"})

    @override
    async def make(self, work: PhotoWork, settings: CocoSettings) -> CocoPhoto:
        reviewed = work.results.of(REVIEW)

        def make() -> CocoPhoto:
            photo = labelled_photo(work.deal, work.loaded.info, reviewed.kept)
            return coco_photo(photo, settings.masks)

        return await finish_in_thread(make)

    @override
    def output(self, staging: Staging, settings: CocoSettings) -> StageOutput:
        return _CocoOutput(self, staging)


class _CocoOutput(StageOutput):
    """Writes one JSON."""

    @override
    def open_files(self, opened: ExitStack) -> None:
        file = opened.enter_context(self.staging.open(self.stage.name, COCO_FILE))
        self._writer = opened.enter_context(CocoWriter(file))

    @override
    def add(self, results: PhotoResults) -> None:
        self._writer.add(results.of(COCO))


COCO = Coco()

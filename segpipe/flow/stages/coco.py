"""COCO: the survivors of a deal as one JSON of detection data sets."""

from collections.abc import Mapping
from contextlib import ExitStack

from pydantic import Field
from typing_extensions import override

from segpipe.flow.photo import PhotoInfo
from segpipe.flow.stages.dedup import DEDUP
from segpipe.flow.stages.refinement import REFINEMENT, RefinedImage, RefinedItem, items_found
from segpipe.flow.stages.segmentation import SEGMENTATION, SegmentedImage
from segpipe.flow.stages.stage import PhotoResults, PhotoWork, Stage, StageOutput
from segpipe.formats.coco import CocoPhoto, CocoWriter, coco_photo
from segpipe.formats.label_format import CocoMasks
from segpipe.formats.labels import UNLABELLED, CutOut, LabelledItem, LabelledPhoto
from segpipe.settings import Settings
from segpipe.store.staging import Staging
from segpipe.threads import finish_in_thread
from segpipe.vision.mask import Mask

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
    segmented: SegmentedImage,
    refined: RefinedImage,
    cutouts: Mapping[int, CutOut] = _NO_CUTOUTS,
) -> LabelledPhoto:
    """The survivors of one photo, as label files have them.

    A drawn box in which nothing was found is left out.

    Args:
        deal: Its deal.
        photo: The photo.
        segmented: Its raw detections.
        refined: Its survivors.
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
            _item(item, segmented, cutouts.get(item.detection))
            for item in items_found(segmented, refined)
        ),
    )


def _item(item: RefinedItem, segmented: SegmentedImage, cutout: CutOut | None) -> LabelledItem:
    result = segmented.result
    detection = result.detections[item.detection]
    mask, tight = item.mask, item.mask.box if item.mask else None
    if mask is None or tight is None:
        size = (result.image_width, result.image_height)
        mask = Mask.from_box(item.box, image_width=size[0], image_height=size[1])
    return LabelledItem(
        detection=item.detection,
        label=detection.label or UNLABELLED,
        score=detection.score,
        pass_index=detection.pass_index,
        box=tight or item.box,
        mask=mask,
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
    upstream = (SEGMENTATION, DEDUP, REFINEMENT)
    settings = CocoSettings
    settings_name = "coco"
    kinds = frozenset({"json"})

    @override
    async def make(self, work: PhotoWork, settings: CocoSettings) -> CocoPhoto:
        segmented, refined = work.results.of(SEGMENTATION), work.results.of(REFINEMENT)

        def make() -> CocoPhoto:
            photo = labelled_photo(work.deal, work.loaded.info, segmented, refined)
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

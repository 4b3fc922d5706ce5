"""The fifth stage: the survivors of a photo, as label files have them."""

from collections.abc import Mapping

from segpipe.flow.refinement import RefinedImage, RefinedItem, items_found
from segpipe.flow.segmentation import SegmentedImage
from segpipe.formats.labels import UNLABELLED, CutOut, LabelledItem, LabelledPhoto
from segpipe.vision.mask import Mask

COCO_FILE = "coco.json"


_NO_CUTOUTS: Mapping[int, CutOut] = {}


def labelled_photo(
    deal: str,
    segmented: SegmentedImage,
    refined: RefinedImage,
    cutouts: Mapping[int, CutOut] = _NO_CUTOUTS,
) -> LabelledPhoto:
    """The survivors of one photo; a drawn box with nothing in it is left out.

    Args:
        deal: Its deal.
        segmented: Its raw detections.
        refined: Its survivors.
        cutouts: Their pictures, by detection, when they are wanted.
    """
    return LabelledPhoto(
        deal=deal,
        image=segmented.image,
        file_name=segmented.file_name,
        width=segmented.result.image_width,
        height=segmented.result.image_height,
        sha256=segmented.digest,
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

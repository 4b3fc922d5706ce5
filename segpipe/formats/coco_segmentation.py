"""How COCO says which pixels are an item's: run lengths, polygons or a box."""

from collections.abc import Sequence
from typing import TypedDict

from pydantic import BaseModel

from segpipe.errors import InputError, PromptError
from segpipe.formats.label_format import CocoMasks
from segpipe.formats.label_json import Finite, parse
from segpipe.vision.boxes import Box
from segpipe.vision.contour import mask_outlines
from segpipe.vision.image import LARGEST_PX
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import CocoRle, from_coco_rle, to_coco_rle


class CocoRleText(TypedDict):
    """A mask as COCO's compressed run-length encoding, as JSON holds it."""

    size: list[int]
    """[image height, image width]."""
    counts: str


Polygons = list[list[int]]
"""Closed outlines along the edges of pixels, each x, y, x, y, … from the photo's corner on."""


def segmentation_of(mask: Mask, masks: CocoMasks) -> CocoRleText | Polygons:
    """The pixels of a mask, which decode to it bit for bit.

    A mask with holes is RLE in any case.
    """
    return _polygons(mask) if masks is CocoMasks.POLYGONS else _rle(mask)


def _rle(mask: Mask) -> CocoRleText:
    rle = to_coco_rle(mask)
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


def _polygons(mask: Mask) -> Polygons | CocoRleText:
    """Outlines that decode to the very mask; RLE when it has holes.

    Readers take the union of the polygons, so a hole cannot be one. Those along the edges of pixels
    are exact in pycocotools, which moves any others by up to half a pixel.
    """
    outlines = mask_outlines(mask, tolerance_px=0)
    if any(outline.is_hole for outline in outlines):
        return _rle(mask)
    return [outline.corners.astype(int).ravel().tolist() for outline in outlines]


class _Polygons(BaseModel):
    segmentation: list[list[Finite]]


class _Rle(BaseModel):
    size: tuple[int, int]
    counts: str


def box_of(bbox: Sequence[float] | None, segmentation: object, where: str) -> Box:
    """The box of an annotation, in pixels; that around its segmentation when it has none.

    Args:
        bbox: Left, top, width and height, pixels; None or empty when there is none.
        segmentation: Polygons or compressed RLE, as JSON has them.
        where: Which annotation it is, for errors.

    Raises:
        PromptError: They make no sense, or have no pixel.
    """
    match list(bbox or ()):
        case []:
            return _box_around(segmentation, where)
        case [x, y, width, height]:
            return Box(x, y, x + width, y + height)
        case numbers:
            raise PromptError(
                f"{where}: bbox: x, y, width and height are 4 numbers, got {len(numbers)}"
            )


def _box_around(said: object, where: str) -> Box:
    if not said:
        raise PromptError(f"{where} has neither bbox nor segmentation: give it one, or remove it")
    if isinstance(said, dict):
        mask = _mask_of(parse(_Rle, said, f"{where} has no bbox, and its segmentation"), where)
        if mask.box is None:
            raise PromptError(f"{where} has no bbox, and its segmentation has no pixel: remove it")
        return mask.box
    polygons = parse(_Polygons, {"segmentation": said}, f"{where} has no bbox").segmentation
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    if not ys:
        raise PromptError(f"{where} has no bbox, and its segmentation has no corners: remove it")
    return Box(min(xs), min(ys), max(xs), max(ys))


def _mask_of(rle: _Rle, where: str) -> Mask:
    try:
        said = CocoRle(size=list(rle.size), counts=rle.counts.encode())
        return from_coco_rle(said, max_pixels=LARGEST_PX)
    except InputError as error:
        raise PromptError(f"{where} has no bbox, and its segmentation: {error.message}") from error

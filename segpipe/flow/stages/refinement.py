"""Refinement: sharper masks for the survivors, and their outlines."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
from typing_extensions import override

from segpipe.errors import RefinerError
from segpipe.flow.photo import PhotoInfo
from segpipe.flow.stages.dedup import DEDUP, DedupedImage
from segpipe.flow.stages.segmentation import SEGMENTATION, SegmentedImage
from segpipe.flow.stages.stage import BOX_TEXTS, ITEM_TEXTS, PhotoResults, PhotoWork, Stage
from segpipe.progress import Counts, StageStarted, Tell, tell_nobody
from segpipe.refiners.refiner import STAGE, Refinement, Refiner
from segpipe.settings import Settings
from segpipe.store.tables import (
    BOX_COLUMNS,
    ITEM_COLUMNS,
    MASK_TYPE,
    masks_from_arrow,
    masks_to_arrow,
)
from segpipe.threads import finish_in_thread
from segpipe.vision.backdrop import with_backdrop
from segpipe.vision.boxes import Box
from segpipe.vision.contour import masks_to_paths
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

REFINEMENT_FILE = "refinement.parquet"
REFINEMENT_SCHEMA = pa.schema(
    [
        *ITEM_COLUMNS,
        *BOX_COLUMNS,
        *((f"coarse_{name}", kind) for name, kind in BOX_COLUMNS),
        ("svg_path", pa.string()),
        ("coarse_mask", MASK_TYPE),
        ("refined_mask", MASK_TYPE),
        ("accepted", pa.bool_()),
        ("reason", pa.string()),
        ("iterations", pa.int32()),
        ("predicted_iou", pa.float64()),
    ]
)
"""One row a survivor; the box is that of the mask to use, and svg_path its outline in that box."""

OUTLINES = "outlines"
"""What the stage after the refiner is called in progress events."""
NO_MASK = "the detection has no mask"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class RefinedItem:
    """One survivor before and after refinement.

    Attributes:
        detection: Its index among the raw detections.
        coarse_box: The tight box of the segmenter's mask; the detection's box when that is empty
            or absent.
        box: The tight box of the mask to use. It stays the coarse one where the outline of the
            refined mask could not be traced.
        svg_path: The outline of the mask to use as SVG path data, relative to the box: 0 to 1, 4
            decimals. "" without a mask, and when no outline could be traced.
        coarse: The segmenter's mask.
        refined: The refiner's mask when it was accepted.
        reason: Why the coarse mask stays; None when the refined one was accepted.
        iterations: Refining steps.
        predicted_iou: The model's own estimate, 0 to 1, when it gives one.
    """

    detection: int
    coarse_box: Box
    box: Box
    svg_path: str
    coarse: Mask | None
    refined: Mask | None
    reason: str | None
    iterations: int
    predicted_iou: float | None

    @property
    def mask(self) -> Mask | None:
        """The mask to use."""
        return self.refined if self.refined is not None else self.coarse


@dataclass(frozen=True, slots=True, eq=False)
class RefinedImage:
    """The survivors of one image, in the order of their detections."""

    items: tuple[RefinedItem, ...]


async def refine_image(
    rgb: RgbImage,
    segmented: SegmentedImage,
    deduped: DedupedImage,
    refiner: Refiner,
    tell: Tell = tell_nobody,
) -> RefinedImage:
    """Refine the masks of the survivors of one image; those without a mask stay as they are.

    ``tell`` is told when refining begins, of its steps, and when outlines follow.
    """
    found = segmented.result.detections
    with_mask = {index: mask for index in deduped.kept if (mask := found[index].mask)}
    tell(StageStarted(STAGE, len(with_mask)))
    refinements = await refiner.refine(rgb, list(with_mask.values()), tell)
    if len(refinements) != len(with_mask):
        raise RefinerError(
            f"{refiner.id} answered {len(refinements)} masks for {len(with_mask)} of them"
        )
    tell(StageStarted(OUTLINES, len(with_mask)))
    by_index = dict(zip(with_mask, refinements, strict=True))
    return await finish_in_thread(_with_outlines, segmented, deduped, by_index)


def _with_outlines(
    segmented: SegmentedImage, deduped: DedupedImage, refinements: Mapping[int, Refinement]
) -> RefinedImage:
    found = segmented.result.detections
    accepted = {i: each.mask for i, each in refinements.items() if each.accepted}
    masks = {i: accepted.get(i) or found[i].mask for i in deduped.kept}
    paths = _paths(masks)
    # Where the outline of a refined mask cannot be traced, the coarse one's stands in.
    coarse = {i: found[i].mask for i in accepted if i not in paths}
    paths |= _paths(coarse)
    items = (
        _refined_item(
            index,
            found[index].box,
            found[index].mask,
            refinements.get(index),
            paths.get(index, _Outline(None, "")),
            no_mask=segmented.missing.get(index, NO_MASK),
        )
        for index in deduped.kept
    )
    return RefinedImage(tuple(items))


def _refined_item(
    index: int,
    box: Box,
    coarse: Mask | None,
    refinement: Refinement | None,
    outline: "_Outline",
    *,
    no_mask: str,
) -> RefinedItem:
    refined = refinement.mask if refinement and refinement.accepted else None
    if refined is None and outline.box:
        coarse_box = outline.box
    else:
        coarse_box = (coarse.box if coarse else None) or box
    return RefinedItem(
        detection=index,
        coarse_box=coarse_box,
        box=outline.box or coarse_box,
        svg_path=outline.svg_path,
        coarse=coarse,
        refined=refined,
        reason=refinement.reason if refinement else no_mask,
        iterations=refinement.iterations if refinement else 0,
        predicted_iou=refinement.predicted_iou if refinement else None,
    )


@dataclass(frozen=True, slots=True)
class _Outline:
    box: Box | None
    svg_path: str


def _paths(masks: Mapping[int, Mask | None]) -> dict[int, _Outline]:
    """The outlines of those masks that have pixels; one that cannot be traced is logged."""
    drawn = {index: mask for index, mask in masks.items() if mask and not mask.is_empty}
    outlines = {}
    for (index, mask), path in zip(
        drawn.items(), masks_to_paths(list(drawn.values())), strict=True
    ):
        if path is None:
            _log.warning("no outline of detection %d: it has too many corners", index)
        else:
            outlines[index] = _Outline(mask.box, path)
    return outlines


def items_found(segmented: SegmentedImage, refined: RefinedImage) -> list[RefinedItem]:
    """The survivors, without the drawn boxes in which nothing was found."""
    return [item for item in refined.items if item.detection not in segmented.missing]


def _refinement_table(image: str, refined: RefinedImage) -> pa.Table:
    """One row for each survivor."""
    items = refined.items
    columns = {
        "image": [image] * len(items),
        "detection": [item.detection for item in items],
        "x1": [item.box.x1 for item in items],
        "y1": [item.box.y1 for item in items],
        "x2": [item.box.x2 for item in items],
        "y2": [item.box.y2 for item in items],
        "coarse_x1": [item.coarse_box.x1 for item in items],
        "coarse_y1": [item.coarse_box.y1 for item in items],
        "coarse_x2": [item.coarse_box.x2 for item in items],
        "coarse_y2": [item.coarse_box.y2 for item in items],
        "svg_path": [item.svg_path for item in items],
        "coarse_mask": masks_to_arrow([item.coarse for item in items]),
        "refined_mask": masks_to_arrow([item.refined for item in items]),
        "accepted": [item.refined is not None for item in items],
        "reason": [item.reason for item in items],
        "iterations": [item.iterations for item in items],
        "predicted_iou": [item.predicted_iou for item in items],
    }
    return pa.table(columns, schema=REFINEMENT_SCHEMA)


def _from_table(segmented: SegmentedImage, table: pa.Table) -> RefinedImage:
    """Read one image's coarse and refined masks back."""
    size = (segmented.result.image_width, segmented.result.image_height)
    coarse = masks_from_arrow(table["coarse_mask"], *size)
    refined = masks_from_arrow(table["refined_mask"], *size)
    rows = table.drop_columns(["coarse_mask", "refined_mask"]).to_pylist()
    items = tuple(
        RefinedItem(
            detection=row["detection"],
            coarse_box=Box(*(row[f"coarse_{side}"] for side in ("x1", "y1", "x2", "y2"))),
            box=Box(row["x1"], row["y1"], row["x2"], row["y2"]),
            svg_path=row["svg_path"],
            coarse=before,
            refined=after,
            reason=row["reason"],
            iterations=row["iterations"],
            predicted_iou=row["predicted_iou"],
        )
        for row, before, after in zip(rows, coarse, refined, strict=True)
    )
    return RefinedImage(items)


class RefinementStage(Stage[RefinedImage, Settings]):
    """Asks the refiner."""

    name = "refinement"
    description = (
        "The mask of each kept detection as it was found (coarse) and with its edges sharpened by "
        "the refiner (refined), with its box and its outline as an SVG path."
    )
    code_version = "2"
    upstream = (SEGMENTATION, DEDUP)
    tool = "refiner"
    tables: ClassVar = {REFINEMENT_FILE: REFINEMENT_SCHEMA}
    columns: ClassVar = {
        **ITEM_TEXTS,
        **BOX_TEXTS,
        **{f"coarse_{name}": f"The same before refinement: {name}." for name in BOX_TEXTS},
        "svg_path": "The outline as SVG path data, relative to the box: 0 to 1.",
        "coarse_mask": "The segmenter's mask.",
        "refined_mask": "The refiner's mask where it was accepted.",
        "accepted": "Whether the refiner's mask is the one to use.",
        "reason": "Why it is not.",
        "iterations": "How many steps the refiner took.",
        "predicted_iou": "How good the refiner takes its mask to be, 0 to 1.",
    }
    counts = ("refined",)

    @override
    async def make(self, work: PhotoWork, settings: Settings) -> RefinedImage:
        segmented, deduped = work.results.of(SEGMENTATION), work.results.of(DEDUP)
        picture = await finish_in_thread(with_backdrop, work.loaded.decoded)
        return await refine_image(picture, segmented, deduped, work.refiner)

    @override
    def rows(self, photo: PhotoInfo, result: RefinedImage) -> dict[str, pa.Table]:
        return {REFINEMENT_FILE: _refinement_table(photo.image, result)}

    @override
    def read(self, photo: PhotoResults) -> RefinedImage:
        return _from_table(photo.of(SEGMENTATION), photo.rows(self, REFINEMENT_FILE))

    @override
    def count(self, result: RefinedImage) -> Counts:
        return Counts(refined=sum(item.refined is not None for item in result.items))


REFINEMENT = RefinementStage()

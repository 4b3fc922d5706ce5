"""The stages of a deal, and what each is made from."""

from collections.abc import Iterable
from enum import StrEnum

from segpipe.store.manifests import PHOTOS, PROMPTS

DEAL_PHOTOS = PHOTOS
"""The name under which the photos of a deal stand among what a version was made from."""
DEAL_PROMPTS = PROMPTS
"""The same for what a mode is asked to look for in them; segmentation alone reads it."""


class Stage(StrEnum):
    """One stage, and the asset that it writes; in the order of the way of the data."""

    SEGMENTATION = "segmentation"
    DEDUP = "dedup"
    REFINEMENT = "refinement"
    CROPS = "crops"
    COCO = "coco"
    DEAL_REPORT = "deal_report"


ALL_STAGES = frozenset(Stage)

UPSTREAM: dict[Stage, tuple[Stage, ...]] = {
    Stage.SEGMENTATION: (),
    Stage.DEDUP: (Stage.SEGMENTATION,),
    Stage.REFINEMENT: (Stage.SEGMENTATION, Stage.DEDUP),
    Stage.CROPS: (Stage.SEGMENTATION, Stage.DEDUP, Stage.REFINEMENT),
    Stage.COCO: (Stage.SEGMENTATION, Stage.DEDUP, Stage.REFINEMENT),
    Stage.DEAL_REPORT: (Stage.SEGMENTATION, Stage.DEDUP, Stage.REFINEMENT, Stage.CROPS),
}
"""The stages that a stage reads; each also reads the photos, and segmentation the prompts."""

CODE_VERSIONS: dict[Stage, str] = dict.fromkeys(Stage, "2") | {Stage.COCO: "1"}
"""Raise a stage's version when the same input would give another result."""

DESCRIPTIONS: dict[Stage, str] = {
    Stage.SEGMENTATION: "Everything that the segmenter found in each photo: raw detections, "
    "their masks and the statistics of its passes. Nothing is thrown away later.",
    Stage.DEDUP: "Which detections survive, and for each rejected one the survivor that beat it; "
    "of drawn boxes, which show the same item.",
    Stage.REFINEMENT: "The coarse and the refined mask of every survivor, its box and its outline.",
    Stage.CROPS: "The cut-out of every survivor.",
    Stage.COCO: "The survivors as a COCO data set.",
    Stage.DEAL_REPORT: "A contact sheet, a preview of each photo and a summary of the deal.",
}


def in_order(stages: Iterable[Stage]) -> list[Stage]:
    """The stages, each after those that it is made from."""
    wanted = frozenset(stages)
    return [stage for stage in Stage if stage in wanted]


def with_downstream(stages: Iterable[Stage]) -> frozenset[Stage]:
    """The stages and everything that is made from them."""
    found = set(stages)
    for stage in Stage:
        if found.intersection(UPSTREAM[stage]):
            found.add(stage)
    return frozenset(found)

"""Settings of the classical segmenter."""

from typing import Literal

from pydantic import Field

from segpipe.settings import Settings


class ClassicalConfig(Settings):
    """Classical vision on the CPU: no weights, deterministic."""

    kind: Literal["classical"] = "classical"
    work_pixels: int = Field(
        default=1_000_000,
        ge=10_000,
        description="Pixels of the reduced picture in which items are looked for; a photo with "
        "more is scaled down.",
    )
    min_area_fraction: float = Field(
        default=0.0008,
        gt=0,
        lt=1,
        description="Smallest item, as a part of the photo's area.",
    )
    min_score: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="Items found in the whole photo that score less are left out; an item in a "
        "drawn box never is.",
    )
    min_similarity: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="With exemplars, items whose look scores less are left out: 1 is the very look "
        "of a positive one, 0.5 half way between a positive and a negative one.",
    )
    max_detections: int = Field(
        default=300, ge=1, description="Items of one photo at most, those with the best scores."
    )
    box_side_px: int = Field(
        default=192,
        ge=32,
        description="A drawn box and its surroundings are cut out at this many pixels a side at "
        "most.",
    )
    box_padding_fraction: float = Field(
        default=0.25,
        gt=0,
        le=2,
        description="Surroundings of a drawn box that show the background, as a part of the box's "
        "longer side.",
    )
    grabcut_iterations: int = Field(
        default=3, ge=1, le=20, description="GrabCut iterations for one drawn box."
    )

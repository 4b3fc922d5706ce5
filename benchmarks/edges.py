"""Soft edges of cut-outs beside hard ones: ``python -m benchmarks.edges``.

Things are laid on tables by arithmetic, so that alpha and colour of every pixel are known. Errors
are means over the band along the edge; those of colour over its mixed pixels, as far as they are
seen.
"""

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.timing import median_times
from segpipe.vision.boxes import Box
from segpipe.vision.crop import Crop, CropEdge, CropFormat, crop_item, encode_crop
from segpipe.vision.mask import Mask, disc
from segpipe_tests.vision.composites import (
    HAIRY,
    SMOOTH,
    SOME_HAIR,
    Composite,
    alpha_errors,
    colour_errors,
    make_composite,
)

SCENES = 24
ROUNDS = 5
BLURS_PX = (0.0, 0.7, 1.2)
KINDS = {"much hair": HAIRY, "some hair": SOME_HAIR, "smooth": SMOOTH}


def errors() -> Table:
    """What is wrong with hard and soft edges, by kind of thing and of mask."""
    table = Table(title=f"edges of {SCENES} things each, errors in levels of 255")
    for heading in ("thing", "mask"):
        table.add_column(heading)
    for heading in ("alpha, hard", "soft", "ratio", "rim colour", "decontaminated", "ratio"):
        table.add_column(heading, justify="right")
    for kind, strands in KINDS.items():
        scenes = [
            make_composite(seed, strands=strands, blur_px=BLURS_PX[seed % len(BLURS_PX)])
            for seed in range(SCENES)
        ]
        for name, change in {
            "exact": None,
            "1 px large": cv2.dilate,
            "1 px small": cv2.erode,
        }.items():
            masks = [
                np.asarray(change(made.mask, disc(1)), np.uint8) if change else made.mask
                for made in scenes
            ]
            pairs = list(zip(scenes, masks, strict=True))
            hard, soft = 255 * np.mean([alpha_errors(*pair) for pair in pairs], axis=0)
            before, after = np.mean([colour_errors(*pair) for pair in pairs], axis=0)
            numbers = (hard, soft, soft / hard, before, after, after / before)
            table.add_row(kind, name, *(f"{number:.2f}" for number in numbers))
    return table


def times() -> Table:
    """The time of a cut-out with its PNG, by the side of the photo around it."""
    table = Table(title="one cut-out and its PNG, ms of CPU")
    table.add_column("pixels a side")
    for heading in ("hard", "soft", "soft, decontaminated"):
        table.add_column(heading, justify="right")
    for side in (220, 440, 880):
        made = make_composite(0, strands=SOME_HAIR, side_px=side)
        taken = median_times(
            {
                "hard": lambda made=made: _cut(made, CropEdge.HARD),  # type: ignore[misc]
                "soft": lambda made=made: _cut(made, CropEdge.SOFT),  # type: ignore[misc]
                "clean": lambda made=made: _cut(made, CropEdge.SOFT, decontaminate=True),  # type: ignore[misc]
            },
            rounds=ROUNDS,
        )
        table.add_row(str(side), *(f"{1000 * one.cpu:.1f}" for one in taken.values()))
    return table


def _cut(made: Composite, edge: CropEdge, *, decontaminate: bool = False) -> bytes:
    mask = Mask.from_full(made.mask)
    crop: Crop = crop_item(
        made.photo, Box(0, 0, 1, 1), mask, edge=edge, decontaminate=decontaminate
    )
    return encode_crop(crop, CropFormat.PNG)


def main() -> None:
    cv2.setNumThreads(1)
    console = Console()
    console.print(errors())
    console.print(times())


if __name__ == "__main__":
    main()

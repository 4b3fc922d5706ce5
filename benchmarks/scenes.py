"""The default segmenter on scenes with exact truth: ``python -m benchmarks.scenes``.

Twenty scenes of each difficult kind, and fifty of many goods side by side. What release 0.1 found
on the same scenes was measured once, with its own code.
"""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from skimage import data

from segpipe.prompt import Prompt
from segpipe.scenes import Scene, make_scene
from segpipe.scenes.painted_fields import FullMask
from segpipe.segmenters.classical import ClassicalSegmenter
from segpipe.vision.image import RgbImage
from segpipe_tests.scenes import match
from segpipe_tests.scenes.difficult import KINDS

SEEDS, MANY_SEEDS = 20, 50
COINS = 24
RELEASE_0_1: dict[str, tuple[float, float]] = {
    "rings": (0.242, 0.722),
    "handles": (0.876, 0.853),
    "scissors": (0.0, 0.0),
    "spectacles": (0.0, 0.0),
    "necklace": (0.0, 0.0),
    "bracelets": (0.017, 0.035),
    "thin_goods": (0.239, 0.542),
    "chair": (0.4, 0.347),
    "brackets": (0.34, 0.63),
    "waists": (0.57, 0.714),
    "corner_ball": (0.667, 0.959),
    "cut_off": (0.828, 0.947),
    "framed": (0.0, 0.0),
    "light_frame": (0.173, 0.197),
    "letterbox": (0.192, 0.239),
    "cut_outs": (0.759, 0.987),
    "hard_shadows": (0.886, 0.733),
    "table_and_wall": (0.671, 0.895),
    "striped_shirt": (0.6, 0.608),
    "many goods": (0.935, 0.888),
    "many goods on wood, cloth, stone": (0.891, 0.938),
}
"""Mean F1 and mean IoU of what was matched."""


def many_goods(seed: int) -> Scene:
    """Goods side by side, a third of which touch."""
    return make_scene(seed, width=640, height=480)


def on_textures(seed: int) -> Scene:
    """The same on a table with a texture."""
    return make_scene(seed, width=640, height=480, textured_background=True)


def found_in(image: RgbImage) -> list[FullMask]:
    """What the default segmenter finds, each (H, W)."""
    found = asyncio.run(ClassicalSegmenter().segment(image, Prompt())).detections
    return [one.mask.to_full() > 0 for one in found if one.mask is not None]


def measured(make: Callable[[int], Scene], seeds: Sequence[int]) -> tuple[float, float]:
    """Mean F1, and mean IoU of what was matched."""
    scenes = [make(seed) for seed in seeds]
    matchings = [match(found_in(scene.image), scene.masks) for scene in scenes]
    f1, iou = ([one.f1 for one in matchings], [one.mean_iou for one in matchings])
    return float(np.mean(f1)), float(np.mean(iou))


def main() -> None:
    kinds = {name: (make, SEEDS) for name, make in KINDS.items()}
    kinds["many goods"] = (many_goods, MANY_SEEDS)
    kinds["many goods on wood, cloth, stone"] = (on_textures, MANY_SEEDS)
    table = Table("kind")
    for heading in ("scenes", "F1 0.1", "F1", "IoU 0.1", "IoU"):
        table.add_column(heading, justify="right")
    for name, (make, count) in kinds.items():
        old, new = RELEASE_0_1[name], measured(make, range(count))
        table.add_row(
            name, str(count), *(f"{value:.3f}" for value in (old[0], new[0], old[1], new[1]))
        )
    console = Console()
    console.print(table)
    grey: NDArray[np.uint8] = getattr(data, "coins")()  # noqa: B009 (it has no types)
    coins = np.repeat(grey[..., None], 3, axis=2)
    console.print(f"coins: {len(found_in(coins))} of {COINS}")


if __name__ == "__main__":
    main()

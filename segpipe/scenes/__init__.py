"""Synthetic photos of goods on a table, with exact ground truth.

A scene is painted the way a photo comes about: a table, soft shadows on it, textured items laid
down one after the other (some pushed against one that lies there already), one light over
everything, a lens that blurs, a sensor that adds noise and a camera that writes a JPEG. Nothing
here knows how a segmenter works.
"""

from dataclasses import dataclass

import numpy as np

from segpipe.scenes.item_layout import lay_down, tight_box, visible_parts
from segpipe.scenes.painted_fields import FullMask
from segpipe.scenes.painted_items import paint_item
from segpipe.scenes.table_and_light import bare_table, choose_colour, light, photograph, shadows
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage

__all__ = ["Scene", "make_scene"]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and what is in it.

    Attributes:
        image: Shape (H, W, 3), RGB uint8.
        masks: What can be seen of each item, each (H, W) bool.
        boxes: The tight box of each mask.
    """

    image: RgbImage
    masks: tuple[FullMask, ...]
    boxes: tuple[Box, ...]


def make_scene(
    seed: int,
    *,
    width: int = 800,
    height: int = 600,
    items: int | None = None,
    touching: bool = True,
    textured_background: bool = False,
) -> Scene:
    """Paint one scene; the same arguments give the same scene.

    Args:
        seed: Chooses everything that is left to chance.
        width: Pixels of the picture.
        height: Pixels of the picture.
        items: How many to lay down, when there is room; None leaves 5 to 14 to chance.
        touching: Push about a third of the items against another one.
        textured_background: Lay them on wood, cloth or stone, not on a plain table.
    """
    rng = np.random.default_rng(seed)
    shape = (height, width)
    table_colour = choose_colour(rng)
    picture = bare_table(rng, shape, table_colour, textured=textured_background)
    wanted = int(rng.integers(5, 15)) if items is None else items
    masks = lay_down(rng, shape, wanted, touching=touching)

    picture *= shadows(rng, shape, masks)[..., None]
    for mask in masks:
        paint_item(rng, picture, mask, table_colour)
    picture *= light(rng, shape)
    image = photograph(rng, picture)

    visible = visible_parts(masks)
    return Scene(image, visible, tuple(tight_box(mask) for mask in visible))

"""What scenes of difficult goods are drawn with: shapes, colours, places, and the camera."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.scenes import Scene
from segpipe.scenes.item_layout import tight_box, visible_parts
from segpipe.scenes.painted_fields import Colour, Field, FullMask, Picture, Rng, hsv
from segpipe.scenes.painted_items import shading
from segpipe.scenes.table_and_light import bare_table, light, photograph, shadows
from segpipe.vision.image import RgbImage

Path = Sequence[tuple[float, float]] | NDArray[np.float64]
"""Places x, y along a line, pixels."""

SHAPE = (600, 800)
LIGHT_TABLE = hsv(40, 0.03, 0.88)
_SHIFT = 3
"""Places are drawn in eighths of a pixel."""


def take_photo(
    rng: Rng,
    masks: Sequence[FullMask],
    colours: Sequence[Colour | Picture],
    *,
    table: Colour = LIGHT_TABLE,
    wall: tuple[int, Colour] | None = None,
    dimmed: Field | None = None,
) -> Scene:
    """The goods on a table, later ones on top, each of one colour or with a surface of its own.

    Args:
        rng: Chooses the light, the shadows and the camera.
        masks: The goods.
        colours: Of each, one colour or a whole picture.
        table: Its colour.
        wall: The row at which a wall behind the table ends, and its colour.
        dimmed: The light that shadows leave, (h, w); soft ones without it.
    """
    picture = bare_table(rng, SHAPE, table, textured=False)
    if wall is not None:
        edge, colour = wall
        picture[:edge] = bare_table(rng, SHAPE, colour, textured=False)[:edge]
    picture *= (shadows(rng, SHAPE, masks) if dimmed is None else dimmed)[..., None]
    for mask, colour in zip(masks, colours, strict=True):
        shaded = np.broadcast_to(colour, picture.shape) * shading(rng, mask)[..., None]
        picture[mask] = shaded[mask]
    picture *= light(rng, SHAPE)
    visible = visible_parts(masks)
    return Scene(photograph(rng, picture), visible, tuple(tight_box(mask) for mask in visible))


def as_jpeg(image: RgbImage) -> RgbImage:
    """The picture as it comes out of a JPEG."""
    _, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB), np.uint8)


def dark_or_bright(rng: Rng) -> Colour:
    """A colour that stands out on a light table."""
    if rng.random() < 0.3:
        return hsv(rng.uniform(0, 360), 0.2, rng.uniform(0.12, 0.3))
    return hsv(rng.uniform(0, 360), rng.uniform(0.5, 0.9), rng.uniform(0.35, 0.7))


def gold(rng: Rng) -> Colour:
    return hsv(rng.uniform(35, 48), rng.uniform(0.6, 0.8), rng.uniform(0.5, 0.7))


def grid(rng: Rng, columns: int, rows: int) -> list[tuple[float, float]]:
    """A place for each item, moved a little by chance."""
    return [
        (
            (column + 0.5) / columns * SHAPE[1] + rng.uniform(-12, 12),
            (row + 0.5) / rows * SHAPE[0] + rng.uniform(-12, 12),
        )
        for row in range(rows)
        for column in range(columns)
    ]


def disc_or_box(rng: Rng, x: float, y: float) -> FullMask:
    """Something compact of a size by chance."""
    if rng.random() < 0.5:
        return disc(x, y, rng.uniform(50, 75))
    wide, high = rng.uniform(45, 70, 2)
    return turned(box(x - wide, y - high, x + wide, y + high), rng.uniform(0, 90), (x, y))


def ellipse(x: float, y: float, across: float, down: float) -> FullMask:
    bits = np.zeros(SHAPE, np.uint8)
    cx, cy, a, b = (round(place * (1 << _SHIFT)) for place in (x, y, across, down))
    points = cv2.ellipse2Poly((cx, cy), (a, b), 0, 0, 360, 2)
    cv2.fillPoly(bits, [np.array(points, np.int32)], (1,), shift=_SHIFT)
    return bits > 0


def disc(x: float, y: float, radius: float) -> FullMask:
    return ellipse(x, y, radius, radius)


def box(x1: float, y1: float, x2: float, y2: float) -> FullMask:
    bits = np.zeros(SHAPE, np.uint8)
    bits[max(0, round(y1)) : max(0, round(y2)), max(0, round(x1)) : max(0, round(x2))] = 1
    return bits > 0


def turned_box(x: float, y: float, size: tuple[float, float], degrees: float) -> FullMask:
    """A box of that width and height around (x, y), which may lie outside the photo."""
    bits = np.zeros(SHAPE, np.uint8)
    corners = cv2.boxPoints(((x, y), size, degrees))
    cv2.fillPoly(bits, [np.round(corners).astype(np.int32)], (1,))
    return bits > 0


def line(path: Path, width: float) -> FullMask:
    """A line of round ends and a width in pixels."""
    away = np.ones((SHAPE[0], SHAPE[1]), np.uint8)
    points = np.round(np.asarray(path, np.float64)).astype(np.int32)
    cv2.polylines(away, [points], False, (0,), 1)
    return np.asarray(cv2.distanceTransform(away, cv2.DIST_L2, 5) <= width / 2 - 0.3)


def outline_of(shape: FullMask, width: float) -> FullMask:
    """What of a shape is so near to its outline: a ring of that width in pixels."""
    inward = cv2.distanceTransform(shape.astype(np.uint8), cv2.DIST_L2, 5)
    return shape & np.asarray(inward <= width)


def turned(
    mask: FullMask, degrees: float, centre: tuple[float, float] = (400.0, 300.0)
) -> FullMask:
    turn = cv2.getRotationMatrix2D(centre, degrees, 1)
    grey = cv2.warpAffine(mask.astype(np.float32), turn, (SHAPE[1], SHAPE[0]))
    return np.asarray(grey > 0.5)

"""Scenes of several kinds of items, two of which differ in one thing only."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np

from segpipe.scenes.item_layout import lay_down, tight_box, visible_parts
from segpipe.scenes.painted_fields import (
    Colour,
    Field,
    FullMask,
    Picture,
    Rng,
    clouds,
    hsv,
    sharpened,
)
from segpipe.scenes.painted_items import shading
from segpipe.scenes.table_and_light import bare_table, choose_colour, light, photograph, shadows
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage

WANTED, LOOKALIKE = 0, 1
_REGULAR = ("stripes", "checker")
_PATTERNS = (*_REGULAR, "blotches")
_BYSTANDERS = 2
_SHARES = (0.32, 0.32, 0.18, 0.18)  # of the items, for each kind
_MIN_CONTRAST = 22.0  # Delta E to the table, and between a bystander and the wanted kind


class Difference(StrEnum):
    """The one thing in which the look-alike differs from the wanted kind."""

    COLOUR = "colour"
    HUE = "hue"
    LIGHTNESS = "lightness"
    PATTERN = "pattern"
    PERIOD = "period"
    PATTERN_OR_PLAIN = "pattern or plain"


@dataclass(frozen=True, slots=True, eq=False)
class LookalikeScene:
    """A picture of items of several kinds.

    Attributes:
        image: Shape (H, W, 3), RGB uint8.
        masks: What can be seen of each item, each (H, W) bool.
        boxes: The tight box of each mask.
        kinds: For each item its kind: WANTED, LOOKALIKE, or a bystander from 2 up.
    """

    image: RgbImage
    masks: tuple[FullMask, ...]
    boxes: tuple[Box, ...]
    kinds: tuple[int, ...]

    def of(self, kind: int) -> list[int]:
        """The items of a kind, the largest first."""
        chosen = [index for index, one in enumerate(self.kinds) if one == kind]
        return sorted(chosen, key=lambda index: -int(self.masks[index].sum()))


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """The surface that all items of a kind share; the period of its pattern is in pixels."""

    first: Colour
    second: Colour
    pattern: str
    period: float

    @property
    def mean(self) -> Colour:
        mean: Colour = (self.first + self.second) * np.float32(0.5)
        return mean


def make_lookalike_scene(
    seed: int,
    difference: Difference,
    *,
    width: int = 640,
    height: int = 480,
    items: int = 16,
    touching: bool = False,
) -> LookalikeScene:
    """Paint one scene; the same arguments give the same scene.

    Outlines, sizes, directions and the light on each item are left to chance whatever its kind:
    only the surface tells the kinds apart.

    Args:
        seed: Chooses everything that is left to chance.
        difference: What sets the look-alike apart from the wanted kind.
        width: Pixels of the picture.
        height: Pixels of the picture.
        items: How many to lay down, when there is room.
        touching: Push about a third of the items against another one.
    """
    rng = np.random.default_rng(seed)
    shape = (height, width)
    table_colour = choose_colour(rng)
    kinds = _choose_kinds(rng, difference, table_colour)
    picture = bare_table(rng, shape, table_colour, textured=False)
    masks = lay_down(rng, shape, items, touching=touching)
    dealt = rng.permutation(np.searchsorted(np.cumsum(_SHARES), _middles(len(masks))))

    picture *= shadows(rng, shape, masks)[..., None]
    for mask, kind in zip(masks, dealt, strict=True):
        _paint(rng, picture, mask, kinds[kind])
    picture *= light(rng, shape)
    visible = visible_parts(masks)
    return LookalikeScene(
        photograph(rng, picture),
        visible,
        tuple(tight_box(mask) for mask in visible),
        tuple(int(kind) for kind in dealt),
    )


def _middles(count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """As many numbers between 0 and 1, evenly spread."""
    return (np.arange(count) + 0.5) / max(count, 1)


def _choose_kinds(rng: Rng, difference: Difference, table_colour: Colour) -> list[_Kind]:
    while True:
        wanted = _any_kind(rng, difference)
        lookalike = _like(rng, wanted, difference)
        if all(_far(kind, table_colour) for kind in (wanted, lookalike)):
            break
    kinds = [wanted, lookalike]
    while len(kinds) < 2 + _BYSTANDERS:
        kind = _any_kind(rng, difference)
        if _far(kind, table_colour) and all(
            _delta_e(kind.mean, other.mean) > _MIN_CONTRAST for other in kinds
        ):
            kinds.append(kind)
    return kinds


def _any_kind(rng: Rng, difference: Difference) -> _Kind:
    hue, saturation, value = rng.uniform(0, 360), rng.uniform(0.45, 0.9), rng.uniform(0.45, 0.9)
    first = hsv(hue, saturation, value)
    # Lighter and darker of one hue: both colours keep their distance from another hue's.
    second = hsv(hue, saturation * rng.uniform(0.5, 0.9), value * rng.uniform(0.5, 0.7))
    pattern = str(rng.choice(_PATTERNS))
    if difference in (Difference.COLOUR, Difference.HUE, Difference.LIGHTNESS):
        pattern = str(rng.choice([*_PATTERNS, "plain"]))
    if difference is Difference.PERIOD:
        # An item shows a few blotches only: too few to tell how large they are.
        pattern = str(rng.choice(_REGULAR))
    return _Kind(first, second, pattern, rng.uniform(6, 9))


def _like(rng: Rng, kind: _Kind, difference: Difference) -> _Kind:
    match difference:
        case Difference.COLOUR:
            return _turned(kind, rng.uniform(80, 280))
        case Difference.HUE:
            return _turned(kind, rng.choice([-1, 1]) * rng.uniform(30, 45))
        case Difference.LIGHTNESS:
            factor = np.float32(rng.uniform(0.55, 0.65))
            return replace(kind, first=kind.first * factor, second=kind.second * factor)
        case Difference.PATTERN:
            others = [one for one in _PATTERNS if one != kind.pattern]
            return replace(kind, pattern=str(rng.choice(others)))
        case Difference.PERIOD:
            return replace(kind, period=kind.period * rng.uniform(2.0, 2.4))
        case Difference.PATTERN_OR_PLAIN:
            return replace(kind, first=kind.mean, second=kind.mean)


def _turned(kind: _Kind, degrees: float) -> _Kind:
    def turn(colour: Colour) -> Colour:
        hue, saturation, value = cv2.cvtColor(colour[None, None], cv2.COLOR_RGB2HSV)[0, 0]
        return hsv(hue + degrees, saturation, value)

    return replace(kind, first=turn(kind.first), second=turn(kind.second))


def _far(kind: _Kind, table_colour: Colour) -> bool:
    return all(
        _delta_e(colour, table_colour) > _MIN_CONTRAST for colour in (kind.first, kind.second)
    )


def _delta_e(a: Colour, b: Colour) -> float:
    lab = cv2.cvtColor(np.stack([a, b])[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))


def _paint(rng: Rng, picture: Picture, mask: FullMask, kind: _Kind) -> None:
    """Paint one item onto the picture, in place."""
    left, top, right, bottom = (int(edge) for edge in tight_box(mask))
    window = (slice(top, bottom), slice(left, right))
    inside = mask[window]
    amount = _pattern(rng, inside.shape, kind)[..., None]
    colour = kind.first * (1 - amount) + kind.second * amount
    surface = colour * shading(rng, inside)[..., None] * np.float32(rng.uniform(0.94, 1.06))
    picture[window][inside] = surface[inside]


def _pattern(rng: Rng, shape: tuple[int, ...], kind: _Kind) -> Field:
    """How much of the second colour shows, 0 to 1; one half on average but for plain ones."""
    size = (shape[0], shape[1])
    period, angle = kind.period * rng.uniform(0.92, 1.08), rng.uniform(0, np.pi)
    draw: dict[str, Callable[[], Field]] = {
        "plain": lambda: np.zeros(size, np.float32),
        "stripes": lambda: sharpened(_wave(rng, size, period, angle)),
        "checker": lambda: sharpened(
            _wave(rng, size, period, angle) * _wave(rng, size, period, angle + np.pi / 2)
        ),
        "blotches": lambda: sharpened(clouds(rng, size, period / 4)),
    }
    return draw[kind.pattern]()


def _wave(rng: Rng, shape: tuple[int, int], period: float, angle: float) -> Field:
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    along = x * np.cos(angle) + y * np.sin(angle)
    wave: Field = np.sin(2 * np.pi / period * along + rng.uniform(0, 2 * np.pi))
    return wave.astype(np.float32)

"""Outlines of items and where they lie."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.scenes.painted_fields import FullMask, Rng, polar
from segpipe.vision.boxes import Box

_PLACEMENT_TRIES = 60
_TOUCHING_CHANCE = 0.35
_CUT_BY_THE_EDGE_CHANCE = 0.08


def lay_down(rng: Rng, shape: tuple[int, int], wanted: int, *, touching: bool) -> list[FullMask]:
    """Outlines in the order in which they are laid down, each whole (later ones lie on top)."""
    placed: list[FullMask] = []
    taken = np.zeros(shape, np.uint8)
    for _ in range(wanted):
        outline = _outline(rng, shape)
        pushed = touching and placed and rng.random() < _TOUCHING_CHANCE
        mask = (
            _pushed_against(rng, outline, taken, placed)
            if pushed
            else _set_apart(rng, outline, taken)
        )
        if mask is not None:
            placed.append(mask)
            taken[mask] = 1
    return placed


def _outline(rng: Rng, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A small bitmap of one item, 0 or 1."""
    size = min(shape) * rng.uniform(0.07, 0.2) / 2
    stretch = rng.uniform(1.0, 2.2)
    long, short = size * np.sqrt(stretch), size / np.sqrt(stretch)
    kind = rng.choice(
        ["ellipse", "box", "polygon", "blob", "ring"], p=[0.28, 0.3, 0.18, 0.18, 0.06]
    )
    if kind == "ring":
        long = short = size
    points = _polar_points(rng, str(kind), long, short)
    cosine, sine = polar(rng, 1.0)
    points = points @ np.array([[cosine, sine], [-sine, cosine]])
    low = points.min(0) - 3
    extent = np.ceil(points.max(0) - low + 3).astype(int)
    bitmap = np.zeros((extent[1], extent[0]), np.uint8)
    cv2.fillPoly(bitmap, [np.round(points - low).astype(np.int32)], (1,))
    if kind in ("polygon", "box"):
        radius = max(1, int(short * rng.uniform(0.05, 0.3)))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        bitmap = np.asarray(cv2.morphologyEx(bitmap, cv2.MORPH_OPEN, disc), np.uint8)
    if kind == "ring":
        centre = (round(-low[0]), round(-low[1]))
        cv2.circle(bitmap, centre, int(size * rng.uniform(0.3, 0.6)), (0,), cv2.FILLED)
    return bitmap


def _polar_points(rng: Rng, kind: str, long: float, short: float) -> NDArray[np.float64]:
    """The outline around (0, 0), shape (n, 2)."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    if kind == "box":
        return np.array([[-long, -short], [long, -short], [long, short], [-long, short]])
    if kind == "polygon":
        angle = np.sort(np.linspace(0, 2 * np.pi, int(rng.integers(5, 9)), endpoint=False))
        angle = angle + rng.uniform(-0.25, 0.25, len(angle))
    radius = np.ones_like(angle)
    if kind == "blob":
        for wave in (2, 3, 4, 5):
            radius = radius + rng.uniform(0, 0.3 / wave) * np.cos(
                wave * angle + rng.uniform(0, 6.3)
            )
    return np.stack([long * radius * np.cos(angle), short * radius * np.sin(angle)], axis=1)


def _set_apart(rng: Rng, outline: NDArray[np.uint8], taken: NDArray[np.uint8]) -> FullMask | None:
    """Put the outline where there is some room around it; None when no such place was found."""
    height, width = taken.shape
    h, w = outline.shape
    gap = int(rng.integers(6, 30))
    for _ in range(_PLACEMENT_TRIES):
        # A few items are cut by the edge of the photo, as happens.
        margin = -0.3 if rng.random() < _CUT_BY_THE_EDGE_CHANCE else 0.02
        x = int(rng.uniform(margin * w, width - w - margin * w))
        y = int(rng.uniform(margin * h, height - h - margin * h))
        around = taken[max(0, y - gap) : max(0, y + h + gap), max(0, x - gap) : max(0, x + w + gap)]
        if not around.any():
            return _at(outline, x, y, taken.shape)
    return None


def _pushed_against(
    rng: Rng, outline: NDArray[np.uint8], taken: NDArray[np.uint8], placed: Sequence[FullMask]
) -> FullMask | None:
    """Slide the outline toward an item that lies there until the two just touch."""
    height, width = taken.shape
    h, w = outline.shape
    for _ in range(_PLACEMENT_TRIES):
        target = placed[int(rng.integers(len(placed)))]
        box = tight_box(target)
        middle_x, middle_y = (box.x1 + box.x2 - w) / 2, (box.y1 + box.y2 - h) / 2
        along_x, along_y = polar(rng, 1.0)
        far = int(np.hypot(box.x2 - box.x1 + w, box.y2 - box.y1 + h) / 2)
        was_free = False
        for distance in range(far, 0, -1):
            x, y = round(middle_x + distance * along_x), round(middle_y + distance * along_y)
            if not (0 <= x <= width - w and 0 <= y <= height - h):
                continue
            window = (slice(y, y + h), slice(x, x + w))
            is_free = not np.any(taken[window] & outline)
            # Stop one pixel after the gap has closed, so that no sliver of table is left.
            if was_free and not is_free and np.any(target[window] & outline):
                return _at(outline, x, y, taken.shape)
            if not is_free:
                break
            was_free = True
    return None


def _at(outline: NDArray[np.uint8], x: int, y: int, shape: tuple[int, int]) -> FullMask:
    """The outline with its corner at (x, y) of a full image, cut at the image's edge."""
    full = np.zeros(shape, np.bool_)
    top, left = max(0, y), max(0, x)
    bottom, right = min(shape[0], y + outline.shape[0]), min(shape[1], x + outline.shape[1])
    full[top:bottom, left:right] = outline[top - y : bottom - y, left - x : right - x]
    return full


def visible_parts(masks: Sequence[FullMask]) -> tuple[FullMask, ...]:
    """What of each outline no later one lies on."""
    hidden = np.zeros(masks[0].shape if masks else (0, 0), np.bool_)
    visible: list[FullMask] = []
    for mask in reversed(masks):
        visible.append(mask & ~hidden)
        hidden |= mask
    return tuple(reversed(visible))


def tight_box(mask: FullMask) -> Box:
    """The smallest box around a mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))

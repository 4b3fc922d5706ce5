"""Masks to SVG paths and back: ``python -m benchmarks.contour``.

A blob of 2000 x 1500 pixels with holes is traced and filled again, at a few tolerances. Beside it
OpenCV alone, without text: its outline, which runs through the centres of pixels, not along their
edges, and its fill, which adds the pixels that an outline touches.
"""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.timing import median_seconds
from segpipe.vision.boxes import Box
from segpipe.vision.contour import DEFAULT_TOLERANCE_PX, mask_to_path
from segpipe.vision.mask import Mask, iou
from segpipe.vision.path_fill import path_to_mask

WIDTH, HEIGHT = 2000, 1500
HOLES = 6
CORNERS = 500
TOLERANCES_PX = (0.0, 0.1, DEFAULT_TOLERANCE_PX, 0.5, 1.0)
OPENCV_TOLERANCE_PX = 1.0
ROUNDS = 25
TRACE_TARGET_MS, FILL_TARGET_MS, IOU_TARGET = 10, 20, 0.995

Polygons = list[NDArray[np.int32]]


def blob() -> Mask:
    """A bumpy ellipse with tilted holes."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    radius = 0.42 + 0.03 * np.sin(3 * angles) + 0.01 * np.sin(11 * angles)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    outline = np.array([WIDTH, HEIGHT]) * (0.5 + radius[:, None] * circle)
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(full, [outline.round().astype(np.int32)], (1,))
    for _ in range(HOLES):
        centre = (int(rng.uniform(0.3, 0.7) * WIDTH), int(rng.uniform(0.3, 0.7) * HEIGHT))
        axes = (int(rng.uniform(0.02, 0.08) * WIDTH), int(rng.uniform(0.02, 0.08) * HEIGHT))
        cv2.ellipse(full, centre, axes, rng.uniform(0, 180), 0, 360, (0,), cv2.FILLED)
    return Mask.from_full(full)


def opencv_trace(mask: Mask) -> Polygons:
    contours, _ = cv2.findContours(mask.bits, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return [
        np.asarray(cv2.approxPolyDP(contour, OPENCV_TOLERANCE_PX, closed=True), np.int32)
        for contour in contours
    ]


def opencv_fill(mask: Mask, polygons: Polygons) -> Mask:
    bits = np.zeros_like(mask.bits)
    cv2.fillPoly(bits, polygons, (1,))
    return Mask(mask.x, mask.y, bits, mask.image_width, mask.image_height)


def fill(path: str, mask: Mask) -> Mask:
    return path_to_mask(
        path,
        mask.box or Box(0, 0, 1, 1),
        image_width=mask.image_width,
        image_height=mask.image_height,
    )


def table(mask: Mask) -> Table:
    paths = {tolerance: mask_to_path(mask, tolerance_px=tolerance) for tolerance in TOLERANCES_PX}
    polygons = opencv_trace(mask)
    tasks: dict[str, Callable[[], object]] = {
        "trace": partial(opencv_trace, mask),
        "fill": partial(opencv_fill, mask, polygons),
    }
    for tolerance, path in paths.items():
        tasks[f"trace {tolerance}"] = partial(mask_to_path, mask, tolerance_px=tolerance)
        tasks[f"fill {tolerance}"] = partial(fill, path, mask)
    times = median_seconds(tasks, rounds=ROUNDS)

    made = Table("", title=f"{WIDTH} x {HEIGHT}, {HOLES} holes", title_justify="left")
    for heading in ("ms to trace", "ms to fill", "characters", "corners", "IoU"):
        made.add_column(heading, justify="right")
    opencv_row = f"opencv, {OPENCV_TOLERANCE_PX} px"
    made.add_row("required", f"{TRACE_TARGET_MS}", f"{FILL_TARGET_MS}", "", "", f"{IOU_TARGET}")
    rows = {opencv_row: ("", "-", sum(map(len, polygons)), opencv_fill(mask, polygons))}
    for tolerance, path in paths.items():
        corners = path.count("M") + path.count("L")
        rows[f"segpipe, {tolerance} px"] = (
            f" {tolerance}",
            f"{len(path)}",
            corners,
            fill(path, mask),
        )
    for name, (task, characters, corners, back) in rows.items():
        made.add_row(
            name,
            f"{1000 * times[f'trace{task}']:.1f}",
            f"{1000 * times[f'fill{task}']:.1f}",
            characters,
            f"{corners}",
            f"{iou(mask, back):.5f}",
        )
    return made


def main() -> None:
    console = Console()
    console.print(table(blob()))
    console.print(f"The default is {DEFAULT_TOLERANCE_PX} px.")


if __name__ == "__main__":
    main()

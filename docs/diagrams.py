"""Draws the diagrams of the documentation as SVG: ``python -m docs.diagrams``."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

FOLDER: Final = Path(__file__).parent / "pictures"
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
INK, SOFT, LINE = "#1f2433", "#667085", "#98a2b3"
BLUE, AMBER, GREEN, PLAIN = "#e8ecfd", "#fff3d6", "#e3f5ea", "#f2f4f7"
BORDERS: Final = {BLUE: "#6172f3", AMBER: "#f0a300", GREEN: "#3aa76d", PLAIN: "#98a2b3"}

Point = tuple[float, float]


@dataclass(frozen=True)
class Card:
    """A named box of a diagram.

    Attributes:
        title: Its name.
        note: What it holds, one line each.
        left: Its left edge, pixels.
        top: Its upper edge, pixels.
        fill: Its colour.
        width: Pixels.
        height: Pixels.
    """

    title: str
    note: tuple[str, ...]
    left: float
    top: float
    fill: str = BLUE
    width: float = 150
    height: float = 78

    @property
    def west(self) -> Point:
        """The middle of its left edge."""
        return self.left, self.top + self.height / 2

    @property
    def east(self) -> Point:
        """The middle of its right edge."""
        return self.left + self.width, self.top + self.height / 2

    def svg(self) -> Iterator[str]:
        """Its drawing."""
        yield (
            f'<rect x="{self.left}" y="{self.top}" width="{self.width}" height="{self.height}" '
            f'rx="10" fill="{self.fill}" stroke="{BORDERS[self.fill]}" stroke-width="1.5"/>'
        )
        middle = self.left + self.width / 2
        first = self.top + self.height / 2 - 8.5 * len(self.note) + 5
        yield _text(self.title, (middle, first), size=15, weight=600)
        for row, line in enumerate(self.note, start=1):
            yield _text(line, (middle, first + 1 + 17 * row), size=12.5, colour=SOFT)


def stages() -> str:
    """The way of the data through the assets of a mode."""
    photos = Card("deal_photos", ("observed",), 24, 40, PLAIN, 130, 64)
    prompts = Card("deal_prompts", ("observed",), 24, 124, PLAIN, 130, 64)
    segmentation = Card("segmentation", ("raw detections", "and masks"), 196, 75)
    dedup = Card("dedup", ("kept, and why", "others are not"), 380, 75)
    refinement = Card("refinement", ("coarse and refined", "masks, outlines"), 564, 75)
    crops = Card("crops", ("cut-outs",), 748, 30, GREEN)
    coco = Card("coco", ("COCO JSON",), 748, 130, GREEN)
    report = Card("deal_report", ("contact sheet,", "previews"), 932, 30, GREEN)
    arrows = [
        _elbow(photos.east, segmentation.west),
        _elbow(prompts.east, segmentation.west),
        _elbow(segmentation.east, dedup.west),
        _elbow(dedup.east, refinement.west),
        _elbow(refinement.east, crops.west),
        _elbow(refinement.east, coco.west),
        _elbow(crops.east, report.west),
    ]
    cards = [photos, prompts, segmentation, dedup, refinement, crops, coco, report]
    return _picture(1106, 232, cards, arrows, "From photos and prompts to crops, COCO and a report")


def promotion() -> str:
    """How a version becomes the current one."""
    stage = Card("1  stage", ("files where they", "will stay"), 24, 62, AMBER)
    manifest = Card("2  manifest.json", ("sizes and sha256,", "synced"), 208, 62, AMBER)
    commit = Card("3  next commit", ("if there is none", "of that name"), 392, 62, GREEN)
    commits = Card(
        "commits", ("…0006.json", "…0007.json  current"), 596, 46, GREEN, width=190, height=110
    )
    reader = Card("reader", ("takes the highest", "commit once"), 840, 30, PLAIN)
    versions = Card("versions", ("read only what", "the commit names"), 840, 132, BLUE)
    arrows = [
        _elbow(stage.east, manifest.west),
        _elbow(manifest.east, commit.west),
        _elbow(commit.east, commits.west),
        _elbow(reader.west, (commits.east[0], commits.east[1] - 22)),
        _elbow((commits.east[0], commits.east[1] + 22), versions.west),
    ]
    cards = [stage, manifest, commit, commits, reader, versions]
    return _picture(1014, 240, cards, arrows, "How a version is promoted, and how it is read")


def draw_all(folder: Path = FOLDER) -> list[Path]:
    """Draw every diagram into a folder, and give their paths."""
    paths = []
    for diagram in (stages, promotion):
        path = folder / f"{diagram.__name__}.svg"
        path.write_text(diagram(), encoding="utf-8")
        paths.append(path)
    return paths


def _picture(
    width: int, height: int, cards: Sequence[Card], arrows: Sequence[str], title: str
) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="{FONT}">'
    )
    marker = (
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="{LINE}"/>'
        "</marker></defs>"
    )
    ground = f'<rect width="{width}" height="{height}" rx="16" fill="#ffffff"/>'
    drawn = [line for card in cards for line in card.svg()]
    parts = [head, f"<title>{escape(title)}</title>", marker, ground, *arrows, *drawn, "</svg>"]
    return "\n".join(parts) + "\n"


def _elbow(start: Point, end: Point) -> str:
    """An arrow that leaves and arrives level."""
    (x1, y1), (x2, y2) = start, end
    middle = (x1 + x2) / 2
    return (
        f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}" fill="none" '
        f'stroke="{LINE}" stroke-width="1.8" marker-end="url(#tip)"/>'
    )


def _text(text: str, place: Point, *, size: float, weight: int = 400, colour: str = INK) -> str:
    x, y = place
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="middle">{escape(text)}</text>'
    )


if __name__ == "__main__":
    for drawn in draw_all():
        sys.stdout.write(f"{drawn}\n")

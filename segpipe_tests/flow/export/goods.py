"""Deals with items of every kind: labelled, of two parts, with a hole, and a box without a mask."""

import asyncio
from pathlib import Path

import cv2
import numpy as np

from segpipe.detection import Detection, PassStats, SegmentationResult
from segpipe.errors import SegpipeError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.export.deals import export_deals
from segpipe.flow.export.task import ExportFormat, ExportReport, ExportTask, Images
from segpipe.flow.settings import CocoMasks
from segpipe.prompt import Prompt
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_png
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe_tests.goods import BrightSegmenter, goods_image, make_tools, put_photos

WIDTH, HEIGHT = 400, 300


def blob(x: int, y: int, radius: int, seed: int = 0) -> Mask:
    """A bumpy disc."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    radii = radius * (1 + 0.1 * np.sin(5 * angles + rng.uniform(0, 6)))
    corners = np.column_stack([x + radii * np.cos(angles), y + radii * np.sin(angles)])
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(full, [corners.round().astype(np.int32)], (1,))
    return Mask.from_full(full)


def union(*masks: Mask) -> Mask:
    return Mask.from_full(np.logical_or.reduce([mask.to_full() for mask in masks]))


def holed(mask: Mask, hole: Mask) -> Mask:
    return Mask.from_full(mask.to_full() & ~hole.to_full() & 1)


RING = holed(blob(300, 80, 50), blob(300, 80, 20))
PAIR = union(blob(60, 220, 30), blob(150, 230, 25), blob(110, 150, 20))
DISC = blob(80, 70, 55)
BOX = Box(220.5, 180, 380, 290.25)
DETECTIONS = (
    Detection(DISC.box or BOX, 0.9, "coin", DISC),
    Detection(RING.box or BOX, 0.8, "ring", RING),
    Detection(PAIR.box or BOX, 0.7, "earring", PAIR),
    Detection(BOX, 0.6),
)


class FixedSegmenter(BrightSegmenter):
    """Finds the same in every photo of a size, and nothing in others."""

    async def segment(self, image: RgbImage, prompt: Prompt) -> SegmentationResult:
        height, width = image.shape[:2]
        found = DETECTIONS if (width, height) == (WIDTH, HEIGHT) else ()
        stats = PassStats(len(found), len(found), 1.0, "one pass")
        return SegmentationResult(found, width, height, self.id, 1.0, (stats,))


def photo_of(items: bool, tint: int = 0) -> bytes:
    image = goods_image(0, width=WIDTH if items else 100, height=HEIGHT)
    image[0, 0] = tint
    return encode_png(image)


def run_deal(root: Path, deal: str, names: tuple[str, ...] = ("a.png", "b.png")) -> DealStore:
    """A promoted deal; the photos whose name begins with "empty" have nothing in them."""
    photos = {name: photo_of(not name.startswith("empty"), tint) for tint, name in enumerate(names)}
    put_photos(root, deal, photos)
    store = DealStore(root)
    task = DealTask(deal, f"run-{deal[:8]}")
    asyncio.run(process_deal(store, task, make_tools(FixedSegmenter())))
    return store


class Told:
    """What an export told of its progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def deal_started(self, deal: str, photos: int) -> None:
        self.lines.append(f"{deal}: {photos} photos")

    def photo_done(self, deal: str, file_name: str) -> None:
        self.lines.append(f"{deal}/{file_name}")

    def deal_done(self, deal: str) -> None:
        self.lines.append(f"{deal} done")

    def deal_left_out(self, deal: str, reason: SegpipeError) -> None:
        self.lines.append(f"{deal} left out: {reason}")


def export(
    store: DealStore,
    file_format: ExportFormat,
    out: Path,
    *,
    deals: tuple[str, ...] | None = None,
    images: Images = Images.COPY,
    masks: CocoMasks = CocoMasks.RLE,
    overwrite: bool = False,
    told: Told | None = None,
) -> ExportReport:
    task = ExportTask(file_format, out, images=images, masks=masks, overwrite=overwrite)
    return export_deals(store, deals or store.deals(), task, told or Told())


def tree(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())

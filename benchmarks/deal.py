"""12 MP photos of 100 detections, from disk to promoted crops: ``python -m benchmarks.deal``.

A segmenter that knows its answer stands in for the model, so what is timed is all the rest. It is
held against a floor, what nobody can leave out: one decode and the encoding of the crops, by the
very functions that segpipe uses, the fastest that it could use (``benchmarks.decode`` and
``benchmarks.encode``), with a thread for each core, as segpipe has them. And against the obvious
way: every mask a full-image PNG in base64, decoded anew by each stage, and crops by Pillow. The
obvious way promotes and syncs nothing, and looks at masks only where boxes meet.
"""

import asyncio
import base64
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.memory import measure_memory
from benchmarks.photos import SIZE_PX, jpeg, photo
from benchmarks.timing import median_seconds, median_times, ratio_table
from segpipe.detection import Detection, PassStats, SegmentationResult, Thresholds
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.run_settings import FlowSettings, RunSettings
from segpipe.flow.stages.crop_settings import CropSettings, CropsLayout
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.flow.tools import Tools
from segpipe.prompt import Prompt
from segpipe.refiners.refiner import NoneConfig, NoneRefiner
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.segmenter import Segmenter
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.crop import crop_item
from segpipe.vision.dedup import DEFAULT_CONTAINMENT_THRESHOLD, DEFAULT_IOU_THRESHOLD, dedup
from segpipe.vision.encode import encode_png
from segpipe.vision.image import RgbImage, decode_image
from segpipe.vision.mask import Mask

DEAL, PHOTO = "lot", "photo.jpg"
COLUMNS, ROWS = 10, 6
ITEM_SIDES_PX = (150, 380)
DOUBLES, PARTS = 20, 20
CORNERS = 90
MOST_BUMPS = 6

MANY, PHOTOS = "many", 40
ROUNDS, OBVIOUS_ROUNDS, DEAL_ROUNDS = 15, 3, 3
CROPS_TARGETS, REPORT_TARGET, DEAL_TARGET = (1.5, 1.6), 1.8, 1.5
OBVIOUS_TARGET, MEMORY_TARGET = 20, 10

FLOOR = "floor"
FLOOR_ON_ONE_CORE = "floor, encoding on one core"
TO_CROPS = frozenset({"segmentation", "dedup", "refinement", "review", "crops"})
TO_REPORT = TO_CROPS | {"deal_report"}
CROPS = "segmentation to crops"
ALL = "with COCO and report"
OBVIOUS = "obvious"

Bitmap = NDArray[np.uint8]
"""Shape (H, W) of the photo, 0 or 255."""


# The scene


def detections() -> tuple[Detection, ...]:
    """One hundred items: sixty apart from each other, and doubles and parts of some of them."""
    rng = np.random.default_rng(0)
    width, height = SIZE_PX
    cell = np.array([width / COLUMNS, height / ROWS])
    items = []
    for row, column in np.ndindex(ROWS, COLUMNS):
        radii = rng.uniform(*ITEM_SIDES_PX, 2) / 2
        items.append(_item(rng, cell * (column + 0.5, row + 0.5), radii))
    found = [_detection(outline, rng.uniform(0.7, 1.0)) for outline in items]
    doubles = [outline + rng.uniform(-4, 4, 2) for outline in items[:DOUBLES]]
    middles = [outline.mean(axis=0) for outline in items[-PARTS:]]
    parts = [
        middle + 0.6 * (outline - middle)
        for middle, outline in zip(middles, items[-PARTS:], strict=True)
    ]
    found += [_detection(outline, rng.uniform(0.3, 0.7)) for outline in doubles + parts]
    return tuple(found)


def _item(
    rng: np.random.Generator, centre: NDArray[np.float64], radii: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The outline of a bumpy, tilted ellipse, (n, 2)."""
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    bumps = 0.94 + 0.06 * np.sin(angles * rng.integers(2, MOST_BUMPS) + rng.uniform(0, np.pi))
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    return np.asarray(centre + radii * bumps[:, None] * circle)


def _detection(outline: NDArray[np.float64], score: float) -> Detection:
    full = np.zeros(SIZE_PX[::-1], np.uint8)
    cv2.fillPoly(full, [outline.round().astype(np.int32)], (1,))
    mask = Mask.from_full(full)
    assert mask.box is not None
    return Detection(mask.box, score, mask=mask)


class KnowingSegmenter(Segmenter):
    """Gives an answer that it had before."""

    id = "knowing"
    concurrency = 2

    def __init__(self, found: tuple[Detection, ...]) -> None:
        self._found = found

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        height, width = image.shape[:2]
        stats = PassStats(len(self._found), len(self._found), 0.0)
        for item in self._found:  # what a mask remembers of itself must not outlast a run
            object.__setattr__(item.mask, "_tight", None)
            object.__setattr__(item.mask, "_packed", None)
        return SegmentationResult(self._found, width, height, self.id, 0.0, (stats,))

    async def aclose(self) -> None:
        pass


def put_photos(root: Path, deal: str, photos: int) -> None:
    """A deal of so many times the same photo."""
    folder = root / "deals" / deal / "images"
    folder.mkdir(parents=True)
    data = jpeg(photo())
    for number in range(photos):
        name = PHOTO if photos == 1 else f"{number:02}.jpg"
        (folder / name).write_bytes(data)


def photo_file(root: Path) -> Path:
    return root / "deals" / DEAL / "images" / PHOTO


# The ways


def prepare_segpipe(
    root: Path,
    stages: frozenset[str] = STAGES.names,
    *,
    layout: CropsLayout | None = None,
    deal: str = DEAL,
) -> Callable[[], object]:
    """The deal through the stages, promoted."""
    store = DealStore(root)
    flow = FlowSettings(crops=CropSettings(layout=layout))
    settings = RunSettings(ClassicalConfig(), NoneConfig(), flow)
    tools = Tools(KnowingSegmenter(detections()), NoneRefiner(), settings)

    def run() -> object:
        task = DealTask(deal, uuid.uuid4().hex, stages=stages)
        return asyncio.run(process_deal(store, task, tools))

    return run


def prepare_floor(root: Path, threads: int, *, photos: int = 1) -> Callable[[], object]:
    """For each photo a decode, and the encoding of crops that lie ready, on so many threads."""
    found = detections()
    boxes = np.array([item.box for item in found])
    scores = np.array([item.score for item in found])
    kept = dedup(boxes, scores, [item.mask for item in found]).kept_indices
    encoded = photo_file(root).read_bytes()
    rgb = decode_image(encoded).rgb
    crops = [crop_item(rgb, found[i].box, found[i].mask).pixels for i in kept]
    pool = ThreadPoolExecutor(threads)

    def run() -> object:
        for _ in range(photos):
            decode_image(encoded)
            list(pool.map(encode_png, crops))
        return None

    return run


class Found(NamedTuple):
    """What the obvious way hands from stage to stage."""

    box: Box
    score: float
    mask_base64: str


def prepare_obvious(root: Path) -> Callable[[], object]:
    """The obvious way, its crops and its JSON written once more in each run."""
    answer = detections()
    output = root / "obvious"
    output.mkdir(exist_ok=True)

    def run() -> object:
        found = obvious_segmentation(root, answer)
        kept = obvious_dedup(found)
        survivors = obvious_refinement([found[index] for index in kept])
        obvious_crops(root, survivors, output)
        (output / "deal.json").write_text(json.dumps({"found": found, "kept": kept}))
        return survivors

    return run


def obvious_segmentation(root: Path, answer: Sequence[Detection]) -> list[Found]:
    with Image.open(photo_file(root)) as opened:
        opened.load()  # the model sees the photo
    found = []
    for item in answer:
        assert item.mask is not None
        full = item.mask.to_full() * np.uint8(255)
        found.append(Found(item.box, item.score, to_base64(full)))
    return found


def obvious_dedup(found: Sequence[Found]) -> list[int]:
    masks = [from_base64(item.mask_base64) for item in found]
    kept: list[int] = []
    for index in sorted(range(len(found)), key=lambda index: -found[index].score):
        if not any(_is_same(found, masks, index, better) for better in kept):
            kept.append(index)
    return sorted(kept)


def _is_same(found: Sequence[Found], masks: Sequence[Bitmap], one: int, other: int) -> bool:
    a, b = found[one].box, found[other].box
    if a.x1 >= b.x2 or b.x1 >= a.x2 or a.y1 >= b.y2 or b.y1 >= a.y2:
        return False
    shared = np.count_nonzero(masks[one] & masks[other])
    areas = np.count_nonzero(masks[one]), np.count_nonzero(masks[other])
    iou, containment = shared / (sum(areas) - shared), shared / min(areas)
    return bool(iou > DEFAULT_IOU_THRESHOLD or containment > DEFAULT_CONTAINMENT_THRESHOLD)


def obvious_refinement(survivors: Sequence[Found]) -> list[Found]:
    masks = [from_base64(item.mask_base64) for item in survivors]
    assert all(mask.any() for mask in masks)  # a refiner looks at them, and keeps them all
    return list(survivors)


def obvious_crops(root: Path, survivors: Sequence[Found], output: Path) -> None:
    with Image.open(photo_file(root)) as opened:
        image = opened.convert("RGBA")
    for index, item in enumerate(survivors):
        image.putalpha(Image.fromarray(from_base64(item.mask_base64)))
        crop = image.crop(item.box)
        crop.save(output / f"{index:04d}.png")


def to_base64(mask: Bitmap) -> str:
    return base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()


def from_base64(text: str) -> Bitmap:
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


# The tables


def above_the_floor(root: Path) -> Table:
    """A photo through the stages, with its crops in one tar and as files."""
    tar, files = CropsLayout.TAR, CropsLayout.FILES
    tasks = {
        FLOOR: prepare_floor(root, os.cpu_count() or 1),
        FLOOR_ON_ONE_CORE: prepare_floor(root, 1),
        f"{CROPS}, tar": prepare_segpipe(root, TO_CROPS, layout=tar),
        f"{CROPS}, files": prepare_segpipe(root, TO_CROPS, layout=files),
        f"{CROPS} and report, tar": prepare_segpipe(root, TO_REPORT, layout=tar),
        f"{ALL}, tar": prepare_segpipe(root, layout=tar),
        f"{ALL}, files": prepare_segpipe(root, layout=files),
    }
    title = f"one photo: crops {CROPS_TARGETS[0]} x the floor, CPU {CROPS_TARGETS[1]} x, "
    title += f"with the report {REPORT_TARGET} x"
    return ratio_table(title, median_times(tasks, rounds=ROUNDS), to=FLOOR)


def deal_above_the_floor(root: Path) -> Table:
    """A deal of many photos, held against as many floors."""
    put_photos(root, MANY, PHOTOS)
    tasks = {FLOOR: prepare_floor(root, os.cpu_count() or 1, photos=PHOTOS)}
    for layout in CropsLayout:
        tasks[f"{CROPS}, {layout}"] = prepare_segpipe(root, TO_CROPS, layout=layout, deal=MANY)
    title = f"{PHOTOS} photos: CPU {DEAL_TARGET} x that of {PHOTOS} floors"
    return ratio_table(title, median_times(tasks, rounds=DEAL_ROUNDS), to=FLOOR)


def below_the_obvious(root: Path) -> Table:
    ways = {ALL: partial(prepare_segpipe, root), OBVIOUS: partial(prepare_obvious, root)}
    seconds = median_seconds(
        {name: prepare() for name, prepare in ways.items()}, rounds=OBVIOUS_ROUNDS
    )
    memory = {name: measure_memory(prepare) for name, prepare in ways.items()}
    table = Table(
        *("", "ms", "times slower", "MiB taken", "times more", "MiB in all"),
        title=f"at least {OBVIOUS_TARGET} x faster, and {MEMORY_TARGET} x less memory",
    )
    for name in ways:
        table.add_row(
            name,
            f"{1000 * seconds[name]:.0f}",
            f"{seconds[name] / seconds[ALL]:.1f}",
            f"{memory[name].task:.0f}",
            f"{memory[name].task / memory[ALL].task:.1f}",
            f"{memory[name].peak:.0f}",
        )
    return table


def main() -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        put_photos(root, DEAL, 1)
        console.print(above_the_floor(root))
        console.print(deal_above_the_floor(root))
        console.print(below_the_obvious(root))


if __name__ == "__main__":
    main()

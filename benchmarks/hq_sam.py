"""The refining loop of HQ-SAM without the model: ``python -m benchmarks.hq_sam``.

30 items on a 12 MP photo are refined by a stand-in that answers at once, so that what is timed is
all that comes on top of the model: prompts, answers scaled up, cleaning, tracing. The same steps on
the full canvas are beside it. Then: how much better the loop makes degraded masks of synthetic
scenes, with an oracle that answers from the truth with noise; and, where there is CUDA, HQ-SAM and
SAM 3's tracker of random weights, all objects in batches beside one at a time.
"""

import platform
import statistics
import time
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers.models.sam3_tracker.configuration_sam3_tracker import Sam3TrackerConfig
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel
from transformers.models.sam_hq.configuration_sam_hq import SamHQConfig
from transformers.models.sam_hq.modeling_sam_hq import SamHQModel

from segpipe.refiners.loop.hq_sam import HqSamModel
from segpipe.refiners.loop.loop_item import clean
from segpipe.refiners.loop.loop_settings import LoopSettings
from segpipe.refiners.loop.mask_decoder import Candidates
from segpipe.refiners.loop.mask_loop import refine_masks
from segpipe.refiners.loop.mask_prompts import Logits, mask_prompts
from segpipe.refiners.loop.sam3_tracker import TrackerModel
from segpipe.refiners.loop.sam_decoder import SamDecoder
from segpipe.refiners.loop.square_view import Fit, Square, SquarePrompt
from segpipe.vision.canvas import shrink
from segpipe.vision.contour import mask_to_path
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe_tests.refiners.loop.degrade import DEGRADATIONS
from segpipe_tests.refiners.loop.oracle import Oracle
from segpipe_tests.refiners.loop.quality import change_by_loop

WIDTH, HEIGHT = 4000, 3000
OBJECTS = 30
SIDE, LOW = 1024, 256
ROUNDS = 7
MAX_MS_AN_OBJECT = 15
OBJECTS_PER_BATCH, CROPS_PER_BATCH = 16, 8
CANVAS_OBJECTS = 2
WAVES = 7
SCENES = range(3)
Embed = Literal["image", "crop"]
MODES: tuple[Embed, ...] = ("image", "crop")
VIT_L = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "global_attn_indexes": [5, 11, 17, 23],
}


class Instant:
    """Answers at once: the prompt's own mask with an edge that moves from answer to answer.

    It would else end the loop early, as the same answer again does.
    """

    square = Square(SIDE, LOW, Fit.PAD)

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        noise = rng.standard_normal((WAVES, LOW, LOW)).astype(np.float32)
        self._waves = [40 * cv2.GaussianBlur(one, (0, 0), 3) for one in noise]
        self._calls = 0
        self.seconds = 0.0

    def embed(self, views: Sequence[RgbImage]) -> Sequence[RgbImage]:
        return [shrink(view, *self.square.size_of(view.shape[1], view.shape[0])) for view in views]

    def decode(
        self, embeddings: Sequence[RgbImage], prompts: Sequence[SquarePrompt]
    ) -> Sequence[Candidates]:
        started = time.perf_counter()
        self._calls += 1
        waves = self._waves[self._calls % WAVES]
        ious = np.array([0.9], np.float32)
        answers = [Candidates(_softened(prompt.logits, waves)[None], ious) for prompt in prompts]
        self.seconds += time.perf_counter() - started
        return answers


def _softened(logits: Logits, waves: Logits) -> Logits:
    return np.asarray(cv2.GaussianBlur(logits, (0, 0), 2) + waves, np.float32)


def items(count: int = OBJECTS) -> list[Mask]:
    """Blobs of 300 to 700 pixels, some with a hole."""
    rng = np.random.default_rng(1)
    masks = []
    for number in range(count):
        full = np.zeros((HEIGHT, WIDTH), np.uint8)
        centre = 350 + 650 * (number % 6), 300 + 580 * (number // 6)
        axes = int(rng.integers(150, 350)), int(rng.integers(150, 280))
        cv2.ellipse(full, centre, axes, float(rng.uniform(0, 180)), 0, 360, (1,), cv2.FILLED)
        if number % 3 == 0:
            cv2.circle(full, centre, 50, (0,), cv2.FILLED)
        masks.append(Mask.from_full(full))
    return masks


def on_canvas(image: RgbImage, masks: Sequence[Mask], settings: LoopSettings) -> None:
    """The same steps on bitmaps of the whole image."""
    noise = np.random.default_rng(0).standard_normal((LOW, LOW)).astype(np.float32)
    waves = 40 * cv2.GaussianBlur(noise, (0, 0), 3)
    for mask in masks:
        bits = mask.to_full()
        for _ in range(settings.iterations):
            prompts = mask_prompts(bits, gamma=settings.gamma, strength=settings.strength)
            low: Logits = np.asarray(
                cv2.resize(prompts.logits, (LOW, LOW), interpolation=cv2.INTER_AREA), np.float32
            )
            answer = cv2.resize(low + waves, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
            bits = (answer > 0).astype(np.uint8)
        cleaned = clean(bits, settings.max_flaw_ratio)
        mask_to_path(Mask(0, 0, cleaned, WIDTH, HEIGHT))


def traced(image: RgbImage, masks: Sequence[Mask], model: Instant, embed: Embed) -> None:
    """All that a deal does to one photo's masks: the loop, and an outline of each."""
    for refinement in refine_masks(image, masks, model, LoopSettings(embed=embed)):
        mask_to_path(refinement.mask)


def overhead(console: Console) -> None:
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    masks = items()
    table = Table("", title=f"{OBJECTS} objects, {WIDTH} x {HEIGHT}, 6 iterations, no model")
    for heading in ("ms an object", "required"):
        table.add_column(heading, justify="right")
    model = Instant()
    for embed in MODES:
        seconds = [net_seconds(image, masks, model, embed) for _ in range(ROUNDS)]
        each = 1000 * statistics.median(seconds) / OBJECTS
        table.add_row(f"embed: {embed}, traced", f"{each:.1f}", f"{MAX_MS_AN_OBJECT}")
    started = time.perf_counter()
    on_canvas(image, masks[:CANVAS_OBJECTS], LoopSettings())
    each = 1000 * (time.perf_counter() - started) / CANVAS_OBJECTS
    table.add_row("on the full canvas, traced", f"{each:.0f}", "")
    console.print(table)


def net_seconds(image: RgbImage, masks: Sequence[Mask], model: Instant, embed: Embed) -> float:
    """Seconds for one photo, without those in which the stand-in thought of its answers."""
    thought, started = model.seconds, time.perf_counter()
    traced(image, masks, model, embed)
    return time.perf_counter() - started - (model.seconds - thought)


def quality(console: Console) -> None:
    table = Table(
        "coarse masks", title="Means over synthetic scenes, an oracle in the model's place"
    )
    for heading in ("IoU", "refined", "boundary IoU", "refined", "accepted"):
        table.add_column(heading, justify="right")
    for name in DEGRADATIONS:
        change = change_by_loop(
            name,
            LoopSettings(),
            lambda: Oracle(side=512, low_side=128, edge_noise_px=0.5, iou_noise=0.03),
            SCENES,
        )
        pairs = zip(change.before, change.after, strict=True)
        cells = [f"{value:.3f}" for pair in pairs for value in pair]
        table.add_row(name, *cells, f"{change.accepted} of {change.masks}")
    console.print(table)


def vit_l(device: torch.device) -> HqSamModel:
    """HQ-SAM at its largest usual size, with weights by chance."""
    config: Any = SamHQConfig(vision_config=VIT_L, mask_decoder_config={"vit_dim": 1024})
    with device:
        model = SamHQModel(config)
    return HqSamModel(model, device=device, dtype=torch.bfloat16)


def tracker(device: torch.device) -> TrackerModel:
    """SAM 3's tracker at its own size, with weights by chance."""
    with device:
        model = Sam3TrackerModel(Sam3TrackerConfig())
    return TrackerModel(model, device=device, dtype=torch.bfloat16)


class CountedPasses:
    """A model, and how many views went through its encoder."""

    def __init__(self, model: SamDecoder[Any]) -> None:
        self.square, self.decode, self.passes = model.square, model.decode, 0
        self._model = model

    def embed(self, views: Sequence[RgbImage]) -> Sequence[Any]:
        self.passes += len(views)
        return self._model.embed(views)


def full_size(name: str, model: SamDecoder[Any], image: RgbImage, masks: Sequence[Mask]) -> Table:
    """Every loop runs to its end, as no guard lets go early."""
    table = Table("", title=f"{name}, {len(masks)} objects")
    for heading in ("s an image", "encoder passes", "required"):
        table.add_column(heading, justify="right")
    for embed, required in zip(MODES, (1, len(masks)), strict=True):
        for way, size in (("in batches", OBJECTS_PER_BATCH), ("one at a time", 1)):
            settings = LoopSettings(
                embed=embed,
                min_iou=0,
                objects_per_batch=size,
                crops_per_batch=min(size, CROPS_PER_BATCH),
            )
            refine_masks(image, masks[:1], model, settings)  # the first call sets kernels up
            counted, started = CountedPasses(model), time.perf_counter()
            refine_masks(image, masks, counted, settings)
            seconds = time.perf_counter() - started
            table.add_row(f"{embed}, {way}", f"{seconds:.2f}", f"{counted.passes}", f"{required}")
    return table


def on_gpu(console: Console) -> None:
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    device, masks = torch.device("cuda", 0), items()
    gpu = f"{torch.cuda.get_device_name()}, bfloat16, weights by chance"
    console.print(full_size(f"HQ-SAM vit-l, {gpu}", vit_l(device), image, masks))
    console.print(full_size(f"SAM 3's tracker, {gpu}", tracker(device), image, masks))


def main() -> None:
    console = Console()
    console.print(f"{platform.node()}: {platform.processor() or platform.machine()}")
    overhead(console)
    quality(console)
    if torch.cuda.is_available():
        on_gpu(console)
    else:
        console.print("No CUDA here: the full-size models are left out.")


if __name__ == "__main__":
    main()

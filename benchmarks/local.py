"""SAM 3 in this process beside transformers alone: ``python -m benchmarks.local``.

A tiny model of random weights shows what comes on top of the model: photos are decoded, scaled
and segmented by a text, one after another by transformers' own classes, and several in flight by
LocalModel. Where there is CUDA, the full-size model follows, also of random weights, which takes
as long as the real one.
"""

import asyncio
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.sam3.configuration_sam3 import Sam3Config
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_tracker.configuration_sam3_tracker import Sam3TrackerConfig
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel
from transformers.utils import logging as transformers_logging

from benchmarks.photos import jpeg, photo
from benchmarks.timing import median_times, ratio_table
from segpipe.models.sam3 import normalise, resize
from segpipe.prompt import Prompt
from segpipe.segmenters.sam3.local.local_model import LocalModel
from segpipe.segmenters.sam3.local.local_settings import EverythingSettings, LocalConfig
from segpipe.segmenters.sam3.local.transformers_runtime import (
    TransformersFeatures,
    TransformersPixels,
    TransformersRuntime,
)
from segpipe.vision.image import RgbImage, decode_image
from segpipe_tests.segmenters.sam3.local.tiny import make_tiny_checkpoint

TEXT = "cup"
SIZES_PX = ((1600, 1200), (4000, 3000))
PHOTOS = 12
ROUNDS = 5
IN_FLIGHT = 4
TEXTS = 8
FULL_SIZE_PHOTOS = 32
MARK_PX = 64
GIB = 1 << 30

Bytes = Sequence[bytes]


def bare_loop(detector: Any, tokenizer: Any, photos: Bytes, *, finish: bool) -> None:
    """One photo after another: decode, scale, model; and masks as transformers makes them."""
    side, weight = detector.config.vision_config.image_size, next(detector.parameters())
    tokens = tokenizer(TEXT, padding="max_length", max_length=32, return_tensors="pt")
    tokens = tokens.to(weight.device)
    for data in photos:
        image = decode_image(data).rgb
        with torch.inference_mode():
            pixels = normalise(resize(image, side).to(weight.device)).to(weight.dtype)
            found = detector(pixel_values=pixels[None], **tokens)
            scores = found.pred_logits.sigmoid() * found.presence_logits.sigmoid()
            good = scores[0] > LocalConfig().threshold
            if finish and good.any():
                planes = found.pred_masks[:, good].sigmoid()
                whole = torch.nn.functional.interpolate(planes, image.shape[:2], mode="bilinear")
                (whole > LocalConfig().mask_threshold).long().cpu()
            good.cpu()


def pipeline(runtime: TransformersRuntime, config: LocalConfig, photos: Bytes) -> None:
    """The same through LocalModel, several photos in flight, none of them kept from before."""

    async def run() -> None:
        model = LocalModel(runtime, config)
        waiting = asyncio.Semaphore(IN_FLIGHT)

        async def one(data: bytes) -> None:
            async with waiting:
                decoded = await asyncio.to_thread(decode_image, data)
                await model.find(decoded.rgb, Prompt(texts=(TEXT,)), config.thresholds)

        await asyncio.gather(*map(one, photos))
        await model._batcher.aclose()  # the weights are wanted again

    asyncio.run(run())


def different_photos(size_px: tuple[int, int], count: int) -> list[bytes]:
    """Photos that no cache takes for one another."""
    image = photo(size_px)
    photos = []
    for number in range(count):
        image.paste((20 * number, 0, 0), (0, 0, MARK_PX, MARK_PX))
        photos.append(jpeg(image))
    return photos


def seconds_of_texts(runtime: TransformersRuntime, config: LocalConfig, image: RgbImage) -> float:
    """Several texts on one image, through one pass of the vision encoder."""

    async def run() -> float:
        model = LocalModel(runtime, config)
        started = time.perf_counter()
        prompts = [Prompt(texts=(f"{TEXT} {number}",)) for number in range(TEXTS)]
        await asyncio.gather(*(model.find(image, one, config.thresholds) for one in prompts))
        seconds = time.perf_counter() - started
        await model._batcher.aclose()
        return seconds

    return asyncio.run(run())


class CountingRuntime(TransformersRuntime):
    """Notes how many images each pass of the vision encoder took."""

    passes: list[int]

    def encode(self, images: Sequence[TransformersPixels]) -> list[TransformersFeatures]:
        self.passes.append(len(images))
        return super().encode(images)


def tiny(console: Console, checkpoint: Path) -> None:
    # Threads within an operation are no help to a tiny model, and waste a busy machine's time.
    torch.set_num_threads(1)
    config = LocalConfig(checkpoint=str(checkpoint), device="cpu", batch_size=IN_FLIGHT)
    runtime = CountingRuntime.load(config)
    tokenizer = CLIPTokenizer.from_pretrained(checkpoint)
    for size_px in SIZES_PX:
        runtime.passes = []
        photos = different_photos(size_px, PHOTOS)
        bare = "one by one"
        times = median_times(
            {
                bare: partial(bare_loop, runtime._detector, tokenizer, photos, finish=False),
                "LocalModel": partial(pipeline, runtime, config, photos),
            },
            rounds=ROUNDS,
        )
        rate, share = PHOTOS / times["LocalModel"].wall, times[bare].wall / times["LocalModel"].wall
        size = "x".join(map(str, size_px))
        title = f"{PHOTOS} photos of {size}: {rate:.1f} images/s, {share:.2f} of bare"
        console.print(ratio_table(title, times, to=bare))
        console.print(
            f"images through the vision encoder a round: {sum(runtime.passes) / ROUNDS:g}"
        )
    runtime.passes = []
    seconds_of_texts(runtime, config, decode_image(photos[0]).rgb)
    console.print(
        f"{TEXTS} texts on one photo: passes of the vision encoder: {len(runtime.passes)}"
    )


def full_size(console: Console, tokenizer: Any) -> None:
    device, dtype = torch.device("cuda", 0), torch.bfloat16
    with device:
        detector, tracker = Sam3Model(Sam3Config()), Sam3TrackerModel(Sam3TrackerConfig())
    config = LocalConfig(everything=EverythingSettings(points_per_batch=64))
    runtime = TransformersRuntime(
        detector, tracker, tokenizer, revision="random", device=device, dtype=dtype
    )
    del detector, tracker
    torch.cuda.empty_cache()
    photos = different_photos(SIZES_PX[-1], 4)
    photos = list(chain.from_iterable([photos] * (FULL_SIZE_PHOTOS // len(photos))))
    image = decode_image(photos[0]).rgb
    small = LocalConfig(kept_images=1, everything=config.everything)
    tasks: dict[str, tuple[int, Callable[[], object]]] = {
        "decode + model, one by one": (
            FULL_SIZE_PHOTOS,
            lambda: bare_loop(runtime._detector, tokenizer, photos, finish=False),
        ),
        "the same with transformers' masks": (
            FULL_SIZE_PHOTOS,
            lambda: bare_loop(runtime._detector, tokenizer, photos, finish=True),
        ),
        f"LocalModel, {IN_FLIGHT} in flight": (
            FULL_SIZE_PHOTOS,
            lambda: pipeline(runtime, small, photos),
        ),
        f"LocalModel, {TEXTS} texts on one photo": (
            TEXTS,
            lambda: seconds_of_texts(runtime, config, image),
        ),
    }
    table = Table("", title=f"Full size, {torch.cuda.get_device_name()}, bfloat16, 12 MP photos")
    for heading in ("a second", "peak GiB", "GiB above the weights"):
        table.add_column(heading, justify="right")
    weights = torch.cuda.memory_allocated()
    for name, (count, task) in tasks.items():
        task()
        torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        task()
        rate, peak = count / (time.perf_counter() - started), torch.cuda.max_memory_allocated()
        table.add_row(name, f"{rate:.1f}", f"{peak / GIB:.2f}", f"{(peak - weights) / GIB:.2f}")
    console.print(table)


def main() -> None:
    transformers_logging.disable_progress_bar()
    console = Console()
    console.print(f"{platform.node()}: {platform.processor() or platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_tiny_checkpoint(Path(folder))
        tiny(console, checkpoint)
        if torch.cuda.is_available():
            full_size(console, CLIPTokenizer.from_pretrained(checkpoint))
        else:
            console.print("No CUDA here: the full-size model is left out.")


if __name__ == "__main__":
    main()

"""The client against the inference service: ``python -m benchmarks.service``.

The model takes 50 ms for an image, one at a time, and does nothing: the table says how much of the
time between its first and its last call it was at work, for photos of several sizes. The service
runs in a process of its own, as it would. What is left is the client's: encoding, sending, reading,
with many images in flight.
"""

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.photos import photo
from segpipe.detection import Detection, PassStats, SegmentationResult, Thresholds
from segpipe.prompt import Prompt
from segpipe.segmenters.http import HttpSettings
from segpipe.segmenters.sam3.service import InternalConfig, InternalSegmenter
from segpipe.segmenters.segmenter import Segmenter
from segpipe.server.run import build_server
from segpipe.server.server_settings import ServerSettings
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

IMAGES = 200
MODEL_S = 0.05
LEAST_BUSY = 0.95
CASES: Sequence[tuple[Literal["png", "jpeg"], int, tuple[int, int]]] = (
    ("png", 1, (640, 480)),  # nothing is under way while the model works: what the bound is for
    ("png", 8, (640, 480)),
    ("png", 8, (1024, 768)),
    ("jpeg", 8, (1600, 1200)),
)


class SlowModel(Segmenter):
    """Takes its time for one image after another, and notes when it was at work."""

    id = "slow"
    device = "cpu"

    def __init__(self) -> None:
        self.busy_s = 0.0
        self.first, self.last = float("inf"), 0.0
        self._worker = ThreadPoolExecutor(max_workers=1)

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        await asyncio.get_running_loop().run_in_executor(self._worker, self._work)
        return found_in_the_middle(image)

    def _work(self) -> None:
        started = time.perf_counter()
        time.sleep(MODEL_S)
        self.last = time.perf_counter()
        self.first = min(self.first, started)
        self.busy_s += self.last - started

    async def aclose(self) -> None:
        self._worker.shutdown()


def found_in_the_middle(image: RgbImage) -> SegmentationResult:
    height, width = image.shape[:2]
    box = Box(width // 4, height // 4, width // 2, height // 2)
    mask = Mask.from_box(box, image_width=width, image_height=height)
    found = (Detection(box, 0.9, mask=mask),)
    return SegmentationResult(found, width, height, "slow", 0.0, (PassStats(1, 1, 0.0),))


def serve_slowly(parent: Connection) -> None:
    """Serve until told to stop; then tell seconds: the model at work, its span, the CPU."""
    model = SlowModel()
    before_s = time.process_time()
    server = build_server(lambda: model, ServerSettings(port=0))

    serving = threading.Thread(target=server.run)
    serving.start()
    while not server.started:
        time.sleep(0.01)
    parent.send(server.servers[0].sockets[0].getsockname()[1])
    parent.recv()
    server.should_exit = True
    serving.join()
    parent.send((model.busy_s, model.last - model.first, time.process_time() - before_s))


@contextmanager
def slow_service(results: list[tuple[float, float, float]]) -> Iterator[str]:
    """A service in a process of its own; its URL. Its model's times are added to the results."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=serve_slowly, args=(there,))
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
        here.send("stop")
        results.append(here.recv())
    finally:
        process.join()


async def ask_for_all(config: InternalConfig, images: Sequence[RgbImage]) -> None:
    segmenter = InternalSegmenter(config)
    await segmenter.revision()
    await asyncio.gather(*(segmenter.segment(image, Prompt()) for image in images))
    await segmenter.aclose()


def measure() -> Table:
    title = f"{IMAGES} images, a model of {1000 * MODEL_S:g} ms: at work at least {LEAST_BUSY:.0%}"
    table = Table("photos", title=title, title_justify="left")
    for heading in (
        "upload",
        "in flight",
        "s",
        "images/s",
        "ms of CPU: client + service",
        "at work",
    ):
        table.add_column(heading, justify="right")
    for upload, in_flight, (width, height) in CASES:
        picture = np.asarray(photo((width, height)))
        # No two are the same upload: the service keeps what it decoded.
        images = [np.roll(picture, index, axis=0) for index in range(IMAGES)]
        results: list[tuple[float, float, float]] = []
        with slow_service(results) as url:
            config = InternalConfig(url=url, upload=upload, http=HttpSettings(in_flight=in_flight))
            before_s = time.process_time()
            asyncio.run(ask_for_all(config, images))
            client_s = time.process_time() - before_s
        ((busy_s, span_s, server_s),) = results
        table.add_row(
            f"{width} x {height}",
            upload,
            str(in_flight),
            f"{span_s:.1f}",
            f"{IMAGES / span_s:.1f}",
            f"{1000 * client_s / IMAGES:.0f} + {1000 * server_s / IMAGES:.0f}",
            f"{busy_s / span_s:.1%}",
        )
    return table


def main() -> None:
    Console().print(measure())


if __name__ == "__main__":
    main()

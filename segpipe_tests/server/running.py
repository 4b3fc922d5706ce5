"""Real services on loopback, and a model that does as it is told."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
from fastapi import FastAPI

from segpipe.detection import Candidate, Detection, PassStats, SegmentationResult, Thresholds
from segpipe.prompt import Point, Prompt
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.segmenter import Segmenter
from segpipe.server.inpaint_endpoint import Filling
from segpipe.server.run import ModelServer, build_server
from segpipe.server.server_settings import ServerSettings
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

PATIENCE_S = 10.0
_POLL_S = 0.002
_LISTENS = "running on "


def wait_until(reached: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
    """Wait for something that another thread is about to do."""
    give_up = time.monotonic() + patience_s
    while not reached():
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(_POLL_S)


class Service:
    """A running service: where it is, and the server itself."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.port: int = server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def app(self) -> FastAPI:
        """What the server serves."""
        assert isinstance(self.server.config.app, FastAPI)
        return self.server.config.app

    @property
    def headers(self) -> dict[str, str]:
        """What a client that knows the token sends."""
        token = os.environ.get(ServerSettings().token_env)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def client(self) -> httpx.Client:
        """A client that knows the token."""
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=PATIENCE_S)

    def health(self) -> dict[str, object]:
        """What the service says of itself."""
        answer: dict[str, object] = httpx.get(f"{self.url}/health").json()
        return answer

    def wait_for_model(self) -> None:
        """Wait until the model is loaded."""
        wait_until(lambda: self.health()["model_loaded"] is True)

    def gauge(self, name: str) -> float:
        """A number of ``GET /metrics``; 0 for labels that have not been counted yet."""
        text = httpx.get(f"{self.url}/metrics").text
        family = name.partition("{")[0].removesuffix("_count").removesuffix("_total")
        assert f"# TYPE {family}" in text, name
        for line in text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        return 0.0

    def stop(self) -> None:
        """What SIGTERM does."""
        self.server.should_exit = True


@contextmanager
def running(
    load: Callable[[], Segmenter],
    settings: ServerSettings | None = None,
    refiner: Refiner | None = None,
    filling: Filling | None = None,
) -> Iterator[Service]:
    """A service on a port that the OS chose; it has stopped when the block is left."""
    chosen = (settings or ServerSettings()).model_copy(update={"port": 0})
    server = build_server(load, chosen, refiner, filling)
    thread = threading.Thread(target=partial(asyncio.run, server.serve()))
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        yield Service(server)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


class ServiceProcess:
    """``segpipe serve`` in a process of its own, whose log and memory can be looked at."""

    def __init__(self, process: psutil.Popen, url: str, log: Path) -> None:
        self.process, self.url, self.port = process, url, int(url.rpartition(":")[2])
        self._log = log

    @property
    def resident_bytes(self) -> int:
        """Memory that it takes now."""
        return int(self.process.memory_info().rss)

    def log(self) -> str:
        """What it has written."""
        return self._log.read_text(encoding="utf-8")


@contextmanager
def running_process(folder: Path, *options: str) -> Iterator[ServiceProcess]:
    """The service as its users start it, once its model is loaded."""
    log = folder / "service.log"
    program = "from segpipe.cli.app import main; main()"
    command = [sys.executable, "-c", program, "serve", "--port", "0", *options]
    with log.open("wb") as written:
        process = psutil.Popen(command, stdout=written, stderr=subprocess.STDOUT, cwd=folder)
    try:
        wait_until(lambda: _LISTENS in log.read_text(encoding="utf-8"), patience_s=60)
        url = log.read_text(encoding="utf-8").partition(_LISTENS)[2].split()[0]
        wait_until(partial(_is_ready, url), patience_s=60)
        yield ServiceProcess(process, url, log)
    finally:
        process.terminate()
        assert process.wait(60) in {0, -signal.SIGTERM}


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


class ToldModel(Segmenter):
    """A model whose answers wait for ``go``, and that notes what becomes of its calls."""

    id = "told"
    device = "cpu"

    def __init__(self, *, waits: bool = False, error: Exception | None = None) -> None:
        self.go = threading.Event()
        if not waits:
            self.go.set()
        self.error = error
        self.images: list[RgbImage] = []
        self.prompts: list[tuple[Prompt, Thresholds | None]] = []
        self.running = 0
        self.most_running = 0
        self.cancelled = 0
        self.closed = 0

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        self.prompts.append((prompt, thresholds))
        await self._answer(image)
        height, width = image.shape[:2]
        box = Box(0.0, 0.0, float(width), float(height))
        mask = Mask.from_box(box, image_width=width, image_height=height)
        found = (Detection(box, 0.9, label=prompt.text, mask=mask),)
        return SegmentationResult(found, width, height, self.id, 1.0, (PassStats(1, 1, 1.0),))

    async def candidates(
        self, image: RgbImage, points: Sequence[Point]
    ) -> tuple[Candidate, Candidate, Candidate]:
        await self._answer(image)
        height, width = image.shape[:2]
        empty = Candidate(Mask.empty(image_width=width, image_height=height), 0.0)
        return empty, empty, empty

    async def revision(self) -> str:
        return "1"

    async def aclose(self) -> None:
        self.closed += 1

    async def _answer(self, image: RgbImage) -> None:
        self.images.append(image)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            while not self.go.is_set():  # noqa: ASYNC110 - it is set by another thread
                await asyncio.sleep(_POLL_S)
            if self.error:
                raise self.error
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

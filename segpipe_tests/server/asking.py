"""Clients of ``POST /v1/segment``, and a model and a refiner that do as they are told."""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx

from segpipe.detection import Detection, PassStats, SegmentationResult, Thresholds
from segpipe.progress import StepDone, Tell, tell_nobody
from segpipe.prompt import Prompt
from segpipe.refiners.refiner import STAGE, Refinement
from segpipe.threads import IsWanted, stoppable_in_thread
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import from_base64
from segpipe_tests.goods import goods_photo
from segpipe_tests.server.running import PATIENCE_S, Service, ToldModel, wait_until

PATH = "/v1/segment"
WIDTH, HEIGHT = 160, 120
PHOTO = goods_photo(3)

Event = tuple[str, Any]
"""Name and data."""


def data_url(photo: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(photo).decode()}"


def question(**fields: Any) -> dict[str, Any]:
    """A request about three goods."""
    return {"image_url": data_url(PHOTO), **fields}


def post(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post(PATH, json=question(**fields))


def ask(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = post(client, **fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def read_events(response: httpx.Response) -> Iterator[Event]:
    """The events as they come; what is none of the known lines is an error."""
    name = None
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        match field:
            case "event":
                name = value
            case "data":
                assert name is not None
                yield name, json.loads(value)
            case _:
                assert field == "", line


@contextmanager
def streaming(client: httpx.Client, **fields: Any) -> Iterator[Iterator[Event]]:
    with client.stream("POST", PATH, json=question(stream=True, **fields)) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield read_events(response)


def stream(client: httpx.Client, **fields: Any) -> list[Event]:
    with streaming(client, **fields) as events:
        return list(events)


def decoded(text: str) -> Mask:
    return from_base64(text)


@contextmanager
def loaded(service: Service) -> Iterator[httpx.Client]:
    """A client, once the model and the refiner are there."""
    refining = service.app.state.service.refining
    service.wait_for_model()
    wait_until(lambda: refining.name is None or refining.is_ready)
    with service.client() as client:
        yield client


class FoundModel(ToldModel):
    """Finds what it was told to find, whatever it is asked."""

    def __init__(self, *found: Detection, **how: Any) -> None:
        super().__init__(**how)
        self.found = found

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        await super().segment(image, prompt, thresholds)
        height, width = image.shape[:2]
        stats = (PassStats(len(self.found), len(self.found), 1.0),)
        return SegmentationResult(self.found, width, height, self.id, 1.0, stats)


class ToldRefiner:
    """A refiner that tells three steps, waits for ``go``, and does to each mask as told.

    Only photos count: while it is loaded it is asked about a square picture.
    """

    id = "told"

    def __init__(
        self,
        change: Callable[[Mask], Refinement] | None = None,
        *,
        waits: bool = False,
        error: Exception | None = None,
        load_error: Exception | None = None,
    ) -> None:
        self.go = threading.Event()
        if not waits:
            self.go.set()
        self.load = threading.Event()
        self.load.set()
        self.error = error
        self.load_error = load_error
        self.running = 0
        self.most_running = 0
        self.steps = 0
        self.answers: int | None = None
        self._change = change or _shrunk

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell = tell_nobody
    ) -> tuple[Refinement, ...]:
        return await stoppable_in_thread(partial(self._refine, image, masks, tell))

    def _refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell, is_wanted: IsWanted
    ) -> tuple[Refinement, ...]:
        if image.shape[0] == image.shape[1]:
            assert self.load.wait(PATIENCE_S)
            if self.load_error:
                raise self.load_error
            return tuple(map(self._change, masks))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            for step in range(3):
                tell(StepDone(STAGE, step + 1, 3))
                self.steps += 1
                assert self.go.wait(PATIENCE_S)
                if not is_wanted():
                    return ()
                if self.error:
                    raise self.error
            return tuple(map(self._change, masks[: self.answers]))
        finally:
            self.running -= 1


def _shrunk(mask: Mask) -> Refinement:
    """Accept the mask without its outermost columns."""
    x1, y1, x2, y2 = mask.window
    bits = mask.crop_to(x1 + 1, y1, x2 - 1, y2) if x2 - x1 > 2 else mask.bits
    x = x1 + 1 if x2 - x1 > 2 else x1
    return Refinement(Mask(x, y1, bits, mask.image_width, mask.image_height), True, None, 3)


def item(x1: int, y1: int, x2: int, y2: int, score: float, label: str | None = None) -> Detection:
    """A detection that fills its box."""
    box = Box(float(x1), float(y1), float(x2), float(y2))
    mask = Mask.from_box(box, image_width=WIDTH, image_height=HEIGHT)
    return Detection(box, score, label=label, mask=mask)

"""``POST /v1/inpaint``, and the inpainter that is its client."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest

from segpipe.errors import BackendRefusedError, InpainterError
from segpipe.inpainters.build_inpainter import build_inpainter
from segpipe.inpainters.erase import EraseSettings, erase
from segpipe.inpainters.inpainter import NO_WISH, Wish
from segpipe.inpainters.service_inpainter import ServiceInpainterConfig
from segpipe.segmenters.classical import ClassicalSegmenter
from segpipe.server.inpaint_endpoint import PATH, Filling
from segpipe.server.serve_config import ServeConfig
from segpipe.vision.encode import encode_png
from segpipe.vision.image import RgbImage, decode_image
from segpipe.vision.mask import Bitmap
from segpipe_tests.goods import goods_image, require_clean
from segpipe_tests.server.asking import loaded
from segpipe_tests.server.running import ToldModel, running

PHOTO, CLEAN = goods_image(2), goods_image(1)
MASK = (PHOTO != CLEAN).any(axis=2).astype(np.uint8)
ON_IT = "[[29, 28]]"
FORMS: dict[str, dict[str, Any]] = {
    "mask": {"files": {"mask": ("mask.png", encode_png(MASK[..., None] * 255))}},
    "points": {"data": {"points": ON_IT}},
    "box": {"data": {"box": "[22, 18, 38, 38]"}},
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running(ClassicalSegmenter) as service, loaded(service) as client:
        yield client


def ask(client: httpx.Client, photo: bytes = encode_png(PHOTO), **form: Any) -> httpx.Response:
    files = {"image": ("photo.png", photo), **form.pop("files", {})}
    return client.post(PATH, files=files, **form)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_meant_goes_and_nothing_else_changes(client: httpx.Client, form: str) -> None:
    # Near enough to the item that what lies beside it does not run into the hole.
    given = {"dilate_px": "1", **FORMS[form].get("data", {})}
    answer = ask(client, **{**FORMS[form], "data": given})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    require_clean(decode_image(answer.content).rgb, CLEAN, PHOTO)


@pytest.mark.parametrize(
    ("form", "field", "said"),
    [
        ({}, "mask", "exactly one of mask, points, box and text"),
        ({"data": {"points": ON_IT, "box": "[1, 1, 9, 9]"}}, "mask", "exactly one of"),
        ({"data": {"box": "[1, 1, 9, 9]", "labels": "[1]"}}, "labels", "belong to points"),
        ({"data": {"points": "[[500, 2]]"}}, "points[0]", "the mask failed"),
        ({"data": {"points": "[[500]]"}}, "points.0.1", ""),
        ({"data": {"points": ON_IT, "labels": "[0]"}}, "labels", "the mask failed"),
        ({"data": {"box": "[9, 9, 9, 9]"}}, "boxes[0]", "the mask failed"),
        ({"data": {"text": "ring"}}, "text", "the mask failed"),
        ({"files": {"mask": ("m", b"rubbish")}}, "mask", "the mask failed"),
        ({"files": {"mask": ("m", encode_png(MASK[:50, :, None]))}}, "mask", "160 x 120 pixels"),
        ({"files": {"mask": ("m", encode_png(MASK[..., None] * 0))}}, "mask", "the filling failed"),
        ({"data": {"points": ON_IT, "dilate_px": "-1"}}, "dilate_px", ""),
        ({"data": {"points": ON_IT, "guidance": "nan"}}, "guidance", ""),
    ],
)
def test_a_request_that_cannot_be_followed_says_why_and_in_which_step(
    client: httpx.Client, form: dict[str, Any], field: str, said: str
) -> None:
    answer = ask(client, **form)
    problem = answer.json()
    assert (answer.status_code, problem["field"]) == (400, field), problem
    assert said in problem["detail"]


class ToldInpainter:
    """Notes what it is asked, and fails when told to."""

    id = "told"
    context_ratio = 0.5

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.wishes: list[Wish] = []

    async def inpaint(self, image: RgbImage, hole: Bitmap, wish: Wish = NO_WISH) -> RgbImage:
        self.wishes.append(wish)
        if self.error:
            raise self.error
        return np.full_like(image, 77)


@pytest.mark.parametrize(
    ("model", "inpainter", "step"),
    [
        (ToldModel(error=RuntimeError("secret")), ToldInpainter(), "the mask failed"),
        (ClassicalSegmenter(), ToldInpainter(InpainterError("secret")), "the filling failed"),
        (ClassicalSegmenter(), ToldInpainter(RuntimeError("secret")), "the filling failed"),
    ],
)
def test_a_failure_says_in_which_step(model: Any, inpainter: ToldInpainter, step: str) -> None:
    filling = Filling(inpainter, EraseSettings())
    with running(lambda: model, filling=filling) as service, loaded(service) as client:
        answer = ask(client, data={"points": ON_IT})
    assert answer.status_code == 500
    assert answer.json()["detail"].startswith(step)
    assert "secret" not in answer.text


def test_the_inpainter_service_asks_this_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGPIPE_SERVER_TOKEN", "a-token")
    told = ToldInpainter()
    filling = Filling(told, EraseSettings())
    with running(ClassicalSegmenter, filling=filling) as service, loaded(service):
        config = ServiceInpainterConfig(url=service.url, prompt="wood", guidance=3)
        how = EraseSettings(dilate_px=2, feather_px=0)
        clean = asyncio.run(erase(PHOTO, MASK, build_inpainter(config), how))
        asyncio.run(erase(PHOTO, MASK, build_inpainter(config), how, Wish("stone", 4.0)))
        monkeypatch.setenv("SEGPIPE_SERVER_TOKEN", "another")
        with pytest.raises(BackendRefusedError, match="401"):
            asyncio.run(erase(PHOTO, MASK, build_inpainter(config), how))
    assert told.wishes == [Wish("wood", 3.0), Wish("stone", 4.0)]
    assert (clean[MASK == 1] == 77).all()
    assert ((clean != PHOTO).any(axis=2).sum()) <= 16 * 20


def test_an_answer_that_is_no_picture_of_that_size_is_told() -> None:
    for body, said in (
        (b"rubbish", "answered with no picture"),
        (encode_png(PHOTO[:5, :5]), "5 x 5 pixels"),
    ):
        with serving(body) as url:
            inpainter = build_inpainter(ServiceInpainterConfig(url=url))
            with pytest.raises(InpainterError, match=said):
                asyncio.run(erase(PHOTO, MASK, inpainter))


@contextmanager
def serving(body: bytes) -> Iterator[str]:
    """A server that answers everything with the same bytes."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_service_takes_its_inpainter_from_its_settings() -> None:
    config = ServeConfig.model_validate(
        {"inpainter": {"kind": "opencv", "method": "ns"}, "erase": {"dilate_px": 9}}
    )
    assert build_inpainter(config.inpainter).id == "opencv-ns"
    assert config.erase.dilate_px == 9
    assert json.loads(config.model_dump_json())["inpainter"]["radius_px"] == 5

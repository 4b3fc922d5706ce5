"""What the inference service says to clients: fields, kinds of errors, statuses, events."""

import base64
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from segpipe_tests.compatibility.doors import DATA, check_pin, serving

# pycocotools' answer to numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TOKEN = "a-token"
PROSE = frozenset({"description", "summary", "title"})
HEADERS = ("content-type", "x-problem", "x-problem-field", "www-authenticate", "cache-control")
OTHER = {"x1": 50, "y1": 20, "x2": 76, "y2": 56}
EXAMPLES = {"boxes": [{"x1": 10, "y1": 20, "x2": 36, "y2": 56}]}
BOX = {"x_min": 0.0625, "y_min": 0.1666, "x_max": 0.225, "y_max": 0.4666}
SEGMENT: dict[str, dict[str, Any]] = {
    "everything": {},
    "everything as png": {"encoding": "png"},
    "limits": {"threshold": 0.1, "mask_threshold": 0.4, "max_masks": 2},
    "examples": {"boxes": [*EXAMPLES["boxes"], {**OTHER, "positive": False}]},
    "in a box": {"mode": "inside_box", **EXAMPLES},
    "points": {"points": [{"x": 60, "y": 40}]},
    "a text, which the model cannot read": {"text": "ring"},
    "a box outside": {"boxes": [{"x1": 10, "y1": 20, "x2": 999, "y2": 56}]},
    "a point outside": {"points": [{"x": 600, "y": 40}]},
    "no box": {"mode": "inside_box"},
    "an unknown field": {"colour": "red"},
    "a threshold too high": {"threshold": 2},
}
V1: dict[str, dict[str, Any]] = {
    "everything": {},
    "masks": {"return_base64": True},
    "coarse": {"settings": {"refine": False}, "return_base64": True},
    "examples": {"boxes": [BOX], "mode": "find_all"},
    "in a box": {"boxes": [BOX]},
    "points": {"points": [{"x": 0.375, "y": 0.333}]},
    "a text, which the model cannot read": {"object": "ring"},
    "no box": {"mode": "inside_box"},
    "a box inside out": {"boxes": [{**BOX, "x_min": 0.9}]},
    "an unknown field": {"colour": "red"},
    "a URL": {"image_url": "https://example.org/a.png"},
    "no photo": {"image_url": "data:image/png;base64,bm8gcGhvdG8="},
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(TOKEN) as client:
        yield client


@pytest.fixture(scope="module")
def photo(untouched: Path) -> bytes:
    return (untouched / "deals/lot/images/a.png").read_bytes()


def plain(value: Any) -> Any:
    """An answer without prose, times and what depends on the processor.

    Masks are told by their size and about how many pixels they have.
    """
    if isinstance(value, dict):
        told = {key: plain(one) for key, one in value.items()}
        for key, what in (("detail", "prose"), ("reason", "prose"), ("elapsed_ms", 0.0)):
            if told.get(key) is not None:
                told[key] = what
        if isinstance(told.get("path"), str) and told["path"]:
            told["path"] = told["path"][0]
        return _mask_of(told) if {"size", "counts"} <= told.keys() else told
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, str) and value.startswith("iVBOR"):
        pixels = picture(base64.b64decode(value))
        return {"png": list(pixels.shape), "pixels": float(np.count_nonzero(pixels))}
    return value


def _mask_of(told: dict[str, Any]) -> dict[str, Any]:
    rle = {"size": told["size"], "counts": told["counts"].encode()}
    return {**told, "counts": {"pixels": float(coco_masks.decode(rle).sum())}}


def picture(data: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "L"
        pixels = np.asarray(image)
    assert set(np.unique(pixels)) <= {0, 255}
    return pixels


def told(answer: httpx.Response) -> dict[str, Any]:
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    if answer.headers["content-type"] == "image/png":
        return {"status": answer.status_code, "headers": headers, "body": _png(answer.content)}
    return {"status": answer.status_code, "headers": headers, "body": plain(answer.json())}


def _png(data: bytes) -> Any:
    return plain(base64.b64encode(data).decode())


def segment(client: httpx.Client, photo: bytes, prompt: object) -> httpx.Response:
    files = {"image": ("a.png", photo, "image/png")}
    return client.post("/segment", files=files, data={"prompt": json.dumps(prompt)})


def question(photo: bytes, **fields: Any) -> dict[str, Any]:
    url = f"data:image/png;base64,{base64.b64encode(photo).decode()}"
    return {"image_url": url, **fields}


def test_health(client: httpx.Client) -> None:
    answer = httpx.get(f"{client.base_url}/health")  # needs no token
    assert answer.status_code == 200
    # The model is part of the keys of kept answers.
    assert answer.json() == json.loads((DATA / "health.json").read_text())


def test_segment(client: httpx.Client, photo: bytes) -> None:
    answers = {name: told(segment(client, photo, prompt)) for name, prompt in SEGMENT.items()}
    answers["no photo"] = told(segment(client, b"no photo", {}))
    answers["no JSON"] = told(
        client.post("/segment", files={"image": ("a.png", photo)}, data={"prompt": "{"})
    )
    answers["no image"] = told(client.post("/segment", data={"prompt": "{}"}))
    check_pin("http-segment", answers, is_close=True)


def test_runs_and_pictures_are_the_same_masks(client: httpx.Client, photo: bytes) -> None:
    runs = segment(client, photo, {}).json()["masks"]
    pictures = segment(client, photo, {"encoding": "png"}).json()["masks"]
    assert len(runs) == len(pictures) == 4
    for run, png in zip(runs, pictures, strict=True):
        rle = {"size": run["size"], "counts": run["counts"].encode()}
        text = png if isinstance(png, str) else png["png"]
        assert np.array_equal(coco_masks.decode(rle) > 0, picture(base64.b64decode(text)) > 0)


def test_predict_mask(client: httpx.Client, photo: bytes) -> None:
    asked: dict[str, dict[str, str]] = {
        "one point": {"points": "[[20, 40]]"},
        "three readings": {"points": "[[20, 40]]", "multimask": "true"},
        "on and off": {"points": "[[20, 40], [60, 40]]", "labels": "[1, 0]"},
        "off alone": {"points": "[[20, 40]]", "labels": "[0]"},
        "too few labels": {"points": "[[20, 40], [60, 40]]", "labels": "[1]"},
        "no points": {"points": "[]"},
        "outside": {"points": "[[999, 40]]"},
        "no JSON": {"points": "20, 40"},
        "missing": {},
    }
    files = {"image": ("a.png", photo, "image/png")}
    answers = {
        name: told(client.post("/predict/mask", files=files, data=data))
        for name, data in asked.items()
    }
    check_pin("http-predict-mask", answers, is_close=True)


def test_v1_segment(client: httpx.Client, photo: bytes) -> None:
    answers = {
        name: told(client.post("/v1/segment", json=question(photo, **fields)))
        for name, fields in V1.items()
    }
    answers["no JSON"] = told(
        client.post("/v1/segment", content=b"{", headers={"content-type": "application/json"})
    )
    check_pin("http-v1-segment", answers, is_close=True)


def events(answer: httpx.Response) -> list[list[Any]]:
    """The name and data of each event, read as the standard says."""
    found = []
    for block in answer.text.replace("\r\n", "\n").split("\n\n"):
        lines = [line.partition(":") for line in block.splitlines() if not line.startswith(":")]
        fields = {name: value.removeprefix(" ") for name, _, value in lines}
        if "data" in fields:
            found.append([fields.get("event"), json.loads(fields["data"])])
    return found


def test_v1_segment_as_a_stream(client: httpx.Client, photo: bytes) -> None:
    streams = {}
    for name, fields in V1.items():
        answer = client.post("/v1/segment", json=question(photo, stream=True, **fields))
        if not answer.headers["content-type"].startswith("text/event-stream"):
            streams[name] = told(answer)
            continue
        *progress, (kind, last) = events(answer)
        whole = client.post("/v1/segment", json=question(photo, **fields)).json()
        assert last == whole
        headers = {key: answer.headers[key] for key in HEADERS if key in answer.headers}
        streams[name] = {
            "status": answer.status_code,
            "headers": headers,
            "body": [*plain(progress), [kind, "error" if kind == "error" else "the answer"]],
        }
    check_pin("http-v1-stream", streams, is_close=True)


def test_who_may_not_and_what_is_not_there(client: httpx.Client, photo: bytes) -> None:
    base = str(client.base_url)
    wrong = {"Authorization": "Bearer another"}
    answers = {
        "no token": httpx.post(f"{base}/v1/segment", json=question(photo)),
        "no token for counters": httpx.get(f"{base}/metrics"),
        "another token": httpx.post(f"{base}/v1/segment", json=question(photo), headers=wrong),
        "no such path": client.get("/v2/segment"),
        "no such method": client.get("/segment"),
    }
    check_pin("http-refusals", {name: told(answer) for name, answer in answers.items()})


def test_a_body_that_is_too_large_is_refused_by_its_header(client: httpx.Client) -> None:
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), 10) as connection:
        connection.sendall(
            b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + TOKEN.encode() + b"\r\nContent-Length: 64000001\r\n\r\n"
        )
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 413 ")
    assert "x-problem: TooLarge" in head
    assert plain(json.loads(body)) == {"error": "TooLarge", "detail": "prose", "field": "image"}


def test_the_openapi_document(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    check_pin("openapi", _without_prose(document), may_grow=True)


def _without_prose(value: Any) -> Any:
    """The document without its sentences; a property may be called like one, and stays."""
    if isinstance(value, dict):
        return {
            key: _without_prose(one)
            for key, one in value.items()
            if not (key in PROSE and isinstance(one, str))
        }
    return [_without_prose(one) for one in value] if isinstance(value, list) else value


def test_the_names_of_counters(client: httpx.Client) -> None:
    lines = client.get("/metrics").text.splitlines()
    types = sorted(line.removeprefix("# TYPE ") for line in lines if line.startswith("# TYPE "))
    ours = [line for line in types if not line.startswith(("python_", "process_"))]
    check_pin("metrics", ours, may_grow=True)

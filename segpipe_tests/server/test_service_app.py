"""What each endpoint answers."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from segpipe.detection import Thresholds
from segpipe.errors import BackendUnavailableError, SegmenterError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.segmenters.build_segmenter import RecursiveConfig, build_segmenter
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.segmenters.segmenter import Segmenter
from segpipe.server.server_settings import ServerSettings
from segpipe.vision.boxes import Box
from segpipe.wire.inference import Problem, Readings, Segments, decode_mask
from segpipe_tests.goods import camera_raw, goods_photo
from segpipe_tests.server.running import Service, ToldModel, running, wait_until

WIDTH, HEIGHT = 160, 120
FIRST_ITEM = Box(4, 20, 16, 36)
PHOTO = goods_photo(3)
PREDICT, SEGMENT = "/predict/mask", "/segment"
ON_THE_FIRST_ITEM = {"points": "[[10, 28]]"}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(ClassicalSegmenter) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        wait_until(lambda: client.get("/health").is_success)
        yield client


def post(
    client: httpx.Client, path: str, data: dict[str, str], photo: bytes = PHOTO
) -> httpx.Response:
    return client.post(path, files={"image": ("photo", photo)}, data=data)


def segment(client: httpx.Client, **prompt: Any) -> Segments:
    answer = post(client, SEGMENT, {"prompt": json.dumps(prompt)})
    assert answer.status_code == 200, answer.text
    return Segments.model_validate_json(answer.content)


def problem(answer: httpx.Response, status: int) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return Problem.model_validate_json(answer.content)


def test_health_is_503_until_the_model_is_loaded() -> None:
    model = ToldModel(waits=True)

    def load_when_told() -> Segmenter:
        assert model.go.wait(10)
        return model

    with running(load_when_told) as service, service.client() as client:
        before, early = client.get("/health"), post(client, PREDICT, ON_THE_FIRST_ITEM)
        model.go.set()
        wait_until(lambda: client.get("/health").is_success)
        after = client.get("/health")

    assert before.status_code == 503
    assert before.headers["retry-after"] == "1"
    assert before.json() == {
        "status": "loading",
        "model_loaded": False,
        "model": None,
        "device": None,
        "refiner": None,
        "refiner_loaded": False,
    }
    assert problem(early, 503).error == "ModelLoading"
    assert early.headers["retry-after"] == "1"
    assert after.json() == {
        "status": "ready",
        "model_loaded": True,
        "model": "told@1",
        "device": "cpu",
        "refiner": None,
        "refiner_loaded": False,
    }


def test_a_model_that_cannot_be_loaded_is_said_and_stays_503() -> None:
    def load() -> Segmenter:
        raise OSError("/somewhere/weights is missing")

    with running(load) as service, service.client() as client:
        wait_until(lambda: client.get("/health").json()["status"] == "failed")
        health, answer = client.get("/health"), post(client, SEGMENT, {"prompt": "{}"})

    assert health.status_code == 503
    assert not health.json()["model_loaded"]
    refused = problem(answer, 503)
    assert refused.error == "ModelFailed"
    assert "/somewhere" not in answer.text


def test_the_best_mask_comes_as_a_png_of_one_channel(client: httpx.Client) -> None:
    answer = post(client, PREDICT, ON_THE_FIRST_ITEM)

    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as png:
        assert png.mode == "L"
        full = np.asarray(png)
    assert full.shape == (HEIGHT, WIDTH)
    assert set(np.unique(full)) == {0, 255}
    x1, y1, x2, y2 = map(int, FIRST_ITEM)
    expected = np.zeros_like(full)
    expected[y1:y2, x1:x2] = 255
    assert np.mean(expected == full) > 0.99


def test_multimask_gives_three_masks_the_best_first(client: httpx.Client) -> None:
    answer = post(client, PREDICT, {**ON_THE_FIRST_ITEM, "multimask": "true"})

    readings = Readings.model_validate_json(answer.content)
    assert len(readings.masks) == len(readings.scores) == 3
    assert readings.scores == sorted(readings.scores, reverse=True)
    assert base64.b64decode(readings.masks[0]) == post(client, PREDICT, ON_THE_FIRST_ITEM).content


def test_negative_points_are_left_out(client: httpx.Client) -> None:
    data = {"points": "[[10, 28], [30, 28]]", "labels": "[1, 0]"}
    answer = post(client, PREDICT, data)

    with Image.open(io.BytesIO(answer.content)) as png:
        assert png.getpixel((10, 28)) == 255
        assert png.getpixel((30, 28)) == 0


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "points"),
        ({"points": ""}, "points"),
        ({"points": "rubbish"}, "points"),
        ({"points": "[]"}, "points"),
        ({"points": "[1]"}, "points.0"),
        ({"points": "[1, 2, 3]"}, "points.0"),
        ({"points": '[1, "2"]'}, "points.0.1"),
        ({"points": "[[1, 2], 3]"}, "points.1"),
        ({"points": "[[1]]"}, "points.0.1"),
        ({"points": "[[1, 2, 3]]"}, "points.0"),
        ({"points": '[["1", 2]]'}, "points.0.0"),
        ({"points": "[[NaN, 2]]"}, "points.0.0"),
        ({"points": "[[1, Infinity]]"}, "points.0.1"),
        ({"points": "[[160, 2]]"}, "points[0]"),
        ({"points": "[[1, -1]]"}, "points[0]"),
        ({"points": json.dumps([[1, 1]] * 65), "labels": json.dumps([1] * 65)}, "points"),
        ({"points": json.dumps([[1, 1]] * 1001)}, "points"),
        ({"points": "[[1, 2]]", "labels": "[2]"}, "labels.0"),
        ({"points": "[[1, 2]]", "labels": "[true]"}, "labels.0"),
        ({"points": "[[1, 2]]", "labels": "2"}, "labels.0"),
        ({"points": "[[1, 2]]", "labels": "0"}, "labels"),
        ({"points": "[[1, 2]]", "labels": "[0]"}, "labels"),
        ({"points": "[[1, 2]]", "labels": "[1, 0]"}, "labels"),
        ({"points": "[[1, 2], [3, 4]]", "labels": "[1]"}, "labels"),
        ({"points": "[[1, 2], [3, 4]]", "labels": "1"}, "labels"),
        ({"points": "[[1, 2]]", "multimask": "perhaps"}, "multimask"),
    ],
)
def test_malformed_points_are_named(client: httpx.Client, data: dict[str, str], field: str) -> None:
    assert problem(post(client, PREDICT, data), 400).field == field


def test_points_may_come_as_older_clients_send_them(client: httpx.Client) -> None:
    one = post(client, PREDICT, {"points": "[[10, 28]]", "labels": "[1]"}).content
    for data in ({"points": "[10, 28]"}, {"points": "[10, 28]", "labels": "1"}):
        assert post(client, PREDICT, data).content == one, data
    two = {"points": "[[10, 28], [30, 28]]"}
    labelled = post(client, PREDICT, {**two, "labels": "[1, 1]"})
    assert labelled.status_code == 200
    assert post(client, PREDICT, two).content == labelled.content


def test_where_everything_is_off_a_prompt_says_what_to_find() -> None:
    model = ToldModel()
    with running(lambda: model, ServerSettings(everything=False)) as service:
        service.wait_for_model()
        with service.client() as client:
            for nothing in ("{}", '{"text": " "}'):
                assert problem(post(client, SEGMENT, {"prompt": nothing}), 400).field == "text"
            url = f"data:image/png;base64,{base64.b64encode(PHOTO).decode()}"
            answer = client.post("/v1/segment", json={"image_url": url})
            assert problem(answer, 400).field == "object"
            assert not model.images
            for something in ('{"text": "ring"}', '{"points": [{"x": 1, "y": 1}]}'):
                assert post(client, SEGMENT, {"prompt": something}).status_code == 200


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        ("rubbish", "prompt"),
        ("[]", "prompt"),
        ('{"mode": "guess"}', "prompt.mode"),
        ('{"colour": "red"}', "prompt.colour"),
        ('{"threshold": 2}', "prompt.threshold"),
        ('{"threshold": "0.5"}', "prompt.threshold"),
        ('{"mask_threshold": NaN}', "prompt.mask_threshold"),
        ('{"max_masks": 0}', "prompt.max_masks"),
        ('{"encoding": "svg"}', "prompt.encoding"),
        ('{"text": 5}', "prompt.text"),
        (json.dumps({"text": "x" * 10_001}), "prompt.text"),
        ('{"points": [{"x": 1}]}', "prompt.points.0.y"),
        ('{"points": [{"x": 1000, "y": 1}]}', "points[0]"),
        ('{"points": [{"x": 1, "y": 120}]}', "points[0]"),
        (json.dumps({"points": [{"x": 1, "y": 1}] * 65}), "points"),
        ('{"boxes": [{"x1": 9, "y1": 1, "x2": 5, "y2": 5}]}', "boxes[0]"),
        ('{"boxes": [{"x1": 900, "y1": 1, "x2": 950, "y2": 5}]}', "boxes[0]"),
        ('{"mode": "inside_box"}', "boxes"),
        (
            '{"mode": "inside_box", "boxes": '
            '[{"x1": 1, "y1": 1, "x2": 5, "y2": 5, "positive": false}]}',
            "boxes[0].positive",
        ),
        ('{"text": "mug"}', "text"),  # what this model cannot follow
        ("[" * 100_000, "prompt"),
    ],
)
def test_malformed_prompts_are_named(client: httpx.Client, prompt: str, field: str) -> None:
    assert problem(post(client, SEGMENT, {"prompt": prompt}), 400).field == field


@pytest.mark.parametrize("photo", [b"", b"rubbish", PHOTO[: len(PHOTO) // 2], b"GIF89a"], ids=len)
@pytest.mark.parametrize(
    ("path", "data"), [(PREDICT, ON_THE_FIRST_ITEM), (SEGMENT, {"prompt": "{}"})]
)
def test_a_malformed_image_is_400(
    client: httpx.Client, path: str, data: dict[str, str], photo: bytes
) -> None:
    assert problem(post(client, path, data, photo), 400).error in {
        "CorruptImageError",
        "UnsupportedFormatError",
    }


def test_a_cameras_raw_file_is_400_and_told_what_to_do(client: httpx.Client) -> None:
    for path, data in ((PREDICT, ON_THE_FIRST_ITEM), (SEGMENT, {"prompt": "{}"})):
        told = problem(post(client, path, data, camera_raw()), 400)
        assert told.error == "UnsupportedFormatError"
        assert "export a JPEG" in told.detail


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"image": "text", "prompt": "{}"}},
        {"json": {"prompt": {}}},
        {"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"--x", "headers": {"content-type": "multipart/form-data"}},
        {"content": b""},
    ],
    ids=["image as text", "json", "broken off", "no boundary", "nothing"],
)
def test_a_request_that_is_no_form_with_an_image_is_400(
    client: httpx.Client, sent: dict[str, Any]
) -> None:
    problem(client.post(SEGMENT, **sent), 400)


def test_a_field_that_a_client_made_up_cannot_write_headers(client: httpx.Client) -> None:
    answer = post(client, SEGMENT, {"prompt": json.dumps({"a\r\nX-Evil: 1": 1})})
    assert problem(answer, 400).field == "prompt.a\r\nX-Evil: 1"
    assert "x-evil" not in answer.headers
    assert "x-problem-field" not in answer.headers


def test_too_many_pixels_are_refused_by_the_header() -> None:
    settings = ServerSettings(max_megapixels=0.01)
    with running(ClassicalSegmenter, settings) as service, service.client() as client:
        wait_until(lambda: client.get("/health").is_success)
        answer = post(client, SEGMENT, {"prompt": "{}"})
    assert problem(answer, 400).error == "ImageTooLargeError"


@pytest.mark.parametrize("encoding", ["rle", "png"])
def test_segment_gives_parallel_lists_in_either_encoding(
    client: httpx.Client, encoding: str
) -> None:
    found = segment(client, encoding=encoding)

    assert (found.image.width, found.image.height) == (WIDTH, HEIGHT)
    assert found.model.startswith("classical@")
    assert len(found.boxes) == 3
    assert found.scores == sorted(found.scores, reverse=True)
    for box, sent in zip(found.boxes, found.masks, strict=True):
        assert isinstance(sent, str) == (encoding == "png")
        assert sent is not None
        mask = decode_mask(sent, image_width=WIDTH, image_height=HEIGHT)
        assert mask.box == Box(*box)


def test_inside_box_answers_box_by_box(client: httpx.Client) -> None:
    boxes = [
        {"x1": 42, "y1": 18, "x2": 58, "y2": 38},
        {"x1": 2, "y1": 18, "x2": 18, "y2": 38},
    ]
    found = segment(client, mode="inside_box", boxes=boxes, threshold=1, max_masks=1)

    assert [box[0] > 40 for box in found.boxes] == [True, False]


def test_threshold_and_max_masks_bound_what_is_found(client: httpx.Client) -> None:
    scores = segment(client).scores
    assert len(segment(client, threshold=scores[1]).scores) == 2
    assert segment(client, max_masks=1).scores == scores[:1]


def test_a_service_may_take_more_points_or_fewer() -> None:
    with running(ToldModel, ServerSettings(max_points=2)) as service, service.client() as client:
        wait_until(lambda: client.get("/health").is_success)
        for count, status in ((2, 200), (3, 400)):
            points = {"points": json.dumps([[1, 1]] * count), "labels": json.dumps([1] * count)}
            prompt = {"prompt": json.dumps({"points": [{"x": 1, "y": 1}] * count})}
            assert post(client, PREDICT, points).status_code == status
            assert post(client, SEGMENT, prompt).status_code == status


@pytest.mark.parametrize(
    ("prompt", "status"),
    [
        ({}, 400),
        ({"text": " "}, 400),
        ({"text": "mug"}, 200),
        ({"boxes": [{"x1": 1, "y1": 1, "x2": 5, "y2": 5}]}, 200),
        ({"mode": "inside_box", "boxes": [{"x1": 1, "y1": 1, "x2": 5, "y2": 5}]}, 200),
    ],
)
def test_negative_points_alone_mean_nothing_whatever_the_model(
    prompt: dict[str, Any], status: int
) -> None:
    points = [{"x": 1, "y": 1, "positive": False}]
    with running(ToldModel) as service, service.client() as client:
        wait_until(lambda: client.get("/health").is_success)
        answer = post(client, SEGMENT, {"prompt": json.dumps({"points": points, **prompt})})
    assert answer.status_code == status
    assert status == 200 or problem(answer, 400).field == "points"


def test_the_model_is_asked_what_the_client_asked() -> None:
    model = ToldModel()
    with running(lambda: model) as service, service.client() as client:
        wait_until(lambda: client.get("/health").is_success)
        found = segment(
            client,
            text="mug ☕",
            points=[{"x": 1, "y": 2}, {"x": 3, "y": 4, "positive": False}],
            boxes=[{"x1": 1, "y1": 2, "x2": 3, "y2": 4, "positive": False}],
            threshold=0.25,
            mask_threshold=0.75,
            max_masks=7,
        )
        segment(client, mode="inside_box", boxes=[{"x1": 1, "y1": 2, "x2": 3, "y2": 4}])

    examples = (Exemplar(Box(1, 2, 3, 4), positive=False),)
    points = (Point(1, 2), Point(3, 4, positive=False))
    assert model.prompts == [
        (
            Prompt(texts=("mug ☕",), points=points, exemplars=examples),
            Thresholds(score=0.25, mask=0.75, max_masks=7),
        ),
        (Prompt(mode=Mode.INSIDE_BOX, boxes=(Box(1, 2, 3, 4),)), Thresholds()),
    ]
    assert found.labels == ["mug ☕"]


def test_a_photo_is_turned_upright(client: httpx.Client) -> None:
    lying = Image.new("RGB", (40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    lying.save(buffer, "JPEG", exif=exif)
    answer = post(client, PREDICT, {"points": "[[10, 35]]", "multimask": "1"}, buffer.getvalue())
    assert answer.json()["image"] == {"width": 20, "height": 40}


def test_one_upload_is_decoded_once_for_many_prompts() -> None:
    model = ToldModel()
    with running(lambda: model) as service, service.client() as client:
        wait_until(lambda: client.get("/health").is_success)
        for _ in range(3):
            post(client, PREDICT, ON_THE_FIRST_ITEM)
        post(client, PREDICT, ON_THE_FIRST_ITEM, goods_photo(1))
        metrics = client.get("/metrics").text

    first, second, third, other = model.images
    assert first is second is third is not other
    assert not first.flags.writeable
    assert 'segpipe_images_total{source="decoded"} 2.0' in metrics
    assert 'segpipe_images_total{source="kept"} 2.0' in metrics


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("/secret/path: CUDA"), "InternalError"),
        (SegmenterError("/secret/path"), "SegmenterError"),
        (BackendUnavailableError("/secret/path"), "BackendUnavailableError"),
    ],
)
def test_a_model_that_fails_is_500_and_keeps_its_reasons(error: Exception, kind: str) -> None:
    with running(lambda: ToldModel(error=error)) as service, service.client() as client:
        wait_until(lambda: client.get("/health").is_success)
        answer = post(client, SEGMENT, {"prompt": "{}"})
        again = post(client, PREDICT, ON_THE_FIRST_ITEM)

    assert problem(answer, 500).error == problem(again, 500).error == kind
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", SEGMENT, 405)]
)
def test_unknown_paths_and_methods_are_problems_too(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    problem(client.request(method, path), status)


def test_metrics_count_requests_by_path_and_status() -> None:
    with running(ToldModel) as service, service.client() as client:
        wait_until(lambda: client.get("/health").is_success)
        post(client, PREDICT, ON_THE_FIRST_ITEM)
        post(client, PREDICT, {})
        client.get("/some/where")
        client.get("/some/where/else")
        answer = client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=")
    for line in (
        'segpipe_requests_total{path="/predict/mask",status="200"} 1.0',
        'segpipe_requests_total{path="/predict/mask",status="400"} 1.0',
        'segpipe_requests_total{path="other",status="404"} 2.0',
        "segpipe_model_seconds_count 1.0",
        "segpipe_model_loaded 1.0",
        "segpipe_in_model 0.0",
    ):
        assert line in answer.text


def test_any_segmenter_can_be_served() -> None:
    recursive = build_segmenter(RecursiveConfig())
    with running(lambda: recursive) as service, service.client() as client:
        wait_until(lambda: client.get("/health").is_success)
        health = client.get("/health").json()
        assert health["model"].startswith("recursive(classical)@")
        assert health["device"] == "cpu"
        scores = segment(client).scores
        assert len(scores) >= 3
        assert segment(client, max_masks=1).scores[0] == scores[0]
        assert post(client, PREDICT, ON_THE_FIRST_ITEM).is_success

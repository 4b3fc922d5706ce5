"""What ``POST /v1/segment`` answers."""

import base64
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from segpipe.detection import Detection, Thresholds
from segpipe.errors import CheckpointError, RefinerError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.refiners.grabcut import GrabCutConfig, GrabCutRefiner
from segpipe.refiners.loop.loop_refiner import HqSamRefiner
from segpipe.refiners.loop.loop_settings import HqSamConfig
from segpipe.refiners.refiner import Refinement
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.server import outline_answers as answers
from segpipe.server.server_settings import ServerSettings
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_png
from segpipe.vision.mask import Mask, iou
from segpipe.vision.path_fill import path_to_mask
from segpipe_tests.refiners.loop.tiny_hq_sam import make_tiny_checkpoint
from segpipe_tests.server.asking import (
    HEIGHT,
    PATH,
    PHOTO,
    WIDTH,
    FoundModel,
    ToldRefiner,
    ask,
    data_url,
    decoded,
    item,
    loaded,
    post,
    question,
    stream,
)
from segpipe_tests.server.running import Service, ToldModel, running, wait_until

COARSE, REFINED = "coarse_mask_base64", "refined_mask_base64"
FIRST_ITEM = Box(4, 20, 16, 36)
GOOD = item(40, 20, 80, 60, 0.9, "mug")
WORSE = item(100, 20, 140, 60, 0.6)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    refiner = GrabCutRefiner(GrabCutConfig())
    with running(ClassicalSegmenter, refiner=refiner) as service, loaded(service) as client:
        yield client


def box_of(bbox: dict[str, float]) -> Box:
    """In pixels."""
    return Box(
        bbox["x_min"] * WIDTH, bbox["y_min"] * HEIGHT, bbox["x_max"] * WIDTH, bbox["y_max"] * HEIGHT
    )


def drawn(segment: dict[str, Any]) -> Mask:
    return path_to_mask(
        segment["path"], box_of(segment["bbox"]), image_width=WIDTH, image_height=HEIGHT
    )


def refused(answer: httpx.Response, field: str | None) -> str:
    assert answer.status_code == 400, answer.text
    problem = answer.json()
    assert problem["field"] == field
    return str(problem["detail"])


def test_a_photo_becomes_outlines_boxes_and_masks(client: httpx.Client) -> None:
    found = ask(client, return_base64=True)

    assert len(found["segments"]) == 3
    assert found["image"] == {"width": WIDTH, "height": HEIGHT}
    assert found["model"].startswith("classical@")
    assert found["refiner"] == "grabcut"
    scores = [segment["score"] for segment in found["segments"]]
    assert scores == sorted(scores, reverse=True)
    best = found["segments"][0]
    for field in ("path", "bbox", COARSE):
        assert found[field] == best[field]
    assert box_of(found["bbox"]) == pytest.approx(FIRST_ITEM, abs=1.01)
    for segment in found["segments"]:
        coarse = decoded(segment[COARSE])
        assert iou(drawn(segment), coarse) > 0.95
        assert segment["iterations"] == 3


def test_a_mask_is_a_grey_png_of_the_upright_photos_size(client: httpx.Client) -> None:
    lying = Image.open(io.BytesIO(PHOTO)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    buffer = io.BytesIO()
    lying.save(buffer, "PNG", exif=exif)
    found = ask(client, image_url=data_url(buffer.getvalue()), return_base64=True)

    png = base64.b64decode(found[COARSE], validate=True)
    with Image.open(io.BytesIO(png)) as mask:
        assert (mask.format, mask.mode, mask.size) == ("PNG", "L", (WIDTH, HEIGHT))
        assert set(np.unique(np.asarray(mask))) == {0, 255}
    assert found["segments"] == ask(client, return_base64=True)["segments"]


@pytest.mark.parametrize("fields", [{}, {"return_base64": False}])
def test_masks_that_nobody_asked_for_are_not_there_and_not_encoded(
    fields: dict[str, bool], client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Mask] = []

    def encode(mask: Mask) -> str:
        encoded.append(mask)
        return ""

    monkeypatch.setattr(answers, "to_base64", encode)
    found = ask(client, **fields)
    assert not encoded
    for segment in (found, *found["segments"]):
        assert not {COARSE, REFINED} & set(segment)
    ask(client, return_base64=True)
    assert len(encoded) == 3


def masks_of(model: FoundModel, refiner: ToldRefiner, photo: bytes = PHOTO) -> dict[str, Any]:
    with running(lambda: model, refiner=refiner) as service, loaded(service) as client:
        return ask(client, image_url=data_url(photo), return_base64=True)


def test_a_refined_mask_brings_its_own_outline_and_box() -> None:
    found = masks_of(FoundModel(GOOD), ToldRefiner())
    assert decoded(found[COARSE]).box == GOOD.box
    assert decoded(found[REFINED]).box == box_of(found["bbox"]) == Box(41, 20, 79, 60)
    assert drawn(found).box == Box(41, 20, 79, 60)
    assert found["segments"][0]["reason"] is None


def test_a_refused_mask_leaves_the_coarse_outline_and_no_refined_mask() -> None:
    refiner = ToldRefiner(lambda mask: Refinement(mask, accepted=False, reason="left the item"))
    found = masks_of(FoundModel(GOOD), refiner)
    assert REFINED not in found
    assert decoded(found[COARSE]).box == box_of(found["bbox"]) == GOOD.box
    assert found["segments"][0]["reason"] == "left the item"


def test_an_empty_mask_is_black_and_not_left_out() -> None:
    empty = Mask.empty(image_width=WIDTH, image_height=HEIGHT)
    box = Box(40, 20, 80, 60)
    refiner = ToldRefiner(lambda mask: Refinement(mask, accepted=True))
    found = masks_of(FoundModel(Detection(box, 0.9, mask=empty)), refiner)
    for field in (COARSE, REFINED):
        mask = decoded(found[field])
        assert mask.is_empty
        assert (mask.image_width, mask.image_height) == (WIDTH, HEIGHT)
    assert found["path"] == ""
    assert box_of(found["bbox"]) == box


def test_a_refined_mask_that_cannot_be_traced_comes_beside_the_coarse_outline() -> None:
    side, other = 700, 600
    noise = Mask.from_full(np.random.default_rng(3).integers(0, 2, (other, side), np.uint8))
    box = Box(100.0, 60.0, 350.0, 300.0)
    coarse = Mask.from_box(box, image_width=side, image_height=other)
    refiner = ToldRefiner(
        lambda mask: (
            Refinement(noise, accepted=True)
            if mask.image_width == side
            else Refinement(mask, accepted=True)
        )
    )
    photo = encode_png(np.zeros((other, side, 3), np.uint8))
    found = masks_of(FoundModel(Detection(box, 0.9, mask=coarse)), refiner, photo)
    assert np.array_equal(decoded(found[REFINED]).to_full(), noise.to_full())
    assert np.array_equal(decoded(found[COARSE]).to_full(), coarse.to_full())
    assert found["bbox"] == {
        "x_min": 100 / side,
        "y_min": 60 / other,
        "x_max": 350 / side,
        "y_max": 300 / other,
    }
    assert found["path"].count("M") == 1


def test_a_model_that_answers_in_boxes_gives_boxes() -> None:
    found = masks_of(FoundModel(Detection(Box(40, 20, 80, 60), 0.9)), ToldRefiner())
    assert found["path"] == ""
    assert box_of(found["bbox"]) == Box(40, 20, 80, 60)
    assert not {COARSE, REFINED} & set(found)
    assert found["segments"][0]["reason"] == "the detection has no mask"


def test_nothing_found_is_an_answer() -> None:
    found = masks_of(FoundModel(), ToldRefiner())
    assert (found["path"], found["bbox"], found["segments"]) == ("", None, [])
    assert not {COARSE, REFINED} & set(found)


def test_the_best_object_is_the_one_with_the_best_score() -> None:
    found = masks_of(FoundModel(WORSE, GOOD), ToldRefiner())
    assert [one["detection"] for one in found["segments"]] == [1, 0]
    assert [one["label"] for one in found["segments"]] == ["mug", None]
    assert box_of(found["bbox"]).x1 == 41


def test_doubles_go_by_the_thresholds_of_dedup() -> None:
    double = item(44, 20, 84, 60, 0.5)
    with running(lambda: FoundModel(GOOD, double)) as service, loaded(service) as client:
        assert len(ask(client)["segments"]) == 1
        kept = ask(client, settings={"iou_threshold": 0.9, "containment_threshold": 1.0})
        assert len(kept["segments"]) == 2
        by_boxes = {"iou_threshold": 0, "containment_threshold": 0, "compare": "boxes"}
        assert len(ask(client, settings=by_boxes)["segments"]) == 1


@pytest.mark.parametrize(
    ("refiner", "reason"),
    [
        (None, "the service has no refiner"),
        (ToldRefiner(load_error=CheckpointError("/secret/weights")), "could not be loaded"),
        (ToldRefiner(load_error=ImportError("no torch")), "could not be loaded"),
    ],
    ids=["none", "bad checkpoint", "not installed"],
)
def test_without_a_refiner_the_path_stays_as_it_is_and_there_are_no_masks(
    refiner: ToldRefiner | None, reason: str
) -> None:
    with running(lambda: FoundModel(GOOD), refiner=refiner) as service:
        service.wait_for_model()
        if refiner:
            wait_until(lambda: "could not" in coarse_reason(service))
        with service.client() as client:
            found = ask(client, return_base64=True)
        health = service.health()

    assert box_of(found["bbox"]) == drawn(found).box == GOOD.box
    assert not {COARSE, REFINED} & {*found, *found["segments"][0]}
    assert reason in found["segments"][0]["reason"]
    assert "secret" not in str(found)
    assert found["refiner"] == "none"
    assert health["refiner"] == ("told" if refiner else None)
    assert health["refiner_loaded"] is False
    assert health["status"] == "ready"


def coarse_reason(service: Service) -> str:
    with service.client() as client:
        return str(ask(client)["segments"][0]["reason"])


def test_a_refiner_that_is_being_loaded_is_not_waited_for() -> None:
    refiner = ToldRefiner()
    refiner.load.clear()
    with running(lambda: FoundModel(GOOD), refiner=refiner) as service, service.client() as client:
        service.wait_for_model()
        early = ask(client, return_base64=True)
        assert service.health()["refiner_loaded"] is False
        refiner.load.set()
        wait_until(lambda: service.health()["refiner_loaded"] is True)
        late = ask(client, return_base64=True)

    assert early["segments"][0]["reason"] == "the refiner is still being loaded"
    assert COARSE not in early
    assert {COARSE, REFINED} <= set(late)
    assert late["refiner"] == "told"


@pytest.mark.parametrize("error", [RefinerError("/secret"), RuntimeError("/secret: CUDA")])
def test_a_refiner_that_fails_on_a_photo_leaves_its_masks_coarse(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    refiner = ToldRefiner(error=error)
    with (
        caplog.at_level(logging.ERROR),
        running(lambda: FoundModel(GOOD), refiner=refiner) as service,
        loaded(service) as client,
    ):
        found = ask(client, return_base64=True)
        metrics = client.get("/metrics").text

    assert decoded(found[COARSE]).box == box_of(found["bbox"]) == GOOD.box
    assert REFINED not in found
    assert "the refiner failed" in found["segments"][0]["reason"]
    assert "secret" not in str(found)
    assert "/secret" in caplog.text
    assert "segpipe_refiner_failures_total 1.0" in metrics


def test_a_refiner_that_answers_too_few_masks_leaves_them_coarse() -> None:
    refiner = ToldRefiner()
    model = FoundModel(GOOD, WORSE)
    with running(lambda: model, refiner=refiner) as service, loaded(service) as client:
        refiner.answers = 1
        found = ask(client)
    assert all("the refiner failed" in one["reason"] for one in found["segments"])


def test_refinement_that_is_not_wanted_is_not_done() -> None:
    refiner = ToldRefiner()
    with running(lambda: FoundModel(GOOD), refiner=refiner) as service, loaded(service) as client:
        found = ask(client, settings={"refine": False}, return_base64=True)
    assert refiner.steps == 0
    assert found["refiner"] == "none"
    assert found["segments"][0]["reason"] == "refinement was not asked for"
    assert COARSE in found
    assert REFINED not in found


def test_a_real_loop_refines_by_its_iterations(tmp_path: Path) -> None:
    config = HqSamConfig(
        checkpoint=str(make_tiny_checkpoint(tmp_path / "tiny")),
        device="cpu",
        iterations=2,
        min_iou=0,
        min_predicted_iou=0,
    )
    refiner = HqSamRefiner(config)
    with running(ClassicalSegmenter, refiner=refiner) as service, loaded(service) as client:
        found = ask(client, return_base64=True)
    assert found["refiner"] == "hq_sam"
    assert [one["iterations"] for one in found["segments"]] == [2, 2, 2]
    assert COARSE in found


BOX = {"x_min": 0.25, "y_min": 0.25, "x_max": 0.5, "y_max": 0.5}
PIXELS = Box(40, 30, 80, 60)


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({}, Prompt()),
        ({"object": None}, Prompt()),
        ({"object": "mug ☕"}, Prompt(texts=("mug ☕",))),
        ({"boxes": [BOX]}, Prompt(mode=Mode.INSIDE_BOX, boxes=(PIXELS,))),
        ({"object": " ", "boxes": [BOX]}, Prompt(Mode.INSIDE_BOX, texts=(" ",), boxes=(PIXELS,))),
        ({"object": "mug", "boxes": [BOX]}, Prompt(texts=("mug",), exemplars=(Exemplar(PIXELS),))),
        ({"mode": "find_all", "boxes": [BOX]}, Prompt(exemplars=(Exemplar(PIXELS),))),
        (
            {"object": "mug", "mode": "find_all", "boxes": [{**BOX, "positive": False}]},
            Prompt(texts=("mug",), exemplars=(Exemplar(PIXELS, positive=False),)),
        ),
        (
            {"mode": "inside_box", "object": "mug", "boxes": [BOX]},
            Prompt(mode=Mode.INSIDE_BOX, texts=("mug",), boxes=(PIXELS,)),
        ),
        (
            {"points": [{"x": 0.5, "y": 0.5}, {"x": 0, "y": 0, "positive": False}]},
            Prompt(points=(Point(80, 60), Point(0, 0, positive=False))),
        ),
        (
            {"boxes": [BOX], "points": [{"x": 0.3, "y": 0.3}]},
            Prompt(mode=Mode.INSIDE_BOX, boxes=(PIXELS,), points=(Point(48, 36),)),
        ),
    ],
)
def test_the_model_is_asked_what_the_client_means(fields: dict[str, Any], prompt: Prompt) -> None:
    model = ToldModel()
    with running(lambda: model) as service, loaded(service) as client:
        ask(client, **fields)
    assert model.prompts == [(prompt, Thresholds())]


def test_a_point_on_the_far_edge_is_in_the_last_pixel() -> None:
    model = ToldModel()
    with running(lambda: model) as service, loaded(service) as client:
        ask(client, points=[{"x": 1, "y": 1}])
    ((prompt, _),) = model.prompts
    (point,) = prompt.points
    assert (int(point.x), int(point.y)) == (WIDTH - 1, HEIGHT - 1)


def test_the_model_gets_the_thresholds() -> None:
    model = ToldModel()
    settings = {"threshold": 0.25, "mask_threshold": 0.75, "max_masks": 7}
    with running(lambda: model) as service, loaded(service) as client:
        ask(client, settings=settings)
    assert model.prompts == [(Prompt(), Thresholds(score=0.25, mask=0.75, max_masks=7))]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"return_base64": "true"}, "return_base64"),
        ({"return_base64": 1}, "return_base64"),
        ({"return_base64": None}, "return_base64"),
        ({"return_base64": []}, "return_base64"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"image_url": None}, "image_url"),
        ({"image_url": ""}, "image_url"),
        ({"image_url": 5}, "image_url"),
        ({"image_url": "rubbish"}, "image_url"),
        ({"image_url": "https://example.org/a.png"}, "image_url"),
        ({"image_url": "file:///etc/passwd"}, "image_url"),
        ({"image_url": "data:image/png,abc"}, "image_url"),
        ({"image_url": "data:text/html;base64,AAAA"}, "image_url"),
        ({"image_url": "data:image/png;base64,"}, "image_url"),
        ({"image_url": "data:image/png;base64,AAA"}, "image_url"),
        ({"image_url": "data:image/png;base64,AA AA"}, "image_url"),
        ({"image_url": "data:image/png;base64,AA\nAA"}, "image_url"),
        ({"image_url": "data:image/png;base64,ÄÄÄÄ"}, "image_url"),
        ({"image_url": "data:image/png;base64,AAAA"}, "image_url"),
        ({"image_url": data_url(PHOTO[: len(PHOTO) // 2])}, "image_url"),
        ({"object": 5}, "object"),
        ({"object": "mug"}, "object"),  # what this model cannot follow
        ({"object": "x" * 10_001}, "object"),
        ({"mode": "guess"}, "mode"),
        ({"mode": "inside_box"}, "boxes"),
        ({"colour": "red"}, "colour"),
        ({"settings": {"colour": 1}}, "settings.colour"),
        ({"settings": {"threshold": 2}}, "settings.threshold"),
        ({"settings": {"threshold": "0.5"}}, "settings.threshold"),
        ({"settings": {"max_masks": 0}}, "settings.max_masks"),
        ({"settings": {"iou_threshold": -1}}, "settings.iou_threshold"),
        ({"settings": {"compare": "colours"}}, "settings.compare"),
        ({"settings": {"refine": 1}}, "settings.refine"),
        ({"boxes": [{"x_min": 0}]}, "boxes.0.y_min"),
        ({"boxes": [{**BOX, "x_max": 1.5}]}, "boxes.0.x_max"),
        ({"boxes": [{**BOX, "x_max": 0.25}]}, "boxes.0"),
        ({"boxes": [{**BOX, "x_min": 0.4999999999999999999}]}, "boxes.0"),
        ({"boxes": [{**BOX, "positive": False}]}, "boxes[0].positive"),
        ({"boxes": [BOX] * 1001}, "boxes"),
        ({"mode": "find_all", "boxes": [{**BOX, "positive": False}]}, "boxes"),
        ({"points": [{"x": 0.5}]}, "points.0.y"),
        ({"points": [{"x": -0.1, "y": 0}]}, "points.0.x"),
        ({"points": [{"x": 0.1, "y": 0, "positive": False}]}, "points"),
        ({"points": [{"x": 0.1, "y": 0.1}] * 65}, "points"),
    ],
)
def test_what_is_malformed_is_named(
    client: httpx.Client, fields: dict[str, Any], field: str
) -> None:
    refused(post(client, **fields), field)


def test_opposite_examples_of_one_object_are_named_as_the_boxes_they_came_as(
    client: httpx.Client,
) -> None:
    boxes = [ask(client)["bbox"], {**ask(client)["bbox"], "positive": False}]
    answer = post(client, mode="find_all", boxes=boxes)
    detail = refused(answer, "boxes[1]")
    assert "boxes[1] takes in the same item as boxes[0]" in detail


@pytest.mark.parametrize("fields", [{}, {"return_base64": True}, {"stream": True}])
def test_without_an_image_it_is_400(client: httpx.Client, fields: dict[str, Any]) -> None:
    refused(client.post(PATH, json=fields), "image_url")


def test_a_url_of_the_web_is_refused_and_not_fetched(client: httpx.Client) -> None:
    detail = refused(post(client, image_url="http://127.0.0.1:9/x.png"), "image_url")
    assert "fetches no photos" in detail
    assert "127.0.0.1" not in detail


@pytest.mark.parametrize(
    "prefix",
    [
        "DATA:IMAGE/PNG;BASE64,",
        "data:image/png;name=a.png;base64,",
        "data:application/octet-stream;base64,",
    ],
)
def test_a_data_url_may_be_written_in_other_ways(client: httpx.Client, prefix: str) -> None:
    url = prefix + base64.b64encode(PHOTO).decode()
    assert len(ask(client, image_url=url)["segments"]) == 3


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"content": b""}, None),
        ({"content": b"rubbish"}, None),
        ({"content": b"[]"}, None),
        ({"content": b"[" * 100_000}, None),
        ({"content": b'{"image_url": "\xff"}'}, None),
        ({"content": b'{"settings": {"threshold": NaN}}'}, "settings.threshold"),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, "content-type"),
        ({"content": b"{}", "headers": {"content-type": ""}}, "content-type"),
        (
            {"content": b"{}", "headers": {"content-type": "application/json; charset=utf-16"}},
            "content-type",
        ),
        ({"data": {"image_url": "x"}}, "content-type"),
    ],
)
def test_a_body_that_is_no_such_json_is_400(
    client: httpx.Client, sent: dict[str, Any], field: str | None
) -> None:
    headers = {"content-type": "application/json"} if "content" in sent else {}
    refused(client.post(PATH, **{"headers": headers, **sent}), field)


def test_json_may_say_that_it_is_utf_8(client: httpx.Client) -> None:
    headers = {"content-type": "Application/JSON; charset=UTF-8"}
    assert client.post(PATH, json=question(), headers=headers).status_code == 200


def test_what_a_photo_lost_is_noted(client: httpx.Client) -> None:
    frames = [Image.open(io.BytesIO(PHOTO)), Image.new("RGB", (WIDTH, HEIGHT))]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    (note,) = ask(client, image_url=data_url(buffer.getvalue()))["notes"]
    assert "first of 2 frames" in note


def test_the_limits_of_size_hold() -> None:
    settings = ServerSettings(max_megapixels=0.01, max_upload_mb=0.1, max_points=2)
    with running(ClassicalSegmenter, settings) as service, loaded(service) as client:
        refused(post(client), "image_url")
        refused(post(client, points=[{"x": 0, "y": 0}] * 3), "points")
        assert post(client, image_url=data_url(bytes(100_000))).status_code == 413


def test_one_photo_is_decoded_once_whoever_sends_it() -> None:
    model = ToldModel()
    with running(lambda: model) as service, loaded(service) as client:
        ask(client)
        client.post("/segment", files={"image": PHOTO}, data={"prompt": "{}"})
        ask(client)
    first, second, third = model.images
    assert first is second is third


def test_the_outline_of_an_answer_is_refined_without_the_model() -> None:
    """What a refiner was made for; the pixels that the path holds are the coarse mask."""
    model = FoundModel(item(40, 20, 80, 60, 0.9))
    with running(lambda: model, refiner=ToldRefiner()) as service, loaded(service) as client:
        first = ask(client, return_base64=True)["segments"][0]
        outline = {name: first[name] for name in ("path", "bbox")}
        again = ask(client, **outline, return_base64=True)
    assert len(model.images) == 1
    (segment,) = again["segments"]
    given, refined = decoded(first["refined_mask_base64"]), again["refined_mask_base64"]
    assert iou(decoded(segment["coarse_mask_base64"]), given) == 1
    assert decoded(refined).area < given.area
    assert (segment["score"], segment["label"], segment["reason"]) == (1.0, None, None)
    assert segment["path"]
    assert segment["bbox"] != first["bbox"]


def test_an_outline_is_told_of_in_a_stream() -> None:
    with running(ToldModel, refiner=ToldRefiner()) as service, loaded(service) as client:
        events = stream(client, path="M0,0H1V1H0Z", bbox=BOX)
    assert "segmentation" not in [data.get("stage") for _, data in events]
    assert events[-1][0] == "final"
    assert len(events[-1][1]["segments"]) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"path": "M0,0H1V1Z"}, None),
        ({"bbox": BOX}, None),
        ({"path": "M0,0H1V1Z", "bbox": {**BOX, "x_min": 0.9}}, "bbox"),
        ({"path": "", "bbox": BOX}, "path"),
        ({"path": "rubbish", "bbox": BOX}, "path"),
        ({"path": "M0,0A1", "bbox": BOX}, "path"),
        ({"path": "M5,5H6V6Z", "bbox": BOX}, "path"),
        ({"path": "M0,0H1V1Z", "bbox": {"x_min": 0}}, "bbox.y_min"),
        ({"path": "M0,0H1V1Z", "bbox": BOX, "object": "mug"}, None),
        ({"path": "M0,0H1V1Z", "bbox": BOX, "boxes": [BOX]}, None),
    ],
)
def test_an_outline_that_is_none_is_named(
    client: httpx.Client, fields: dict[str, Any], field: str | None
) -> None:
    refused(post(client, **fields), field)

"""The OpenAPI document tells what the service does."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished

from segpipe.refiners.grabcut import GrabCutConfig, GrabCutRefiner
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.server.server_settings import ServerSettings
from segpipe_tests.goods import goods_photo
from segpipe_tests.server.running import Service, running, wait_until

TOKEN = "schemathesis"
# Whether bytes are a photo, and a point lies in it, is more than a schema can say.
BEYOND_SCHEMAS = "positive_data_acceptance"
PHOTO, WIDTH, HEIGHT = goods_photo(2), 160, 120


@pytest.fixture(scope="module", params=[False, True], ids=["open", "with a token"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setenv("SEGPIPE_SERVER_TOKEN", TOKEN)
        refiner = GrabCutRefiner(GrabCutConfig())
        with running(ClassicalSegmenter, ServerSettings(max_upload_mb=16), refiner) as service:
            wait_until(lambda: service.health()["refiner_loaded"] is True)
            yield service


def load_schema(service: Service) -> schemathesis.BaseSchema:
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "generation": {"max-examples": 8, "database": "none"},
            "checks": {BEYOND_SCHEMAS: {"enabled": False}},
            "headers": service.headers,
        }
    )
    return schemathesis.openapi.from_url(
        f"{service.url}/openapi.json", config=config, headers=service.headers
    )


def integers_below(limit: int) -> st.SearchStrategy[int]:
    return st.integers(0, limit - 1)


@st.composite
def boxes(draw: st.DrawFn) -> dict[str, int]:
    x1, y1 = draw(integers_below(WIDTH)), draw(integers_below(HEIGHT))
    x2, y2 = draw(st.integers(x1 + 1, WIDTH)), draw(st.integers(y1 + 1, HEIGHT))
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2}


PLACES = st.lists(st.tuples(integers_below(WIDTH), integers_below(HEIGHT)), min_size=1, max_size=3)
LIMITS = {
    "threshold": st.floats(0, 1),
    "mask_threshold": st.floats(0, 1),
    "max_masks": st.integers(1, 10_000),
    "encoding": st.sampled_from(["rle", "png"]),
}
PROMPTS = st.one_of(
    st.fixed_dictionaries({}, optional=LIMITS),
    st.fixed_dictionaries({"text": st.none() | st.sampled_from(["", " \t"])}),
    st.fixed_dictionaries(
        {"mode": st.just("inside_box"), "boxes": st.lists(boxes(), min_size=1, max_size=2)},
        optional=LIMITS,
    ),
)


SHARES = st.floats(0, 1)
SETTINGS = {
    "threshold": SHARES,
    "mask_threshold": SHARES,
    "max_masks": st.integers(1, 10_000),
    "iou_threshold": SHARES,
    "containment_threshold": SHARES,
    "compare": st.sampled_from(["masks", "boxes"]),
    "refine": st.booleans(),
}
QUESTIONS = st.fixed_dictionaries(
    {},
    optional={
        "object": st.none() | st.sampled_from(["", " \t"]),
        "boxes": st.just([{"x_min": 0.02, "y_min": 0.1, "x_max": 0.12, "y_max": 0.4}]),
        "settings": st.fixed_dictionaries({}, optional=SETTINGS),
        "return_base64": st.booleans(),
        "stream": st.just(value=False),
    },
)


def call(service: Service, path: str, parts: dict[str, str]) -> int:
    """Send a form, check the answer against the document, and give its status."""
    body: dict[str, Any] = {"image": PHOTO, **parts}
    return send(service, path, body, "multipart/form-data")


def send(service: Service, path: str, body: dict[str, Any], media_type: str) -> int:
    operation = load_schema(service)[path]["POST"]
    case = operation.Case(body=body, media_type=media_type, headers=service.headers)
    response = case.call()
    case.validate_response(response)
    return response.status_code


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(places=PLACES, multimask=st.booleans())
def test_points_in_the_image_are_answered_as_declared(
    service: Service, places: list[tuple[int, int]], multimask: bool
) -> None:
    parts = {
        "points": json.dumps(places),
        "labels": json.dumps([1] + [0] * (len(places) - 1)),
        "multimask": json.dumps(multimask),
    }
    assert call(service, "/predict/mask", parts) == 200


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(prompt=PROMPTS)
def test_prompts_that_make_sense_are_answered_as_declared(
    service: Service, prompt: dict[str, object]
) -> None:
    assert call(service, "/segment", {"prompt": json.dumps(prompt)}) == 200


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(question=QUESTIONS)
def test_questions_that_make_sense_are_answered_as_declared(
    service: Service, question: dict[str, object]
) -> None:
    url = f"data:image/png;base64,{base64.b64encode(PHOTO).decode()}"
    assert send(service, "/v1/segment", {"image_url": url, **question}, "application/json") == 200


def test_the_document_says_what_may_go_wrong(service: Service) -> None:
    with service.client() as client:
        document = client.get("/openapi.json").json()

    models = ("/predict/mask", "/segment", "/v1/segment", "/v1/inpaint")
    assert set(document["paths"]) == {"/health", "/metrics", *models}
    errors = {"400", "408", "413", "500", "503", "504"} | ({"401"} if service.headers else set())
    for path in models:
        responses = document["paths"][path]["post"]["responses"]
        assert set(responses) == {"200", *errors}
        for status in errors:
            schema = responses[status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert bool(service.headers) == ("securitySchemes" in document["components"])


def test_schemathesis_finds_nothing(service: Service) -> None:
    failures, scenarios = [], 0
    for event in from_schema(load_schema(service)).execute():
        assert not isinstance(event, NonFatalError), event
        if isinstance(event, ScenarioFinished):
            scenarios += 1
            failures += [
                f"{event.recorder.label}: {check.failure_info.failure}"
                for checks in event.recorder.checks.values()
                for check in checks
                if check.status is Status.FAILURE and check.failure_info
            ]
    assert failures == []
    assert scenarios >= 8

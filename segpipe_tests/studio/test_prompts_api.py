"""What is drawn, over HTTP: tags, merging, who may, and bounds."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.run_deal import record_finds
from segpipe.progress import tell_nobody
from segpipe.prompt import Mode
from segpipe.studio.roles import Role
from segpipe.studio.studio_settings import TOKEN_VARIABLES
from segpipe_tests.deals import make_deal, make_tools
from segpipe_tests.goods import BrightSegmenter
from segpipe_tests.studio.drawing_page import make_photos, said
from segpipe_tests.studio.running_studio import RunningStudio, in_thread, running_studio

TOKENS = {role: f"a-token-of-{role}" for role in Role}
PROMPTS = "/api/deals/lot/photos/a/prompts"
BOX: dict[str, Any] = {"mode": "inside_box", "prompt_type": "segment", "box": [1, 2, 30, 40]}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """A studio with a token for each role, and a photo to draw on."""
    root: Path = tmp_path_factory.mktemp("prompts") / "data"
    make_photos(root, "lot")
    environment = {name: TOKENS[role] for role, name in TOKEN_VARIABLES.items()}
    with running_studio(root, environment) as running:
        yield running


@pytest.fixture
def reviewer(guarded: RunningStudio) -> Iterator[httpx.Client]:
    with guarded.client(Authorization=f"Bearer {TOKENS[Role.REVIEWER]}") as client:
        yield client


def add(name: str, **changes: object) -> dict[str, Any]:
    return {"op": "add", "id": name, "to": BOX | changes}


def patch(client: httpx.Client, *operations: object, **headers: str) -> httpx.Response:
    content = json.dumps({"operations": operations})
    return client.patch(
        PROMPTS, content=content, headers={"Content-Type": "application/json", **headers}
    )


def test_a_tag_tells_whether_anything_has_changed(
    guarded: RunningStudio, reviewer: httpx.Client
) -> None:
    first = reviewer.get(PROMPTS)
    tag = first.headers["etag"]
    assert reviewer.get(PROMPTS, headers={"If-None-Match": tag}).status_code == 304
    second = patch(reviewer, add("one"), **{"If-Match": tag})
    assert second.status_code == 200
    assert second.headers["etag"] != tag
    late = patch(reviewer, add("two"), **{"If-Match": tag})
    assert late.status_code == 412
    assert late.json()["document"] == second.json()
    assert late.headers["etag"] == second.headers["etag"]
    # Without If-Match it is merged; and the same a second time changes nothing.
    merged = patch(reviewer, add("two"))
    assert patch(reviewer, add("two")).json() == merged.json()
    touched = patch(reviewer, {"op": "remove", "id": "one", "was": BOX | {"box": [0, 0, 5, 5]}})
    assert (touched.status_code, touched.json()["annotations"]) == (412, ["one"])
    assert len(said(guarded.store.prompts.of_image("lot", "a"))) == 2
    line = guarded.studio.audit.lines()[-1]
    assert (line["what"], line["deal"], line["image"]) == ("changed prompts", "lot", "a")


def test_viewers_look_and_change_nothing(guarded: RunningStudio) -> None:
    with guarded.client(Authorization=f"Bearer {TOKENS[Role.VIEWER]}") as viewer:
        assert viewer.get(PROMPTS).status_code == 200
        page = viewer.get("/deals/lot/annotate/a")
        assert page.status_code == 200
        assert '"mayDraw": false' in page.text
        before = guarded.store.prompts.of_image("lot", "a")
        refused = [
            patch(viewer, add("no")),
            viewer.patch("/api/deals/lot/prompts", json={"operations": []}),
            viewer.post("/api/deals/lot/photos/a/preview"),
            viewer.post("/api/deals/lot/photos/a/candidates", json={"points": []}),
        ]
        assert {answer.status_code for answer in refused} == {403}
        assert guarded.store.prompts.of_image("lot", "a") == before


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (add("far", box=[390, 2, 401, 40]), "not inside the upright photo of 400 x 300"),
        (add("../../x"), "pattern"),
        (add("x" * 65), "pattern"),
        (add("flat", box=[5, 5, 5, 9]), "x1 < x2"),
        (add("none", box=None), "takes box"),
        (add("true", box=[True, 2, 30, 40]), "not true or false"),
        (add("on", prompt_type="point", box=None, point=[5, 5], label=True), "not true or false"),
        (add("long", category="x" * 201), "200"),
        (add("more", made_by="me"), "Extra inputs"),
        ({"op": "text", "to": "x" * 2001}, "2000"),
        ({"op": "own"}, "op"),
        ({"op": "text", "to": "\ud800"}, "unicode"),
    ],
)
def test_what_makes_no_sense_is_refused_whole(
    guarded: RunningStudio, reviewer: httpx.Client, operation: dict[str, Any], says: str
) -> None:
    before = guarded.store.prompts.of_image("lot", "a")
    answer = patch(reviewer, add("good"), operation)
    assert answer.status_code == 400
    assert says in answer.json()["detail"]
    assert guarded.store.prompts.of_image("lot", "a") == before


def test_requests_are_bounded_and_strange_ids_are_nowhere(reviewer: httpx.Client) -> None:
    assert patch(reviewer, *[{"op": "text", "to": "x"}] * 1001).status_code == 400
    huge = reviewer.patch(PROMPTS, content=b" " * 1_100_000)
    assert huge.status_code == 413
    for image in ("nothing", "a%00b", "x" * 129, "%3Cimg%3E"):
        for path in ("prompts", "found", "preview", "candidates"):
            method = "GET" if path in {"prompts", "found"} else "POST"
            answer = reviewer.request(
                method, f"/api/deals/lot/photos/{image}/{path}", json={"points": []}
            )
            assert answer.status_code in {400, 404}, (image, path)
    points = {"points": [{"x": 5000, "y": 1}]}
    outside = reviewer.post("/api/deals/lot/photos/a/candidates", json=points)
    assert (outside.status_code, outside.json()["field"]) == (422, "points[0]")


def test_the_text_of_a_deal_has_a_tag_of_its_own(
    guarded: RunningStudio, reviewer: httpx.Client
) -> None:
    path = "/api/deals/lot/prompts"
    said = reviewer.patch(path, json={"operations": [{"op": "text", "to": "ring"}]})
    assert (said.status_code, said.json()["text"]) == (200, "ring")
    other = reviewer.patch(path, json={"operations": [{"op": "text", "to": "coin"}]})
    assert (other.status_code, other.json()["annotations"]) == (412, ["text"])
    assert guarded.store.prompts.of_deal("lot").text == "ring"


def test_to_remove_what_a_run_found_is_to_reject_it_and_to_undo_that_takes_it_back(
    guarded: RunningStudio, reviewer: httpx.Client
) -> None:
    store = make_deal(Path(guarded.store.root.place), "found", (3,))
    tools = make_tools(BrightSegmenter())
    task = DealTask("found", "run-1")
    outcome = in_thread(lambda: asyncio.run(process_deal(store, task, tools)))
    record_finds(store, outcome, tools, tell_nobody)
    page = "/api/deals/found/photos/a/prompts"
    before = reviewer.get(page).json()["annotations"]
    shape = {name: before[1][name] for name in ("mode", "prompt_type", "box")}
    was = {"op": "remove", "id": before[1]["id"], "was": shape}
    mixed = [was, {"op": "text", "was": None, "to": "ring"}]
    for _ in range(2):  # what comes twice is done once
        gone = reviewer.patch(page, json={"operations": mixed})
        assert gone.status_code == 200
        assert gone.json()["annotations"] == [before[0], before[2]]
        assert gone.json()["text"] == "ring"
    (decision,) = store.reviews.of_image("found", Mode.FIND_ALL, "a").decisions
    assert (decision.verdict, decision.created_by) == ("reject", "program")
    back = reviewer.patch(
        page, json={"operations": [{"op": "add", "id": before[1]["id"], "to": shape}]}
    )
    assert sorted(back.json()["annotations"], key=lambda one: one["id"]) == before
    assert store.reviews.of_image("found", Mode.FIND_ALL, "a").decisions == ()

"""The pure cores of the drawing page, in the browser, with Python as the oracle."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from segpipe.errors import PromptConflictError
from segpipe.prompt import Mode
from segpipe.store.prompts import ImagePrompts
from segpipe.vision.boxes import Box
from segpipe.vision.contour import mask_to_path
from segpipe.vision.mask import Mask
from segpipe_tests.store.prompts.test_prompt_operations import applied as applied_by_the_store
from segpipe_tests.studio.running_studio import RunningStudio

ROUNDS = 200


@pytest.fixture(scope="module")
def script(browser: Browser, studio: RunningStudio) -> Iterator[Page]:
    """A page that runs modules of the studio."""
    page = browser.new_page(base_url=studio.url)
    page.goto("/health")
    yield page
    page.close()


def call(page: Page, module: str, body: str, given: object) -> Any:
    """Run something with a module as ``core`` and what is given as ``given``."""
    return page.evaluate(
        f"async (given) => {{ const core = await import('/static/annotate/{module}.js'); {body} }}",
        given,
    )


def test_an_outline_is_hit_where_its_mask_is(script: Page) -> None:
    rng = np.random.default_rng(2)
    given, wanted = [], []
    for _ in range(30):
        full = (rng.random((12, 16)) < 0.6).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        mask = Mask.from_full(full)
        assert mask.box
        places = rng.uniform(0, [64, 48], (40, 2))
        places = np.floor(places) + 0.5
        path = mask_to_path(mask, tolerance_px=0)
        item = {"id": "m", "box": list(mask.box), "path": path}
        given.append({"item": item, "places": places.tolist()})
        wanted.append([bool(full[int(y), int(x)]) for x, y in places])
    found = call(
        script,
        "scene",
        """return given.map(({item, places}) =>
          places.map((place) => core.hits([item], place).length > 0));""",
        given,
    )
    assert found == wanted


def test_the_smallest_box_is_hit_first_and_a_point_before_all(script: Page) -> None:
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 80, (ROUNDS, 2))
    boxes = [
        Box(x, y, x + w, y + h)
        for (x, y), (w, h) in zip(corners, rng.uniform(1, 60, (ROUNDS, 2)), strict=True)
    ]
    areas = [(box.x2 - box.x1) * (box.y2 - box.y1) for box in boxes]
    items: list[dict[str, Any]] = [{"id": str(i), "box": list(box)} for i, box in enumerate(boxes)]
    items.append({"id": "point", "point": [50.0, 50.0]})
    places = [*rng.uniform(0, 140, (50, 2)).tolist(), [52.0, 50.0]]
    found = call(
        script,
        "scene",
        "return given.places.map((place) => core.hits(given.items, place, 3).map(({id}) => id));",
        {"items": items, "places": places},
    )
    for (x, y), ids in zip(places, found, strict=True):
        inside = [
            index
            for index, box in enumerate(boxes)
            if box.x1 - 3 <= x < box.x2 + 3 and box.y1 - 3 <= y < box.y2 + 3
        ]
        near = ["point"] if np.hypot(x - 50, y - 50) <= 3 else []
        by_area = sorted(inside, key=areas.__getitem__)
        assert ids == [*near, *map(str, by_area)]
    assert found[-1][0] == "point"


def test_what_is_under_a_pointer_or_between_two_fingers_stays_there(script: Page) -> None:
    rng = np.random.default_rng(4)
    given = [
        {
            "view": {"scale": scale, "x": x, "y": y},
            "before": before,
            "after": after,
            "factor": factor,
        }
        for scale, x, y, factor, before, after in zip(
            rng.uniform(0.05, 8, ROUNDS).tolist(),
            *rng.uniform(-500, 500, (2, ROUNDS)).tolist(),
            rng.uniform(0.5, 2, ROUNDS).tolist(),
            rng.uniform(0, 800, (ROUNDS, 2, 2)).tolist(),
            rng.uniform(0, 800, (ROUNDS, 2, 2)).tolist(),
            strict=True,
        )
    ]
    found = call(
        script,
        "view",
        """const limits = {min: 0.001, max: 1000};
        return given.map(({view, before, after, factor}) => {
          const zoomed = core.zoomedAt(view, before[0], factor, limits);
          const pinched = core.pinched(view, before, after, limits);
          const drawn = core.redirected(view, pinched, [-30, -20]);
          return {zoomed, pinched, drawn, there: core.toPhoto(view, before[0])};
        });""",
        given,
    )

    def seen(view: dict[str, float], place: complex) -> complex:
        return (place - complex(view["x"], view["y"])) / view["scale"]

    for asked, got in zip(given, found, strict=True):
        view = asked["view"]
        before, after = ([complex(*place) for place in asked[name]] for name in ("before", "after"))
        assert seen(got["zoomed"], before[0]) == pytest.approx(seen(view, before[0]))
        assert complex(*got["there"]) == pytest.approx(seen(view, before[0]))
        middles = sum(before) / 2, sum(after) / 2
        assert seen(got["pinched"], middles[1]) == pytest.approx(seen(view, middles[0]))
        ratio = abs(after[1] - after[0]) / abs(before[1] - before[0])
        assert got["pinched"]["scale"] == pytest.approx(view["scale"] * ratio)
        # A pixel of the canvas that showed a place of the photo still shows it.
        on_canvas = complex(120, 90)
        place = seen(view, on_canvas + complex(-30, -20))
        drawn = got["drawn"]
        now = on_canvas * drawn["scale"] + complex(drawn["x"], drawn["y"])
        assert seen(got["pinched"], now) == pytest.approx(place)


def random_edits(rng: np.random.Generator) -> list[dict[str, Any]]:
    """What one person may do with three annotations and a text."""
    shapes: list[dict[str, Any]] = [
        {"mode": "inside_box", "prompt_type": "segment", "box": [x, 1.0, x + 5.0, 9.0]}
        for x in (0.0, 1.0, 2.0)
    ]
    state: dict[str, Any] = {}
    edits = []
    for _ in range(rng.integers(1, 9)):
        name = str(rng.choice(["a", "b", "text"]))
        value = shapes[rng.integers(3)]
        if name == "text":
            words = str(rng.choice(["ring", "coin"]))
            edits.append({"op": "text", "was": state.get("text"), "to": words})
            state["text"] = words
        elif name not in state:
            edits.append({"op": "add", "id": name, "to": value})
            state[name] = value
        elif rng.random() < 0.4:
            edits.append({"op": "remove", "id": name, "was": state.pop(name)})
        else:
            edits.append({"op": "change", "id": name, "was": state[name], "to": value})
            state[name] = value
    return edits


def test_edits_mean_the_same_in_the_browser_joined_undone_and_on_the_server(script: Page) -> None:
    rng = np.random.default_rng(5)
    given = [random_edits(rng) for _ in range(ROUNDS)]
    found = call(
        script,
        "prompts",
        """const history = await import('/static/annotate/history.js');
        const empty = {text: null, annotations: []};
        return given.map((edits) => {
          const applied = core.applied(empty, edits);
          const undone = core.applied(applied, history.inverses(edits));
          return {applied, joined: core.compacted(edits), undone};
        });""",
        given,
    )
    empty = ImagePrompts(image="a")
    for edits, got in zip(given, found, strict=True):
        one_by_one = applied_by_the_store(empty, *edits)
        joined = applied_by_the_store(empty, *got["joined"])
        assert contents(joined) == contents(one_by_one)
        # Sent twice, as after a lost answer, it is there once.
        assert applied_by_the_store(joined, *got["joined"]) == joined
        shown = got["applied"]
        assert {each["id"]: each["box"] for each in shown["annotations"]} == contents(one_by_one)[1]
        assert shown["text"] == one_by_one.text
        assert got["undone"] == {"text": None, "annotations": []}


def contents(prompts: ImagePrompts) -> tuple[str | None, dict[str, list[float]]]:
    return prompts.text, {each.id: list(each.box or ()) for each in prompts.annotations}


def test_what_is_rebased_is_taken_by_the_server(script: Page) -> None:
    shape = {"mode": "inside_box", "prompt_type": "segment", "box": [0.0, 1.0, 5.0, 9.0]}
    mine, theirs = shape | {"box": [3.0, 1.0, 8.0, 9.0]}, shape | {"box": [0.0, 4.0, 5.0, 12.0]}
    drawn = applied_by_the_store(ImagePrompts(image="a"), {"op": "add", "id": "x", "to": shape})
    change = {"op": "change", "id": "x", "was": shape, "to": mine}
    for other in (
        {"op": "change", "id": "x", "was": shape, "to": theirs},
        {"op": "remove", "id": "x", "was": shape},
    ):
        present = applied_by_the_store(drawn, other)
        with pytest.raises(PromptConflictError):
            applied_by_the_store(present, change)
        document = present.model_dump(mode="json", exclude_none=True)
        again = call(
            script,
            "prompts",
            "return core.rebased(given.change, {text: null, ...given.document});",
            {"change": change, "document": document},
        )
        (annotation,) = applied_by_the_store(present, again).annotations
        assert (annotation.mode, list(annotation.box or ())) == (Mode.INSIDE_BOX, [3, 1, 8, 9])

"""What tables keep of prompts, now and in earlier releases."""

import json
from typing import Any

from hypothesis import given

from segpipe.flow.mode_prompts import prompt_from_row, prompt_to_row
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.vision.boxes import Box
from segpipe_tests.prompts import prompts


@given(prompts)
def test_a_prompt_is_kept_as_its_json(prompt: Prompt) -> None:
    row = prompt_to_row(prompt)
    assert json.loads(row) == prompt.to_json()
    again = prompt_from_row(row)
    assert again
    assert again.to_json() == prompt.to_json()


def test_a_photo_that_was_not_asked_about_has_no_prompt() -> None:
    row = prompt_to_row(None)
    assert json.loads(row)["mode"] == "inside_box"
    assert prompt_from_row(row) is None


def annotation(number: int, mode: Mode, kind: str, **shape: object) -> dict[str, Any]:
    empty = {"box": None, "point": None, "label": None}
    made = {"source": "user", "created_by": "zoë", "created_at": "2026-01-02T03:04:05Z"}
    return {"id": f"b{number}", "mode": mode, "prompt_type": kind, **empty, **shape, **made}


def old_row(mode: Mode, text: str | None, *annotations: dict[str, Any]) -> str:
    return json.dumps({"mode": mode, "text": text, "annotations": annotations})


def test_rows_of_release_0_1_are_read() -> None:
    boxes, everywhere = Mode.INSIDE_BOX, Mode.FIND_ALL
    box = {"box": [1.0, 2.0, 30.0, 40.0]}
    off = {"point": [3.0, 4.0], "label": 0}
    assert prompt_from_row(old_row(everywhere, None)) == Prompt()
    assert prompt_from_row(old_row(boxes, None)) is None
    assert prompt_from_row(old_row(boxes, None, annotation(1, boxes, "point", **off))) is None
    assert prompt_from_row(
        old_row(
            boxes,
            None,
            annotation(1, boxes, "segment", **box),
            annotation(2, boxes, "point", **off),
        )
    ) == Prompt(boxes=(Box(1, 2, 30, 40),), points=(Point(3, 4, False),), mode=boxes)
    assert prompt_from_row(
        old_row(
            everywhere,
            "coin",
            annotation(1, everywhere, "positive_exemplar", **box),
            annotation(2, everywhere, "negative_exemplar", **box),
        )
    ) == Prompt(
        texts=("coin",),
        exemplars=(Exemplar(Box(1, 2, 30, 40)), Exemplar(Box(1, 2, 30, 40), False)),
    )

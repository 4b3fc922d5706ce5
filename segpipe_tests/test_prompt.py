"""What a prompt may say, what it may say of an image, and what of it a segmenter can follow."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given

from segpipe.errors import PromptError, UnsupportedPromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt, Supports, require_points
from segpipe.vision.boxes import Box
from segpipe_tests.prompts import prompts

BOX, OTHER = Box(10, 10, 30, 20), Box(50, 10, 70, 40)
IN_BOX, IN_NONE = Point(12, 15), Point(90, 70)
LIKE, UNLIKE = Exemplar(BOX), Exemplar(OTHER, positive=False)
WIDTH, HEIGHT = 100, 80


def in_boxes(*boxes: Box, **more: object) -> Prompt:
    return Prompt(Mode.INSIDE_BOX, boxes=boxes, **more)  # type: ignore[arg-type]


REFUSED: dict[str, tuple[Callable[[], Prompt], str, str]] = {
    "no box": (lambda: Prompt(Mode.INSIDE_BOX), "boxes", "at least one box; draw one"),
    "box and exemplar": (lambda: in_boxes(BOX, exemplars=(LIKE,)), "exemplars", "no exemplars"),
    "names of a box": (lambda: in_boxes(BOX, texts=("a", "b")), "text", "one text at most"),
    "drawn boxes": (lambda: Prompt(boxes=(BOX,)), "boxes", "mode inside_box"),
    "swapped x": (lambda: in_boxes(BOX, Box(30, 10, 10, 20)), "boxes[1]", "x1 < x2"),
    "swapped y": (lambda: in_boxes(Box(10, 20, 30, 10)), "boxes[0]", "y1 < y2"),
    "flat": (lambda: in_boxes(Box(10, 20, 30, 20)), "boxes[0]", "draw it again"),
    "no number": (lambda: in_boxes(Box(math.nan, 0, 30, 20)), "boxes[0]", "finite"),
    "endless": (lambda: in_boxes(Box(0, 0, math.inf, 20)), "boxes[0]", "finite"),
    "exemplar": (lambda: Prompt(exemplars=(LIKE, Exemplar(Box(5, 5, 5, 9)))), "exemplars[1]", "x1"),
    "point": (lambda: Prompt(points=(IN_BOX, Point(1, math.nan))), "points[1]", "finite x and y"),
    "off": (lambda: Prompt(points=(Point(1, 1, False),)), "points", "which item is meant"),
    "blank text": (
        lambda: Prompt(texts=(" ",), points=(Point(1, 1, False),)),
        "points",
        "add a positive one",
    ),
    "unlike": (lambda: Prompt(exemplars=(UNLIKE,)), "exemplars", "a positive one or a text"),
    "half a character": (lambda: Prompt(texts=("a\ud800",)), "text", "lone surrogate"),
}
"""For each kind: what makes the prompt, the field, and words of the message."""


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_by_itself_cannot_be_made(case: str) -> None:
    make, field, words = REFUSED[case]
    with pytest.raises(PromptError, match=words) as caught:
        make()
    assert type(caught.value) is PromptError
    assert caught.value.field == field


OUTSIDE: list[tuple[Prompt, str]] = [
    (in_boxes(Box(100, 0, 120, 20)), "boxes[0]"),
    (in_boxes(BOX, Box(-20, 0, 0, 20)), "boxes[1]"),
    (Prompt(exemplars=(LIKE, Exemplar(Box(0, 90, 10, 95)))), "exemplars[1]"),
    (Prompt(points=(IN_BOX, Point(101, 1))), "points[1]"),
    (Prompt(points=(Point(100, 1),)), "points[0]"),
    (Prompt(points=(Point(1, 80),)), "points[0]"),
    (Prompt(points=(Point(-0.5, 1),)), "points[0]"),
]


def test_what_lies_outside_the_image_is_refused_by_field() -> None:
    for prompt, field in OUTSIDE:
        with pytest.raises(PromptError, match=r"outside the image of 100 x 80.*move it") as caught:
            prompt.for_image(WIDTH, HEIGHT)
        assert caught.value.field == field


def test_boxes_are_cut_to_the_image_and_the_rest_stays() -> None:
    prompt = in_boxes(Box(-5, -5, 300, 40), BOX, points=(IN_BOX,), texts=("chip",))
    assert prompt.for_image(WIDTH, HEIGHT) == in_boxes(
        Box(0, 0, 100, 40), BOX, points=(IN_BOX,), texts=("chip",)
    )
    examples = Prompt(exemplars=(Exemplar(Box(90, 70, 300, 400)), UNLIKE))
    assert examples.for_image(WIDTH, HEIGHT).exemplars == (Exemplar(Box(90, 70, 100, 80)), UNLIKE)


UNSUPPORTED: dict[str, tuple[Prompt, Supports, str, str]] = {
    "text": (Prompt(texts=("mug",)), Supports(texts=0), "text", "cannot read text, got 'mug'"),
    "texts": (Prompt(texts=("a", "b")), Supports(), "text", "1 text at a time, got 2"),
    "long": (Prompt(texts=("w" * 9,)), Supports(text_chars=8), "text", "8 characters at most"),
    "wordy": (Prompt(texts=("w " * 9,)), Supports(text_words=8), "text", "8 words at most, got 9"),
    "points in boxes": (
        in_boxes(BOX, points=(IN_BOX,)),
        Supports(points_in_boxes=False),
        "points",
        "points in boxes",
    ),
    "points and text": (Prompt(texts=("a",), points=(IN_BOX,)), Supports(), "points", "combine"),
    "points and exemplars": (
        Prompt(points=(IN_BOX,), exemplars=(LIKE,)),
        Supports(),
        "points",
        "cannot combine points with a text or exemplars",
    ),
    "many points": (Prompt(points=(IN_BOX,) * 3), Supports(points=2), "points", "2 points at most"),
    "exemplars": (Prompt(exemplars=(LIKE,)), Supports(exemplars=False), "exemplars", "no exemp"),
    "negative": (
        Prompt(exemplars=(LIKE, UNLIKE)),
        Supports(negative_exemplars=False),
        "exemplars[1]",
        "knows no negative exemplars",
    ),
    "many boxes": (in_boxes(BOX, OTHER), Supports(boxes=1), "boxes", "1 boxes at most, got 2"),
    "many exemplars": (
        Prompt(exemplars=(LIKE, UNLIKE)),
        Supports(boxes=1),
        "exemplars",
        "1 boxes at most",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_a_segmenter_cannot_follow_is_refused_with_a_way_out(case: str) -> None:
    prompt, supports, field, words = UNSUPPORTED[case]
    with pytest.raises(UnsupportedPromptError, match=words) as caught:
        prompt.require(supports, by="the segmenter", instead="use another one")
    assert caught.value.message.startswith("the segmenter ")
    assert caught.value.message.endswith(", or use another one")
    assert caught.value.field == field


def test_what_a_segmenter_can_follow_is_not_refused() -> None:
    everything = Supports(points_beside_others=True)
    for prompt in (
        Prompt(),
        in_boxes(BOX, points=(IN_BOX, IN_NONE), texts=("chip",)),
        Prompt(texts=("chip",), points=(IN_BOX,), exemplars=(LIKE, UNLIKE)),
        Prompt(texts=("chip",), exemplars=(UNLIKE,)),
        in_boxes(BOX, points=(Point(12, 15, positive=False),)),
    ):
        prompt.require(everything, by="it", instead="never")


def test_blank_texts_are_none_and_one_given_twice_is_one() -> None:
    assert Prompt(texts=("", " \t\n")) == Prompt()
    assert Prompt(texts=("b", " ", "a", "b")).texts == ("b", "a")
    assert (Prompt().text, Prompt(texts=(" red chip ",)).text) == (None, "red chip")


def test_only_a_prompt_of_nothing_says_nothing() -> None:
    assert not Prompt(texts=(" ",)).says_what
    for prompt in (
        Prompt(texts=("ring",)),
        Prompt(exemplars=(LIKE,)),
        Prompt(points=(IN_BOX,)),
        in_boxes(BOX),
    ):
        assert prompt.says_what


@given(prompts)
def test_a_prompt_is_the_same_after_it_was_stored(prompt: Prompt) -> None:
    stored = json.dumps(prompt.to_json())
    again = Prompt.from_json(json.loads(stored))
    assert json.dumps(again.to_json()) == stored
    assert (again.mode, again.texts, again.boxes) == (prompt.mode, prompt.texts, prompt.boxes)
    assert set(again.points) == set(prompt.points)
    assert set(again.exemplars) == set(prompt.exemplars)


def test_the_stored_form_keeps_its_bytes() -> None:
    assert json.dumps(Prompt(texts=(" cup",)).to_json()) == (
        '{"mode": "find_all", "text": " cup", "boxes": [], "points": [], "exemplars": []}'
    )
    several = Prompt(texts=("b", "a"), points=(Point(2, 1), Point(np.float64(1), -0.0, False)))
    assert several.to_json() == {
        "mode": "find_all",
        "text": ["b", "a"],
        "boxes": [],
        "points": [[1.0, 0.0, False], [2.0, 1.0, True]],
        "exemplars": [],
    }
    assert in_boxes(BOX).to_json()["boxes"] == [[10.0, 10.0, 30.0, 20.0]]
    assert Prompt(exemplars=(LIKE,)).to_json()["exemplars"] == [[10.0, 10.0, 30.0, 20.0, True]]


def test_what_is_no_stored_prompt_is_refused() -> None:
    good = Prompt().to_json()
    for bad in (
        {},
        {**good, "mode": "guess"},
        {**good, "text": 5},
        {**good, "text": [5]},
        {**good, "boxes": [[1, 2, 3]]},
        {**good, "points": [[1, 2]]},
        {**good, "points": [["1", 2, True]]},
        {**good, "exemplars": [[]]},
        {**good, "exemplars": [[1, 2, 3, 4]]},
    ):
        with pytest.raises(PromptError, match="is no prompt with mode, text"):
            Prompt.from_json(bad)


def test_points_that_mean_one_item_need_one_on_it() -> None:
    assert require_points([IN_BOX, IN_NONE], WIDTH, HEIGHT) == (IN_BOX, IN_NONE)
    for points, field in (
        ([], "points"),
        ([Point(1, 1, False)], "points"),
        ([Point(1, 1), Point(100, 1)], "points[1]"),
    ):
        with pytest.raises(PromptError) as caught:
            require_points(points, WIDTH, HEIGHT)
        assert caught.value.field == field

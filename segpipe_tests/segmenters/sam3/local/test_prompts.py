"""What a prompt asks of SAM 3, and what makes no sense."""

import pytest

from segpipe.errors import PromptError, UnsupportedPromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.segmenters.sam3.local.prompts import (
    Concept,
    Everything,
    InBoxes,
    OneItem,
    Question,
    read_prompt,
)
from segpipe.vision.boxes import Box

BOX = Box(10, 10, 30, 20)
OTHER = Box(50, 10, 70, 40)
IN_BOX, IN_OTHER, IN_NONE = Point(12, 15), Point(60, 30, False), Point(90, 70)
POSITIVE, NEGATIVE = Exemplar(BOX), Exemplar(OTHER, positive=False)


def read(prompt: Prompt) -> Question:
    return read_prompt(prompt, width=100, height=80)


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        (Prompt(), Everything()),
        (Prompt(texts=("  ",)), Everything()),
        (Prompt(texts=(" red chip ",)), Concept("red chip", ())),
        (Prompt(exemplars=(POSITIVE, NEGATIVE)), Concept(None, (POSITIVE, NEGATIVE))),
        (Prompt(texts=("chip",), exemplars=(NEGATIVE,)), Concept("chip", (NEGATIVE,))),
        (Prompt(points=(IN_BOX, IN_OTHER)), OneItem((IN_BOX, IN_OTHER))),
    ],
)
def test_find_all_is_read_as_what_it_names(prompt: Prompt, question: Question) -> None:
    assert read(prompt) == question


def test_inside_box_gives_each_box_the_points_that_lie_in_it() -> None:
    prompt = Prompt(Mode.INSIDE_BOX, ("chip",), (BOX, OTHER), (IN_BOX, IN_OTHER, IN_NONE))
    assert read(prompt) == InBoxes((BOX, OTHER), ((IN_BOX,), (IN_OTHER,)), "chip")


def test_boxes_are_cut_to_the_image() -> None:
    question = read(Prompt(Mode.INSIDE_BOX, boxes=(Box(-5, -5, 300, 40),)))
    assert question == InBoxes((Box(0, 0, 100, 40),), ((),), None)


def test_what_lies_outside_the_image_is_refused_by_field() -> None:
    for prompt, field in (
        (Prompt(Mode.INSIDE_BOX, boxes=(Box(100, 0, 120, 20),)), "boxes[0]"),
        (Prompt(points=(IN_BOX, Point(101, 1))), "points[1]"),
    ):
        with pytest.raises(PromptError) as caught:
            read(prompt)
        assert caught.value.field == field


def test_what_cannot_be_combined_is_refused_by_field() -> None:
    for prompt in (
        Prompt(texts=("chip",), points=(IN_BOX,)),
        Prompt(exemplars=(POSITIVE,), points=(IN_BOX,)),
    ):
        with pytest.raises(UnsupportedPromptError) as caught:
            read(prompt)
        assert caught.value.field == "points"

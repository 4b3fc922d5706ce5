"""Prompts as they travel to the service, both ways."""

import pytest
from hypothesis import given

from segpipe.detection import Thresholds
from segpipe.errors import PromptError
from segpipe.prompt import Exemplar, Mode, Prompt
from segpipe.vision.boxes import Box
from segpipe.wire.wire_prompts import (
    from_wire,
    thresholds_of,
    to_wire,
    with_signed_boxes,
)
from segpipe_tests.prompts import prompts

BOX, OTHER = Box(10, 10, 30, 20), Box(50, 10, 70, 40)
THRESHOLDS = Thresholds(0.25, 0.75, 7)


@given(prompts.filter(lambda prompt: len(prompt.texts) < 2))
def test_a_prompt_arrives_as_it_was_sent_but_for_blanks_around_its_text(prompt: Prompt) -> None:
    wire = to_wire(prompt, THRESHOLDS)
    arrived = from_wire(type(wire).model_validate_json(wire.model_dump_json()))
    assert arrived.text == prompt.text
    assert (arrived.mode, arrived.boxes) == (prompt.mode, prompt.boxes)
    assert (arrived.points, arrived.exemplars) == (prompt.points, prompt.exemplars)
    assert thresholds_of(wire) == THRESHOLDS


def test_one_list_of_boxes_means_examples_or_what_is_cut_out() -> None:
    boxes = [(BOX, True), (OTHER, False)]
    shown = (Exemplar(BOX), Exemplar(OTHER, positive=False))
    assert with_signed_boxes(Mode.FIND_ALL, boxes, texts=[], points=[]) == Prompt(exemplars=shown)
    assert with_signed_boxes(Mode.INSIDE_BOX, boxes[:1], texts=["a"], points=[]) == Prompt(
        Mode.INSIDE_BOX, ("a",), (BOX,)
    )
    with pytest.raises(PromptError, match="use a negative point") as caught:
        with_signed_boxes(Mode.INSIDE_BOX, boxes, texts=[], points=[])
    assert caught.value.field == "boxes[1].positive"

"""What a photo is asked for, from prompts that are kept and prompts that are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import PromptError
from segpipe.flow.asked import Asked
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.vision.boxes import Box

numbers = st.floats(0, 5000, allow_nan=False)
boxes = st.builds(
    lambda x, y, width, height: Box(x, y, x + width, y + height),
    numbers,
    numbers,
    st.floats(0.5, 100),
    st.floats(0.5, 100),
)
points = st.builds(Point, numbers, numbers, st.booleans())
exemplars = st.builds(Exemplar, boxes, st.booleans())


def some(one: st.SearchStrategy[object], least: int = 0) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(one, min_size=least, max_size=4).map(tuple)


prompts = st.one_of(
    st.builds(
        Prompt,
        st.just(Mode.FIND_ALL),
        st.one_of(st.none(), st.just("ring")),
        st.just(()),
        some(points),
        some(exemplars),
    ),
    st.builds(Prompt, st.just(Mode.INSIDE_BOX), st.none(), some(boxes, 1), some(points)),
)


@given(prompts)
def test_a_prompt_asks_the_same_after_it_was_stored(prompt: Prompt) -> None:
    asked = Asked.model_validate_json(Asked.of(prompt).model_dump_json())
    assert asked.prompt() == prompt
    assert tuple(Box(*box.box or ()) for box in asked.boxes()) == prompt.boxes


def test_inside_box_without_a_box_is_no_question() -> None:
    assert Asked(mode=Mode.INSIDE_BOX).prompt() is None
    with pytest.raises(PromptError, match="at least one box"):
        Asked.of(Prompt(mode=Mode.INSIDE_BOX))


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt(), False),
        (Prompt(text="ring"), True),
        (Prompt(exemplars=(Exemplar(Box(0, 0, 1, 1)),)), True),
        (Prompt(points=(Point(0, 0),)), True),
    ],
)
def test_a_prompt_that_says_nothing_asks_for_everything(prompt: Prompt, says: bool) -> None:
    assert Asked.of(prompt).says_what is says

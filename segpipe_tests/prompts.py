"""Prompts of every kind, for property tests."""

from typing import TypeVar

from hypothesis import strategies as st

from segpipe.errors import PromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.vision.boxes import Box

T = TypeVar("T")
FindAll = tuple[tuple[str, ...], tuple[Point, ...], tuple[Exemplar, ...]]

places = st.floats(-5000, 5000, allow_nan=False)
sides = st.floats(0.5, 1000)
boxes = st.builds(lambda x, y, w, h: Box(x, y, x + w, y + h), places, places, sides, sides)
points = st.builds(Point, places, places, st.booleans())
exemplars = st.builds(Exemplar, boxes, st.booleans())


def _some(one: st.SearchStrategy[T], least: int = 0) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(one, min_size=least, max_size=4).map(tuple)


def _find_all(parts: FindAll) -> Prompt:
    texts, on_and_off, examples = parts
    return Prompt(texts=texts, points=on_and_off, exemplars=examples)


def _makes_sense(parts: FindAll) -> bool:
    try:
        _find_all(parts)
    except PromptError:
        return False
    return True


_find_all_parts = st.tuples(_some(st.text()), _some(points), _some(exemplars))
prompts = st.one_of(
    st.tuples(_some(st.text()), _some(points), _some(exemplars))
    .filter(_makes_sense)
    .map(_find_all),
    st.builds(
        Prompt,
        st.just(Mode.INSIDE_BOX),
        st.one_of(st.just(()), st.tuples(st.text())),
        _some(boxes, 1),
        _some(points),
    ),
)

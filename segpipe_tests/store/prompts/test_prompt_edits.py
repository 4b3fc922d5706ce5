"""What editors and importers do to prompts."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import PromptError
from segpipe.prompt import Mode
from segpipe.store.manifests import utc_now
from segpipe.store.prompts import Annotation, ImagePrompts, PromptType, Source
from segpipe.store.prompts.prompt_edits import (
    Mark,
    add_marks,
    clear_marks,
    marks_of,
    remove_annotations,
)
from segpipe.vision.boxes import Box

EMPTY = ImagePrompts(image="a")
BOX = Mark(Mode.INSIDE_BOX, PromptType.SEGMENT, box=Box(1, 2, 3, 4))
POINT = Mark(Mode.INSIDE_BOX, PromptType.POINT, point=(1, 2), label=0)


def added(prompts: ImagePrompts, *marks: Mark) -> ImagePrompts:
    return add_marks(prompts, marks, created_by="ann", created_at=utc_now())


def ids(prompts: ImagePrompts) -> list[str]:
    return [each.id for each in prompts.annotations]


def test_marks_get_ids_that_no_other_has() -> None:
    other = Mark(Mode.FIND_ALL, PromptType.POSITIVE_EXEMPLAR, box=Box(1, 2, 3, 4))
    prompts = added(EMPTY, BOX, POINT, other)
    assert ids(prompts) == ["b1", "p1", "b2"]
    assert {each.source for each in prompts.annotations} == {Source.USER}
    by_hand = prompts.annotations[0].model_copy(update={"id": "b41", "box": (0, 0, 9, 9)})
    prompts = prompts.model_copy(update={"annotations": (*prompts.annotations, by_hand)})
    later = Mark(Mode.FIND_ALL, PromptType.NEGATIVE_EXEMPLAR, box=Box(1, 2, 3, 4))
    assert ids(added(prompts, later))[-1] == "b42"


def test_what_a_run_found_there_is_no_prompt_yet() -> None:
    found = Annotation(
        id="m", mode=BOX.mode, prompt_type=BOX.prompt_type, box=BOX.box, source=Source.MODEL
    )
    prompts = ImagePrompts(image="a", annotations=(found,))
    assert marks_of(prompts) == frozenset()
    assert ids(added(prompts, BOX)) == ["m", "b1"]
    assert ids(clear_marks(added(prompts, BOX), Mode.INSIDE_BOX)) == ["m"]


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        (Mark(Mode.FIND_ALL, PromptType.SEGMENT, box=Box(3, 0, 1, 1)), "x1 < x2"),
        (Mark(Mode.FIND_ALL, PromptType.SEGMENT), "takes box"),
        (Mark(Mode.FIND_ALL, PromptType.POINT, point=(1, float("nan")), label=1), "finite"),
        (Mark(Mode.FIND_ALL, PromptType.POINT, point=(1, 1)), "takes point and label"),
    ],
)
def test_a_mark_that_makes_no_sense_is_our_error(mark: Mark, says: str) -> None:
    with pytest.raises(PromptError, match=says) as caught:
        added(EMPTY, mark)
    assert caught.value.image == "a"


def test_only_what_is_there_can_be_removed() -> None:
    with pytest.raises(PromptError, match="there are: b1, p1"):
        remove_annotations(added(EMPTY, BOX, POINT), ["b1", "b2"])


def test_clearing_spares_other_modes_other_types_and_what_shall_stay() -> None:
    example = Mark(Mode.FIND_ALL, PromptType.POSITIVE_EXEMPLAR, box=Box(5, 5, 6, 6))
    prompts = added(EMPTY, BOX, POINT, example)
    assert ids(clear_marks(prompts, Mode.INSIDE_BOX)) == ["b2"]
    assert ids(clear_marks(prompts, Mode.INSIDE_BOX, only=PromptType.SEGMENT)) == ["p1", "b2"]
    assert clear_marks(prompts, Mode.INSIDE_BOX, keep=[BOX, POINT]) == prompts


_boxes = st.builds(
    lambda x, y, width, height: Box(x, y, x + width, y + height),
    *(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3), st.integers(1, 3)),
)
_marks = st.lists(
    st.builds(Mark, st.sampled_from(Mode), st.just(PromptType.SEGMENT), _boxes)
    | st.builds(
        Mark,
        st.sampled_from(Mode),
        st.just(PromptType.POINT),
        point=st.tuples(st.integers(0, 4), st.integers(0, 4)),
        label=st.sampled_from((0, 1)),
    ),
    max_size=6,
)


@given(_marks, _marks)
def test_marks_are_there_once_whatever_was_there_and_can_be_taken_away_again(
    first: Sequence[Mark], second: Sequence[Mark]
) -> None:
    before = added(EMPTY, *first)
    after = added(before, *second)
    assert marks_of(after) == {*first, *second}
    assert len(after.annotations) == len({*first, *second}) == len(set(ids(after)))
    assert added(after, *first, *second) == after
    assert remove_annotations(after, set(ids(after)) - set(ids(before))) == before


def test_a_mark_with_a_class_is_the_mark_without_one_and_names_it() -> None:
    ring = replace(BOX, category="ring")
    prompts = added(added(EMPTY, BOX), ring)
    assert [(each.id, each.category) for each in prompts.annotations] == [("b1", "ring")]
    assert added(prompts, BOX) == prompts
    assert marks_of(prompts) == {BOX}
    again = added(clear_marks(prompts, BOX.mode, keep=[BOX]), replace(BOX, category="coin"))
    assert [each.category for each in again.annotations] == ["coin"]

"""What several people do to a photo's prompts at once: all is kept, or somebody is asked."""

import threading
from collections.abc import Sequence
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from segpipe.errors import PromptConflictError, PromptError
from segpipe.prompt import Mode
from segpipe.store.manifests import utc_now
from segpipe.store.prompts import Annotation, DealPrompts, ImagePrompts, PromptType, Source
from segpipe.store.prompts.prompt_operations import (
    Operation,
    SetText,
    Shape,
    apply_operations,
    apply_text,
)
from segpipe_tests.deals import make_deal

EMPTY = ImagePrompts(image="a")
NOW = utc_now()
BOX = {"mode": "inside_box", "prompt_type": "segment", "box": [1, 2, 30, 40]}
MOVED = BOX | {"box": [2, 2, 31, 40]}
ELSEWHERE = BOX | {"box": [9, 9, 31, 40]}
NAMED = BOX | {"category": "ring"}

_operations: TypeAdapter[tuple[Operation, ...]] = TypeAdapter(tuple[Operation, ...])


def parsed(*operations: dict[str, Any]) -> tuple[Operation, ...]:
    """Operations as they come over the network."""
    return _operations.validate_python(operations)


def add(name: str, shape: dict[str, Any] = BOX) -> dict[str, Any]:
    return {"op": "add", "id": name, "to": shape}


def change(name: str, was: dict[str, Any], to: dict[str, Any]) -> dict[str, Any]:
    return {"op": "change", "id": name, "was": was, "to": to}


def remove(name: str, was: dict[str, Any] = BOX) -> dict[str, Any]:
    return {"op": "remove", "id": name, "was": was}


def text(was: str | None, to: str | None) -> dict[str, Any]:
    return {"op": "text", "was": was, "to": to}


def applied(prompts: ImagePrompts, *operations: dict[str, Any], by: str = "ann") -> ImagePrompts:
    return apply_operations(prompts, parsed(*operations), created_by=by, created_at=NOW)


DRAWN = applied(EMPTY, add("x"))


def test_what_a_person_did_is_applied_in_order() -> None:
    point = {"mode": "find_all", "prompt_type": "point", "point": [3, 4], "label": 0}
    done = applied(
        DRAWN,
        add("y", point),
        change("x", BOX, NAMED),
        text(None, " ring "),
        add("z"),
        remove("z"),
        by="bob",
    )
    assert done.text == "ring"
    assert [(each.id, each.category, each.created_by) for each in done.annotations] == [
        ("x", "ring", "ann"),
        ("y", None, "bob"),
    ]
    assert done.annotations[1].point == (3, 4)


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        (change("x", BOX, MOVED), change("x", BOX, ELSEWHERE)),
        (change("x", BOX, MOVED), remove("x")),
        (remove("x"), change("x", BOX, MOVED)),
        (text(None, "ring"), text(None, "coin")),
        (add("y", MOVED), add("y", ELSEWHERE)),
    ],
)
def test_two_who_touch_the_same_are_asked_and_nothing_is_lost(
    theirs: dict[str, Any], mine: dict[str, Any]
) -> None:
    present = applied(DRAWN, theirs)
    with pytest.raises(PromptConflictError) as caught:
        applied(present, add("other"), mine)
    assert caught.value.annotations == (mine.get("id", "text"),)


def test_one_may_move_what_another_names_or_both_do_the_same() -> None:
    both = applied(applied(DRAWN, change("x", BOX, MOVED)), change("x", BOX, NAMED))
    assert (both.annotations[0].box, both.annotations[0].category) == ((2, 2, 31, 40), "ring")
    for same in (change("x", BOX, MOVED), remove("x"), text(None, "ring")):
        assert applied(applied(DRAWN, same), same) == applied(DRAWN, same)


def test_what_a_run_found_is_not_changed_and_nonsense_is_named() -> None:
    found = Annotation(
        id="m-0",
        mode=Mode.FIND_ALL,
        prompt_type=PromptType.SEGMENT,
        box=(1, 2, 3, 4),
        source=Source.MODEL,
    )
    prompts = ImagePrompts(image="a", annotations=(found,))
    shape = Shape.of(found).model_dump(mode="json")
    for operation in (change("m-0", shape, MOVED), remove("m-0", shape)):
        with pytest.raises(PromptError, match="draw an annotation of your own"):
            applied(prompts, operation)
    with pytest.raises(PromptError, match="x1 < x2") as caught:
        applied(EMPTY, add("n", BOX | {"box": [5, 5, 5, 9]}))
    assert (caught.value.image, caught.value.field) == ("a", "annotations[n].box")


def test_the_text_of_a_deal_merges_alike() -> None:
    said = apply_text(DealPrompts(), [SetText(op="text", to="ring ")])
    assert said.text == "ring"
    assert apply_text(said, [SetText(op="text", to="ring")]) == said
    with pytest.raises(PromptConflictError):
        apply_text(said, [SetText(op="text", to="coin")])
    assert apply_text(said, [SetText(op="text", was="ring", to=" ")]).text is None


_shapes = st.sampled_from([BOX, MOVED, ELSEWHERE, NAMED])


@st.composite
def _sessions(draw: st.DrawFn, prefix: str) -> list[dict[str, Any]]:
    """What one person does with annotations of their own."""
    operations = []
    for number in range(draw(st.integers(1, 4))):
        name = f"{prefix}{number}"
        shapes = draw(st.lists(_shapes, min_size=1, max_size=4))
        operations.append(add(name, shapes[0]))
        operations += [change(name, was, to) for was, to in pairwise(shapes)]
        if draw(st.booleans()):
            operations.append(remove(name, shapes[-1]))
    return operations


@given(_sessions("a"), _sessions("b"), st.data())
def test_whatever_two_draw_beside_each_other_is_there_in_any_order(
    one: list[dict[str, Any]], other: list[dict[str, Any]], data: st.DataObject
) -> None:
    alone = applied(EMPTY, *one).annotations + applied(EMPTY, *other).annotations
    turns = data.draw(st.permutations([True] * len(one) + [False] * len(other)))
    queues = {True: iter(one), False: iter(other)}
    mixed = EMPTY
    for turn in turns:
        mixed = applied(mixed, next(queues[turn]))
    assert sorted(mixed.annotations, key=lambda each: each.id) == sorted(
        alone, key=lambda each: each.id
    )


def test_a_hundred_boxes_of_two_people_at_once_are_all_on_disk(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", [1])

    def draw(who: str) -> None:
        for number in range(50):
            operations = parsed(add(f"{who}{number}"))
            change = partial(
                apply_operations, operations=operations, created_by=who, created_at=NOW
            )
            store.prompts.edit_image("lot", "a", change)

    people = [threading.Thread(target=draw, args=(who,)) for who in "ab"]
    for person in people:
        person.start()
    for person in people:
        person.join()
    names = {each.id for each in store.prompts.of_image("lot", "a").annotations}
    assert names == {f"{who}{number}" for who, number in product("ab", range(50))}


def test_the_tag_tells_every_state_also_one_written_by_hand(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", [1])
    states: Sequence[ImagePrompts] = [
        EMPTY,
        DRAWN,
        store.prompts.edit_image("lot", "a", lambda _: DRAWN),
        applied(DRAWN, change("x", BOX, MOVED)),
    ]
    assert len({state.tag() for state in states}) == len(states)
    assert states[2].tag() == store.prompts.of_image("lot", "a").tag()
    assert states[2].tag().startswith("1-")

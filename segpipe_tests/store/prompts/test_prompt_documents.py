"""Prompts as documents: what people may write, what is refused, and what decides an answer."""

import contextlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from segpipe.errors import PromptError, PromptFileError
from segpipe.prompt import Mode
from segpipe.store.prompts import (
    NO_PROMPTS_VERSION,
    Annotation,
    DealPrompts,
    ImagePrompts,
    PromptType,
    Source,
    prompts_version,
)

BOX = {"id": "b1", "mode": "inside_box", "prompt_type": "segment", "box": [1, 2, 30.5, 40]}
POINT = {"id": "p1", "mode": "inside_box", "prompt_type": "point", "point": [5, 6], "label": 1}


def of(*annotations: object, **fields: object) -> bytes:
    return json.dumps({"image": "a", "annotations": annotations, **fields}).encode()


def read(data: bytes) -> ImagePrompts:
    return ImagePrompts.from_bytes(data, file="prompts/a.json", image="a")


def test_a_file_by_hand_needs_little_and_reads_back_as_it_was_written() -> None:
    prompts = read(of(BOX, POINT, text=" ring "))
    assert (prompts.version, prompts.generation, prompts.text) == (1, 0, "ring")
    box, point = prompts.annotations
    assert (box.mode, box.prompt_type) == (Mode.INSIDE_BOX, PromptType.SEGMENT)
    assert box.box == (1.0, 2.0, 30.5, 40.0)
    assert (box.source, box.created_by, box.created_at) == (Source.USER, "user", None)
    assert (point.point, point.label) == ((5.0, 6.0), 1)
    assert read(prompts.to_bytes()) == prompts
    assert read(b"\xef\xbb\xbf" + prompts.to_bytes()) == prompts, "some editors put a mark first"


@pytest.mark.parametrize(
    ("data", "field", "says"),
    [
        (b"\xff\xfe", None, "not UTF-8"),
        (b"", None, "no proper JSON"),
        (b"{", None, "no proper JSON"),
        (b"[" * 100_000, None, "no proper JSON"),
        (b'{"image": "a", "text": ' + b"9" * 5000 + b"}", None, "no proper JSON"),
        (b'{"image": "a", "text": "x", "text": "y"}', None, "'text' is there twice"),
        (b"[]", None, "in braces"),
        (b"{}", "image", "image: is missing"),
        (of(version=2), "version", "take a newer one"),
        (of(version=0), "version", "1"),
        (of(generation=-1), "generation", "0"),
        (of(txt="ring"), "txt", "no such field"),
        (b'{"image": "a", "text": "\\ud800"}', "text", "half a character"),
        (b'{"image": "b"}', "image", "for the image 'b'"),
        (of("box"), "annotations[0]", "annotation number 1"),
        (of(BOX, BOX), "annotations", "two annotations have the id 'b1'"),
        (of({**BOX, "id": "a/b"}), "annotations[a/b].id", "a/b"),
        (of({**BOX, "id": ""}), "annotations[0].id", "annotation number 1"),
        (of({**BOX, "id": "x" * 65}), f"annotations[{'x' * 65}].id", "id"),
        (of({**BOX, "colour": 1}), "annotations[b1].colour", "annotation 'b1': colour: there is"),
        (of({**BOX, "mode": "find"}), "annotations[b1].mode", "find_all"),
        (of({**BOX, "prompt_type": "box"}), "annotations[b1].prompt_type", "segment"),
        (of({**BOX, "box": [3, 0, 1, 4]}), "annotations[b1].box", "finite x1 < x2"),
        (of({**BOX, "box": [0, 4, 1, 4]}), "annotations[b1].box", "y1 < y2"),
        (of({**BOX, "box": [0, 0, 1]}), "annotations[b1].box", "annotation 'b1': box"),
        (of({**BOX, "box": [0, 0, 1, float("nan")]}), "annotations[b1].box", "finite"),
        (of({**BOX, "box": [0, 0, 1, float("inf")]}), "annotations[b1].box", "finite"),
        (of({**BOX, "box": [0, 0, 1, 10**400]}), "annotations[b1].box", "number"),
        (of({**BOX, "box": ["0", 0, 1, 1]}), "annotations[b1].box", "number"),
        (of({**BOX, "box": [True, 0, 2, 2]}), "annotations[b1].box", "number"),
        (of({**BOX, "point": [1, 1]}), "annotations[b1]", "takes box, got box and point"),
        (of({**BOX, "label": 1}), "annotations[b1]", "takes box, got box and label"),
        (of({**POINT, "box": BOX["box"]}), "annotations[p1]", "takes point and label"),
        (of({**POINT, "label": None}), "annotations[p1]", "takes point and label, got point"),
        (of({**POINT, "label": 2}), "annotations[p1].label", "0 or 1"),
        (of({**POINT, "point": [1, float("-inf")]}), "annotations[p1].point", "finite"),
        (of({**POINT, "created_at": "2026-01-01T00:00:00"}), "annotations[p1].created_at", "zone"),
        (
            of({**BOX, "created_at": "0001-01-01T00:00:00+14:00"}),
            "annotations[b1].created_at",
            "1 to",
        ),
        (of(BOX, {**POINT, "label": 3, "mode": 1}), "annotations[p1].mode", "(and 1 more)"),
    ],
)
def test_what_makes_no_sense_is_named(data: bytes, field: str | None, says: str) -> None:
    with pytest.raises(PromptFileError) as caught:
        read(data)
    assert caught.value.message.startswith("prompts/a.json")
    assert says in caught.value.message
    assert (caught.value.image, caught.value.field) == ("a", field)


def test_a_name_counts_in_its_normal_form() -> None:
    data = json.dumps({"image": "u\N{COMBINING DIAERESIS}ber"}).encode()
    assert ImagePrompts.from_bytes(data, file="x", image="\u00fcber").image == "\u00fcber"


def test_the_prompts_of_the_deal_are_a_text_alone() -> None:
    deal = DealPrompts.from_bytes(b'{"text": "coin"}', file="prompts/_deal.json")
    assert (deal.text, deal.generation) == ("coin", 0)
    assert DealPrompts(text=" ").text is None
    with pytest.raises(PromptFileError, match="annotations: there is no such field"):
        DealPrompts.from_bytes(b'{"annotations": []}', file="prompts/_deal.json")


@pytest.mark.parametrize(
    ("annotation", "is_inside"),
    [
        ({**BOX, "box": [0, 0, 100, 50]}, True),
        ({**BOX, "box": [-0.1, 0, 10, 10]}, False),
        ({**BOX, "box": [0, -1, 10, 10]}, False),
        ({**BOX, "box": [0, 0, 100.5, 10]}, False),
        ({**BOX, "box": [0, 0, 10, 51]}, False),
        ({**BOX, "box": [200, 200, 210, 210]}, False),
        ({**POINT, "point": [0, 0]}, True),
        ({**POINT, "point": [99.9, 49.9]}, True),
        ({**POINT, "point": [100, 10]}, False),
        ({**POINT, "point": [10, 50]}, False),
        ({**POINT, "point": [-1, 10]}, False),
    ],
)
def test_what_is_not_in_the_photo_is_named_with_its_size(
    annotation: dict[str, Any], is_inside: bool
) -> None:
    prompts = read(of({**BOX, "id": "fine", "box": [1, 1, 2, 2]}, annotation))
    if is_inside:
        prompts.require_inside(100, 50)
        return
    with pytest.raises(PromptError, match=f"{annotation['id']}.* 100 x 50") as caught:
        prompts.require_inside(100, 50)
    shape = "box" if "box" in annotation else "point"
    assert caught.value.field == f"annotations[{annotation['id']}].{shape}"
    assert caught.value.image == "a"


def mark(number: int, prompt_type: PromptType, mode: Mode, **fields: object) -> Annotation:
    is_point = prompt_type is PromptType.POINT
    place: dict[str, Any] = (
        {"point": (number, 1), "label": 1} if is_point else {"box": (number, 0, number + 2, 3)}
    )
    values = {"id": f"n{number}", "mode": mode, "prompt_type": prompt_type, **place, **fields}
    return Annotation.model_validate(values)


def version(
    mode: Mode, *annotations: Annotation, text: str | None = None, deal: str | None = None
) -> str:
    images = {"a": ImagePrompts(image="a", text=text, annotations=annotations)}
    return prompts_version(DealPrompts(text=deal), images, mode)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("prompt_type", PromptType)
@pytest.mark.parametrize("source", Source)
def test_only_a_users_prompts_of_the_mode_count(
    mode: Mode, prompt_type: PromptType, source: Source
) -> None:
    counts = source is Source.USER and prompt_type in (
        {PromptType.SEGMENT, PromptType.POINT}
        if mode is Mode.INSIDE_BOX
        else set(PromptType) - {PromptType.SEGMENT}
    )
    annotation = mark(1, prompt_type, mode, source=source)
    assert (version(mode, annotation) != NO_PROMPTS_VERSION) == counts
    (other,) = set(Mode) - {mode}
    assert version(other, annotation) == NO_PROMPTS_VERSION
    prompts = ImagePrompts(image="a", annotations=(annotation,))
    assert prompts.counted(mode) == ((annotation,) if counts else ())
    assert prompts.counted(other) == ()


def test_texts_count_in_find_all_and_only_where_they_say_something_new() -> None:
    find, inside = Mode.FIND_ALL, Mode.INSIDE_BOX
    assert version(inside, text="ring", deal="coin") == NO_PROMPTS_VERSION
    assert version(find, text="ring") not in {version(find, deal="ring"), NO_PROMPTS_VERSION}
    assert version(find, text="ring", deal="ring") == version(find, deal="ring")
    assert version(find, text="ring", deal="coin") != version(find, deal="coin")


def test_the_order_counts_for_drawn_boxes_alone() -> None:
    for mode, prompt_type in (
        (Mode.INSIDE_BOX, PromptType.SEGMENT),
        (Mode.INSIDE_BOX, PromptType.POINT),
        (Mode.FIND_ALL, PromptType.POSITIVE_EXEMPLAR),
    ):
        one, other = mark(1, prompt_type, mode), mark(2, prompt_type, mode)
        is_same = version(mode, one, other) == version(mode, other, one)
        assert is_same == (prompt_type is not PromptType.SEGMENT)


def test_a_label_and_the_photo_count_and_photos_without_prompts_do_not() -> None:
    mode = Mode.INSIDE_BOX
    on = mark(1, PromptType.POINT, mode)
    off = mark(1, PromptType.POINT, mode, label=0)
    assert version(mode, on) != version(mode, off)
    prompts = ImagePrompts(image="a", annotations=(on,))
    moved = prompts.model_copy(update={"image": "b"})
    alone = prompts_version(DealPrompts(), {"a": prompts}, mode)
    beside = prompts_version(
        DealPrompts(), {"b": ImagePrompts(image="b", generation=4), "a": prompts}, mode
    )
    assert alone == beside == version(mode, on)
    assert prompts_version(DealPrompts(), {"b": moved}, mode) != alone


def test_ids_times_generations_and_formatting_do_not_count() -> None:
    plain = read(of(BOX, POINT))
    signed = {**BOX, "id": "other", "created_by": "ann", "created_at": "2026-01-01T00:00:00Z"}
    other = read(json.dumps(json.loads(of(signed, POINT, generation=7)), indent=3).encode())
    versions = {
        prompts_version(DealPrompts(generation=1), {"a": each}, Mode.INSIDE_BOX)
        for each in (plain, other)
    }
    assert len(versions) == 1
    zeros = [read(of({**BOX, "box": [zero, 0, 1, 1]})) for zero in (0, 0.0, -0.0)]
    assert len({prompts_version(DealPrompts(), {"a": z}, Mode.INSIDE_BOX) for z in zeros}) == 1


_coordinates = st.floats(allow_nan=False, allow_infinity=False)
_marks = st.tuples(
    st.sampled_from(Mode),
    st.sampled_from(PromptType),
    st.sampled_from(Source),
    st.lists(_coordinates, min_size=4, max_size=4, unique=True),
    st.sampled_from((0, 1)),
    st.none() | st.datetimes(datetime(1900, 1, 1), timezones=st.timezones()),
    st.text(st.characters(codec="utf-8")),
)


@given(st.lists(_marks, max_size=4), st.none() | st.text(st.characters(codec="utf-8")))
def test_whatever_can_be_said_reads_back_the_same(
    marks: Sequence[tuple[Any, ...]], text: str | None
) -> None:
    annotations = []
    for number, (mode, kind, source, (a, b, c, d), label, when, who) in enumerate(marks):
        box = (min(a, b), min(c, d), max(a, b), max(c, d))
        is_point = kind is PromptType.POINT
        annotations.append(
            Annotation(
                id=f"n{number}",
                mode=mode,
                prompt_type=kind,
                box=None if is_point else box,
                point=(a, b) if is_point else None,
                label=label if is_point else None,
                source=source,
                created_by=who,
                created_at=when,
            )
        )
    prompts = ImagePrompts(image="a", text=text, annotations=tuple(annotations))
    again = read(prompts.to_bytes())
    assert again == prompts
    assert again.to_bytes() == prompts.to_bytes()
    for mode in Mode:
        before, after = (prompts_version(DealPrompts(), {"a": p}, mode) for p in (prompts, again))
        assert before == after


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(("image", "annotations", "id", "box", "point", "mode", "text")),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_rubbish_is_never_anything_but_our_own_error(data: bytes) -> None:
    with contextlib.suppress(PromptFileError):
        read(data)


def test_a_document_cannot_be_made_wrong_in_code_either() -> None:
    with pytest.raises(ValidationError, match="takes box"):
        Annotation(id="x", mode=Mode.FIND_ALL, prompt_type=PromptType.POSITIVE_EXEMPLAR)


def test_a_class_is_written_where_there_is_one_and_decides_what_is_given() -> None:
    plain = mark(1, PromptType.SEGMENT, Mode.INSIDE_BOX)
    named = plain.model_copy(update={"category": "ring"})
    assert b"category" not in ImagePrompts(image="a", annotations=(plain,)).to_bytes()
    assert "category" not in plain.model_dump_json()
    written = ImagePrompts(image="a", annotations=(named,))
    assert read(written.to_bytes()) == written
    assert version(Mode.INSIDE_BOX, plain) != version(Mode.INSIDE_BOX, named)
    example = mark(1, PromptType.POSITIVE_EXEMPLAR, Mode.FIND_ALL)
    named_example = example.model_copy(update={"category": "ring"})
    assert version(Mode.FIND_ALL, example) != version(Mode.FIND_ALL, named_example)

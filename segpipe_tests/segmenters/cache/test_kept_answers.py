"""Equal questions have one key, and a kept answer comes back as it was given."""

import hashlib
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from segpipe.detection import SegmentationResult, Usage
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.segmenters.cache.kept_answers import (
    DamagedEntryError,
    answer_key,
    decode_answer,
    encode_answer,
    pixels_digest,
)
from segpipe.vision.boxes import Box
from segpipe_tests.prompts import prompts
from segpipe_tests.segmenters.cache.answers import answer, facts, picture, results

A, B = Box(0, 0, 4, 4), Box(1, 1, 5, 5)
A_POINT = Point(1, 2)


def key(**changed: Any) -> str:
    question: dict[str, Any] = {
        "pixels": "0" * 64,
        "prompt": Prompt(),
        "segmenter_id": "paid",
        "identity": "1" * 64,
        "revision": None,
    }
    return answer_key(**question | changed)


@given(prompts, st.randoms(use_true_random=False))
def test_the_order_of_points_and_exemplars_means_nothing(prompt: Prompt, random: Random) -> None:
    shuffled = replace(
        prompt,
        points=tuple(random.sample(prompt.points, len(prompt.points))),
        exemplars=tuple(random.sample(prompt.exemplars, len(prompt.exemplars))),
    )
    assert key(prompt=shuffled) == key(prompt=prompt)


@given(prompts, prompts)
def test_prompts_that_differ_have_other_keys(one: Prompt, other: Prompt) -> None:
    assert (key(prompt=one) == key(prompt=other)) == (one.to_json() == other.to_json())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(Prompt(), Prompt(texts=(" \t\n",)), id="blank text"),
        pytest.param(
            Prompt(points=(Point(0.0, 3),)), Prompt(points=(Point(-0.0, 3.0),)), id="zeros"
        ),
        pytest.param(
            Prompt(mode=Mode.INSIDE_BOX, boxes=(Box(1, 2, 3, 4),)),
            Prompt(mode=Mode.INSIDE_BOX, boxes=(Box(1.0, 2.0, 3.0, 4.0),)),
            id="whole numbers",
        ),
        pytest.param(
            Prompt(points=(Point(np.float64(1.5), 2),)),
            Prompt(points=(Point(1.5, 2),)),
            id="numpy's numbers",
        ),
    ],
)
def test_prompts_that_mean_the_same_have_one_key(one: Prompt, other: Prompt) -> None:
    assert key(prompt=one) == key(prompt=other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(Prompt(), Prompt(mode=Mode.INSIDE_BOX, boxes=(A,)), id="mode"),
        pytest.param(Prompt(texts=("cup",)), Prompt(texts=("Cup",)), id="case of a text"),
        pytest.param(Prompt(texts=("cup",)), Prompt(texts=(" cup",)), id="space in a text"),
        pytest.param(
            Prompt(mode=Mode.INSIDE_BOX, boxes=(A, B)),
            Prompt(mode=Mode.INSIDE_BOX, boxes=(B, A)),
            id="order of boxes, which answers come in",
        ),
        pytest.param(
            Prompt(points=(Point(1, 2),)), Prompt(points=(Point(1, 2),) * 2), id="a point twice"
        ),
        pytest.param(
            Prompt(points=(A_POINT, Point(3, 4))),
            Prompt(points=(A_POINT, Point(3, 4, positive=False))),
            id="sign",
        ),
        pytest.param(
            Prompt(mode=Mode.INSIDE_BOX, boxes=(A,)),
            Prompt(exemplars=(Exemplar(A),)),
            id="a box is no exemplar",
        ),
    ],
)
def test_prompts_that_mean_something_else_have_other_keys(one: Prompt, other: Prompt) -> None:
    assert key(prompt=one) != key(prompt=other)


@pytest.mark.parametrize(
    "changed",
    [{"pixels": "2" * 64}, {"segmenter_id": "x"}, {"identity": "2" * 64}, {"revision": "r"}],
)
def test_everything_that_decides_an_answer_is_in_its_key(changed: dict[str, str]) -> None:
    assert key(**changed) != key()


def test_a_key_can_be_a_file_name() -> None:
    assert len(key()) == 64
    assert int(key(prompt=Prompt(texts=("tasse à café",)), revision="/../"), 16) >= 0


def test_images_of_the_same_bytes_but_another_shape_differ() -> None:
    image = picture()
    turned = image.reshape(image.shape[1], image.shape[0], 3)
    assert pixels_digest(image) != pixels_digest(turned)


def test_one_changed_sample_changes_the_digest_of_an_image() -> None:
    image = picture()
    changed = image.copy()
    changed[-1, -1, -1] ^= 1
    assert pixels_digest(image) != pixels_digest(changed)


def test_how_an_image_lies_in_memory_does_not_matter() -> None:
    image = picture()
    view = np.asfortranarray(image)
    assert pixels_digest(view) == pixels_digest(image)
    assert pixels_digest(picture()[::-1][::-1]) == pixels_digest(image)


KEY = "a" * 64
ENTRY = encode_answer(KEY, answer(picture()))


@given(results)
def test_an_answer_comes_back_as_it_was(result: SegmentationResult) -> None:
    back = decode_answer(KEY, encode_answer(KEY, result))
    assert facts(back) == facts(result)
    assert back.usage == Usage(cached=1)


@given(st.integers(0, len(ENTRY) - 1))
def test_a_truncated_entry_is_damaged(length: int) -> None:
    with pytest.raises(DamagedEntryError):
        decode_answer(KEY, ENTRY[:length])


@given(st.integers(0, len(ENTRY) - 1), st.integers(1, 255))
def test_a_changed_byte_is_damage(place: int, change: int) -> None:
    changed = bytearray(ENTRY)
    changed[place] ^= change
    with pytest.raises(DamagedEntryError):
        decode_answer(KEY, bytes(changed))


@given(st.binary())
def test_foreign_bytes_are_damage(data: bytes) -> None:
    with pytest.raises(DamagedEntryError):
        decode_answer(KEY, data)


def test_the_entry_of_another_key_is_damage() -> None:
    with pytest.raises(DamagedEntryError):
        decode_answer("b" * 64, ENTRY)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 8, b"\2\0\0\0\0\0\0\0[]", b"\2\0\0\0\0\0\0\0{}", b"\x01\0\0\0\0\0\0\0{"],
)
def test_a_body_of_another_make_is_damage_though_its_checksum_is_right(content: bytes) -> None:
    body = isal_zlib.compress(content)
    magic = ENTRY[: ENTRY.index(b"\n") + 1]
    forged = magic + hashlib.sha256(KEY.encode() + body).digest() + body
    with pytest.raises(DamagedEntryError):
        decode_answer(KEY, forged)

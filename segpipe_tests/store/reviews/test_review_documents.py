"""Reviews as documents: masks to the pixel, what is refused, and what decides what goes on."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import ReviewError, ReviewFileError
from segpipe.prompt import Mode
from segpipe.store.reviews import (
    NO_REVIEWS_VERSION,
    Decision,
    ImageReview,
    MaskRuns,
    RejectReason,
    reviews_version,
)
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import mask_digest
from segpipe_tests.reviews import (
    HEIGHT,
    WIDTH,
    accept,
    add,
    edit,
    rectangle,
    reject,
    review,
    speckled,
)

SEEN = "0" * 64
RUNS = {"x": 2, "y": 1, "size": [2, 4], "counts": "08"}


def of(*decisions: object, **fields: object) -> bytes:
    return json.dumps({"image": "a", "mode": "find_all", "decisions": decisions, **fields}).encode()


def read(data: bytes) -> ImageReview:
    return ImageReview.from_bytes(data, file="reviews/find_all/a.json", image="a")


def test_a_file_by_hand_needs_little_and_reads_back_as_it_was_written() -> None:
    by_hand = read(
        of(
            {"verdict": "reject", "seen": "f" * 64, "reason": "double"},
            {"verdict": "add", "id": "n1", "mask": RUNS},
            {"verdict": "accept", "seen": SEEN},
            done=True,
        )
    )
    assert (by_hand.generation, by_hand.mode, by_hand.done) == (0, Mode.FIND_ALL, True)
    assert [each.key for each in by_hand.decisions] == [SEEN, "f" * 64, "n1"]
    assert by_hand.decisions[0].created_by == "user"
    assert read(by_hand.to_bytes()) == by_hand


@given(seed=st.integers(0, 10_000))
def test_a_mask_is_kept_bit_for_bit_whatever_bitmap_it_came_in(seed: int) -> None:
    mask = speckled(seed)
    loose = Mask(0, 0, mask.to_full(), WIDTH, HEIGHT)
    runs = MaskRuns.of(loose)
    kept = MaskRuns.model_validate_json(runs.model_dump_json()).to_mask(WIDTH, HEIGHT)
    assert np.array_equal(kept.to_full(), mask.to_full())
    assert runs.digest() == mask_digest(mask) == mask_digest(loose) == mask_digest(kept)


def test_masks_that_differ_have_other_digests() -> None:
    masks = [*map(speckled, range(200)), rectangle(3, 4), rectangle(4, 3), rectangle(3, 4, 8, 10)]
    assert len({mask_digest(mask) for mask in masks}) == len(masks)


@pytest.mark.parametrize(
    ("decision", "field", "says"),
    [
        ({"verdict": "accept"}, "decisions[0]", "needs seen"),
        ({"verdict": "accept", "seen": "x"}, "decisions[x].seen", "pattern"),
        ({"verdict": "accept", "seen": SEEN, "mask": RUNS}, f"decisions[{SEEN}]", "takes seen"),
        ({"verdict": "accept", "seen": SEEN, "reason": "other"}, f"decisions[{SEEN}]", "takes"),
        ({"verdict": "reject", "seen": SEEN, "reason": "ugly"}, f"decisions[{SEEN}].reason", "oth"),
        ({"verdict": "edit", "seen": SEEN}, f"decisions[{SEEN}]", "seen and mask"),
        ({"verdict": "add", "mask": RUNS}, "decisions[0]", "needs id and mask"),
        ({"verdict": "add", "id": "a/b", "mask": RUNS}, "decisions[a/b].id", "pattern"),
        ({"verdict": "keep", "seen": SEEN}, f"decisions[{SEEN}].verdict", "accept"),
        ({"verdict": "accept", "seen": SEEN, "colour": 1}, f"decisions[{SEEN}].colour", "no such"),
        (
            {"verdict": "accept", "seen": SEEN, "seen_mask": RUNS},
            f"decisions[{SEEN}]",
            "not the digest",
        ),
        *(
            ({"verdict": "add", "id": "n", "mask": RUNS | wrong}, f"decisions[n].mask{at}", says)
            for wrong, at, says in (
                ({"counts": "8"}, "", "no pixel"),
                ({"counts": "07"}, "", "fill"),
                ({"counts": "\u00e9"}, "", "ascii"),
                ({"counts": ""}, "", "cut off"),
                ({"x": -1}, ".x", "0"),
                ({"size": [0, 4]}, ".size", "0"),
                ({"size": [99_999, 99_999]}, "", "pixels"),
            )
        ),
    ],
)
def test_what_makes_no_sense_is_named(decision: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(ReviewFileError, match=r": reviews/find_all/a\.json: ") as caught:
        read(of(decision))
    assert says in caught.value.message
    assert caught.value.field in {field, f"{field}.0"}


def test_two_decisions_about_one_thing_are_refused() -> None:
    one = {"verdict": "accept", "seen": SEEN}
    with pytest.raises(ReviewFileError, match="two decisions are about"):
        read(of(one, one | {"verdict": "reject"}))


def test_a_mask_outside_the_photo_is_named_with_its_size() -> None:
    drawn = review(add("n1", rectangle(50, 30)))
    drawn.require_inside(60, 38)
    with pytest.raises(ReviewError, match=r"'n1'.* 59 x 40") as caught:
        drawn.require_inside(59, 40)
    assert (caught.value.image, caught.value.field) == ("a", "decisions[n1].mask")


def test_the_version_tells_what_decides_what_goes_on_and_nothing_else() -> None:
    seen, other, drawn = rectangle(1, 1), rectangle(1, 2), rectangle(30, 20)

    def version(*decisions: Decision, done: bool = False) -> str:
        return reviews_version({"a": review(*decisions, done=done)})

    assert version() == NO_REVIEWS_VERSION == reviews_version({})
    told = [
        version(accept(seen)),
        version(accept(other)),
        version(reject(seen)),
        version(edit(seen, drawn)),
        version(edit(seen, drawn, "ring")),
        version(edit(seen, other)),
        version(add("n1", drawn)),
        version(done=True),
    ]
    assert len({*told, NO_REVIEWS_VERSION}) == len(told) + 1
    assert version(accept(seen, by="bob")) == version(accept(seen))
    assert version(reject(seen, RejectReason.OTHER)) == version(reject(seen))
    assert version(accept(seen), reject(other)) == version(reject(other), accept(seen))

"""Answers in every shape that is known, and in shapes that nobody can read."""

import base64
import json
import sys
from itertools import chain
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import BackendProtocolError
from segpipe.segmenters.http import Answer
from segpipe.segmenters.sam3.segmind.answer_masks import SentPhoto
from segpipe.segmenters.sam3.segmind.segmind_answer import Reading, read_answer
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import to_base64, to_coco_rle, to_png
from segpipe_tests.segmenters.sam3.segmind.conftest import KEY
from segpipe_tests.segmenters.sam3.segmind.double import MASKS, box_of, same_pixels

PHOTO = SentPhoto(160, 120, 160, 120)
PNGS = [to_base64(mask) for mask in MASKS]
SCORES = [0.5, 0.9, 0.7]
LABELS = ["cup", "dish", "jug"]
HUGE = int("9" * 400)
LONGEST_MESSAGE = 500
EMPTY = to_base64(Mask.empty(image_width=160, image_height=120))


def read(
    value: object, *, label: str | None = None, max_masks: int = 100, kind: str = "application/json"
) -> Reading:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    answer = Answer(200, httpx.Headers(), kind, body)
    return read_answer(answer, PHOTO, label=label, max_masks=max_masks, secrets=[KEY])


def nested(depth: int) -> object:
    """A list in a list in a list."""
    value: object = []
    for _ in range(depth):
        value = [value]
    return value


def rle(mask: Mask) -> dict[str, Any]:
    return {"size": [120, 160], "counts": to_coco_rle(mask)["counts"].decode()}


def polygon(mask: Mask) -> list[list[float]]:
    x1, y1, x2, y2 = box_of(mask)
    return [[x1 + 0.5, y1 + 0.5], [x2 - 0.5, y1 + 0.5], [x2 - 0.5, y2 - 0.5], [x1 + 0.5, y2 - 0.5]]


DETECTIONS = [
    {"box": list(box_of(mask)), "score": score, "label": label, "mask": png}
    for mask, score, label, png in zip(MASKS, SCORES, LABELS, PNGS, strict=True)
]
SHAPES = {
    "parallel arrays": {
        "masks": PNGS,
        "scores": SCORES,
        "labels": LABELS,
        "boxes": [[0, 0, 1, 1]] * 3,
    },
    "parallel arrays of rle": {
        "masks": [rle(m) for m in MASKS],
        "scores": SCORES,
        "classes": LABELS,
    },
    "parallel arrays of polygons": {
        "masks": [[polygon(m)] for m in MASKS],
        "confidences": SCORES,
        "labels": LABELS,
    },
    "a list of detections": DETECTIONS,
    "detections by name": {"detections": DETECTIONS, "count": 3},
    "predictions with rle": {
        "predictions": [
            {"confidence": s, "class": n, "rle": rle(m)}
            for m, s, n in zip(MASKS, SCORES, LABELS, strict=True)
        ]
    },
    "coco annotations": {
        "annotations": [
            {"score": s, "name": n, "segmentation": [list(chain(*polygon(m)))]}
            for m, s, n in zip(MASKS, SCORES, LABELS, strict=True)
        ]
    },
    "masks with scores": {
        "masks": [
            {"label": n, "score": s, "mask": f"data:image/png;base64,{p}"}
            for p, s, n in zip(PNGS, SCORES, LABELS, strict=True)
        ]
    },
    "wrapped": {"status": "COMPLETED", "output": {"detections": DETECTIONS}},
    "wrapped as text": {"status": "COMPLETED", "output": json.dumps(DETECTIONS)},
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_gives_the_same_detections_best_first(name: str) -> None:
    reading = read(SHAPES[name])
    assert [one.label for one in reading.detections] == ["dish", "jug", "cup"]
    assert [one.score for one in reading.detections] == [0.9, 0.7, 0.5]
    for one, index in zip(reading.detections, (1, 2, 0), strict=True):
        assert one.mask is not None
        assert same_pixels(one.mask, MASKS[index])
        assert one.box == MASKS[index].box
    assert reading.notes == ()


def test_what_was_asked_for_is_the_label() -> None:
    assert {one.label for one in read(DETECTIONS, label="goods").detections} == {"goods"}


@pytest.mark.parametrize(
    "box",
    [
        [9, 9, 1, 1],
        [-50, -50, 5000, 5000],
        [float("nan")] * 4,
        [float("inf"), 0, float("-inf"), 1],
        "nowhere",
        None,
    ],
    ids=["inverted", "outside", "NaN", "infinite", "text", "null"],
)
def test_a_box_that_makes_no_sense_is_made_anew_from_its_mask(box: object) -> None:
    (one,) = read([{"box": box, "score": 0.5, "mask": PNGS[0]}]).detections
    assert one.box == MASKS[0].box


@pytest.mark.parametrize(
    "nothing", [[], {"masks": []}, {"masks": [], "scores": [], "boxes": []}, {"detections": []}]
)
def test_an_empty_list_is_no_detections(nothing: object) -> None:
    assert read(nothing) == Reading(())


@pytest.mark.parametrize("score", [0, 1, 1.03, -0.01])
def test_scores_stay_within_0_and_1(score: float) -> None:
    (one,) = read([{"score": score, "mask": PNGS[0]}]).detections
    assert one.score == pytest.approx(min(max(score, 0), 1))


@pytest.mark.parametrize("shape", [{"masks": PNGS}, PNGS, [{"mask": png} for png in PNGS]])
def test_masks_without_scores_have_score_1_and_a_note(shape: object) -> None:
    reading = read(shape)
    assert [one.score for one in reading.detections] == [1, 1, 1]
    assert "score 1" in reading.notes[0]


def test_masks_without_a_pixel_are_left_out_with_a_note() -> None:
    reading = read({"masks": [*PNGS, EMPTY], "scores": [*SCORES, 0.99]})
    assert len(reading.detections) == 3
    assert "1 masks without a pixel" in reading.notes[0]


def test_of_too_many_masks_only_the_best_are_read() -> None:
    broken = [{"score": 0.1, "mask": "no picture"}] * 9_997
    reading = read(DETECTIONS + broken, max_masks=3)
    assert [one.score for one in reading.detections] == [0.9, 0.7, 0.5]
    assert "10000 masks" in reading.notes[0]


def test_without_a_limit_a_thousand_masks_are_read() -> None:
    small = to_base64(Mask(5, 5, np.ones((2, 2), np.uint8), 160, 120))
    assert len(read({"masks": [small] * 10_000}, max_masks=0).detections) == 1_000


@pytest.mark.parametrize(
    ("kind", "wrap"),
    [
        ("image/png", lambda png: png),
        (
            "application/json",
            lambda png: json.dumps({"output": "data:image/png;base64," + _b64(png)}).encode(),
        ),
        ("application/json", lambda png: json.dumps(_b64(png)).encode()),
    ],
    ids=["body", "data URL", "base64"],
)
def test_a_combined_mask_is_cut_into_its_parts_and_a_note_says_so(kind: str, wrap: Any) -> None:
    whole = sum((mask.to_full() for mask in MASKS), np.zeros((120, 160), np.uint8))
    reading = read(wrap(to_png(Mask.from_full(whole))), kind=kind, label="goods")
    boxes = {one.box for one in reading.detections}
    assert boxes == {mask.box for mask in MASKS}
    assert {one.label for one in reading.detections} == {"goods"}
    assert "one combined mask" in reading.notes[0]


@pytest.mark.parametrize("value", [{}, [], {"output": {}}, {"status": "COMPLETED", "data": {}}])
def test_an_empty_object_is_no_detections_like_an_empty_list(value: object) -> None:
    assert read(value).detections == ()


def test_a_combined_mask_of_nothing_is_no_detections() -> None:
    black = to_png(Mask.empty(image_width=160, image_height=120))
    assert read(black, kind="image/png").detections == ()


def _b64(png: bytes) -> str:
    return base64.b64encode(png).decode()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"<html>",
        b'{"masks": [',
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 10_000,
        b"null",
        b"3",
        b'"word"',
        {"cost": 0.1},
        {"error": "out of order"},
        {"status": "COMPLETED", "output": None},
        {"output": "https://example.org/result.png"},
        {"output": {"output": {"output": {"output": {"output": {"output": {"output": []}}}}}}},
        {"boxes": [[0, 0, 5, 5]], "scores": [0.5]},
        [{"box": [0, 0, 5, 5], "score": 0.5}],
        [[1, 2, 3]],
        [None],
        {"masks": "many"},
        {"masks": PNGS, "scores": [0.5]},
        {"masks": [], "boxes": [[0, 0, 5, 5]]},
        {"output": [], "boxes": [[0, 0, 5, 5]]},
        {"detections": [], "masks": PNGS},
        {"masks": [], "error": "out of memory"},
        {"masks": PNGS, "error": "out of memory"},
        {"error": {"code": 7}, "output": to_base64(MASKS[0])},
        {"output": {"error": ["out of memory"], "detections": []}},
        {"status": "FAILED", "output": []},
        {"output": {"status": "cancelled", "masks": []}},
        {"status": 500, "masks": []},
        {"status": ["COMPLETED"], "masks": []},
        {"success": False, "masks": []},
        {"detections": [], "count": 3},
        {"masks": PNGS, "scores": SCORES, "labels": "three"},
        [{"score": float("nan"), "mask": PNGS[0]}],
        [{"score": float("inf"), "mask": PNGS[0]}],
        [{"score": 97, "mask": PNGS[0]}],
        [{"score": True, "mask": PNGS[0]}],
        [{"score": "high", "mask": PNGS[0]}],
        [{"score": HUGE, "mask": PNGS[0]}],
        [{"score": nested(900), "mask": PNGS[0]}],
        [{"score": 0.5, "polygon": [[HUGE, 0], [5, 5], [0, 5]]}],
        [{"score": 0.5, "polygon": nested(900)}],
        [{"score": 0.5, "mask": {"size": [HUGE, HUGE], "counts": [1]}}],
        [{"score": 0.5, "mask": {"size": [-HUGE, 1], "counts": [1]}}],
        b'[{"mask": ' + b'{"mask": ' * 900 + b"0" + b"}" * 901 + b"]",
        [{"score": 0.5, "mask": "no picture"}],
        [{"score": 0.5, "mask": to_base64(Mask.empty(image_width=99, image_height=120))}],
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_understood_is_an_error_and_never_no_detections(value: object) -> None:
    with pytest.raises(BackendProtocolError, match="segmind's answer is not understood") as caught:
        read(value)
    assert len(str(caught.value)) < LONGEST_MESSAGE
    assert caught.value.status == 200


@pytest.mark.parametrize(("opens", "closes"), [('{"mask":', "}"), ("[", "]")], ids=["{", "["])
def test_a_mask_that_is_nested_too_deeply_is_an_error_at_every_depth(
    opens: str, closes: str
) -> None:
    # How deep a value the JSON decoder lets through depends on the stack, so all are tried.
    for depth in range(850, sys.getrecursionlimit()):
        mask = opens * depth + "[1, 1, 9, 1, 9, 9]" + closes * depth
        with pytest.raises(BackendProtocolError):
            read(f'[{{"score": 0.5, "mask": {mask}}}]'.encode())


@pytest.mark.parametrize(
    "beside",
    [
        {"status": "COMPLETED"},
        {"status": "success"},
        {"status": 200},
        {"status": None},
        {"error": None},
        {"error": ""},
        {"error": False},
        {"boxes": [], "scores": [], "count": 0},
        {"success": True},
    ],
    ids=str,
)
def test_an_empty_list_beside_a_success_is_no_detections(beside: dict[str, object]) -> None:
    assert read({"masks": [], **beside}).detections == ()


def test_masks_beside_a_status_that_is_no_success_are_kept_with_a_note() -> None:
    reading = read({"status": f"PARTIAL {KEY}", "output": DETECTIONS})
    assert len(reading.detections) == 3
    assert "PARTIAL [redacted]" in reading.notes[0]


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("old\n\x1b[1m cup", "old [1m cup"),
        ("cup \udfff\ud800", "cup"),
        ("\ud800", None),
        (f"no class for {KEY}", "no class for [redacted]"),
        (f"no class for {KEY[:5]}\x00{KEY[5:]}", "no class for [redacted]"),
        (" \t", None),
    ],
)
def test_a_label_of_the_service_is_printable_and_without_the_key(
    told: str, kept: str | None
) -> None:
    (one,) = read([{"label": told, "score": 0.5, "mask": PNGS[0]}]).detections
    assert one.label == kept


def test_a_label_of_the_service_is_short() -> None:
    (one,) = read([{"label": "cup" * 5_000, "score": 0.5, "mask": PNGS[0]}]).detections
    assert one.label is not None
    assert len(one.label) < 300


@pytest.mark.parametrize("kind", ["", "text/html", "text/plain", "application/octet-stream"])
def test_an_answer_of_another_type_is_an_error_whatever_it_holds(kind: str) -> None:
    with pytest.raises(BackendProtocolError, match="neither JSON nor a picture"):
        read(DETECTIONS, kind=kind)


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "image/webp"])
def test_a_picture_that_is_none_is_an_error(kind: str) -> None:
    with pytest.raises(BackendProtocolError):
        read(b"\x89PNG\r\n\x1a\n but no more", kind=kind)


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        [HUGE, *PNGS, EMPTY, "data:,", json.dumps([PNGS[0]]), rle(MASKS[0])["counts"]]
    )
)
names = st.sampled_from(
    [
        *(
            "masks",
            "mask",
            "scores",
            "score",
            "labels",
            "label",
            "classes",
            "rle",
            "size",
            "counts",
        ),
        *(
            "polygon",
            "segmentation",
            "detections",
            "output",
            "outputs",
            "result",
            "data",
            "png",
            "error",
            "status",
            "boxes",
        ),
    ]
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


@given(anything)
@settings(max_examples=300, deadline=None)
def test_any_json_at_all_is_read_or_is_a_protocol_error(value: object) -> None:
    try:
        reading = read(value)
    except BackendProtocolError:
        return
    for one in reading.detections:
        assert one.mask is not None
        assert one.box == one.mask.box
        assert 0 <= one.score <= 1


@given(
    st.binary(max_size=60), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"])
)
@settings(deadline=None)
def test_any_bytes_that_are_no_picture_are_a_protocol_error(data: bytes, start: bytes) -> None:
    with pytest.raises(BackendProtocolError):
        read(start + data, kind="image/png")


def test_the_error_shows_the_start_of_the_answer_without_the_key() -> None:
    with pytest.raises(BackendProtocolError) as caught:
        read(f"<html>\x1b[1m {KEY} oh no {'x' * 5000}".encode(), kind="text/html")
    message = str(caught.value)
    assert "oh no" in message
    assert KEY not in message
    assert "\x1b" not in message
    assert len(message) < LONGEST_MESSAGE


def test_half_of_a_key_is_not_shown_either() -> None:
    with pytest.raises(BackendProtocolError) as caught:
        read(b" " * 1_990 + KEY.encode() * 3)
    assert KEY[:5] not in str(caught.value)

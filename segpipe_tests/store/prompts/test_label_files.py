"""Boxes of labelling tools come back as they were drawn."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import PromptError
from segpipe.store.prompts.label_files import read_coco, read_yolo
from segpipe.vision.boxes import Box

SIZES = st.tuples(st.integers(1, 8000), st.integers(1, 8000))
DIGITS = 6


@st.composite
def boxes_in_photos(draw: st.DrawFn) -> tuple[tuple[int, int], Box]:
    """A photo's size and a box of at least one pixel in it, in hundredths of a pixel."""
    size = draw(SIZES)
    (x1, x2), (y1, y2) = (
        sorted(draw(st.lists(st.integers(0, side), min_size=2, max_size=2, unique=True)))
        for side in size
    )
    shift = draw(st.sampled_from((0.0, 0.25)))
    return size, Box(x1 + shift, y1 + shift, float(x2), float(y2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labels")


@given(boxes_in_photos(), st.sampled_from(("", " 0.5")), st.booleans())
def test_a_box_survives_yolo_with_six_digits(
    folder: Path, drawn: tuple[tuple[int, int], Box], confidence: str, is_polygon: bool
) -> None:
    (width, height), box = drawn
    x1, y1, x2, y2 = box.x1 / width, box.y1 / height, box.x2 / width, box.y2 / height
    numbers = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    if is_polygon:
        numbers = [x1, y1, x2, y1, x2, y2, x1, y2]
    line = " ".join(f"{number:.{DIGITS}f}" for number in numbers)
    (folder / "a.txt").write_text(f"0 {line}{confidence}\n")
    (back,) = read_yolo(folder / "a.txt").in_pixels(width, height)
    assert back == pytest.approx(box, abs=max(width, height) * 10.0**-DIGITS)
    assert 0 <= back.x1 < back.x2 <= width
    assert 0 <= back.y1 < back.y2 <= height


@given(boxes_in_photos())
def test_a_box_survives_coco(folder: Path, drawn: tuple[tuple[int, int], Box]) -> None:
    (width, height), box = drawn
    bbox = [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1]
    content = {
        "images": [{"id": 1, "file_name": "train\\a.jpg", "width": width, "height": height}],
        "annotations": [
            {"image_id": 1, "bbox": bbox},
            {"image_id": 1, "bbox": [0, 0, width, height], "iscrowd": 1},
        ],
    }
    (folder / "a.json").write_text(json.dumps(content))
    (labelled,) = read_coco(folder / "a.json")
    assert labelled.image == "a.jpg"
    (back,) = labelled.in_pixels(width, height)
    assert back == pytest.approx(box)
    with pytest.raises(PromptError, match="label the photo as it is"):
        labelled.in_pixels(width + 1, height)


@given(st.binary())
def test_rubbish_is_never_anything_but_our_own_error(folder: Path, data: bytes) -> None:
    (folder / "rubbish").write_bytes(data)
    for read in (read_coco, read_yolo):
        with contextlib.suppress(PromptError):
            read(folder / "rubbish")

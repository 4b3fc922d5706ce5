"""Boxes of labelling tools come back as they were drawn, and rubbish is refused in words."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import PromptError
from segpipe.formats.format_registry import IMPORTS, import_format
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


def boxes_in(
    file: Path, file_format: str, size: tuple[int, int], columns: str | None = None
) -> list[Box]:
    chosen = import_format(file_format).read(file, tuple(columns.split()) if columns else None)
    return [
        each.box for labels in chosen for each in labels.read().in_pixels(*size, file=labels.file)
    ]


@given(boxes_in_photos(), st.sampled_from((None, "conf", "conf id")), st.booleans())
def test_a_box_survives_yolo_with_six_digits(
    folder: Path, drawn: tuple[tuple[int, int], Box], further: str | None, is_polygon: bool
) -> None:
    size, box = drawn
    width, height = size
    x1, y1, x2, y2 = box.x1 / width, box.y1 / height, box.x2 / width, box.y2 / height
    numbers = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    if is_polygon:
        numbers = [x1, y1, x2, y1, x2, y2, x1, y2]
    line = " ".join(f"{number:.{DIGITS}f}" for number in numbers)
    file_format, usual = ("yolo-seg", "class polygon") if is_polygon else ("yolo", "class x y w h")
    (folder / "a.txt").write_text(
        f"0 {line} {'0.5 7'[: 3 if further == 'conf' else 5] if further else ''}\n"
    )
    columns = f"{usual} {further}" if further else None
    (back,) = boxes_in(folder / "a.txt", file_format, size, columns)
    assert back == pytest.approx(box, abs=max(size) * 10.0**-DIGITS)
    assert 0 <= back.x1 < back.x2 <= width
    assert 0 <= back.y1 < back.y2 <= height


@given(boxes_in_photos())
def test_a_box_survives_coco_labelme_and_svg(
    folder: Path, drawn: tuple[tuple[int, int], Box]
) -> None:
    size, box = drawn
    width, height = size
    bbox = [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1]
    coco = {
        "images": [{"id": 1, "file_name": "train\\a.jpg", "width": width, "height": height}],
        "annotations": [{"image_id": 1, "bbox": bbox}],
    }
    shape = {"label": "x", "points": [[box.x2, box.y1], [box.x1, box.y2]]}
    labelme = {
        "imagePath": "a.jpg",
        "imageWidth": width,
        "imageHeight": height,
        "shapes": [shape | {"shape_type": "rectangle"}],
    }
    svg = [{"image": "a.jpg", "path": "M0,0H1V1Z", "bbox": list(box)}]
    for file_format, content in (("coco", coco), ("labelme", labelme), ("svg", svg)):
        (folder / "a.json").write_text(json.dumps(content))
        assert boxes_in(folder / "a.json", file_format, size) == [pytest.approx(box)]
        if file_format != "svg":
            with pytest.raises(PromptError, match="label the photo as it is"):
                boxes_in(folder / "a.json", file_format, (width + 1, height))


def read_all(file: Path) -> None:
    for name in IMPORTS:
        with suppress(PromptError):
            boxes_in(file, name, (100, 80))


@given(st.binary())
def test_rubbish_is_never_anything_but_our_own_error(folder: Path, data: bytes) -> None:
    (folder / "rubbish").write_bytes(data)
    read_all(folder / "rubbish")


NUMBERS = st.one_of(st.integers(), st.floats(), st.just(1e308), st.just(10**400))
JUNK = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=4), st.just({}), st.just([]))
POINTS = st.lists(st.lists(NUMBERS | JUNK, max_size=3), max_size=4)
FIELDS = {
    "id": NUMBERS | JUNK,
    "image_id": NUMBERS | JUNK,
    "category_id": NUMBERS | JUNK,
    "file_name": JUNK,
    "name": JUNK,
    "width": NUMBERS | JUNK,
    "height": NUMBERS | JUNK,
    "bbox": st.lists(NUMBERS, max_size=5) | JUNK,
    "segmentation": POINTS
    | st.fixed_dictionaries({"size": st.lists(NUMBERS, max_size=3), "counts": JUNK})
    | JUNK,
    "iscrowd": JUNK,
    "label": JUNK,
    "points": POINTS | JUNK,
    "shape_type": st.sampled_from(["polygon", "rectangle", "circle", "line", "mask"]) | JUNK,
    "group_id": JUNK,
    "image": JUNK,
    "path": st.text("MLHVCSQTZ0123456789.,- e", max_size=20) | JUNK,
    "imagePath": JUNK,
}
OBJECTS = st.fixed_dictionaries({}, optional=FIELDS)
FILES = st.lists(OBJECTS, max_size=3) | st.fixed_dictionaries(
    {},
    optional={
        "images": st.lists(OBJECTS | JUNK, max_size=2) | JUNK,
        "annotations": st.lists(OBJECTS | JUNK, max_size=2) | JUNK,
        "categories": st.lists(OBJECTS | JUNK, max_size=2) | JUNK,
        "shapes": st.lists(OBJECTS | JUNK, max_size=2) | JUNK,
        "imagePath": JUNK,
        "imageWidth": NUMBERS | JUNK,
        "imageHeight": NUMBERS | JUNK,
    },
)


@given(FILES)
@settings(max_examples=400, deadline=None)
def test_json_of_the_right_names_and_wrong_values_is_never_anything_but_our_own_error(
    folder: Path, content: object
) -> None:
    (folder / "a.json").write_text(json.dumps(content))
    read_all(folder / "a.json")


WORDS = st.one_of(
    st.floats(allow_nan=True).map(str), st.integers().map(str), st.text(max_size=3), st.just("0.5")
)


@given(st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=3))
@settings(deadline=None)
def test_lines_of_any_numbers_are_never_anything_but_our_own_error(
    folder: Path, lines: list[str]
) -> None:
    (folder / "a.txt").write_text("\n".join(lines), encoding="utf-8", errors="replace")
    read_all(folder / "a.txt")


@given(st.text(max_size=200))
@settings(deadline=None)
def test_what_stands_beside_labels_is_never_anything_but_our_own_error(
    folder: Path, text: str
) -> None:
    place = folder / "with-data"
    place.mkdir(exist_ok=True)
    (place / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    (place / "data.yaml").write_text(text, encoding="utf-8", errors="replace")
    with suppress(PromptError):
        boxes_in(place, "yolo", (100, 80))

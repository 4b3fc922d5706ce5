"""YOLO's text files of other tools: nothing is guessed from how many numbers a line has."""

from pathlib import Path

import pytest

from segpipe.errors import PromptError
from segpipe_tests.formats.label_files import boxes, read, text_file

BOX_LINE = "0 0.5 0.5 0.25 0.5"
BOX = (0.375, 0.25, 0.625, 0.75)
POLYGON_LINE = "1 0.1 0.2 0.3 0.2 0.3 0.6"
POLYGON_BOX = (0.1, 0.2, 0.3, 0.6)


@pytest.mark.parametrize(
    ("line", "columns", "box"),
    [
        (f"{BOX_LINE} 0.91", "class x y w h conf", BOX),
        (f"{BOX_LINE} 0.91 7", "class x y w h conf id", BOX),
        (f"7 {BOX_LINE}", "id class x y w h", BOX),
        (f"{BOX_LINE} 0.3 0.2 2 0.6 0.7 2", "class x y w h skip skip skip skip skip skip", BOX),
        (f"{POLYGON_LINE} 0.91", "class polygon conf", POLYGON_BOX),
        (f"{POLYGON_LINE} 0.91 7", "class polygon conf id", POLYGON_BOX),
        ("0.1 0.2 0.3 0.2 0.3 0.6 1", "polygon class", POLYGON_BOX),
    ],
)
def test_columns_are_as_they_are_named(
    tmp_path: Path, line: str, columns: str, box: tuple[float, ...]
) -> None:
    file = text_file(tmp_path / "a.txt", line)
    for file_format in ("yolo", "yolo-seg"):
        assert boxes(file, file_format, columns) == [box]


@pytest.mark.parametrize(
    ("line", "file_format", "says"),
    [
        (f"{BOX_LINE} 0.91", "yolo", "6 numbers, .* --columns 'class x y w h conf'"),
        (f"{BOX_LINE} 0.91 1", "yolo", "7 numbers, .* --columns 'class x y w h conf id'"),
        (POLYGON_LINE, "yolo", "7 numbers, .* say what each is"),
        (f"{BOX_LINE} 0.3 0.2 0.6 0.7", "yolo", "9 numbers, .* yolo-seg if they are a class and"),
        ("0 0.5 0.5", "yolo", "3 numbers, .* correct the line"),
        (BOX_LINE, "yolo-seg", "4 numbers are no corners .* --format yolo"),
        (f"{POLYGON_LINE} 0.9", "yolo-seg", "7 numbers are no corners .* 'class polygon conf'"),
        ("0.5 0.5 0.5 0.25 0.5", "yolo", "the class 0.5 is no whole number"),
        ("-1 0.5 0.5 0.25 0.5", "yolo", "the class -1 is no whole number"),
        ("ring 0.5 0.5 0.25 0.5", "yolo", ".* numbers alone"),
    ],
)
def test_a_line_of_anything_else_is_named_with_what_to_do(
    tmp_path: Path, line: str, file_format: str, says: str
) -> None:
    file = text_file(tmp_path / "a.txt", "", line)
    with pytest.raises(PromptError, match=f"a.txt, line 2: {says}"):
        boxes(file, file_format)


@pytest.mark.parametrize(
    "columns", ["class x y w", "class x y w h what", "x y w h", "class class polygon", "polygon"]
)
def test_columns_that_say_too_little_are_refused(tmp_path: Path, columns: str) -> None:
    with pytest.raises(PromptError, match="are no columns") as caught:
        boxes(text_file(tmp_path / "a.txt", BOX_LINE), "yolo", columns)
    assert caught.value.field == "--columns"


@pytest.mark.parametrize(
    ("data", "line", "box"),
    [
        ("task: segment", POLYGON_LINE, POLYGON_BOX),
        ("task: detect", BOX_LINE, BOX),
        ("kpt_shape: [2, 3]", f"{BOX_LINE} 0.3 0.2 2 0.6 0.7 2", BOX),
        ("kpt_shape: [2, 2]", f"{BOX_LINE} 0.3 0.2 0.6 0.7", BOX),
    ],
)
def test_a_task_that_the_data_set_names_says_what_lines_hold(
    tmp_path: Path, data: str, line: str, box: tuple[float, ...]
) -> None:
    text_file(tmp_path / "data.yaml", data, "names: [ring, coin]")
    text_file(tmp_path / "labels" / "train" / "a.txt", line)
    assert boxes(tmp_path, "yolo") == [box]
    assert boxes(tmp_path / "labels" / "train", "yolo") == [box]
    if box == BOX:
        with pytest.raises(PromptError, match="take --format yolo"):
            boxes(tmp_path, "yolo-seg")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("data.yaml", ["names: [ring, gold coin]"]),
        ("data.yaml", ["names:", "  0: ring", "  1: gold coin"]),
        ("classes.txt", ["ring", "gold coin"]),
    ],
)
def test_boxes_have_the_names_of_their_classes(tmp_path: Path, name: str, lines: list[str]) -> None:
    text_file(tmp_path / name, *lines)
    text_file(tmp_path / "labels" / "a.txt", BOX_LINE, "1.0" + BOX_LINE[1:], "5" + BOX_LINE[1:])
    (photo,) = read(tmp_path, "yolo")
    assert [each.label for each in photo.boxes] == ["ring", "gold coin", None]
    assert photo.notes == ("class 5 has no name in the data set",)


@pytest.mark.parametrize(
    ("data", "says"), [("{", "no YAML"), ("- a", "has to be an object"), ("names: 3", "names")]
)
def test_a_data_set_that_nobody_can_read_is_named(tmp_path: Path, data: str, says: str) -> None:
    text_file(tmp_path / "data.yaml", data)
    text_file(tmp_path / "a.txt", BOX_LINE)
    with pytest.raises(PromptError, match=f"data.yaml.*{says}"):
        boxes(tmp_path, "yolo")


def test_a_photo_may_be_called_test(tmp_path: Path) -> None:
    text_file(tmp_path / "test.txt", BOX_LINE)
    assert boxes(tmp_path, "yolo") == [BOX]

"""labelme's JSON as labelme and its users write it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from segpipe.errors import PromptError
from segpipe.formats.format_registry import import_format
from segpipe_tests.formats.label_files import read


def shape(
    points: Sequence[Sequence[float]], kind: str | None = "polygon", **fields: Any
) -> dict[str, Any]:
    return {"label": "ring", "points": points, "shape_type": kind, "group_id": None} | fields


def labelme_file(place: Path, *shapes: dict[str, Any], image: str = "a.jpg") -> Path:
    content = {"version": "5.5.0", "shapes": shapes, "imagePath": image, "imageData": None}
    place.write_text(json.dumps(content))
    return place


TRIANGLE = ((1, 2), (9, 2), (5, 8.5))


def test_every_shape_with_an_area_becomes_the_box_around_it(tmp_path: Path) -> None:
    file = labelme_file(
        tmp_path / "a.json",
        shape(TRIANGLE),
        shape(TRIANGLE, None),
        shape([[9, 8], [1, 2]], "rectangle"),
        shape([[10, 10], [13, 14]], "circle"),
        shape([[1, 2], [3, 4]], "mask", mask="…"),
        shape([[1, 2], [3, 4]], "line"),
        shape([[1, 2]], "point"),
    )
    (photo,) = read(file, "labelme")
    assert [(each.place, each.box, each.label) for each in photo.boxes] == [
        ("shape 1", (1, 2, 9, 8.5), "ring"),
        ("shape 2", (1, 2, 9, 8.5), "ring"),
        ("shape 3", (1, 2, 9, 8), "ring"),
        ("shape 4", (5, 5, 15, 15), "ring"),
        ("shape 5", (1, 2, 3, 4), "ring"),
    ]
    assert photo.notes == (
        "shape 6 ('ring') is a line: left out",
        "shape 7 ('ring') is a point: left out",
    )


def test_shapes_of_one_group_are_parts_of_an_item(tmp_path: Path) -> None:
    far = [[20, 20], [30, 20], [25, 28]]
    file = labelme_file(
        tmp_path / "a.json",
        shape(TRIANGLE, group_id=1),
        shape(TRIANGLE, group_id=2),
        shape(far, group_id=1),
        shape(far, group_id=1, label="coin"),
    )
    (photo,) = read(file, "labelme")
    assert [(each.box, each.label) for each in photo.boxes] == [
        ((1, 2, 30, 28), "ring"),
        ((1, 2, 9, 8.5), "ring"),
        ((20, 20, 30, 28), "coin"),
    ]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (shape(TRIANGLE[:2]), "shape 2: a polygon has at least 3 points, got 2"),
        (shape([[1, 2, 3]]), "shape 2: points"),
        ({"points": []}, "shape 2: label: is missing"),
    ],
)
def test_a_shape_that_makes_no_sense_is_named(
    tmp_path: Path, bad: dict[str, Any], says: str
) -> None:
    with pytest.raises(PromptError, match=f"a.json, {says}"):
        read(labelme_file(tmp_path / "a.json", shape(TRIANGLE), bad), "labelme")


def test_another_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": "5.5.0"}')
    with pytest.raises(PromptError, match=r"a.json is no labelme file: shapes: is missing"):
        read(tmp_path / "a.json", "labelme")


@pytest.mark.parametrize(
    ("place", "image", "photo"),
    [
        ("a.json", "../images/b.jpg", "b.jpg"),
        ("a.json", "..\\images\\b.jpg", "b.jpg"),
        ("a.json", None, "a.json"),
    ],
)
def test_a_file_is_of_the_photo_that_it_names_or_of_that_of_its_name(
    tmp_path: Path, place: str, image: str, photo: str
) -> None:
    file = labelme_file(tmp_path / place, shape(TRIANGLE), image=image)
    (labels,) = import_format("labelme").read(file, None)
    assert labels.photo.name == photo

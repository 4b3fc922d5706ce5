"""Outlines as SVG paths become the boxes around what they draw."""

import json
from pathlib import Path
from typing import Any

import pytest

from segpipe.errors import PromptError
from segpipe.vision.boxes import Box
from segpipe.vision.contour import mask_to_path
from segpipe_tests.formats.label_files import read
from segpipe_tests.goods import DISC, RING

BBOX = [100, 50, 300, 150]


def outline(path: str, bbox: object = None, **fields: Any) -> dict[str, Any]:
    return {"image": "a.jpg", "path": path, "bbox": BBOX if bbox is None else bbox} | fields


def outlines_file(place: Path, *outlines: object) -> Path:
    place.write_text(json.dumps(outlines))
    return place


def test_the_paths_of_a_run_come_back_as_the_boxes_of_their_masks(tmp_path: Path) -> None:
    boxes = [mask.box or Box(0, 0, 0, 0) for mask in (DISC, RING)]
    file = outlines_file(
        tmp_path / "a.json",
        *(
            outline(mask_to_path(mask), list(box), label=label)
            for mask, box, label in zip((DISC, RING), boxes, ("coin", "ring"), strict=True)
        ),
    )
    (photo,) = read(file, "svg")
    for each, box, label in zip(photo.boxes, boxes, ("coin", "ring"), strict=True):
        assert each.box == pytest.approx(box, abs=0.5)
        assert each.label == label


@pytest.mark.parametrize(
    ("path", "box"),
    [
        ("M0,0H1V1Z", (100, 50, 300, 150)),
        ("M.25 .5 L.5 .5 .5 1z", (150, 100, 200, 150)),
        ("M0,0 C0,1 1,1 1,0Z", (100, 50, 300, 125)),
    ],
)
def test_a_box_is_tight_around_what_a_path_draws(
    tmp_path: Path, path: str, box: tuple[float, ...]
) -> None:
    (photo,) = read(outlines_file(tmp_path / "a.json", outline(path)), "svg")
    assert photo.boxes[0].box == pytest.approx(box, abs=0.1)


def test_boxes_in_shares_of_the_photo_are_as_the_service_answers_them(tmp_path: Path) -> None:
    shares = {"x_min": 0.25, "y_min": 0.5, "x_max": 0.75, "y_max": 1.0}
    (photo,) = read(outlines_file(tmp_path / "a.json", outline("M0,0H1V1Z", shares)), "svg")
    (box,) = photo.in_pixels(400, 200, file="a.json")
    assert box.box == (100, 100, 300, 200)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (outline("M0,0 A1,1"), "outline number 1: A is none of the commands MLHVCSQTZ"),
        (outline("L0,0"), "outline number 1: a path starts with M"),
        (outline(""), "outline number 1: the path draws nothing"),
        (outline("M0,0H1V1Z", [5, 5, 1, 9], id="x"), "outline x: bbox .* has no area"),
        ({"image": "a.jpg", "path": "M0,0H1V1Z"}, "outline number 1: bbox: is missing"),
        (3, "outline number 1: it has to be an object"),
    ],
)
def test_a_bad_path_is_refused_by_name(tmp_path: Path, bad: object, says: str) -> None:
    with pytest.raises(PromptError, match=f"a.json, {says}"):
        read(outlines_file(tmp_path / "a.json", bad), "svg")


def test_pixels_and_shares_of_one_photo_are_refused(tmp_path: Path) -> None:
    shares = {"x_min": 0, "y_min": 0, "x_max": 1, "y_max": 1}
    file = outlines_file(tmp_path / "a.json", outline("M0,0H1V1Z"), outline("M0,0H1V1Z", shares))
    with pytest.raises(PromptError, match="in pixels and in shares"):
        read(file, "svg")

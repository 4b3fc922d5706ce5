"""Masks as files: what is in them, and how what people changed comes back."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segpipe.errors import PromptError
from segpipe.formats.format_registry import import_format
from segpipe.formats.labels import DrawnBox
from segpipe.formats.masks import TABLE_FILE
from segpipe.store.store import DealStore
from segpipe.vision.crop import MaskArea
from segpipe.vision.mask import Mask
from segpipe_tests.deals import run_deal
from segpipe_tests.flow.exports import export, tree
from segpipe_tests.goods import BOX, DISC, HEIGHT, PAIR, RING, WIDTH

MASKS = [DISC, RING, PAIR, Mask.from_box(BOX, image_width=WIDTH, image_height=HEIGHT)]
NAMES = ["a-1-coin", "a-2-ring", "a-3-earring", "a-4-item"]


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    return run_deal(tmp_path / "data", "lot", ("a.png", "empty.png"))


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        return np.asarray(picture)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE_FILE).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def boxes(folder: Path) -> list[DrawnBox]:
    (labels,) = import_format("masks").read(folder, None)
    return list(labels.read().in_pixels(WIDTH, HEIGHT, file=labels.file))


@pytest.mark.parametrize("area", MaskArea)
def test_a_mask_is_0_and_255_and_the_table_says_where_it_lies(
    store: DealStore, tmp_path: Path, area: MaskArea
) -> None:
    export(store, "masks", tmp_path / "out", mask_area=area)
    assert tree(tmp_path / "out") == sorted(
        ["export.json", TABLE_FILE, *(f"lot/{name}.png" for name in NAMES)]
    )
    for row, mask in zip(rows(tmp_path / "out"), MASKS, strict=True):
        found = pixels(tmp_path / "out" / row["file"])
        x, y = int(row["mask_x"]), int(row["mask_y"])
        if area is MaskArea.PHOTO:
            assert (found.shape, x, y) == ((HEIGHT, WIDTH), 0, 0)
        full = np.zeros((HEIGHT, WIDTH), np.uint8)
        full[y : y + found.shape[0], x : x + found.shape[1]] = found
        assert np.array_equal(full, 255 * mask.to_full())


@pytest.mark.parametrize("area", MaskArea)
def test_a_mask_that_somebody_painted_comes_back_as_it_is_now(
    store: DealStore, tmp_path: Path, area: MaskArea
) -> None:
    export(store, "masks", tmp_path / "out", mask_area=area)
    before = boxes(tmp_path / "out")
    assert [each.label for each in before] == ["coin", "ring", "earring", "item"]
    path = tmp_path / "out/lot/a-1-coin.png"
    painted = pixels(path).copy()
    painted[:, : painted.shape[1] // 2] = 0
    if area is MaskArea.PHOTO:
        painted[HEIGHT - 5 : HEIGHT - 2, 7:9] = 255
    Image.fromarray(painted).save(path)
    after = boxes(tmp_path / "out")
    assert [each.box for each in after[1:]] == [each.box for each in before[1:]]
    assert after[0].box != before[0].box
    if area is MaskArea.PHOTO:
        assert tuple(after[0].box)[:2] == (7, HEIGHT - 5)


def spoil_table(folder: Path, **change: Any) -> None:
    found = rows(folder)
    found[0] |= change
    with (folder / TABLE_FILE).open("w", newline="") as file:
        table = csv.DictWriter(file, found[0])
        table.writeheader()
        table.writerows(found)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"file": "../../etc/passwd"}, "not in the folder of the table"),
        ({"file": "lot/b.png"}, "line 2: there is no file 'lot/b.png'"),
        ({"file": ""}, "line 2: there is no file ''"),
        ({"file": "export.json"}, "line 2: export.json: a mask's PNG cannot be decoded"),
        ({"x1": "left"}, "line 2: x1: "),
        ({"mask_x": str(10**400)}, "line 2: mask_x: "),
    ],
)
def test_a_table_that_lies_is_refused_with_its_line(
    store: DealStore, tmp_path: Path, change: dict[str, str], fault: str
) -> None:
    export(store, "masks", tmp_path / "out")
    spoil_table(tmp_path / "out", **change)
    with pytest.raises(PromptError, match=fault):
        boxes(tmp_path / "out")


def test_a_mask_without_anything_in_it_is_refused(store: DealStore, tmp_path: Path) -> None:
    export(store, "masks", tmp_path / "out")
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "out/lot/a-1-coin.png")
    with pytest.raises(PromptError, match="has no white pixel"):
        boxes(tmp_path / "out")
    with pytest.raises(PromptError, match=rf"there is no {TABLE_FILE}"):
        boxes(tmp_path / "data")

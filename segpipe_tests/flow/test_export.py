"""Exports of many deals, read back as their tools read them."""

import contextlib
import io
import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO

from segpipe.errors import ConfigError, NotPromotedError, StaleUpstreamError, describe
from segpipe.flow.export_task import Images
from segpipe.formats.destination import EXPORT_FILE
from segpipe.formats.format_registry import EXPORTS, export_format
from segpipe.formats.label_format import CocoMasks
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe.vision.mask import Mask, iou
from segpipe_tests.deals import memory_root, put_photos, run_deal
from segpipe_tests.flow.exports import Told, export, tree
from segpipe_tests.formats.test_polygons import filled, without_holes
from segpipe_tests.goods import BOX, DISC, HEIGHT, PAIR, RING, WIDTH, photo_of

# What pycocotools' decode says of numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

EVERY_FORMAT = pytest.mark.parametrize("file_format", EXPORTS)
OF_LABELS = pytest.mark.parametrize(
    "file_format", [name for name in EXPORTS if not export_format(name).is_of_items]
)
LABELS = ["coin", "ring", "earring", "item"]
MASKS = [DISC, RING, PAIR, Mask.from_box(BOX, image_width=WIDTH, image_height=HEIGHT)]


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    run_deal(tmp_path / "data", "lot", ("a.png", "b.png", "empty.png"))
    return run_deal(tmp_path / "data", "שלום")


def overlap(pixels: NDArray[np.uint8], mask: Mask) -> float:
    """The IoU with a mask without its holes."""
    return iou(Mask.from_full(pixels), Mask.from_full(without_holes(mask.to_full())))


# What is in each format


@pytest.mark.parametrize("masks", CocoMasks)
def test_coco_is_one_file_of_all_deals_with_every_pixel(
    store: DealStore, tmp_path: Path, masks: CocoMasks
) -> None:
    out = tmp_path / "out" / "goods.json"
    export(store, "coco", out, images=Images.NONE, masks=masks)

    assert tree(out.parent) == ["goods.json"]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(out))
    assert [(number, image["file_name"]) for number, image in coco.imgs.items()] == [
        (1, "lot/a.png"),
        (2, "lot/b.png"),
        (3, "lot/empty.png"),
        (4, "שלום/a.png"),
        (5, "שלום/b.png"),
    ]
    for number in (1, 2, 4, 5):
        annotations = coco.imgToAnns[number]
        for annotation, mask, label in zip(annotations, MASKS, LABELS, strict=True):
            assert np.array_equal(coco.annToMask(annotation), mask.to_full())
            assert coco.cats[annotation["category_id"]]["name"] == label
    assert coco.imgToAnns[3] == []
    assert [category["name"] for category in coco.dataset["categories"]] == sorted(LABELS)


def test_coco_as_a_folder_has_the_photos_beside_it(store: DealStore, tmp_path: Path) -> None:
    out = tmp_path / "goods"
    export(store, "coco", out, deals=("lot",))
    assert tree(out) == [
        "annotations.json",
        "export.json",
        "images/lot/a.png",
        "images/lot/b.png",
        "images/lot/empty.png",
    ]
    for image in json.loads((out / "annotations.json").read_text())["images"]:
        with Image.open(out / "images" / image["file_name"]) as photo:
            assert photo.size == (image["width"], image["height"])


def test_yolo_lines_are_filled_to_the_masks_again(store: DealStore, tmp_path: Path) -> None:
    out = tmp_path / "goods"
    export(store, "yolo-seg", out)

    names = ["lot__a", "lot__b", "lot__empty", "שלום__a", "שלום__b"]
    assert tree(out) == [
        "data.yaml",
        "export.json",
        *(f"images/{name}.png" for name in names),
        *(f"labels/{name}.txt" for name in names),
    ]
    data = yaml.safe_load((out / "data.yaml").read_text(encoding="utf-8"))
    assert data == {"train": "images", "val": "images", "names": dict(enumerate(sorted(LABELS)))}
    assert (out / "labels/lot__empty.txt").read_text() == ""
    lines = (out / "labels/שלום__b.txt").read_text().splitlines()
    for line, mask, label in zip(lines, MASKS, LABELS, strict=True):
        number, *values = line.split()
        assert data["names"][int(number)] == label
        assert all(len(value) == len("0.123456") and 0 <= float(value) <= 1 for value in values)
        corners = np.array(values, np.float64).reshape(-1, 2) * (WIDTH, HEIGHT)
        assert overlap(filled(corners, WIDTH, HEIGHT), mask) > 0.98


def test_labelme_polygons_are_filled_to_the_masks_again(store: DealStore, tmp_path: Path) -> None:
    out = tmp_path / "goods"
    export(store, "labelme", out, deals=("lot",))

    assert tree(out) == [
        "export.json",
        *(f"lot/{name}.{suffix}" for name in ("a", "b", "empty") for suffix in ("json", "png")),
    ]
    document = json.loads((out / "lot/b.json").read_text())
    assert document["imageData"] is None
    assert (document["imageWidth"], document["imageHeight"]) == (WIDTH, HEIGHT)
    assert (out / "lot" / document["imagePath"]).read_bytes() == photo_of(True, tint=1)
    assert [shape["label"] for shape in document["shapes"]] == [
        "coin",
        "ring",
        *["earring"] * 3,
        "item",
    ]
    shapes: list[dict[str, Any]] = document["shapes"]
    assert [shape["group_id"] for shape in shapes] == [None, None, 2, 2, 2, None]
    pixels = [filled(np.array(shape["points"]), WIDTH, HEIGHT) for shape in shapes[:-1]]
    assert overlap(pixels[0], DISC) > 0.98
    assert overlap(pixels[1], RING) > 0.98
    assert overlap(np.bitwise_or.reduce(pixels[2:]), PAIR) > 0.98
    assert shapes[-1]["shape_type"] == "rectangle"
    assert shapes[-1]["points"] == [[BOX.x1, BOX.y1], [BOX.x2, BOX.y2]]


def test_every_folder_says_which_versions_are_in_it(store: DealStore, tmp_path: Path) -> None:
    export(store, "labelme", tmp_path / "goods")
    lineage = json.loads((tmp_path / "goods/export.json").read_text())
    assert lineage["format"] == "labelme"
    assert lineage["deals"]["lot"] == {
        "generation": 1,
        "versions": dict.fromkeys(("segmentation", "refinement", "review"), "run-lot.0"),
        "photos": 3,
        "items": 8,
    }
    assert lineage["left_out"] == {}


# The photos


@OF_LABELS
def test_photos_are_linked_when_asked_for(
    store: DealStore, tmp_path: Path, file_format: str
) -> None:
    export(store, file_format, tmp_path / "goods", deals=("lot",), images=Images.LINK)
    links = [path for path in (tmp_path / "goods").rglob("*.png") if path.is_symlink()]
    assert sorted(path.resolve().name for path in links) == ["a.png", "b.png", "empty.png"]


def test_labelme_without_photos_points_to_the_data_root(store: DealStore, tmp_path: Path) -> None:
    export(store, "labelme", tmp_path / "goods", images=Images.NONE)
    folder = tmp_path / "goods" / "שלום"
    assert tree(folder) == ["a.json", "b.json"]
    path = json.loads((folder / "a.json").read_text())["imagePath"]
    assert (folder / path).read_bytes() == photo_of(True)


@pytest.mark.parametrize(
    ("file_format", "images"),
    [
        ("cutouts", None),
        ("masks", None),
        *itertools.product(["coco", "yolo-seg", "labelme"], ["copy", "link"]),
    ],
)
def test_a_deal_whose_photo_has_changed_is_left_out_whole(
    store: DealStore, tmp_path: Path, file_format: str, images: str | None
) -> None:
    what = Images(images) if images else None
    put_photos(tmp_path / "data", "lot", {"b.png": photo_of(True, tint=99)})
    told = Told()
    report = export(store, file_format, tmp_path / "goods", images=what, told=told)
    assert list(report.deals) == ["שלום"]
    assert isinstance(report.left_out["lot"], StaleUpstreamError)
    assert "image 'b.png'" in str(report.left_out["lot"])
    assert told.lines == [
        "lot: 3 photos",
        "lot/a.png",
        f"lot left out: {describe(report.left_out['lot'])}",
        "שלום: 2 photos",
        "שלום/a.png",
        "שלום/b.png",
        "שלום done",
    ]
    # As if it had not been asked for.
    export(store, file_format, tmp_path / "only", images=what, deals=("שלום",))
    left, only = tmp_path / "goods", tmp_path / "only"
    assert tree(left) == tree(only)
    for name in set(tree(left)) - {"export.json"}:
        assert (left / name).read_bytes() == (only / name).read_bytes()
    assert not (left / "lot").exists()


@pytest.mark.parametrize("name", ["goods.json", "goods"])
@pytest.mark.parametrize("is_gone", [True, False])
def test_photos_that_stay_where_they_are_are_looked_at_all_the_same(
    store: DealStore, tmp_path: Path, name: str, is_gone: bool
) -> None:
    photo = tmp_path / "data/deals/lot/images/a.png"
    photo.unlink() if is_gone else photo.write_bytes(photo_of(True, tint=99))
    for file_format in ["coco"] if name.endswith(".json") else EXPORTS:
        out = tmp_path / file_format / name
        report = export(store, file_format, out, images=Images.NONE)
        assert list(report.deals) == ["שלום"]
        assert "image 'a.png'" in str(report.left_out["lot"])
        assert "changed or removed since its segmentation" in str(report.left_out["lot"])


# Names


def test_yolo_names_that_would_be_the_same_or_too_long_stay_apart(tmp_path: Path) -> None:
    root = tmp_path / "data"
    long = "ל" * 64
    run_deal(root, "a__b", ("c.png",))
    run_deal(root, "a", ("b__c.png", "B__C.png"))
    store = run_deal(root, long, (f"{long}x.png", f"{long}y.png"))
    export(store, "yolo-seg", tmp_path / "goods")
    names = [Path(name) for name in tree(tmp_path / "goods") if name.startswith("labels/")]
    assert len({str(name).casefold() for name in names}) == 5
    for name in names:
        assert len(name.name.encode()) <= 255
        assert (tmp_path / "goods/images" / f"{name.stem}.png").is_file()


def test_labelme_finds_its_json_beside_a_photo_of_any_name(tmp_path: Path) -> None:
    store = run_deal(tmp_path / "data", "lot", ("a b.png", "c.json", "d" * 251 + ".png", "noext"))
    export(store, "labelme", tmp_path / "goods")
    files = tree(tmp_path / "goods/lot")
    assert {"a b.json", "a b.png", "c.json", "c.json.json", "noext", "noext.json"} <= set(files)
    assert len(files) == 8


# What cannot be exported


def test_a_deal_called_as_the_labelme_exports_own_file_is_left_out_by_name(
    store: DealStore, tmp_path: Path
) -> None:
    run_deal(tmp_path / "data", EXPORT_FILE)
    report = export(store, "labelme", tmp_path / "goods")
    assert "lot" in report.deals
    assert set(report.left_out) == {EXPORT_FILE}
    assert (tmp_path / "goods" / EXPORT_FILE).is_file()
    assert EXPORT_FILE in export(store, "coco", tmp_path / "coco").deals


@EVERY_FORMAT
def test_deals_without_results_are_named_and_the_others_go_on(
    store: DealStore, tmp_path: Path, file_format: str
) -> None:
    put_photos(tmp_path / "data", "new", {"a.png": photo_of(True)})
    report = export(store, file_format, tmp_path / "goods")
    assert set(report.deals) == {"lot", "שלום"}
    assert isinstance(report.left_out["new"], NotPromotedError)
    lineage = json.loads((tmp_path / "goods/export.json").read_text())
    assert list(lineage["left_out"]) == ["new"]


def test_damaged_results_leave_out_the_deal(store: DealStore, tmp_path: Path) -> None:
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot
    path = Path(snapshot.path("refinement", "refinement.parquet"))
    second_photo = pq.ParquetFile(path).metadata.row_group(1)
    chunks = [second_photo.column(number) for number in range(second_photo.num_columns)]
    (bits,) = (chunk for chunk in chunks if chunk.path_in_schema == "coarse_mask.bits")
    data = bytearray(path.read_bytes())
    data[bits.data_page_offset + bits.total_compressed_size - 1] ^= 0xFF
    path.write_bytes(data)
    out = tmp_path / "goods.json"
    told = Told()
    report = export(store, "coco", out, images=Images.NONE, told=told)
    assert told.lines[:2] == ["lot: 3 photos", "lot/a.png"]
    assert list(report.deals) == ["שלום"]
    assert "verify" in report.left_out["lot"].message
    assert len(json.loads(out.read_text())["images"]) == 2


def test_masks_of_another_segmentation_leave_out_the_deal(store: DealStore, tmp_path: Path) -> None:
    with store.stage("lot", Mode.FIND_ALL, run_id="other") as staging:
        snapshot = store.current("lot", Mode.FIND_ALL)
        assert snapshot
        for name in ("images.parquet", "detections.parquet"):
            staging.write("segmentation", name, snapshot.read("segmentation", name))
        staging.seal("segmentation", made_from={})
        staging.promote()
    report = export(store, "labelme", tmp_path / "goods")
    assert isinstance(report.left_out["lot"], StaleUpstreamError)


@EVERY_FORMAT
def test_nothing_to_export_leaves_nothing_behind(tmp_path: Path, file_format: str) -> None:
    put_photos(tmp_path / "data", "new", {"a.png": photo_of(True)})
    with pytest.raises(NotPromotedError, match="none of the 1 deals"):
        export(DealStore(tmp_path / "data"), file_format, tmp_path / "out" / "goods")
    assert tree(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("file_format", "out", "images", "field"),
    [
        ("yolo-seg", "goods.json", Images.NONE, "out"),
        ("coco", "goods.json", Images.COPY, "images"),
        ("coco", "data/deals/goods", Images.COPY, "out"),
        ("labelme", "data/deals", Images.COPY, "out"),
    ],
)
def test_a_place_that_does_not_suit_is_refused(
    store: DealStore,
    tmp_path: Path,
    file_format: str,
    out: str,
    images: Images,
    field: str,
) -> None:
    with pytest.raises(ConfigError) as caught:
        export(store, file_format, tmp_path / out, images=images)
    assert caught.value.field == field


@pytest.mark.parametrize("out", [".", "data", "data/deals"])
def test_an_export_never_takes_the_place_of_the_deals(
    store: DealStore, tmp_path: Path, out: str
) -> None:
    (tmp_path / out / EXPORT_FILE).write_text("{}")  # as if it were an export
    with pytest.raises(ConfigError, match="holds the deals") as caught:
        export(store, "coco", tmp_path / out, overwrite=True)
    assert caught.value.field == "out"
    assert store.photos("lot")


@pytest.mark.parametrize(
    ("file_format", "images", "can"),
    [
        ("coco", Images.LINK, False),
        ("labelme", Images.NONE, False),
        ("labelme", Images.COPY, True),
        ("coco", Images.NONE, True),
    ],
)
def test_photos_of_an_object_store_are_copied_and_never_pointed_to(
    store: DealStore, tmp_path: Path, file_format: str, images: Images, can: bool
) -> None:
    remote = DealStore(memory_root())
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            key = path.relative_to(tmp_path / "data").as_posix()
            remote.root.storage().replace(key, path.read_bytes())
    if can:
        assert set(export(remote, file_format, tmp_path / "goods", images=images).deals) == {
            "lot",
            "שלום",
        }
        return
    with pytest.raises(ConfigError, match="only be copied"):
        export(remote, file_format, tmp_path / "goods", images=images)


# Whole or not at all

KILLED = """
import os, signal, sys
from pathlib import Path
from segpipe.flow.export_task import Images
from segpipe.store.store import DealStore
from segpipe_tests.flow.exports import Told, export

class Killed(Told):
    def photo_done(self, deal, file_name):
        super().photo_done(deal, file_name)
        if deal != "lot":
            os.kill(os.getpid(), signal.SIGKILL)

root, out, file_format = sys.argv[1:]
images = Images.NONE if out.endswith(".json") else Images.COPY
export(DealStore(root), file_format, Path(out), images=images, told=Killed())
"""


@pytest.mark.parametrize(
    ("file_format", "name"), [("coco", "goods.json"), ("yolo-seg", "goods"), ("labelme", "goods")]
)
def test_a_killed_export_leaves_nothing_at_its_place(
    store: DealStore, tmp_path: Path, file_format: str, name: str
) -> None:
    out = tmp_path / "out" / name
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "data"), str(out), file_format]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    assert [path.name[:9] for path in out.parent.iterdir()] == [".segpipe-"]
    images = Images.NONE if name.endswith(".json") else Images.COPY
    export(store, file_format, out, images=images)
    assert out.exists()


def test_nothing_is_at_its_place_before_the_end(store: DealStore, tmp_path: Path) -> None:
    seen: list[bool] = []

    class Looking(Told):
        def photo_done(self, deal: str, file_name: str) -> None:
            seen.append((tmp_path / "goods").exists())

    export(store, "labelme", tmp_path / "goods", told=Looking())
    assert seen == [False] * 5

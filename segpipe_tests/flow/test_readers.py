"""Exports are opened by the tools that they are made for, with every photo and every item."""

import asyncio
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
import tifffile
from numpy.typing import NDArray

from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.export_task import Images
from segpipe.flow.import_labels import ImportTask, import_labels
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.deals import make_tools, put_photos
from segpipe_tests.flow.exports import export, tree
from segpipe_tests.goods import DETECTIONS, HEIGHT, WIDTH, FixedSegmenter, goods_image
from segpipe_tests.vision.photos import encode, with_orientation

IMAGE = goods_image(3, width=WIDTH, height=HEIGHT)


def thumbnail_first() -> bytes:
    """A TIFF whose first page is a smaller version of the second."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as pages:
        pages.write(goods_image(1, width=40, height=30), subfiletype=1)
        pages.write(IMAGE, subfiletype=0)
    return file.getvalue()


TURNED = 6  # EXIF: to be turned by a quarter
PHOTOS = {
    "plain.png": encode(IMAGE, "PNG"),
    "turned.jpg": with_orientation(np.rot90(IMAGE).copy(), "JPEG", TURNED),
    "pages.tif": encode(IMAGE, "TIFF"),
    "web.webp": encode(IMAGE, "WEBP"),
    "phone.HEIC": encode(IMAGE, "HEIF"),
    "new.avif": encode(IMAGE, "AVIF"),
    "old.gif": encode(IMAGE, "GIF"),
    "thumb.tif": thumbnail_first(),
    "noext": encode(IMAGE, "PNG"),
}
CONVERTED = ("new.avif", "old.gif", "phone.HEIC", "thumb.tif")
LABELS = ["coin", "ring", "earring", "item"]


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    put_photos(tmp_path / "data", "lot", PHOTOS)
    store = DealStore(tmp_path / "data")
    asyncio.run(process_deal(store, DealTask("lot", "run-1"), make_tools(FixedSegmenter())))
    return store


def boxes() -> NDArray[np.float64]:
    return np.array([each.box for each in DETECTIONS])


def run_tool(program: str, *arguments: object, folder: Path) -> Any:
    """What a program of another tool prints as JSON in its last line."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_supervision_opens_every_photo_of_coco(store: DealStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = export(store, "coco", out)
    assert report.deals["lot"].converted == CONVERTED
    data = supervision.DetectionDataset.from_coco(
        str(out / "images"), str(out / "annotations.json"), force_masks=True
    )
    assert len(data) == len(PHOTOS)
    for path, image, found in data:
        assert image.shape == (HEIGHT, WIDTH, 3), path
        assert found.xyxy == pytest.approx(boxes())
        assert found.mask is not None
        assert found.class_id is not None
        assert found.mask.shape == (len(DETECTIONS), HEIGHT, WIDTH)
        assert [data.classes[number] for number in found.class_id] == LABELS


ULTRALYTICS = """
import importlib.metadata, json, sys

# It looks whether torchvision fits to torch; no part that is used here needs it.
version = importlib.metadata.version
importlib.metadata.version = lambda name: "0.0" if name == "torchvision" else version(name)
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset

data = check_det_dataset(sys.argv[1])
photos = YOLODataset(img_path=data["train"], data=data, task="segment", augment=False, rect=False)
print(json.dumps([
    {
        "file": label["im_file"],
        "shape": photos.load_image(number)[1],
        "labels": [data["names"][int(kind)] for kind in label["cls"].ravel()],
        "boxes": label["bboxes"].tolist(),
        "corners": [len(segment) for segment in label["segments"]],
    }
    for number, label in enumerate(photos.labels)
]))
"""


def test_ultralytics_own_loader_opens_every_photo_of_yolo(store: DealStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(store, "yolo-seg", out)
    photos = run_tool(ULTRALYTICS, out / "data.yaml", folder=tmp_path / "settings")
    assert len(photos) == len(PHOTOS)
    for photo in photos:
        assert photo["shape"] == [HEIGHT, WIDTH], photo["file"]
        assert photo["labels"] == LABELS
        assert min(photo["corners"]) > 3
        x, y, width, height = (np.array(photo["boxes"]) * np.tile([WIDTH, HEIGHT], 2)).T
        found = np.column_stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        assert found == pytest.approx(boxes(), abs=0.3)


LABELME = """
import json, sys
from unittest.mock import MagicMock

# What draws its window, and no file.
for name in ("PyQt5", "imgviz", "imgviz.io", "loguru", "onnxruntime"):
    sys.modules[name] = MagicMock()
from labelme import LabelFile, utils

def read(path):
    label = LabelFile(path)
    width, height = utils.img_data_to_pil(label.image_data).size
    shapes = [
        (each["label"], each["group_id"], utils.shape_to_mask((height, width), each["points"],
         each["shape_type"]).sum().item())
        for each in label.shapes
    ]
    return {"size": (width, height), "shapes": shapes}

print(json.dumps([read(path) for path in sys.argv[1:]]))
"""


@pytest.mark.parametrize("images", [Images.COPY, Images.LINK])
def test_labelmes_own_label_file_opens_every_photo(
    store: DealStore, tmp_path: Path, images: Images
) -> None:
    out = tmp_path / "out"
    export(store, "labelme", out, images=images)
    files = sorted(path for path in (out / "lot").iterdir() if path.suffix == ".json")
    assert len(files) == len(PHOTOS)
    for photo in run_tool(LABELME, *files, folder=tmp_path):
        assert photo["size"] == [WIDTH, HEIGHT]
        shapes = photo["shapes"]
        assert [label for label, _, _ in shapes] == ["coin", "ring", *["earring"] * 3, "item"]
        coin = DETECTIONS[0].mask
        assert coin
        assert shapes[0][2] == pytest.approx(coin.area, rel=0.05)


def test_photos_that_stay_where_they_are_keep_their_names(store: DealStore, tmp_path: Path) -> None:
    report = export(store, "coco", tmp_path / "out.json")
    assert report.deals["lot"].converted == ()
    names = [
        each["file_name"] for each in json.loads((tmp_path / "out.json").read_text())["images"]
    ]
    assert sorted(names) == sorted(f"lot/{name}" for name in PHOTOS)


def test_what_was_converted_is_written_down(store: DealStore, tmp_path: Path) -> None:
    export(store, "yolo-seg", tmp_path / "out")
    lineage = json.loads((tmp_path / "out/export.json").read_text())
    assert lineage["deals"]["lot"]["converted"] == list(CONVERTED)
    assert "images/lot__noext.png" in tree(tmp_path / "out")


@pytest.mark.parametrize("file_format", ["coco", "yolo-seg", "labelme"])
def test_labels_of_photos_that_were_converted_are_those_of_the_originals(
    store: DealStore, tmp_path: Path, file_format: str
) -> None:
    export(store, file_format, tmp_path / "out")
    task = ImportTask(tmp_path / "out", file_format, Mode.INSIDE_BOX, by="ann")
    done = import_labels(store, "lot", task)
    assert (done.photos, done.boxes) == (len(PHOTOS), len(PHOTOS) * len(DETECTIONS))

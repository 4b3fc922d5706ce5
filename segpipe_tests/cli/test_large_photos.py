"""A photo above the usual limit of megapixels, through every command that looks at it."""

import io
import json
from pathlib import Path

from PIL import Image, ImageDraw
from pycocotools import mask

from segpipe_tests.cli.conftest import Cli

SIZE_PX = (11_000, 9200)
ITEM = (3000, 3000, 5000, 4500)


def large_photo() -> bytes:
    """A photo of 101 megapixels, of one item."""
    picture, file = Image.new("RGB", SIZE_PX, (40, 44, 50)), io.BytesIO()
    ImageDraw.Draw(picture).rectangle((3000, 3000, 4999, 4499), fill=(230, 200, 120))
    picture.save(file, "JPEG")
    return file.getvalue()


def labels() -> str:
    """COCO of the item as run lengths, which is all that says where it is."""
    width, height = SIZE_PX
    x1, y1, x2, y2 = ITEM
    column = [y2 - y1, height - (y2 - y1)]
    counts = [x1 * height + y1, *(column * (x2 - x1))]
    counts[-1] = width * height - sum(counts[:-1])
    rle = mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "large.jpg", "width": width, "height": height}],
            "categories": [{"id": 1, "name": "box"}],
            "annotations": [annotation],
        }
    )


def test_one_setting_lets_a_large_photo_through_every_command(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    photo, label_file, config = tmp_path / "large.jpg", tmp_path / "a.json", tmp_path / "run.yaml"
    photo.write_bytes(large_photo())
    label_file.write_text(labels())
    config.write_text("ops: {find_all: {config: {photos: {max_megapixels: 102}}}}")

    assert cli("add", "lot", str(photo)).exit_code == 0
    imported = cli("import-prompts", "lot", str(label_file), "--format", "coco")
    assert "1 box for 1 photo" in imported.stdout, imported.output
    drawn = cli("prompt", "lot", "large.jpg", "--mode", "inside_box", "--box", "9,9,10900,9100")
    assert "10900,9100" in drawn.stdout
    refused = cli("run", "lot")
    assert refused.exit_code == 1
    assert "large.jpg" in refused.stderr
    assert "set max_megapixels to 102" in refused.stderr

    ran = cli("run", "lot", "--config", str(config), "--json")
    assert ran.exit_code == 0, ran.output
    (deal,) = json.loads(ran.stdout)["deals"]
    assert deal["crops"] == 1
    out = tmp_path / "out"
    exported = cli("export", "--format", "coco", "--out", str(out), "--images", "copy")
    assert exported.exit_code == 0, exported.output
    (item,) = json.loads(next(out.rglob("*.json")).read_text())["annotations"]
    assert [round(number, -2) for number in item["bbox"]] == [3000, 3000, 2000, 1500]

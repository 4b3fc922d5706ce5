"""Made ``data/release_0_1.tar.xz``: a data root as release 0.1 of segpipe left it.

It is kept as the record of how. NEVER run it again with a later release, and change nothing in the
archive: what later releases have to read is what release 0.1 wrote.

    python -m segpipe_tests.compatibility.make_release_0_1 TARGET.tar.xz
"""

import base64
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from segpipe_tests.compatibility.doors import (
    SEGMIND_PORT,
    config_file,
    over_segmind,
    over_service,
    segpipe,
    serving,
    succeed,
)
from segpipe_tests.loopback import Loopback, Received, Reply, json_reply

Pixels = npt.NDArray[np.uint8]

_PHOTO_TIME_S = 1_790_000_000  # whole seconds, which every archive keeps
_ROTATED = 6  # EXIF: turn it by 90 degrees, clockwise


def table(width: int = 160, height: int = 120) -> Pixels:
    """An empty dark table."""
    return np.full((height, width, 3), 30, np.uint8)


def goods(*, tint: int = 0) -> Pixels:
    """A block, a disc and a ring, whose hole shows the table."""
    picture = table()
    cv2.rectangle(picture, (8, 12), (39, 51), (220, 210 - tint, 200), -1)
    cv2.circle(picture, (80, 40), 19, (90 + tint, 200, 240), -1)
    cv2.circle(picture, (124, 84), 24, (240, 120, 90 + tint), -1)
    cv2.circle(picture, (124, 84), 10, (30, 30, 30), -1)
    return picture


def likes() -> Pixels:
    """Two red and two blue blocks."""
    picture = table()
    for x, colour in ((10, (230, 60, 50)), (50, (50, 90, 235)), (90, (230, 60, 50))):
        cv2.rectangle(picture, (x, 20), (x + 25, 55), colour, -1)
    cv2.rectangle(picture, (90, 75), (115, 110), (50, 90, 235), -1)
    return picture


def save(path: Path, picture: Pixels, *, rotated: bool = False) -> Path:
    """Write a photo; a rotated one lies on its side and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture)
    if rotated:
        exif = Image.Exif()
        exif[274] = _ROTATED
        image.transpose(Image.Transpose.ROTATE_90).save(path, quality=92, exif=exif)
    else:
        image.save(path)
    return path


def segmind(received: Received) -> Reply:
    """Answer with what is bright, and with each item once more, a little off and less sure."""
    sent = np.frombuffer(base64.b64decode(received.json()["image"]), np.uint8)
    photo = cv2.imdecode(sent, cv2.IMREAD_COLOR)
    assert photo is not None
    count, labels = cv2.connectedComponents((photo.max(axis=2) > 120).astype(np.uint8))
    found = []
    label = received.json().get("text_prompt", "item")
    for number in range(1, count):
        mask = np.where(labels == number, 255, 0).astype(np.uint8)
        off = np.roll(mask, 2, axis=1)
        found += [
            {"label": label, "score": 0.9 - 0.01 * number, "mask": _png(mask)},
            {"label": label, "score": 0.6, "mask": _png(off)},
        ]
    return json_reply(
        {"detections": found}, headers={"x-cost": "0.25", "x-remaining-credits": "12.5"}
    )


def _png(mask: Pixels) -> str:
    is_done, data = cv2.imencode(".png", mask)
    assert is_done
    return base64.b64encode(data.tobytes()).decode()


def add(root: Path, deal: str, *photos: Path) -> None:
    """Add photos to a deal, and give the copies a time in whole seconds."""
    succeed(root, "add", deal, *map(str, photos))
    for copy in (root / "deals" / deal / "images").iterdir():
        os.utime(copy, (_PHOTO_TIME_S, _PHOTO_TIME_S))


def draw(root: Path, deal: str, image: str, *options: str) -> None:
    """Draw prompts."""
    succeed(root, "prompt", deal, image, "--by", "zoë", *options)


def make_lot(root: Path, camera: Path) -> None:
    """The defaults alone, both modes, two generations: the first had other crops."""
    add(
        root,
        "lot",
        save(camera / "a.png", likes()),
        save(camera / "b.jpg", goods(), rotated=True),
        save(camera / "empty.png", table()),
    )
    draw(root, "lot", "a.png", "--box", "10,20,36,56")
    draw(root, "lot", "a.png", "--box", "50,20,76,56", "--negative")
    draw(root, "lot", "b", "--mode", "inside_box", "--box", "4,8,44,56.5")
    draw(root, "lot", "b", "--mode", "inside_box", "--box", "95,55,155,112")
    draw(root, "lot", "empty", "--mode", "inside_box", "--box", "10,10,60,60")
    other = {"find_all": {"config": {"crops": {"format": "JPG", "padding_px": 3}}}}
    succeed(root, "run", "lot", "--config", config_file(camera, ops=other))
    succeed(root, "run", "lot")
    succeed(root, "run", "lot", "--mode", "inside_box")


def make_paid(root: Path, camera: Path) -> None:
    """Segmind: a ledger, answers by text, example, box and points; doubles; a call that broke."""
    add(
        root,
        "paid",
        save(camera / "p1.png", goods(tint=30)),
        save(camera / "p2.png", likes()),
        save(camera / "p3.png", goods(tint=60)),
    )
    draw(root, "paid", "p1.png", "--text", "Ring aus Gold")
    draw(root, "paid", "p3.png", "--box", "8,12,40,52")
    box = ("--mode", "inside_box", "--box")
    draw(root, "paid", "p3.png", *box, "8,12,40,52", *box, "95,55,155,112", "--point", "20.5,30.25")
    draw(root, "paid", "p3.png", "--mode", "inside_box", "--point", "124,84", "--negative")
    with Loopback(segmind, port=SEGMIND_PORT):
        config = config_file(camera, **over_segmind())
        succeed(root, "run", "paid", "--config", config)
        succeed(root, "run", "paid", "--mode", "inside_box", "--config", config)
    add(root, "broke", save(camera / "p9.png", likes()[:, :90]))
    with Loopback(Reply(502, b"bad gateway", "text/plain"), port=SEGMIND_PORT):
        config = config_file(camera, **over_segmind())
        assert segpipe(root, "run", "broke", "--config", config).exit_code == 1


def make_served(root: Path, camera: Path) -> None:
    """A service with the classical model: answers by example, by points, by nothing, by box."""
    add(
        root,
        "served",
        save(camera / "s1.png", likes()),
        save(camera / "s2.png", goods(tint=90)),
        save(camera / "s3.png", table()),
    )
    draw(root, "served", "s1", "--box", "10,20,36,56")
    draw(root, "served", "s1", "--box", "50,20,76,56", "--negative")
    draw(root, "served", "s2", "--point", "80,40", "--point", "24,30.5")
    draw(root, "served", "s2", "--mode", "inside_box", "--box", "58,18,102,62")
    with serving() as client:
        config = config_file(camera, **over_service(str(client.base_url)))
        succeed(root, "run", "served", "--config", config)
        succeed(root, "run", "served", "--mode", "inside_box", "--config", config)


def make_bad(root: Path, camera: Path) -> None:
    """A deal with a text for all photos, that failed since one is none."""
    broken = camera / "notes.jpg"
    broken.write_text("no photo")
    add(root, "bad", broken)
    succeed(root, "prompt", "bad", "--text", "bracelet")
    assert segpipe(root, "run", "bad").exit_code == 1


def make(target: Path) -> None:
    """Make the data root, and pack it without Dagster's own files."""
    with tempfile.TemporaryDirectory() as name:
        root, camera = Path(name) / "data", Path(name) / "camera"
        make_lot(root, camera)
        make_paid(root, camera)
        make_served(root, camera)
        make_bad(root, camera)
        half = root / "deals/lot/runs/killed.0/find_all/crops/crops.parquet"
        half.parent.mkdir(parents=True)
        half.write_bytes(b"PAR1 half of one")
        for path in root.iterdir():
            if path.name not in {"deals", "cache", "ledger"}:
                shutil.rmtree(path)
        with tarfile.open(target, "w:xz") as archive:
            for path in [root, *sorted(root.rglob("*"))]:
                archive.add(path, str(path.relative_to(name)), recursive=False, filter=_nobodys)


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    make(Path(sys.argv[1]))

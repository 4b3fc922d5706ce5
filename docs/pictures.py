"""Draws the pictures of the documentation from the sample deals: ``python -m docs.pictures``.

It uses what every user has: the command line, the files of a deal and the COCO export. A changed
result changes the pictures; look at them before you commit them.
"""

import colorsys
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFont

FOLDER = Path(__file__).parent / "pictures"
MAX_BYTES = 200_000

Polygon = Sequence[float]
"""The corners of one part of an item: x, y, x, y …, pixels of the photo."""
Box = tuple[float, float, float, float]
"""The corners x1, y1, x2, y2, pixels of the photo."""

PANEL_HEIGHT = 440
GAP = 20
RADIUS = 18
SUPERSAMPLING = 3
GOLDEN_RATIO = 0.618034
CAPTION = (122, 128, 140)
CAPTION_HEIGHT = 44
LIGHT, DARK = (255, 255, 255), (226, 228, 233)
BOX_COLOUR = (255, 196, 0)


@dataclass(frozen=True)
class Result:
    """What a run made of one photo."""

    photo: Image.Image
    items: list[list[Polygon]]
    cut_outs: list[Image.Image]


class Samples:
    """The sample deals in a data root of their own, run through both modes."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "data"
        self._folder = folder
        self._segpipe("samples")
        for mode in ("find_all", "inside_box"):
            self._segpipe("run", "--mode", mode)

    def result(self, deal: str, image: str, mode: str) -> Result:
        """What is current of a photo: its items come from the COCO export."""
        out = self._folder / f"{deal}-{mode}"
        if not out.exists():
            self._segpipe(
                *("export", "--format", "coco", "--masks", "polygons", "--mode", mode),
                *("--deals", deal, "--out", str(out)),
            )
        (labels,) = (path for path in out.glob("*.json") if path.name != "export.json")
        coco = json.loads(labels.read_text(encoding="utf-8"))
        (photo,) = (row for row in coco["images"] if Path(row["file_name"]).stem == image)
        rows = [row for row in coco["annotations"] if row["image_id"] == photo["id"]]
        (folder,) = self._root.glob(f"deals/{deal}/runs/*/{mode}/crops/crops/{image}")
        cut_outs = sorted(folder.glob("*.png"), key=lambda path: path.name)
        (source,) = self._root.glob(f"deals/{deal}/images/{image}.*")
        return Result(
            photo=Image.open(source).convert("RGB"),
            items=[row["segmentation"] for row in rows if isinstance(row["segmentation"], list)],
            cut_outs=[Image.open(path).convert("RGBA") for path in cut_outs],
        )

    def masks(self, deal: str, image: str, mode: str) -> list[Image.Image]:
        """The masks of a photo, each of the whole photo."""
        out = self._folder / f"{deal}-{mode}-masks"
        if not out.exists():
            self._segpipe(
                *("export", "--format", "masks", "--mode", mode, "--deals", deal),
                *("--file-names", "{image}_{n:04}", "--out", str(out)),
            )
        return [Image.open(path) for path in sorted(out.glob(f"{deal}/{image}_*.png"))]

    def contact_sheet(self, deal: str, mode: str) -> Image.Image:
        """The contact sheet that the run made."""
        (path,) = self._root.glob(f"deals/{deal}/runs/*/{mode}/deal_report/contact_sheet.jpg")
        return Image.open(path).convert("RGB")

    def erased(self, deal: str, image: str, items: Iterable[int]) -> Image.Image:
        """A photo without some of its items."""
        out = self._folder / "erased.png"
        named = [part for item in items for part in ("--item", f"{deal}/{image}/{item}")]
        self._segpipe("erase", *named, "--out", str(out), "--overwrite")
        return Image.open(out).convert("RGB")

    def boxes(self, deal: str, image: str) -> list[Box]:
        """What is drawn on a photo for ``inside_box``."""
        path = self._root / "deals" / deal / "prompts" / f"{image}.json"
        rows = json.loads(path.read_text(encoding="utf-8"))["annotations"]
        drawn = [row["box"] for row in rows if row["mode"] == "inside_box" and row.get("box")]
        return [(x1, y1, x2, y2) for x1, y1, x2, y2 in drawn]

    def _segpipe(self, *arguments: str) -> None:
        program = "from segpipe.cli.app import main; main()"
        subprocess.run(
            [sys.executable, "-c", program, *arguments, "--root", str(self._root)],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
        )


def colour(number: int) -> tuple[int, int, int]:
    """A strong colour of an item, far from that of its neighbours."""
    red, green, blue = colorsys.hsv_to_rgb((0.58 + number * GOLDEN_RATIO) % 1, 0.78, 0.98)
    return round(255 * red), round(255 * green), round(255 * blue)


def overlay(photo: Image.Image, items: Iterable[list[Polygon]], scale: float) -> Image.Image:
    """The photo with its items tinted and outlined, enlarged by ``scale``."""
    fine = scale * SUPERSAMPLING
    size = (round(photo.width * fine), round(photo.height * fine))
    tint = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(tint)
    for number, polygons in enumerate(items):
        for polygon in polygons:
            corners = [value * fine for value in polygon]
            draw.polygon(corners, fill=(*colour(number), 110))
            draw.line([*corners, *corners[:4]], fill=(*colour(number), 255), width=8, joint="curve")
    shown = _enlarged(photo, scale).convert("RGBA")
    shown.alpha_composite(tint.resize(shown.size, Image.Resampling.LANCZOS))
    return shown


def with_boxes(photo: Image.Image, boxes: Iterable[Box], scale: float) -> Image.Image:
    """The photo with boxes drawn on it, enlarged by ``scale``."""
    shown = _enlarged(photo, scale).convert("RGBA")
    draw = ImageDraw.Draw(shown)
    for box in boxes:
        x1, y1, x2, y2 = (value * scale for value in box)
        draw.rounded_rectangle((x1, y1, x2, y2), radius=5, outline=BOX_COLOUR, width=4)
    return shown


def checkerboard(width: int, height: int, square: int = 14) -> Image.Image:
    """The pattern that stands for transparency."""
    board = Image.new("RGBA", (width, height), (*LIGHT, 255))
    draw = ImageDraw.Draw(board)
    for row in range(0, height, square):
        for column in range(row // square % 2 * square, width, 2 * square):
            draw.rectangle((column, row, column + square - 1, row + square - 1), fill=DARK)
    return board


def cut_out_grid(
    cut_outs: Sequence[Image.Image], size: tuple[int, int], columns: int
) -> Image.Image:
    """Cut-outs in rows, on a checkerboard."""
    board = checkerboard(*size)
    rows = -(-len(cut_outs) // columns)
    cell = (size[0] / columns, size[1] / rows)
    for number, cut_out in enumerate(cut_outs):
        room = 0.86 * min(cell[0] / cut_out.width, cell[1] / cut_out.height)
        shown = _enlarged(cut_out, room)
        left = round((number % columns + 0.5) * cell[0] - shown.width / 2)
        top = round((number // columns + 0.5) * cell[1] - shown.height / 2)
        board.alpha_composite(shown, (left, top))
    return board


def strip(panels: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Panels of one height beside each other, with round corners and a caption below each."""
    width = sum(panel.width for _, panel in panels) + GAP * (len(panels) - 1)
    whole = Image.new("RGBA", (width, panels[0][1].height + CAPTION_HEIGHT), (0, 0, 0, 0))
    left = 0
    for caption, panel in panels:
        whole.paste(_captioned(_rounded(panel.convert("RGBA")), caption), (left, 0))
        left += panel.width + GAP
    return whole


def rows(strips: Sequence[Image.Image]) -> Image.Image:
    """Strips under each other."""
    height = sum(part.height for part in strips) + GAP * (len(strips) - 1)
    whole = Image.new("RGBA", (max(part.width for part in strips), height), (0, 0, 0, 0))
    top = 0
    for part in strips:
        whole.alpha_composite(part, (0, top))
        top += part.height + GAP
    return whole


def find_all(samples: Samples) -> Image.Image:
    """One photo of many items: photo, masks, cut-outs."""
    result = samples.result("sample-coins", "coins", "find_all")
    scale = PANEL_HEIGHT / result.photo.height
    photo = _enlarged(result.photo, scale)
    return strip(
        [
            ("photo", photo),
            (f"{len(result.items)} masks", overlay(result.photo, result.items, scale)),
            (f"{len(result.cut_outs)} cut-outs", cut_out_grid(result.cut_outs, photo.size, 6)),
        ]
    )


def inside_box(samples: Samples) -> Image.Image:
    """A drawn box on each of two photos: box, mask, cut-out."""
    strips = []
    for deal, image in (("sample-cup", "coffee"), ("sample-goods", "goods_a")):
        result = samples.result(deal, image, "inside_box")
        size = (495, 330)
        scale = max(size[0] / result.photo.width, size[1] / result.photo.height)
        shown = with_boxes(result.photo, samples.boxes(deal, image), scale)
        strips.append(
            strip(
                [
                    ("box", _middle(shown, *size)),
                    ("mask", _middle(overlay(result.photo, result.items, scale), *size)),
                    ("cut-out", cut_out_grid(result.cut_outs, size, len(result.cut_outs))),
                ]
            )
        )
    return rows(strips)


def erased(samples: Samples) -> Image.Image:
    """One photo before and after: every second item is erased."""
    result = samples.result("sample-coins", "coins", "find_all")
    gone = range(0, len(result.items), 2)
    scale = PANEL_HEIGHT / result.photo.height
    masks = [result.items[number] for number in gone]
    clean = samples.erased("sample-coins", "coins", gone)
    return strip(
        [
            ("photo", _enlarged(result.photo, scale)),
            (f"{len(masks)} items to erase", overlay(result.photo, masks, scale)),
            ("erased", _enlarged(clean, scale)),
        ]
    )


def draw_all(folder: Path = FOLDER) -> list[Path]:
    """Draw every picture into a folder, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        samples = Samples(Path(temporary))
        pictures = {
            "find_all": find_all(samples),
            "inside_box": inside_box(samples),
            "erased": erased(samples),
            "contact_sheet": _rounded(
                samples.contact_sheet("sample-goods", "find_all").convert("RGBA")
            ),
        }
    return save_all(pictures, folder)


def save_all(pictures: Mapping[str, Image.Image], folder: Path = FOLDER) -> list[Path]:
    """Save pictures by their names, and give their paths."""
    paths = []
    for name, picture in pictures.items():
        path = folder / f"{name}.webp"
        picture.save(path, quality=84, method=6)
        if path.stat().st_size > MAX_BYTES:
            raise SystemExit(f"{path} has more than {MAX_BYTES} bytes: make it smaller")
        paths.append(path)
    return paths


def _enlarged(picture: Image.Image, scale: float) -> Image.Image:
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _middle(picture: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _captioned(panel: Image.Image, caption: str) -> Image.Image:
    """The panel with its caption below, in a grey that is read on white and on black."""
    whole = Image.new("RGBA", (panel.width, panel.height + CAPTION_HEIGHT), (*CAPTION, 0))
    whole.paste(panel, (0, 0))
    draw = ImageDraw.Draw(whole)
    middle = (panel.width / 2, panel.height + CAPTION_HEIGHT / 2)
    draw.text(middle, caption, font=ImageFont.load_default(24), fill=(*CAPTION, 255), anchor="mm")
    return whole


def _rounded(panel: Image.Image) -> Image.Image:
    fine = (panel.width * SUPERSAMPLING, panel.height * SUPERSAMPLING)
    shape = Image.new("L", fine, 0)
    ImageDraw.Draw(shape).rounded_rectangle(
        (0, 0, fine[0] - 1, fine[1] - 1), radius=RADIUS * SUPERSAMPLING, fill=255
    )
    corners = shape.resize(panel.size, Image.Resampling.LANCZOS)
    panel.putalpha(ImageChops.multiply(panel.getchannel("A"), corners))
    return panel


if __name__ == "__main__":
    for drawn in draw_all():
        sys.stdout.write(f"{drawn}\n")

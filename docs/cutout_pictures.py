"""Draws the pictures of the page on cut-outs: ``python -m docs.cutout_pictures``.

The thing with hair is made by arithmetic; the others show what is found in the sample deals.
"""

import io
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from docs.pictures import FOLDER, Samples, checkerboard, rows, save_all, strip
from segpipe.vision.boxes import Box
from segpipe.vision.crop import Crop, CropEdge, CropFormat, crop_item, encode_crop
from segpipe.vision.crop_canvas import background_colour, fit_to_canvas
from segpipe.vision.mask import Mask
from segpipe_tests.vision.composites import HAIRY, make_composite

Picture = Image.Image

HEIGHT = 300
ZOOM = 4
LIGHT, DARK = "#ffffff", "#1c2340"
SEED = 6
"""Of a thing whose colour is far from its table's."""
CANVASES = ((300, 300, "transparent"), (225, 300, "white"), (400, 300, "#f3c969"))
_BY_MASK = Box(0, 0, 1, 1)  # the mask alone says what is cut


def edges() -> Picture:
    """A thing with hair, cut in three ways and laid on a light and on a dark page."""
    made = make_composite(SEED, strands=HAIRY, blur_px=0.7)
    part = np.s_[20 : 20 + HEIGHT // ZOOM, 66 : 66 + HEIGHT // ZOOM]
    photo = _zoomed(Image.fromarray(made.photo[part]))
    columns = [("photo", [photo, photo])]
    for caption, edge, decontaminate in (
        ("edge: hard", CropEdge.HARD, False),
        ("edge: soft", CropEdge.SOFT, False),
        ("soft, decontaminate", CropEdge.SOFT, True),
    ):
        crop = crop_item(
            made.photo,
            _BY_MASK,
            Mask.from_full(made.mask),
            padding_px=max(made.photo.shape),
            edge=edge,
            decontaminate=decontaminate,
        )
        shown = Image.fromarray(crop.pixels[part])
        laid = [_zoomed(_on(shown, page)) for page in (LIGHT, DARK)]
        columns.append((caption, laid))
    return rows([strip([(caption, panels[row]) for caption, panels in columns]) for row in (0, 1)])


def canvases(samples: Samples) -> Picture:
    """A cup as it is cut, and on canvases."""
    crop = _soft(samples, "sample-cup", "coffee", "inside_box")
    panels = [("without a canvas", _checked(Image.fromarray(crop.pixels)))]
    for width, height, background in CANVASES:
        fitted = fit_to_canvas(
            crop.pixels,
            width=width,
            height=height,
            margin_percent=8,
            background=background_colour(background),
        )
        caption = f"{width} x {height}, {background}"
        panels.append((caption, _checked(Image.fromarray(fitted))))
    return strip(panels)


def formats(samples: Samples) -> Picture:
    """A cup in each file format, and how large the file is."""
    crop = _soft(samples, "sample-cup", "coffee", "inside_box")
    fitted = fit_to_canvas(crop.pixels, width=HEIGHT, height=HEIGHT, margin_percent=5)
    panels = []
    for file_format in CropFormat:
        data = encode_crop(replace(crop, pixels=fitted), file_format)
        shown = Image.open(io.BytesIO(data))
        panels.append((f"{file_format}: {len(data) / 1000:.0f} kB", _checked(shown)))
    return strip(panels)


def masks(samples: Samples) -> Picture:
    """A photo, the mask of one item as a file of the photo, and those of its boxes."""
    photo = samples.result("sample-coins", "coins", "find_all").photo
    found = samples.masks("sample-coins", "coins", "find_all")
    size = (round(photo.width * HEIGHT / photo.height), HEIGHT)
    boxes = Image.new("RGB", (360, HEIGHT), (122, 128, 140))
    for number, mask in enumerate(found[:6]):
        tight = mask.crop(mask.getbbox())
        tight = tight.resize((2 * tight.width, 2 * tight.height), Image.Resampling.NEAREST)
        column, row = number % 3, number // 3
        left = column * 120 + (120 - tight.width) // 2
        boxes.paste(tight, (left, row * 150 + (150 - tight.height) // 2))
    return strip(
        [
            ("photo", photo.resize(size)),
            ("mask_area: photo", found[8].resize(size)),
            ("mask_area: box", boxes),
        ]
    )


def _soft(samples: Samples, deal: str, image: str, mode: str) -> Crop:
    photo = samples.result(deal, image, mode).photo
    mask = Mask.from_full(np.asarray(samples.masks(deal, image, mode)[0]))
    rgb = np.asarray(photo, np.uint8)
    return crop_item(rgb, _BY_MASK, mask, edge=CropEdge.SOFT, decontaminate=True)


def _zoomed(picture: Picture) -> Picture:
    size = (picture.width * ZOOM, picture.height * ZOOM)
    return picture.convert("RGBA").resize(size, Image.Resampling.NEAREST)


def _on(picture: Picture, colour: str) -> Picture:
    page = Image.new("RGBA", picture.size, colour)
    page.alpha_composite(picture)
    return page


def _checked(picture: Picture) -> Picture:
    """On a checkerboard, as high as a panel."""
    scale = HEIGHT / picture.height
    shown = picture.convert("RGBA").resize((round(picture.width * scale), HEIGHT))
    board = checkerboard(*shown.size)
    board.alpha_composite(shown)
    return board


def draw_all(folder: Path = FOLDER) -> list[Path]:
    """Draw every picture into a folder, and give their paths."""
    with tempfile.TemporaryDirectory() as temporary:
        samples = Samples(Path(temporary))
        pictures = {
            "cutout_edges": edges(),
            "cutout_canvases": canvases(samples),
            "cutout_formats": formats(samples),
            "cutout_masks": masks(samples),
        }
    return save_all(pictures, folder)


if __name__ == "__main__":
    for drawn in draw_all():
        sys.stdout.write(f"{drawn}\n")

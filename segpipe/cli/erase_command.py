"""Take something out of a photo."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from segpipe.cli.console import print_json, say
from segpipe.cli.options import (
    BOX_NUMBERS,
    POINT_NUMBERS,
    ROOT,
    Json,
    ModeOption,
    Root,
    existing,
    numbers_of,
)
from segpipe.cli.outcomes import Erased
from segpipe.digests import bytes_digest
from segpipe.errors import ConfigError, InputError
from segpipe.flow.erase_photo import EraseConfig, Step, failing_at, fill_mask, mask_to_erase
from segpipe.flow.one_photo import read_picture
from segpipe.flow.photo import PhotoInfo
from segpipe.flow.results import DealResults
from segpipe.flow.settings_file import read_settings_file
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.review import REVIEW
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage_registry import AnyStage
from segpipe.formats.destination import new_file
from segpipe.inpainters.build_inpainter import build_inpainter
from segpipe.inpainters.inpainter import Wish
from segpipe.prompt import Mode, Point
from segpipe.segmenters.build_segmenter import build_segmenter
from segpipe.segmenters.kept_data import KeptData
from segpipe.segmenters.local_data import LocalData
from segpipe.store.data_root import DataRoot
from segpipe.store.shared_data import kept_data
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_jpeg, encode_png, encode_webp
from segpipe.vision.holes import hole_of_picture, union_of
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask

_HEX_DIGITS = 6
_QUALITY = 95
_ITEM_PARTS = 3
_ENCODERS: dict[str, Callable[[RgbImage], bytes]] = {
    ".png": encode_png,
    ".jpg": lambda rgb: encode_jpeg(rgb, quality=_QUALITY),
    ".jpeg": lambda rgb: encode_jpeg(rgb, quality=_QUALITY),
    ".webp": lambda rgb: encode_webp(rgb, quality=_QUALITY),
}


def erase(
    photo: Annotated[
        Path | None,
        typer.Argument(help="The photo; with --item it may be left out.", dir_okay=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The new picture: .png, .jpg or .webp.", show_default=False),
    ] = None,
    root: Root = ROOT,
    points: Annotated[
        list[str] | None,
        typer.Option(help="x,y on the item that goes, pixels of the upright photo; repeatable."),
    ] = None,
    off: Annotated[
        list[str] | None, typer.Option(help="x,y beside it, with --points; repeatable.")
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option(help="x1,y1,x2,y2 around an item that goes; repeatable.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="What goes, in words.")] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="A picture of the photo's size: white goes.", dir_okay=False),
    ] = None,
    item: Annotated[
        list[str] | None,
        typer.Option(help="DEAL/IMAGE/N: an item that a run found; repeatable, of one photo."),
    ] = None,
    mode: ModeOption = Mode.FIND_ALL,
    prompt: Annotated[
        str | None, typer.Option(help="What is to be there instead, for inpainters that read.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="How closely that is followed.", min=0, max=50)
    ] = None,
    dilate_px: Annotated[
        int | None, typer.Option(help="Pixels around it that go too.", min=0, max=500)
    ] = None,
    feather_px: Annotated[
        int | None, typer.Option(help="Width of the rim that fades over.", min=0, max=100)
    ] = None,
    keep_mask: Annotated[
        bool, typer.Option("--keep-mask", help="Write the mask beside the new picture.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the picture that --out names.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="A YAML file: segmenter, inpainter, erase.", dir_okay=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take something out of a photo: ask for its mask, fill the hole, write a new picture."""
    settings = read_settings_file(config, EraseConfig) if config else EraseConfig()
    given = {"dilate_px": dilate_px, "feather_px": feather_px}
    how = settings.erase.model_copy(update={k: v for k, v in given.items() if v is not None})
    place = _place(out, photo)
    _require_one_form(points, box, text, mask, item)
    if off and not points:
        raise ConfigError("it stands beside --points, and nowhere else", field="--off")
    items = [_parsed_item(each) for each in item or ()]
    source = photo or _photo_of(DealStore(root), items)
    rgb = read_picture(source).rgb
    of_items = _Items(DealStore(root), mode, items, source)
    marks = [_point(each, is_positive=True) for each in points or ()]
    marks += [_point(each, is_positive=False) for each in off or ()]

    async def work() -> tuple[Bitmap, RgbImage]:
        segmenter = build_segmenter(settings.segmenter, _data(settings, root))
        try:
            hole = _given_mask(mask, of_items, rgb)
            if hole is None:
                boxes = [Box(*numbers_of(each, BOX_NUMBERS, "--box")) for each in box or ()]
                texts = [text] if text else []
                hole = await mask_to_erase(rgb, segmenter, points=marks, boxes=boxes, texts=texts)
            inpainter = build_inpainter(settings.inpainter)
            return hole, await fill_mask(rgb, hole, inpainter, how, Wish(prompt, guidance))
        finally:
            await segmenter.aclose()

    with new_file(place, overwrite=overwrite) as file:
        hole, clean = asyncio.run(work())
        file.write(_ENCODERS[place.suffix.lower()](clean))
    kept = _write_mask(place, hole) if keep_mask else None
    erased = int(np.count_nonzero(hole))
    if as_json:
        print_json(Erased(str(place), str(kept) if kept else None, erased))
        return
    say(f"{place}: {erased:,} pixels erased")
    if kept:
        say(f"{kept}: their mask")


def _data(settings: EraseConfig, root: str) -> KeptData:
    """Where answers and accounts are kept: beside the deals, unless settings name a folder."""
    if "data_folder" in settings.model_fields_set:
        return LocalData(Path(settings.data_folder))
    return kept_data(DataRoot.parse(root))


def _place(out: Path | None, photo: Path | None) -> Path:
    """Where the new picture goes: never over the photo."""
    if out is None:
        raise ConfigError("say where the new picture goes: --out clean.png", field="--out")
    if out.suffix.lower() not in _ENCODERS:
        raise ConfigError(
            f"{out} must end in {', '.join(_ENCODERS)}; png keeps every other pixel as it is",
            field="--out",
        )
    if photo and out.exists() and photo.exists() and out.samefile(photo):
        raise ConfigError(f"{out} is the photo itself: choose another name", field="--out")
    return out


def _require_one_form(*forms: object) -> None:
    if sum(map(bool, forms)) != 1:
        raise ConfigError(
            "say what goes by exactly one of --points, --box, --text, --mask and --item",
            field="--points",
        )


def _point(value: str, *, is_positive: bool) -> Point:
    x, y = numbers_of(value, POINT_NUMBERS, "--points" if is_positive else "--off")
    return Point(x, y, is_positive)


def _parsed_item(value: str) -> tuple[str, str, int]:
    parts = value.split("/")
    if len(parts) != _ITEM_PARTS or not parts[2].isdecimal():
        raise ConfigError(
            f"{value!r} is not DEAL/IMAGE/N, such as spring-lot/a/3; 'segpipe show' has the images",
            field="--item",
        )
    return parts[0], parts[1], int(parts[2])


def _photo_of(store: DealStore, items: Sequence[tuple[str, str, int]]) -> bytes:
    """The bytes of the deal's photo that the items are of."""
    if not items:
        raise ConfigError("name the photo", field="PHOTO")
    deal, image, _ = items[0]
    if any(each[:2] != (deal, image) for each in items):
        raise ConfigError("the items must be of one photo", field="--item")
    deal = existing(store, deal)
    for one in store.photos(deal):
        if one.image == image:
            return store.read_photo(deal, one)
    raise InputError(f"the deal has no photo {image!r}", field="--item", deal=deal)


@dataclass(frozen=True, slots=True)
class _Items:
    """The items that go, and the photo that they are to be erased from.

    Attributes:
        store: Where their deals live.
        mode: The mode that found them.
        named: Of each the deal, the image and its number.
        source: The photo's file, or the bytes of the deal's own.
    """

    store: DealStore
    mode: Mode
    named: Sequence[tuple[str, str, int]]
    source: Path | bytes

    def masks(self) -> list[Mask]:
        """Their masks.

        Raises:
            DealNotFoundError: There is no such deal.
            InputError: There is no such item, or it was found in another photo.
        """
        return [self._mask_of(*each) for each in self.named]

    def _mask_of(self, deal: str, image: str, number: int) -> Mask:
        deal = existing(self.store, deal)
        stages: list[AnyStage] = [SEGMENTATION, REFINEMENT, REVIEW]
        with DealResults.current(self.store, deal, self.mode, stages) as results:
            for photo in results:
                if photo.photo.image != image:
                    continue
                self._require_same(deal, photo.photo)
                for found in photo.of(REVIEW).found:
                    if found.detection == number:
                        size = photo.photo.width, photo.photo.height
                        return found.mask or Mask.from_box(
                            found.box, image_width=size[0], image_height=size[1]
                        )
        raise InputError(
            f"there is no item {number} in photo {image!r}: its crops are named after their "
            "numbers",
            field="--item",
            deal=deal,
        )

    def _require_same(self, deal: str, photo: PhotoInfo) -> None:
        if isinstance(self.source, bytes):
            data = self.source
            said = f"{photo.file_name} changed since the item was found: run the deal again"
        else:
            data = self.source.read_bytes()
            said = (
                f"{self.source} is not {photo.file_name}, the photo in which the item was found: "
                "name that one, or leave the photo out"
            )
        if bytes_digest(data) != photo.digest:
            raise InputError(said, field="PHOTO", deal=deal)


def _given_mask(mask: Path | None, items: _Items, rgb: RgbImage) -> Bitmap | None:
    """What goes, where nobody has to be asked."""
    height, width = rgb.shape[:2]
    with failing_at(Step.MASK):
        if items.named:
            return union_of(items.masks(), image_width=width, image_height=height)
        if mask is None:
            return None
        return hole_of_picture(read_picture(mask).rgb)


def _write_mask(place: Path, hole: Bitmap) -> Path:
    """The mask beside the picture, named after what is in it."""
    data = encode_png(hole[..., None] * 255)
    name = hashlib.sha256(data).hexdigest()[:_HEX_DIGITS]
    kept = place.with_name(f"{place.stem}_mask_{name}.png")
    with new_file(kept, overwrite=True) as file:
        file.write(data)
    return kept

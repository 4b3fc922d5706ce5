"""Pictures at addresses that browsers may keep for ever."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from segpipe.prompt import Mode
from segpipe.studio.pictures import Picture, Region
from segpipe.studio.studio_state import Serving

router = APIRouter(prefix="/pictures", include_in_schema=False)

_FOREVER = "private, max-age=31536000, immutable"
_MAX_SIDE_PX = 1_000_000
Pixel = Annotated[int, Path(ge=0, le=_MAX_SIDE_PX)]
Length = Annotated[int, Path(ge=1, le=_MAX_SIDE_PX)]


@router.get("/photos/{deal}/{image}/{tag}/{side}")
async def show_photo(studio: Serving, deal: str, image: str, tag: str, side: Pixel) -> Response:
    """A photo with its longest side reduced; 0: as it is."""
    return _answer(await studio.pictures.photo(deal, image, tag, side))


@router.get("/photos/{deal}/{image}/{tag}/{x},{y},{width},{height}/{side}")
async def show_region(
    studio: Serving,
    deal: str,
    image: str,
    tag: str,
    x: Pixel,
    y: Pixel,
    width: Length,
    height: Length,
    side: Pixel,
) -> Response:
    """A region of a photo."""
    region = Region(x, y, width, height)
    return _answer(await studio.pictures.photo(deal, image, tag, side, region))


@router.get("/crops/{deal}/{mode}/{generation}/{image}/{detection}/{side}")
async def show_crop(
    studio: Serving,
    deal: str,
    mode: Mode,
    generation: Length,
    image: str,
    detection: Pixel,
    side: Pixel,
) -> Response:
    """A cut-out of a generation."""
    crop = await studio.pictures.crop(deal, mode, generation, image, detection, side)
    return _answer(crop)


@router.get("/previews/{deal}/{mode}/{generation}/{image}/{side}")
async def show_preview(
    studio: Serving, deal: str, mode: Mode, generation: Length, image: str, side: Pixel
) -> Response:
    """A photo of a generation with what was found drawn in."""
    return _answer(await studio.pictures.preview(deal, mode, generation, image, side))


@router.get("/sheets/{deal}/{mode}/{generation}/{side}")
async def show_sheet(
    studio: Serving, deal: str, mode: Mode, generation: Length, side: Pixel
) -> Response:
    """The contact sheet of a generation."""
    return _answer(await studio.pictures.contact_sheet(deal, mode, generation, side))


def _answer(picture: Picture) -> Response:
    return Response(
        picture.data, media_type=picture.media_type, headers={"Cache-Control": _FOREVER}
    )

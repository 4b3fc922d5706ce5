"""What the segmenter would answer about a photo, and three readings of some points."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from segpipe.flow.saved_settings import Saved
from segpipe.prompt import Mode, Point
from segpipe.store.store import Photo
from segpipe.studio.photo_facts import FoundOutline
from segpipe.studio.photo_preview import Preview, is_paid
from segpipe.studio.roles import Asking, Person, Role, needs, require_role
from segpipe.studio.studio_state import Serving, Studio

router = APIRouter(
    prefix="/api/deals/{deal}/photos/{image}",
    tags=["preview"],
    dependencies=[Depends(needs(Role.REVIEWER))],
)

_MAX_POINTS = 100


class PointOnPhoto(BaseModel):
    """A point in pixels of the upright photo, on an item or off it."""

    model_config = ConfigDict(extra="forbid")

    x: Annotated[float, Field(allow_inf_nan=False)]
    y: Annotated[float, Field(allow_inf_nan=False)]
    positive: bool = True


class PointsOnPhoto(BaseModel):
    """What one item is marked with."""

    model_config = ConfigDict(extra="forbid")

    points: Annotated[tuple[PointOnPhoto, ...], Field(max_length=_MAX_POINTS)]


class Readings(BaseModel):
    """Three readings of the points at most, the best first."""

    items: tuple[FoundOutline, ...]


@router.post("/preview")
async def preview(
    studio: Serving, person: Asking, deal: str, image: str, mode: Mode = Mode.FIND_ALL
) -> Preview:
    """What a run with the saved settings would find in a photo now; nothing is written."""
    photo, saved = await _asked(studio, person, deal, image)
    return await studio.preview.preview(deal, photo, mode, saved)


@router.post("/candidates")
async def candidates(
    studio: Serving, person: Asking, deal: str, image: str, marks: PointsOnPhoto
) -> Readings:
    """Three readings of what some points mean."""
    photo, saved = await _asked(studio, person, deal, image)
    points = [Point(one.x, one.y, one.positive) for one in marks.points]
    items = await studio.preview.candidates(deal, photo, points, saved)
    return Readings(items=items)


async def _asked(studio: Studio, person: Person, deal: str, image: str) -> tuple[Photo, Saved]:
    """The photo and the settings; asking a paid service is for administrators."""
    saved = await studio.preview.saved()
    if is_paid(saved.settings.segmenter):
        require_role(person, Role.ADMIN)
    return studio.photos.photo(deal, image), saved

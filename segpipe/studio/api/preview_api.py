"""What the segmenter would answer about a photo, and three readings of some points."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from segpipe.prompt import Mode, Point
from segpipe.store.prompts.prompt_operations import Pixels
from segpipe.store.store import Photo
from segpipe.studio.photo_preview import Preview, Reading
from segpipe.studio.roles import Asking, Person, Role, needs, require_role
from segpipe.studio.studio_state import Serving, Studio
from segpipe.threads import finish_in_thread

router = APIRouter(
    prefix="/api/deals/{deal}/photos/{image}",
    tags=["preview"],
    dependencies=[Depends(needs(Role.REVIEWER))],
)

_MAX_POINTS = 100


class PointOnPhoto(BaseModel):
    """A point in pixels of the upright photo, on an item or off it."""

    model_config = ConfigDict(extra="forbid")

    x: Annotated[Pixels, Field(allow_inf_nan=False)]
    y: Annotated[Pixels, Field(allow_inf_nan=False)]
    positive: bool = True


class PointsOnPhoto(BaseModel):
    """What one item is marked with."""

    model_config = ConfigDict(extra="forbid")

    points: Annotated[tuple[PointOnPhoto, ...], Field(max_length=_MAX_POINTS)]


class Readings(BaseModel):
    """Three readings of the points at most, the best first."""

    items: tuple[Reading, ...]


@router.post("/preview")
async def preview(
    studio: Serving, person: Asking, deal: str, image: str, mode: Mode = Mode.FIND_ALL
) -> Preview:
    """What the segmenter of the saved settings would find in a photo now."""
    photo = await _asked(studio, person, deal, image)
    return await studio.preview.preview(deal, photo, mode)


@router.post("/candidates")
async def candidates(
    studio: Serving, person: Asking, deal: str, image: str, marks: PointsOnPhoto
) -> Readings:
    """Three readings of what some points mean."""
    photo = await _asked(studio, person, deal, image)
    points = [Point(one.x, one.y, one.positive) for one in marks.points]
    return Readings(items=await studio.preview.candidates(deal, photo, points))


async def _asked(studio: Studio, person: Person, deal: str, image: str) -> Photo:
    """The photo; asking a service that is paid for is for administrators."""
    if await finish_in_thread(studio.preview.may_cost):
        require_role(person, Role.ADMIN)
    return await finish_in_thread(studio.photos.photo, deal, image)

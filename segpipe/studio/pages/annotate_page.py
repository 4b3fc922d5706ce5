"""Drawing on a photo: what to look for, as boxes, points, examples and words."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from segpipe.prompt import Mode
from segpipe.store.prompts import ImagePrompts
from segpipe.store.store import Photo
from segpipe.studio.api.prompts_api import document_of
from segpipe.studio.page_templates import Link, mode_of
from segpipe.studio.pictures import photo_tag
from segpipe.studio.roles import Asking, Role
from segpipe.studio.studio_state import Serving
from segpipe.web.problems import RefusedError

router = APIRouter(include_in_schema=False)

_NOT_FOUND = 404
_SHOWN_SIDE_PX = 2560
_MODULES = (
    *("annotate_keys", "candidates", "draw", "editor", "gestures", "history", "panel", "prompts"),
    *("saving", "scene", "surface", "sync", "unsaved", "view", "workplace"),
)
"""What the page's module imports, and they: fetched at once and not one after the other."""


@dataclass(frozen=True, slots=True)
class StripPhoto:
    """A photo in the film strip.

    Attributes:
        photo: The photo.
        tag: Of its content.
        marks: What people have drawn on it in the mode.
    """

    photo: Photo
    tag: str
    marks: int


@router.get("/deals/{deal}/annotate")
def show_first(request: Request, studio: Serving, deal: str) -> Response:
    """The first photo of a deal."""
    photos = studio.store.photos(deal)
    if not photos:
        raise RefusedError(
            _NOT_FOUND, "NotFound", "the deal has no photos yet; add some, then draw on them"
        )
    link = Link(mode_of(request))
    return RedirectResponse(link("/deals/{}/annotate/{}", deal, photos[0].image))


@router.get("/deals/{deal}/annotate/{image}")
def show(request: Request, studio: Serving, person: Asking, deal: str, image: str) -> Response:
    """A photo to draw on."""
    mode = mode_of(request)
    photo = studio.photos.photo(deal, image)
    width, height = studio.photos.size(deal, photo)
    known, faults = studio.store.prompts.look(deal)
    strip = _strip(studio.store.photos(deal), known, mode)
    place = next(i for i, each in enumerate(strip) if each.photo.image == photo.image)
    own = next((fault for fault in faults if fault.image == photo.image), None)
    prompts = known.get(photo.image) or ImagePrompts(image=photo.image)
    pictures = f"/pictures/photos/{quote(deal, safe='')}/{quote(photo.image, safe='')}"
    pictures += f"/{photo_tag(photo)}"
    api = f"/api/deals/{quote(deal, safe='')}"
    before = strip[place - 1].photo.image if place else None
    link = Link(mode)
    facts = {
        "deal": deal,
        "image": photo.image,
        "mode": mode.value,
        "photo": {"width": width, "height": height},
        "shownSide": _SHOWN_SIDE_PX,
        "full": f"{pictures}/0",
        "api": f"{api}/photos/{quote(photo.image, safe='')}",
        "dealApi": f"{api}/prompts",
        "before": before and f"{api}/photos/{quote(before, safe='')}/prompts",
        "document": document_of(prompts),
        "dealDocument": document_of(studio.store.prompts.of_deal(deal)),
        "fault": own.message if own else None,
        "mayDraw": person.role.covers(Role.REVIEWER),
        "otherMode": Link(_other(mode))("/deals/{}/annotate/{}", deal, photo.image),
    }
    return studio.pages.draw(
        request,
        "annotate.html",
        deal=deal,
        photo=photo,
        picture=f"{pictures}/{_SHOWN_SIDE_PX}",
        strip=strip,
        place=place,
        facts=facts,
        modules=_MODULES,
        categories=_categories(known),
        is_paid=studio.preview.may_cost(),
        previous=link("/deals/{}/annotate/{}", deal, before) if before else None,
        following=(
            link("/deals/{}/annotate/{}", deal, strip[place + 1].photo.image)
            if place + 1 < len(strip)
            else None
        ),
    )


def _strip(photos: Sequence[Photo], known: dict[str, ImagePrompts], mode: Mode) -> list[StripPhoto]:
    return [
        StripPhoto(
            photo,
            photo_tag(photo),
            len(known[photo.image].counted(mode)) if photo.image in known else 0,
        )
        for photo in photos
    ]


def _categories(known: dict[str, ImagePrompts]) -> list[str]:
    """The classes that are used in the deal."""
    found = {
        each.category for prompts in known.values() for each in prompts.annotations if each.category
    }
    return sorted(found)


def _other(mode: Mode) -> Mode:
    return Mode.INSIDE_BOX if mode is Mode.FIND_ALL else Mode.FIND_ALL

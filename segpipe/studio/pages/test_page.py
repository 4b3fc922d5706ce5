"""The page that tries settings on one photo: what stays, and what beat the others."""

from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from segpipe.errors import SegpipeError
from segpipe.flow.saved_settings import SavedSettings
from segpipe.flow.setting_fields import choose, fields
from segpipe.segmenters.build_segmenter import innermost
from segpipe.store.store import Photo
from segpipe.studio.current_settings import current_settings
from segpipe.studio.page_templates import NavigationEntry
from segpipe.studio.pictures import photo_tag
from segpipe.studio.roles import Role, needs
from segpipe.studio.settings_form import Control, FormField, form_groups
from segpipe.studio.studio_state import Serving, Studio

PATH = "/test"
NAVIGATION = (NavigationEntry("Test", PATH, "test", role=Role.ADMIN, key="t"),)
KIND_TITLES = {
    "sam3": "SAM 3",
    "recursive": "Recursive",
    "classical": "Classical",
    "tiled": "Tiled",
}
INNER_KINDS = ("classical", "sam3")
"""What the page offers inside of the segmenters that are around another."""
_SEGMENTER, _BACKEND, _INNER = "segmenter", "backend", "inner"
_MAX_DEALS = 500

router = APIRouter(include_in_schema=False, dependencies=[Depends(needs(Role.ADMIN))])


@dataclass(frozen=True, slots=True)
class KindForm:
    """The fields of one kind; those of a backend stand by themselves.

    Attributes:
        kind: The kind.
        title: What it is called.
        fields: Its own settings, by their paths inside of it.
        backends: Of SAM 3, the fields of each place where it may run.
        backend: The place that is chosen.
        inner: Of a segmenter around another, the kind of that; "" for others.
    """

    kind: str
    title: str
    fields: tuple[FormField, ...]
    backends: tuple["KindForm", ...] = ()
    backend: str = ""
    inner: str = ""


@router.get(PATH)
def show(request: Request, studio: Serving, deal: str = "", image: str = "") -> Response:
    """The page; with a deal its photos can be chosen."""
    now = current_settings(studio.store)
    saved = now.saved.settings
    photos = _photos(studio, deal) if deal else ()
    return studio.pages.draw(
        request,
        "test.html",
        deals=studio.store.deals()[:_MAX_DEALS],
        deal=deal,
        image=image,
        photos=[(photo.image, photo.name, photo_tag(photo)) for photo in photos],
        chosen=saved.segmenter.kind,
        kinds=kind_forms(saved),
        inner_kinds=INNER_KINDS,
        dedup=_fields_under(saved, "dedup."),
        fault=now.fault.message if now.fault else None,
    )


def kind_forms(saved: SavedSettings) -> list[KindForm]:
    """The fields of every kind of segmenter: of those that are saved as they are, else defaults."""
    choice = next(field for field in fields(SavedSettings()) if field.path == _SEGMENTER)
    return [_kind_form(saved, kind) for kind in KIND_TITLES if kind in choice.kinds]


def _kind_form(saved: SavedSettings, kind: str) -> KindForm:
    settings = _of_kind(saved, kind)
    inside = f"{_SEGMENTER}."
    own = _fields_under(settings, inside, (f"{inside}{_BACKEND}", f"{inside}{_INNER}"))
    place = next((each for each in fields(settings) if each.path == f"{inside}{_BACKEND}"), None)
    backends = [
        KindForm(each, each.capitalize(), _fields_under(there, f"{place.path}."))
        for each in (place.kinds if place else ())
        if place and (there := settings if each == place.value else choose(settings, place, each))
    ]
    return KindForm(
        kind,
        KIND_TITLES[kind],
        own,
        tuple(backends),
        str(place.value) if place else "",
        innermost(saved.segmenter).kind if hasattr(settings.segmenter, _INNER) else "",
    )


def _of_kind(saved: SavedSettings, kind: str) -> SavedSettings:
    """Settings whose segmenter is of a kind: the saved one, or what it is around, where it fits."""
    inner = innermost(saved.segmenter)
    for segmenter in (saved.segmenter, inner):
        if segmenter.kind == kind:
            return saved.model_copy(update={_SEGMENTER: segmenter})
    choice = next(field for field in fields(SavedSettings()) if field.path == _SEGMENTER)
    return choose(SavedSettings(), choice, kind)


def _fields_under(
    settings: SavedSettings, beginning: str, without: tuple[str, ...] = ()
) -> tuple[FormField, ...]:
    return tuple(
        field
        for group in form_groups(settings)
        for field in group.fields
        if field.path.startswith(beginning)
        and field.control is not Control.CHOICE
        and not field.path.startswith(without or ("\0",))
    )


def _photos(studio: Studio, deal: str) -> tuple[Photo, ...]:
    try:
        return studio.store.photos(deal)
    except SegpipeError:
        return ()  # its own page says why

"""What people draw on photos: documents with a tag, and changes of them that merge."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from segpipe.errors import PromptConflictError
from segpipe.flow.removed_finds import bring_back_finds, found_among, remove_finds
from segpipe.prompt import Mode
from segpipe.store.manifests import utc_now
from segpipe.store.prompts import DealPrompts, ImagePrompts
from segpipe.store.prompts.prompt_operations import (
    MAX_OPERATIONS,
    AddAnnotation,
    Operation,
    RemoveAnnotation,
    SetText,
    apply_operations,
    apply_text,
)
from segpipe.studio.photo_facts import FoundOutline
from segpipe.studio.roles import Asking, Role, needs
from segpipe.studio.studio_state import Serving, Studio
from segpipe.wire.inference import Problem

router = APIRouter(prefix="/api/deals/{deal}", tags=["prompts"])

_CHANGED, _NOT_MODIFIED = 412, 304
_MAX_HEADER_CHARS = 200
_Tag = Annotated[str | None, Header(max_length=_MAX_HEADER_CHARS)]


class PromptChanges(BaseModel):
    """What one person did to a photo's prompts, in order."""

    model_config = ConfigDict(extra="forbid")

    operations: Annotated[tuple[Operation, ...], Field(max_length=MAX_OPERATIONS)]


class TextChanges(BaseModel):
    """What one person did to the text of a deal."""

    model_config = ConfigDict(extra="forbid")

    operations: Annotated[tuple[SetText, ...], Field(max_length=MAX_OPERATIONS)]


class FoundItems(BaseModel):
    """What a run has found in a photo.

    Attributes:
        generation: The one that is current; 0 when none is.
        items: In the order of their detections.
    """

    generation: int
    items: tuple[FoundOutline, ...]


@router.get("/prompts")
def read_deal_prompts(studio: Serving, deal: str, if_none_match: _Tag = None) -> Response:
    """The text for all photos of a deal."""
    return _document(studio.store.prompts.of_deal(deal), if_none_match)


@router.patch(
    "/prompts",
    dependencies=[Depends(needs(Role.REVIEWER))],
    responses={_CHANGED: {"model": Problem, "description": "Others changed it; it is there, too"}},
)
def change_deal_prompts(
    studio: Serving, person: Asking, deal: str, changes: TextChanges, if_match: _Tag = None
) -> Response:
    """Change the text for all photos of a deal."""

    def change(present: DealPrompts) -> DealPrompts:
        _require_tag(present, if_match)
        return apply_text(present, changes.operations)

    try:
        written = studio.store.prompts.edit_deal(deal, change)
        studio.store.arrivals.put(deal)
    except PromptConflictError as conflict:
        return _conflict(conflict, studio.store.prompts.of_deal(deal))
    studio.audit.note(person, "changed the text", deal=deal, generation=written.generation)
    return _document(written)


@router.get("/photos/{image}/prompts")
def read_prompts(studio: Serving, deal: str, image: str, if_none_match: _Tag = None) -> Response:
    """What is drawn on a photo, and its text."""
    photo = studio.photos.photo(deal, image)
    return _document(studio.store.prompts.of_image(deal, photo.image), if_none_match)


@router.patch(
    "/photos/{image}/prompts",
    dependencies=[Depends(needs(Role.REVIEWER))],
    responses={_CHANGED: {"model": Problem, "description": "Others changed it; it is there, too"}},
)
def change_prompts(
    studio: Serving,
    person: Asking,
    deal: str,
    image: str,
    changes: PromptChanges,
    if_match: _Tag = None,
) -> Response:
    """Change what is drawn on a photo.

    The operations are merged into what is there, all of them or none. Where somebody else changed
    the same annotation otherwise than they say it was, the answer is 412, and has those annotations
    and the document as it is. With `If-Match` any other state of the document is a 412.

    To remove a record of what a run has found is to reject that find, so that it does not come back
    with another run; to add it again takes that back. These come before the other operations.
    """
    photo = studio.photos.photo(deal, image)
    width, height = studio.photos.size(deal, photo)
    merge = partial(apply_operations, created_by=person.name, created_at=utc_now())
    try:
        _require_tag(studio.store.prompts.of_image(deal, photo.image), if_match)
        left = _count_finds(studio, person.name, deal, photo.image, changes.operations)
        wanted_tag = if_match if len(left) == len(changes.operations) else None

        def change(present: ImagePrompts) -> ImagePrompts:
            _require_tag(present, wanted_tag)
            changed = merge(present, left)
            _touched(changed, left).require_inside(width, height)
            return changed

        written = studio.store.prompts.edit_image(deal, photo.image, change)
        if left:
            studio.store.arrivals.put(deal)
    except PromptConflictError as conflict:
        return _conflict(conflict, studio.store.prompts.of_image(deal, photo.image))
    studio.audit.note(
        person,
        "changed prompts",
        deal=deal,
        image=photo.image,
        operations=len(changes.operations),
        generation=written.generation,
    )
    return _document(written)


@router.get("/photos/{image}/found")
def read_found(studio: Serving, deal: str, image: str, mode: Mode = Mode.FIND_ALL) -> FoundItems:
    """What the current generation of a mode found in a photo, as outlines."""
    photo = studio.photos.photo(deal, image)
    generation, items = studio.photos.found(deal, mode, photo.image)
    return FoundItems(generation=generation, items=tuple(items))


def document_of(prompts: ImagePrompts | DealPrompts) -> dict[str, Any]:
    """A document as pages get it: as its file says it, with its tag."""
    return {"tag": prompts.tag(), **prompts.model_dump(mode="json", exclude_none=True)}


def _count_finds(
    studio: Studio, person: str, deal: str, image: str, operations: Sequence[Operation]
) -> tuple[Operation, ...]:
    """Reject the finds whose records are removed, or take that back; what is left to be done."""
    store = studio.store
    removed = {each.id for each in operations if isinstance(each, RemoveAnnotation)}
    if found := found_among(store.prompts.of_image(deal, image), removed):
        remove_finds(store, deal, image, found, by=person)
    added = {each.id for each in operations if isinstance(each, AddAnnotation)}
    back = bring_back_finds(store, deal, image, added) if added else []
    counted = {*found, *back}
    return tuple(each for each in operations if isinstance(each, SetText) or each.id not in counted)


def _document(prompts: ImagePrompts | DealPrompts, known: str | None = None) -> Response:
    headers = {"ETag": _quoted(prompts), "Cache-Control": "no-cache"}
    if known == _quoted(prompts):
        return Response(status_code=_NOT_MODIFIED, headers=headers)
    return JSONResponse(document_of(prompts), headers=headers)


def _conflict(conflict: PromptConflictError, present: ImagePrompts | DealPrompts) -> Response:
    problem = Problem(error="PromptConflict", detail=conflict.message, field=None)
    content = problem.model_dump() | {
        "annotations": list(conflict.annotations),
        "document": document_of(present),
    }
    return JSONResponse(content, _CHANGED, headers={"ETag": _quoted(present)})


def _require_tag(present: ImagePrompts | DealPrompts, wanted: str | None) -> None:
    if wanted not in {None, "*", _quoted(present)}:
        raise PromptConflictError(
            f"the prompts are of tag {_quoted(present)}, not {wanted}: read them and decide again"
        )


def _touched(prompts: ImagePrompts, operations: Sequence[Operation]) -> ImagePrompts:
    ids = {each.id for each in operations if not isinstance(each, SetText)}
    kept = tuple(each for each in prompts.annotations if each.id in ids)
    return prompts.model_copy(update={"annotations": kept})


def _quoted(prompts: ImagePrompts | DealPrompts) -> str:
    return f'"{prompts.tag()}"'

"""The form with which photos come into a deal where no script runs."""

import tempfile
from pathlib import Path

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from segpipe.store.ids import check_deal_id
from segpipe.studio.page_templates import Link, mode_of
from segpipe.studio.photo_intake import keep_form_files, take_photos
from segpipe.studio.roles import Person, Role, needs, person_of
from segpipe.studio.studio_state import Studio, studio_of
from segpipe.web.problems import BAD_REQUEST, RefusedError

_SEE_OTHER = 303
_MAX_FIELDS = 4

router = APIRouter(include_in_schema=False)


@router.post("/photos", dependencies=[Depends(needs(Role.REVIEWER))])
async def add_photos(request: Request) -> Response:
    """Add the photos of a form to the deal that it names: all, or none."""
    studio = studio_of(request)
    most = studio.settings.max_files_per_upload
    async with request.form(max_files=most, max_fields=_MAX_FIELDS) as form:
        deal = str(form.get("deal", "")).strip()
        files = [one for one in form.getlist("photos") if not isinstance(one, str)]
        files = [one for one in files if one.filename]
        if not files:
            raise RefusedError(BAD_REQUEST, "InvalidRequest", "choose photos first", field="photos")
        await run_in_threadpool(_take, studio, person_of(request), deal, files)
    return RedirectResponse(Link(mode_of(request))("/deals/{}", check_deal_id(deal)), _SEE_OTHER)


def _take(studio: Studio, person: Person, deal: str, files: list[UploadFile]) -> None:
    with tempfile.TemporaryDirectory(prefix="segpipe-") as folder:
        take_photos(studio, person, deal, keep_form_files(files, Path(folder)))

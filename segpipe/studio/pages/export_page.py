"""Deals as one archive to take away: labels for training, cut-outs, or masks."""

import shutil
import tempfile
import threading
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask

from segpipe.flow.export import ExportReport, export_deals
from segpipe.flow.export_task import ExportTask
from segpipe.prompt import Mode
from segpipe.studio.page_templates import mode_of
from segpipe.studio.roles import Asking, Role, needs
from segpipe.studio.studio_state import Serving
from segpipe.web.problems import BAD_REQUEST, FullError, RefusedError

MAX_DEALS = 200
"""Deals of one archive; ``segpipe export`` takes any number."""
FORMATS = {
    "cutouts": (
        "Cut-outs",
        "A picture of each item with nothing around it, and a table that says where each lies.",
    ),
    "masks": ("Masks", "A black and white picture of each item, white where the item is."),
    "coco": ("COCO", "Photos, and one file with all outlines: for training, and most tools."),
    "yolo-seg": ("YOLO", "Photos, and a file of outlines for each: for training YOLO."),
    "labelme": ("LabelMe", "Photos, and a file for each, to correct outlines in LabelMe."),
}
_LEFT_OUT = "not-in-this-export.txt"
_AT_ONCE = threading.BoundedSemaphore(1)
_WAIT_S = 5.0
Named = Annotated[list[str] | None, Query(max_length=MAX_DEALS)]

router = APIRouter(include_in_schema=False, dependencies=[Depends(needs(Role.REVIEWER))])


@router.get("/exports")
def show(request: Request, studio: Serving, deal: Named = None) -> Response:
    """The page: which deals, and in which form."""
    mode = mode_of(request)
    deals = [studio.status.existing(each) for each in dict.fromkeys(deal or ())]
    return studio.pages.draw(
        request,
        "exports.html",
        ready=[each for each in deals if each.of(mode).generation],
        others=[each for each in deals if not each.of(mode).generation],
        formats=FORMATS,
    )


@router.post("/exports")
def export(
    studio: Serving,
    person: Asking,
    mode: Annotated[Mode, Form()],
    form: Annotated[str, Form(alias="format", max_length=32)],
    deal: Annotated[list[str] | None, Form(max_length=MAX_DEALS)] = None,
) -> Response:
    """The archive. One is made at a time."""
    deals = [studio.status.existing(each).deal for each in dict.fromkeys(deal or ())]
    if not deals:
        raise RefusedError(BAD_REQUEST, "InvalidRequest", "choose deals first", field="deal")
    if not _AT_ONCE.acquire(timeout=_WAIT_S):
        raise FullError("another export is being made; try again in a minute", retry_after_s=60)
    folder = Path(tempfile.mkdtemp(prefix="segpipe-"))
    try:
        out = folder / form / "export"
        out.parent.mkdir()
        report = export_deals(studio.store, deals, ExportTask(form, out, mode))
        _tell_left_out(report, out)
        archive = shutil.make_archive(str(folder / "export"), "zip", out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        _AT_ONCE.release()
    studio.audit.note(
        person, "exported", deals=", ".join(report.deals), mode=mode.value, format=form
    )
    name = deals[0] if len(deals) == 1 else f"{len(report.deals)}-deals"
    return FileResponse(
        archive,
        filename=f"{name}-{form}.zip",
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )


def _tell_left_out(report: ExportReport, out: Path) -> None:
    if report.left_out:
        lines = [f"{deal}: {error.message}\n" for deal, error in report.left_out.items()]
        (out / _LEFT_OUT).write_text("".join(lines), encoding="utf-8")

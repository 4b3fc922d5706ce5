"""``POST /v1/inpaint``: a photo and what is to go from it, to a clean picture."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Response, UploadFile
from pydantic import Json

from segpipe.errors import InputError
from segpipe.flow.erase_photo import Step, failing_at, fill_mask, mask_to_erase
from segpipe.inpainters.erase import EraseSettings
from segpipe.inpainters.inpainter import Inpainter, Wish
from segpipe.inpainters.opencv import OpenCvConfig, OpenCvInpainter
from segpipe.server.openapi import problems
from segpipe.server.photo_forms import (
    LABELS,
    POINTS,
    Coordinate,
    Labels,
    Photo,
    Places,
    PngResponse,
    read_upload,
)
from segpipe.server.prompt_requests import require_few, to_points
from segpipe.server.server_settings import ServerSettings
from segpipe.server.service import Service
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_png
from segpipe.vision.holes import hole_of_picture
from segpipe.vision.image import RgbImage, decode_image, upright_size
from segpipe.vision.mask import Bitmap
from segpipe.web.bounded_requests import FormRoute
from segpipe.web.problems import RefusedError, failed
from segpipe.wire.inference import MAX_TEXT_LENGTH

PATH = "/v1/inpaint"

_log = logging.getLogger(__name__)
_DESCRIPTION = """\
Answers with the photo without something, as a PNG of the upright photo's size. What goes is told by
exactly one of: `mask`, a picture of the photo's size in which white goes; `points` on an item (with
`labels`); `box`, around an item; `text`. For the last three the model is asked for the mask first.

Nothing further than `dilate_px` and `feather_px` from the mask changes. What goes wrong says in
which step: "the mask failed: …" or "the filling failed: …"."""

# What is not sent: JSON's null, since the framework takes a choice of JSON or nothing for a list.
_NONE: Any = "null"
_NULL: Any = {"validate_default": True}
_Corners = tuple[Coordinate, Coordinate, Coordinate, Coordinate]
_Mask = Annotated[
    UploadFile | None, File(description="A picture of the upright photo's size: white goes.")
]


@dataclass(frozen=True, slots=True)
class Filling:
    """What fills holes, and how much around them.

    Attributes:
        inpainter: Fills them.
        settings: What a request may say otherwise.
    """

    inpainter: Inpainter = field(default_factory=lambda: OpenCvInpainter(OpenCvConfig()))
    settings: EraseSettings = field(default_factory=EraseSettings)


class _InpaintRoute(FormRoute):
    """A photo, and perhaps its mask."""

    max_files = 2


@dataclass(frozen=True, slots=True)
class _Target:
    """What goes, in one of four forms."""

    mask: UploadFile | None
    points: list[tuple[float, float]] | None
    labels: list[int] | None
    box: tuple[float, float, float, float] | None
    text: str

    def __post_init__(self) -> None:
        forms = (self.mask, self.points, self.box, self.text or None)
        if sum(form is not None for form in forms) != 1:
            raise InputError(
                "say what to erase by exactly one of mask, points, box and text", field="mask"
            )
        if self.labels and not self.points:
            raise InputError("labels belong to points: send points, too", field="labels")


def build_router(service: Service, settings: ServerSettings, filling: Filling) -> APIRouter:
    """The route of ``POST /v1/inpaint``."""
    router = APIRouter(route_class=_InpaintRoute)
    places = asyncio.Semaphore(settings.in_refiner)

    @router.post(
        PATH,
        operation_id="inpaint_v1",
        summary="The photo without what a mask, points, a box or a text mean",
        description=_DESCRIPTION,
        response_class=PngResponse,
        responses=problems(),
    )
    async def inpaint(
        image: Photo,
        mask: _Mask = None,
        points: Annotated[Json[Places | None], Form(description=POINTS, **_NULL)] = _NONE,
        labels: Annotated[Json[Labels | None], Form(description=LABELS, **_NULL)] = _NONE,
        box: Annotated[
            Json[_Corners | None], Form(description="[x1, y1, x2, y2] around an item.", **_NULL)
        ] = _NONE,
        text: Annotated[str, Form(max_length=MAX_TEXT_LENGTH, description="What goes.")] = "",
        prompt: Annotated[
            str | None, Form(max_length=MAX_TEXT_LENGTH, description="What is to be there instead.")
        ] = None,
        guidance: Annotated[
            float | None,
            Form(ge=0, le=50, allow_inf_nan=False, description="How closely that is followed."),
        ] = None,
        dilate_px: Annotated[
            int | None, Form(ge=0, le=500, description="Pixels around the mask that go too.")
        ] = None,
        feather_px: Annotated[
            int | None, Form(ge=0, le=100, description="Width of the rim that fades over.")
        ] = None,
    ) -> Response:
        require_few(len(points or ()), settings.max_points)
        target = _Target(mask, points, labels, box, text)
        asked = {"dilate_px": dilate_px, "feather_px": feather_px}
        erase = filling.settings.model_copy(
            update={name: value for name, value in asked.items() if value is not None}
        )
        async with service.photo(partial(read_upload, image)) as photo:
            rgb = photo.decoded.rgb
            with _failing_at(Step.MASK):
                hole = await _mask_of(service, target, rgb)
            async with places:
                with _failing_at(Step.FILL):
                    wish = Wish(prompt, guidance)
                    clean = await _filled(rgb, hole, replace(filling, settings=erase), wish)
        return PngResponse(await asyncio.to_thread(encode_png, clean))

    return router


async def _mask_of(service: Service, target: _Target, rgb: RgbImage) -> Bitmap:
    """What goes from an upright photo, (h, w), 0 or 1."""
    if target.mask:
        with failing_at(Step.MASK):
            return await asyncio.to_thread(_read_mask, await read_upload(target.mask), rgb)
    with failing_at(Step.MASK):
        points = to_points(target.points, target.labels, rgb) if target.points else ()
    return await service.in_model(
        lambda model: mask_to_erase(
            rgb,
            model,
            points=points,
            boxes=[Box(*target.box)] if target.box else (),
            texts=[target.text] if target.text else (),
        )
    )


def _read_mask(data: bytes, rgb: RgbImage) -> Bitmap:
    height, width = rgb.shape[:2]
    try:
        is_as_large = upright_size(data) == (width, height)
        picture = decode_image(data, max_pixels=None).rgb if is_as_large else None
    except InputError as error:
        error.field = "mask"
        raise
    if picture is None:
        raise InputError(
            f"it must be a picture of {width} x {height} pixels, as the photo is", field="mask"
        )
    return hole_of_picture(picture)


async def _filled(rgb: RgbImage, hole: Bitmap, filling: Filling, wish: Wish) -> RgbImage:
    try:
        return await fill_mask(rgb, hole, filling.inpainter, filling.settings, wish)
    except InputError:
        raise
    except Exception as error:
        _log.exception("the inpainter failed")
        raise failed(error) from error


@contextmanager
def _failing_at(step: Step) -> Iterator[None]:
    """Have a refusal say in which step it was, as errors do."""
    try:
        yield
    except RefusedError as refusal:
        problem = refusal.problem
        raise RefusedError(
            refusal.status,
            problem.error,
            f"{step} failed: {problem.detail}",
            field=problem.field,
            headers=refusal.headers,
        ) from refusal

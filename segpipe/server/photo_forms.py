"""The parts of forms that bring a photo: the photo, points on it, and a picture as the answer."""

from typing import Annotated, Any

from fastapi import File, Response, UploadFile
from pydantic import BeforeValidator, Field

from segpipe.wire.inference import MAX_POINTS

POINTS = "Pixels of the upright image: a JSON list of [x, y]."
LABELS = "For each point 1 (on the item) or 0 (off it): a JSON list."
_AXES = 2

Photo = Annotated[
    UploadFile,
    File(description="JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIC; it is turned upright."),
]
Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Place = tuple[Coordinate, Coordinate]


def _one_place(value: Any) -> Any:
    """A single point may come by itself, as older clients send it: ``[x, y]``."""
    is_flat = isinstance(value, list) and len(value) == _AXES and not isinstance(value[0], list)
    return [value] if is_flat else value


def _one_label(value: Any) -> Any:
    """And so may its label."""
    return value if isinstance(value, list) else [value]


Places = Annotated[
    list[Place], BeforeValidator(_one_place), Field(min_length=1, max_length=MAX_POINTS)
]
Labels = Annotated[
    list[Annotated[int, Field(strict=True, ge=0, le=1)]],
    BeforeValidator(_one_label),
    Field(min_length=1, max_length=MAX_POINTS),
]


class PngResponse(Response):
    """A picture."""

    media_type = "image/png"


async def read_upload(image: UploadFile) -> bytes:
    """The bytes of an upload, again if need be."""
    await image.seek(0)
    return await image.read()

"""Photos without a deal: from a picture to masks, outlines and cut-outs, with nothing written.

The stages are those of a deal, so what is found is what a run would find.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from segpipe.errors import (
    ConfigError,
    EmptyDealError,
    SegpipeError,
    UnreadablePhotoError,
    UnsupportedFormatError,
)
from segpipe.flow.mode_prompts import PhotoPrompt
from segpipe.flow.photo import PhotoSettings
from segpipe.flow.stages.dedup import DedupSettings, dedup_image
from segpipe.flow.stages.refinement import RefinedImage, items_found, refine_image
from segpipe.flow.stages.segmentation import SegmentedImage, segment_image
from segpipe.prompt import Prompt
from segpipe.refiners.build_refiner import RefinerConfig, build_refiner
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.build_segmenter import SegmenterConfig, build_segmenter
from segpipe.segmenters.segmenter import Segmenter
from segpipe.settings import Settings
from segpipe.store.deal_folders import is_ignored
from segpipe.threads import finish_in_thread
from segpipe.vision.backdrop import with_backdrop
from segpipe.vision.boxes import Box
from segpipe.vision.crop import crop_item
from segpipe.vision.image import DecodedImage, RgbImage, decode_image
from segpipe.vision.mask import Mask

PhotoSource = str | PathLike[str] | bytes | RgbImage
"""A file, the bytes of one, or an upright RGB picture, (h, w, 3) uint8."""
SegmenterChoice = Segmenter | Settings | Mapping[str, Any] | str
"""A segmenter, its settings, the same as values, or its ``kind``."""
RefinerChoice = Refiner | Settings | Mapping[str, Any] | str
"""The same for a refiner."""
RgbaImage = NDArray[np.uint8]
"""Shape (h, w, 4), alpha last: 0 is transparent."""

T = TypeVar("T")
_RGB_DIMENSIONS, _CHANNELS = 3, 3


@dataclass(frozen=True, slots=True, eq=False)
class FoundItem:
    """One item of a photo.

    Attributes:
        mask: Its pixels; None where a segmenter gave a box only.
        box: The tight box of the mask, ``xyxy`` in pixels of the upright photo.
        outline: SVG path data relative to the box, 0 to 1; "" where it could not be traced.
        score: The segmenter's confidence, 0 to 1.
        label: What it is, when the segmenter knows.
        cutout: Its pixels on transparency, (h, w, 4) uint8, as large as the box.
    """

    mask: Mask | None
    box: Box
    outline: str
    score: float
    label: str | None
    cutout: RgbaImage


@dataclass(frozen=True, slots=True, eq=False)
class PhotoResult:
    """What was found in one photo, the best score first, or one by one for drawn boxes.

    Attributes:
        items: The items; doubles, and drawn boxes with nothing in them, are left out.
        width: Pixels of the upright photo.
        height: Pixels of the upright photo.
        segmenter: The id of the segmenter.
        refiner: The id of the refiner.
        notes: What is to be known of the photo or the answer, in sentences.
    """

    items: tuple[FoundItem, ...]
    width: int
    height: int
    segmenter: str
    refiner: str
    notes: tuple[str, ...]


def segment(
    photo: PhotoSource,
    *,
    segmenter: SegmenterChoice = "classical",
    prompt: Prompt | None = None,
    refiner: RefinerChoice = "grabcut",
    dedup: DedupSettings | None = None,
    max_megapixels: float | None = None,
) -> PhotoResult:
    """Find the items of one photo.

    It may be called anywhere, also where an event loop runs, as in a notebook. A segmenter that is
    given as settings is built for the call, with its weights: to ask about many photos use
    :func:`segment_folder`, or build one with ``build_segmenter``.

    >>> import numpy as np
    >>> import segpipe
    >>> photo = np.full((120, 160, 3), 40, np.uint8)
    >>> photo[30:70, 20:60] = (220, 180, 90)
    >>> result = segpipe.segment(photo)
    >>> [tuple(map(round, item.box)) for item in result.items]
    [(20, 30, 60, 70)]
    >>> result.items[0].cutout.shape
    (40, 40, 4)

    Args:
        photo: A file, its bytes, or an upright RGB picture, (h, w, 3) uint8.
        segmenter: Who finds: a ``kind`` such as ``"classical"``, values such as
            ``{"kind": "sam3", "backend": {"kind": "local"}}``, settings, or a segmenter.
        prompt: What to look for; every item when there is none.
        refiner: Who sharpens the masks, in the same forms: ``"none"`` leaves them.
        dedup: What counts as the same item.
        max_megapixels: A larger photo is refused; None takes the default of deals.

    Raises:
        UnreadablePhotoError: There is no such file, or it cannot be read.
        PhotoError: It is no photo, or damaged, or too large.
        ConfigError: The settings make no sense, or name what there is not.
        PromptError: The prompt does not fit the photo, or the segmenter.
        SegmenterError: The segmenter failed.
        RefinerError: The refiner failed.
    """
    with _asker(segmenter, refiner, prompt, dedup, max_megapixels) as ask:
        return ask(photo)


def segment_folder(
    folder: str | PathLike[str],
    *,
    segmenter: SegmenterChoice = "classical",
    prompt: Prompt | None = None,
    refiner: RefinerChoice = "grabcut",
    dedup: DedupSettings | None = None,
    max_megapixels: float | None = None,
    on_error: Callable[[Path, SegpipeError], None] | None = None,
) -> Iterator[tuple[Path, PhotoResult]]:
    """Find the items of each photo in a folder, by name; one photo is in memory at a time.

    >>> import segpipe
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image, ImageDraw
    >>> with TemporaryDirectory() as folder:
    ...     photo = Image.new("RGB", (160, 120), "black")
    ...     ImageDraw.Draw(photo).rectangle((20, 30, 59, 69), fill="orange")
    ...     photo.save(Path(folder) / "a.png")
    ...     [(path.name, len(found.items)) for path, found in segpipe.segment_folder(folder)]
    [('a.png', 1)]

    Args:
        folder: Its files are photos; dot files and what file managers leave are passed over.
        segmenter: As of :func:`segment`; built once.
        prompt: What to look for in each photo.
        refiner: As of :func:`segment`; built once.
        dedup: What counts as the same item.
        max_megapixels: A larger photo is refused.
        on_error: Is told of each photo that fails, and then the others go on; None raises.

    Raises:
        EmptyDealError: The folder is not there, or has no files.
        SegpipeError: As of :func:`segment`; it names the photo.
    """
    place = Path(folder)
    if not place.is_dir():
        raise EmptyDealError(f"there is no folder {place}")
    photos = sorted(
        path for path in place.iterdir() if path.is_file() and not is_ignored(path.name)
    )
    if not photos:
        raise EmptyDealError(f"there are no photos in {place}")
    with _asker(segmenter, refiner, prompt, dedup, max_megapixels) as ask:
        for path in photos:
            try:
                result = ask(path)
            except SegpipeError as error:
                error.at(image=path.name)
                if on_error is None:
                    raise
                on_error(path, error)
            else:
                yield path, result


@contextmanager
def _asker(
    segmenter: SegmenterChoice,
    refiner: RefinerChoice,
    prompt: Prompt | None,
    dedup: DedupSettings | None,
    max_megapixels: float | None,
) -> Iterator[Callable[[PhotoSource], PhotoResult]]:
    """What finds the items of a photo; what was built for it is closed at the end."""
    photos = PhotoSettings()
    if max_megapixels is not None:
        photos = PhotoSettings(max_megapixels=max_megapixels)
    finder = _built(segmenter, SegmenterConfig, build_segmenter, "segmenter")
    sharpener = _built(refiner, RefinerConfig, build_refiner, "refiner")

    async def ask(photo: PhotoSource) -> PhotoResult:
        decoded = await finish_in_thread(read_picture, photo, photos.max_pixels)
        segmented = await segment_image(decoded, finder, PhotoPrompt(prompt or Prompt()))
        deduped = await finish_in_thread(dedup_image, segmented, dedup or DedupSettings())
        picture = await finish_in_thread(with_backdrop, decoded)
        refined = await refine_image(picture, segmented, deduped, sharpener)
        return await finish_in_thread(
            _result, decoded.rgb, segmented, refined, finder.id, sharpener.id
        )

    try:
        yield lambda photo: _wait_for(ask(photo))
    finally:
        if finder is not segmenter:
            _wait_for(finder.aclose())


def _built(
    choice: T | Settings | Mapping[str, Any] | str,
    config: Any,
    build: Callable[[Any], T],
    field: str,
) -> T:
    """What a choice stands for: itself, or what its settings describe."""
    if isinstance(choice, str):
        choice = {"kind": choice}
    if isinstance(choice, Mapping):
        try:
            return build(TypeAdapter(config).validate_python(dict(choice)))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join([field, *map(str, first["loc"])])
            raise ConfigError(first["msg"], field=place) from None
    return build(choice) if isinstance(choice, Settings) else choice


def read_picture(photo: PhotoSource, max_pixels: int = PhotoSettings().max_pixels) -> DecodedImage:
    """The upright picture of a file, of the bytes of one, or of an array.

    Raises:
        UnreadablePhotoError: There is no such file, or it cannot be read.
        PhotoError: It is no photo, or damaged, or too large.
    """
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != _RGB_DIMENSIONS or photo.shape[2] != _CHANNELS:
            raise UnsupportedFormatError(
                f"a picture is an array of shape (h, w, 3) and uint8, got {photo.shape} "
                f"{photo.dtype}"
            )
        return DecodedImage(np.ascontiguousarray(photo), "array", ())
    if isinstance(photo, bytes):
        return decode_image(photo, max_pixels=max_pixels)
    path = Path(photo)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadablePhotoError(
            f"{path} cannot be read ({error.strerror}): name a photo that is there",
            image=path.name,
        ) from error
    try:
        return decode_image(data, max_pixels=max_pixels)
    except SegpipeError as error:
        raise error.at(image=path.name) from error.__cause__


def _result(
    rgb: RgbImage,
    segmented: SegmentedImage,
    refined: RefinedImage,
    segmenter: str,
    refiner: str,
) -> PhotoResult:
    detections = segmented.result.detections
    items = [
        FoundItem(
            mask=item.mask,
            box=item.box,
            outline=item.svg_path,
            score=detections[item.detection].score,
            label=detections[item.detection].label,
            cutout=crop_item(rgb, item.box, item.mask).pixels,
        )
        for item in items_found(segmented, refined)
    ]
    height, width = rgb.shape[:2]
    return PhotoResult(tuple(items), width, height, segmenter, refiner, segmented.warnings)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all calls, in a thread of its own: segmenters may be used again in it."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="segpipe", daemon=True).start()
    return loop


def _wait_for(work: Coroutine[Any, Any, T]) -> T:
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    except BaseException:  # an interrupt, too: nobody waits for it any more
        future.cancel()
        raise

"""Two steps from a photo to a clean background: ask for the mask of what goes, then fill it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum

from pydantic import Field

from segpipe.errors import InputError, SegpipeError
from segpipe.inpainters.build_inpainter import InpainterConfig
from segpipe.inpainters.erase import EraseSettings, erase
from segpipe.inpainters.inpainter import NO_WISH, Inpainter, Wish
from segpipe.inpainters.opencv import OpenCvConfig
from segpipe.prompt import Mode, Point, Prompt, require_points
from segpipe.segmenters.build_segmenter import SegmenterConfig
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.local_data import DATA_FOLDER
from segpipe.segmenters.segmenter import Segmenter
from segpipe.settings import Settings
from segpipe.vision.boxes import Box
from segpipe.vision.holes import union_of
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap


class Step(StrEnum):
    """The steps, as messages name them."""

    MASK = "the mask"
    FILL = "the filling"


class EraseConfig(Settings):
    """What erases things from photos by themselves: ``segpipe erase --config FILE``."""

    segmenter: SegmenterConfig = Field(
        default=ClassicalConfig(), description="Who is asked for the mask of what goes."
    )
    inpainter: InpainterConfig = Field(default=OpenCvConfig(), description="What fills the hole.")
    erase: EraseSettings = Field(
        default=EraseSettings(), description="How much is replaced around what is erased."
    )
    data_folder: str = Field(
        default=str(DATA_FOLDER),
        description="Where relative folders of kept answers and of accounts begin.",
    )


async def mask_to_erase(
    image: RgbImage,
    segmenter: Segmenter,
    *,
    points: Sequence[Point] = (),
    boxes: Sequence[Box] = (),
    texts: Sequence[str] = (),
) -> Bitmap:
    """The pixels of what points, boxes or words mean, (h, w), 0 or 1; the first step.

    Args:
        image: The upright photo, (h, w, 3) uint8.
        segmenter: Is asked.
        points: On one item, or off it; its best reading goes.
        boxes: Each around one item, which goes.
        texts: What goes, in words.

    Raises:
        PromptError: It is not one of the three, or does not fit the photo or the segmenter.
        InputError: Nothing was found there.
        SegmenterError: The segmenter failed.
    """
    height, width = image.shape[:2]
    with failing_at(Step.MASK):
        if sum(map(bool, (points, boxes, texts))) != 1:
            raise InputError("say what to erase by points, by boxes or by words", field="points")
        if points:
            require_points(points, width, height)
            best, *_ = await segmenter.candidates(image, points)
            masks = [best.mask]
        else:
            mode = Mode.INSIDE_BOX if boxes else Mode.FIND_ALL
            prompt = Prompt(mode=mode, boxes=tuple(boxes), texts=tuple(texts))
            result = await segmenter.segment(image, prompt.for_image(width, height))
            masks = [one.mask for one in result.detections if one.mask is not None]
        whole = union_of(masks, image_width=width, image_height=height)
        if not whole.any():
            raise InputError(
                "nothing was found there: point at the item itself, or draw the box around it",
                field="points" if points else "boxes" if boxes else "texts",
            )
    return whole


async def fill_mask(
    image: RgbImage,
    mask: Bitmap,
    inpainter: Inpainter,
    settings: EraseSettings,
    wish: Wish = NO_WISH,
) -> RgbImage:
    """The photo without what a mask covers; the second step.

    Raises as :func:`~segpipe.inpainters.erase.erase`.
    """
    with failing_at(Step.FILL):
        return await erase(image, mask, inpainter, settings, wish)


@contextmanager
def failing_at(step: Step) -> Iterator[None]:
    """Have what goes wrong say in which step."""
    try:
        yield
    except SegpipeError as error:
        error.message = f"{step} failed: {error.message}"
        raise

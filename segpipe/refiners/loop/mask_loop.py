"""The refining loop: a mask becomes prompts, the model's answer becomes the next mask.

Y. Lin and others: "SAMRefiner: Taming Segment Anything Model for Universal Mask Refinement",
ICLR 2025, https://arxiv.org/abs/2502.06756. New here are the guards: the best answer is kept, not
the last, and no answer is trusted that leaves its item.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from segpipe.errors import InputError
from segpipe.progress import StepDone, Tell, tell_nobody
from segpipe.refiners.loop.loop_item import LoopItem
from segpipe.refiners.loop.loop_settings import LoopSettings
from segpipe.refiners.loop.mask_decoder import E, MaskDecoder
from segpipe.refiners.loop.square_view import View
from segpipe.refiners.refiner import STAGE, Refinement
from segpipe.threads import IsWanted, always
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

T = TypeVar("T")


def refine_masks(
    image: RgbImage,
    masks: Sequence[Mask],
    decoder: MaskDecoder[E],
    settings: LoopSettings,
    tell: Tell = tell_nobody,
    is_wanted: IsWanted = always,
) -> tuple[Refinement, ...]:
    """Refine the coarse masks of one upright RGB image, (h, w, 3) uint8.

    Gives one refinement for each mask, in their order. A refined mask is accepted when it passed
    every guard; else the coarse one comes back, with the reason. A step is one question about each
    item of a batch; when nobody waits for the masks any more, the loop ends with the step.

    Raises:
        asyncio.CancelledError: The masks are no longer wanted.
        InputError: A mask belongs to an image of another size.
    """
    _check_sizes(image, masks)
    started = [LoopItem.start(mask, settings, decoder.square) for mask in masks]
    done = {n: one for n, one in enumerate(started) if isinstance(one, Refinement)}
    items = {n: one for n, one in enumerate(started) if isinstance(one, LoopItem)}
    del started
    embedder = _Embedder(image, decoder, settings.crops_per_batch)
    batches = list(_batches(list(items), settings.objects_per_batch))
    steps = settings.iterations * len(batches)
    for number, batch in enumerate(batches):
        chosen = [items.pop(n) for n in batch]
        embeddings = embedder.embed([item.site.view for item in chosen])
        asked = list(zip(chosen, embeddings, strict=True))
        for iteration in range(settings.iterations):
            answers = decoder.decode(
                [embedding for _, embedding in asked], [item.next_prompt() for item, _ in asked]
            )
            for (item, _), answer in zip(asked, answers, strict=True):
                item.accept(answer)
            tell(StepDone(STAGE, number * settings.iterations + iteration + 1, steps))
            if not is_wanted():
                raise asyncio.CancelledError
            asked = [(item, embedding) for item, embedding in asked if item.is_open]
            if not asked:
                break
        # Before the next batch, so that the answers of this one are let go of.
        done.update((n, item.refinement()) for n, item in zip(batch, chosen, strict=True))
    return tuple(done[n] for n in range(len(masks)))


class _Embedder(Generic[E]):
    """Has the model look at views, and remembers the one of the whole image."""

    def __init__(self, image: RgbImage, decoder: MaskDecoder[E], per_batch: int) -> None:
        self._image = image
        self._decoder = decoder
        self._per_batch = per_batch
        self._kept: dict[View, E] = {}

    def embed(self, views: Sequence[View]) -> list[E]:
        """The model's features of each view; the same object for equal views."""
        known = dict(self._kept)
        new = [view for view in dict.fromkeys(views) if view not in known]
        for batch in _batches(new, self._per_batch):
            embeddings = self._decoder.embed([view.pixels(self._image) for view in batch])
            known.update(zip(batch, embeddings, strict=True))
        self._kept = {view: one for view, one in known.items() if self._is_whole(view)}
        return [known[view] for view in views]

    def _is_whole(self, view: View) -> bool:
        return (view.window.height, view.window.width) == self._image.shape[:2]


def _check_sizes(image: RgbImage, masks: Sequence[Mask]) -> None:
    for number, mask in enumerate(masks):
        if (mask.image_height, mask.image_width) != image.shape[:2]:
            raise InputError(
                f"mask {number} belongs to an image of {mask.image_width} x {mask.image_height}, "
                f"but was given with one of shape {image.shape}",
                field="masks",
            )


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

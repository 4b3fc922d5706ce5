"""Trials of settings on one photo, one at a time: see :mod:`segpipe.flow.try_photo`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from segpipe.errors import (
    BudgetExceededError,
    ConfigError,
    DealNotFoundError,
    InputError,
    InvalidIdError,
    PhotoError,
    SegmenterError,
    SegpipeError,
)
from segpipe.flow.mode_prompts import PhotoPrompt
from segpipe.flow.photo import load_photo
from segpipe.flow.saved_settings import read_saved, within_budget
from segpipe.flow.stages.dedup import DedupSettings
from segpipe.flow.try_photo import (
    Trial,
    find_photo,
    prompt_of_deal,
    try_photo,
    without_kept_answers,
)
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.build_segmenter import AnySegmenterConfig, build_segmenter
from segpipe.segmenters.kept_data import KeptData
from segpipe.segmenters.segmenter import Segmenter
from segpipe.store.inputs import Photo
from segpipe.store.store import DealStore
from segpipe.threads import finish_in_thread
from segpipe.vision.image import DecodedImage, decode_image
from segpipe.web.problems import FullError, RefusedError

MAX_UPLOAD_BYTES = 25_000_000
"""A photo that is uploaded for a trial has no more bytes than this."""
NOT_FOUND, CONFLICT, TOO_LARGE, UNUSABLE, BAD_GATEWAY = 404, 409, 413, 422, 502
_WAITING = 3
_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class DealPhoto:
    """A photo of a deal."""

    deal: str
    image: str


@dataclass(frozen=True, slots=True)
class Question:
    """What to try.

    Attributes:
        photo: A photo of a deal, or the bytes of one.
        segmenter: Its settings; None for the saved ones.
        dedup: What counts as the same item; None keeps all.
        prompt: What to look for; None for what a run would ask.
        mode: The mode of that run.
    """

    photo: DealPhoto | bytes
    segmenter: AnySegmenterConfig | None
    dedup: DedupSettings | None
    prompt: Prompt | None
    mode: Mode = Mode.FIND_ALL


@dataclass(frozen=True, slots=True, eq=False)
class TrialOfPhoto:
    """What was found, and the photo that it was found in."""

    trial: Trial
    decoded: DecodedImage


class Trials:
    """Tries settings: as many questions wait as there are places, the others are told to come back.

    Args:
        store: The deals and the saved settings.
        data: Where the account of paid calls is kept.
    """

    def __init__(self, store: DealStore, data: KeptData) -> None:
        self._store = store
        self._data = data
        self._one = asyncio.Lock()
        self._asked = 0

    async def ask(self, question: Question) -> TrialOfPhoto:
        """Try settings.

        Raises:
            RefusedError: 404 for a deal or photo that is not there, 409 for a key that is missing
                or may not be sent, 422 for what cannot be used, 502 for a backend that failed, 503
                while too many wait.
        """
        async with self._place():
            try:
                return await self._ask(question)
            except SegpipeError as error:
                raise refusal_of_trial(error) from error

    async def _ask(self, question: Question) -> TrialOfPhoto:
        saved = (await finish_in_thread(read_saved, self._store)).settings
        config = without_kept_answers(question.segmenter or saved.segmenter)
        segmenter = build_segmenter(within_budget(config, saved.budget), self._data)
        try:
            place, photo = DealPhoto("", ""), None
            if isinstance(question.photo, DealPhoto):
                place = question.photo
                photo = await finish_in_thread(find_photo, self._store, place.deal, place.image)
                decoded = (await load_photo(self._store, place.deal, photo, saved.photos)).decoded
            else:
                decoded = await finish_in_thread(_decode, question.photo, saved.photos.max_pixels)
            asked = await finish_in_thread(self._prompt, question, photo, decoded, segmenter)
            trial = await try_photo(
                decoded, segmenter, asked, question.dedup, deal=place.deal, image=place.image
            )
            return TrialOfPhoto(trial, decoded)
        finally:
            await segmenter.aclose()

    def _prompt(
        self,
        question: Question,
        photo: Photo | None,
        decoded: DecodedImage,
        segmenter: Segmenter,
    ) -> PhotoPrompt:
        height, width = decoded.rgb.shape[:2]
        if question.prompt is not None:
            return PhotoPrompt(question.prompt.for_image(width, height))
        if photo is None or not isinstance(question.photo, DealPhoto):
            return PhotoPrompt(Prompt())
        settings = read_saved(self._store).settings.prompts
        return prompt_of_deal(
            self._store,
            question.photo.deal,
            photo,
            question.mode,
            decoded,
            settings,
            segmenter.default_texts,
        )

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._asked > _WAITING:
            raise FullError(
                "other trials wait already: try again in a moment", retry_after_s=_RETRY_AFTER_S
            )
        self._asked += 1
        try:
            async with self._one:
                yield
        finally:
            self._asked -= 1


def refusal_of_trial(error: SegpipeError) -> RefusedError:
    """What somebody is told of an error of a trial."""
    status = UNUSABLE
    if isinstance(error, DealNotFoundError):
        status = NOT_FOUND
    elif isinstance(error, ConfigError | BudgetExceededError):
        status = CONFLICT
    elif isinstance(error, SegmenterError):
        status = BAD_GATEWAY
    elif not isinstance(error, InputError):
        raise error
    field = error.field
    if isinstance(error, PhotoError | InvalidIdError | DealNotFoundError):
        field = "image"
    return RefusedError(status, type(error).__name__, error.message, field=field)


def _decode(data: bytes, max_pixels: int) -> DecodedImage:
    return decode_image(data, max_pixels=max_pixels)

"""One deal from its photos to its promoted versions, through every stage."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from segpipe.errors import BadPhotosError, DealFailedError, PhotosChangedError, SegpipeError
from segpipe.flow.deal_inputs import NO_REVIEWS, ModeReviews, read_reviews
from segpipe.flow.mode_prompts import ModePrompts, PhotoPrompt, read_prompts
from segpipe.flow.photo import LoadedPhoto, load_photo
from segpipe.flow.results import DealResults
from segpipe.flow.stages.stage import PhotoResults, PhotoWork
from segpipe.flow.stages.stage_registry import STAGES, AnyStage, Stages
from segpipe.flow.tools import Tools
from segpipe.flow.writer import DealWriter
from segpipe.progress import DealDone, DealFailed, DealStarted, PhotoDone, Tell, tell_nobody
from segpipe.prompt import Mode
from segpipe.store.inputs import Photo
from segpipe.store.store import DealStore, Promotion, Version
from segpipe.store.version_info import DealSummary

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class DealTask:
    """What to do: which stages of which deal, for which run.

    Attributes:
        deal: The deal.
        run_id: The run that the versions will be named after.
        attempt: The attempt of that run, from 0.
        mode: How prompts are answered.
        stages: The names of the stages to make anew; the others are read from the current
            versions.
        skip_up_to_date: Whether to leave out those of them that are up to date.
        keep_other_settings: Whether those that were made with other settings count as up to date.
        request: What the run is a part of, where a request is cut into runs, which then spend one
            budget; "" when the run is all of it.
    """

    deal: str
    run_id: str
    attempt: int = 0
    mode: Mode = Mode.FIND_ALL
    stages: frozenset[str] = STAGES.names
    skip_up_to_date: bool = False
    keep_other_settings: bool = False
    request: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class DealOutcome:
    """What a run made of a deal.

    Attributes:
        task: What was asked for.
        promotion: The commit that made the versions current, and whom it overtook.
        versions: The version of each stage that was made, by name.
        summary: Counts, warnings and seconds.
    """

    task: DealTask
    promotion: Promotion
    versions: dict[str, Version]
    summary: DealSummary


async def process_deal(
    store: DealStore,
    task: DealTask,
    tools: Tools,
    tell: Tell = tell_nobody,
    *,
    stages: Stages = STAGES,
) -> DealOutcome:
    """Put the photos of a deal through the stages and promote what they made, all together.

    Photos are streamed: as many are in memory as settings allow in flight.

    Args:
        store: Where the deal lives.
        task: What to do.
        tools: What to do it with.
        tell: Told of the deal and its photos.
        stages: All stages that there are.

    Raises:
        DealFailedError: Something is wrong with the deal; it has every reason that was found.
            Nothing was promoted, and what was current still is.
    """
    try:
        photos = store.photos(task.deal)
        tell(DealStarted(task.deal, len(photos)))
        made, read = stages.in_order(task.stages), stages.read_by(task.stages)
        prompts, reviews = _read_documents(store, task, photos, made)
        with (
            store.stage(task.deal, task.mode, run_id=task.run_id, attempt=task.attempt) as staging,
            DealResults(task.deal, staging.before, read) as current,
            DealWriter(
                staging,
                made,
                current,
                read,
                tools,
                prompts_version=prompts.version if prompts else "",
                reviews_version=reviews.version,
            ) as writer,
        ):
            current.require_photos(photo.image for photo in photos)
            clock = Stopwatch()
            run = _StagesOfPhoto(store, task, tools, current, made, prompts, reviews, clock)
            async with aclosing(
                map_in_order(run.process, photos, limit=tools.images_in_flight)
            ) as processed:
                async for results in processed:
                    if results is None:
                        continue
                    with clock.time("write"):
                        summary = writer.add(results)
                    tell(PhotoDone(task.deal, summary.file_name, summary.counts))
            run.raise_errors()
            with clock.time("write"):
                sealed = writer.seal(task.deal, task.mode, photos, clock.seconds)
            _require_unchanged(store, task.deal, photos)
            promotion = staging.promote()
    except Exception as error:
        failure = _as_failure(task.deal, error)
        tell(DealFailed(task.deal, failure.message))
        raise failure from error
    tell(DealDone(task.deal, sealed.summary.counts))
    return DealOutcome(task, promotion, sealed.versions, sealed.summary)


def _read_documents(
    store: DealStore, task: DealTask, photos: Sequence[Photo], made: Sequence[AnyStage]
) -> tuple[ModePrompts | None, ModeReviews]:
    """The prompts and reviews that the stages read; the deal's folder is listed once for both."""
    prompts, reviews = None, NO_REVIEWS
    asks = any(stage.reads_prompts for stage in made)
    is_reviewed = any(stage.reads_reviews for stage in made)
    if asks or is_reviewed:
        entries = store.prompts.deal_entries(task.deal)
        if asks:
            prompts = read_prompts(store, task.deal, task.mode, photos, entries)
        if is_reviewed:
            reviews = read_reviews(store, task.deal, task.mode, photos, entries)
    return prompts, reviews


class _StagesOfPhoto:
    """Puts one photo through the stages; collects what went wrong instead of raising it."""

    def __init__(
        self,
        store: DealStore,
        task: DealTask,
        tools: Tools,
        current: DealResults,
        made: Sequence[AnyStage],
        prompts: ModePrompts | None,
        reviews: ModeReviews,
        clock: "Stopwatch",
    ) -> None:
        self.errors: dict[str, Exception] = {}
        self._store = store
        self._task = task
        self._tools = tools
        self._current = current
        self._waves = waves(made)
        self._prompts = prompts
        self._reviews = reviews
        self._clock = clock

    async def process(self, photo: Photo) -> PhotoResults | None:
        """The results of one photo; None when the deal has failed, and then it is only read.

        Reading on is cheap and names every bad photo at once; segmenting on might be paid for.
        """
        try:
            with self._clock.time("decode"):
                loaded = await load_photo(
                    self._store, self._task.deal, photo, self._tools.settings.stages.photos
                )
            return None if self.errors else await self._make(loaded)
        except SegpipeError as error:
            self.errors[photo.name] = error.at(deal=self._task.deal, image=photo.name)
        except Exception as error:  # noqa: BLE001 - reported with the deal's other errors
            error.add_note(f"deal {self._task.deal!r}, image {photo.name!r}")
            self.errors[photo.name] = error
        return None

    def raise_errors(self) -> None:
        """Raise DealFailedError when any photo failed."""
        if self.errors:
            ordered = [self.errors[name] for name in sorted(self.errors)]
            raise DealFailedError(self._task.deal, ordered) from ordered[0]

    async def _make(self, loaded: LoadedPhoto) -> PhotoResults:
        info, tools = loaded.info, self._tools
        asked: PhotoPrompt | None = None
        if self._prompts:
            size = {"width": info.width, "height": info.height}
            asked = self._prompts.ask(
                info.image,
                **size,
                settings=tools.settings.stages.prompts,
                default_texts=tools.segmenter.default_texts,
            )
        work = PhotoWork(
            deal=self._task.deal,
            run_id=self._task.run_id,
            request=self._task.request,
            loaded=loaded,
            results=self._current.of(loaded),
            asked=asked,
            segmenter=tools.segmenter,
            refiner=tools.refiner,
            review=self._reviews.images.get(info.image),
        )
        for wave in self._waves:
            await asyncio.gather(*(self._make_stage(stage, work) for stage in wave))
        return work.results

    async def _make_stage(self, stage: AnyStage, work: PhotoWork) -> None:
        with self._clock.time(stage.name):
            work.results.put(stage, await stage.make(work, self._tools.settings.of(stage)))


def waves(made: Sequence[AnyStage]) -> list[list[AnyStage]]:
    """The stages in groups: those of a group wait for none of each other, and go side by side."""
    number: dict[str, int] = {}
    groups: list[list[AnyStage]] = []
    for stage in made:
        above = stage.upstream if stage.waits_for is None else stage.waits_for
        own = 1 + max((number.get(each.name, -1) for each in above), default=-1)
        number[stage.name] = own
        groups += [[]] * (own == len(groups))
        groups[own] = [*groups[own], stage]
    return groups


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent in each stage, summed over photos (that may run side by side)."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start


async def map_in_order(
    function: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, limit: int
) -> AsyncGenerator[Result, None]:
    """Yield ``function(item)`` in the order of the items, at most ``limit`` under way.

    When the caller stops early, or an item fails, what is under way is cancelled and awaited.
    """
    pending: deque[asyncio.Future[Result]] = deque()
    try:
        for item in items:
            if len(pending) == limit:
                yield await pending.popleft()
            pending.append(asyncio.ensure_future(function(item)))
        while pending:
            yield await pending.popleft()
    finally:
        for future in pending:
            future.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def _require_unchanged(store: DealStore, deal: str, photos: Sequence[Photo]) -> None:
    if store.photos(deal) != tuple(photos):
        raise PhotosChangedError(
            "photos were added, removed or changed while the run read them: run the deal again",
            deal=deal,
        )


def _as_failure(deal: str, error: Exception) -> DealFailedError:
    if isinstance(error, DealFailedError):
        return error
    if isinstance(error, SegpipeError):
        error.at(deal=deal)
    if isinstance(error, BadPhotosError):
        return DealFailedError(deal, error.errors)
    return DealFailedError(deal, [error])

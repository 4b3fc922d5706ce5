"""What can be compared: settings, asked as a run would ask, and generations, read as they are."""

from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from segpipe.errors import EmptyDealError
from segpipe.flow.mode_prompts import read_prompts
from segpipe.flow.photo import LoadedPhoto
from segpipe.flow.results import DealResults
from segpipe.flow.saved_settings import SavedSettings, within_budget
from segpipe.flow.stages.dedup import DEDUP, dedup_image
from segpipe.flow.stages.refinement import REFINEMENT, RefinedImage, refine_image
from segpipe.flow.stages.segmentation import SEGMENTATION, segment_image
from segpipe.prompt import Mode
from segpipe.refiners.build_refiner import build_refiner
from segpipe.segmenters.build_segmenter import build_segmenter
from segpipe.segmenters.kept_data import KeptData
from segpipe.segmenters.segmenter import call_context
from segpipe.store.store import DealStore
from segpipe.threads import finish_in_thread
from segpipe.vision.backdrop import with_backdrop
from segpipe.vision.mask import Mask

_ANY_SIZE = 1000.0  # 10^6 pixels; a run has read the photo before
COMPARED_STAGES = (SEGMENTATION, DEDUP, REFINEMENT)


@dataclass(frozen=True, slots=True, eq=False)
class SideAnswer:
    """What a side finds in a photo.

    Attributes:
        masks: Those of its items.
        seconds: What it took, on the clock.
        calls: Paid calls; 0 for what was kept.
        cost: What they cost, in credits.
        fault: Why it failed; None when it did not.
    """

    masks: tuple[Mask, ...] = ()
    seconds: float = 0.0
    calls: int = 0
    cost: float = 0.0
    fault: str | None = None


class Side(Protocol):
    """What answers: settings, or what a generation has."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def max_megapixels(self) -> float:
        """The largest photo that it takes, 10^6 pixels."""

    async def answer(self, deal: str, loaded: LoadedPhoto) -> SideAnswer:
        """Its items of a photo; raises a SegpipeError."""

    async def aclose(self) -> None:
        """Let go of what it holds."""


class SettingsSide:
    """What settings find now.

    Args:
        name: What it is called.
        settings: The settings.
        store: The deals, for what is asked of each photo.
        mode: How prompts are answered.
        data: Where answers and accounts of services are kept.
        run_id: The run that the account names.
    """

    def __init__(
        self,
        name: str,
        settings: SavedSettings,
        store: DealStore,
        mode: Mode,
        data: KeptData,
        run_id: str,
    ) -> None:
        self._name = name
        self._settings = settings
        self._store = store
        self._mode = mode
        self._run_id = run_id
        self._segmenter = build_segmenter(within_budget(settings.segmenter, settings.budget), data)
        self._refiner = build_refiner(settings.refiner)

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @property
    def max_megapixels(self) -> float:
        """The largest photo that it takes, 10^6 pixels."""
        return float(self._settings.photos.max_megapixels)

    async def answer(self, deal: str, loaded: LoadedPhoto) -> SideAnswer:
        """Ask about a photo."""
        decoded = loaded.decoded
        prompts = read_prompts(self._store, deal, self._mode, self._store.photos(deal))
        asked = prompts.ask(
            loaded.info.image,
            width=loaded.info.width,
            height=loaded.info.height,
            settings=self._settings.prompts,
            default_texts=self._segmenter.default_texts,
        )
        began = perf_counter()
        with call_context(self._run_id, deal, loaded.info.image):
            segmented = await segment_image(decoded, self._segmenter, asked)
        deduped = await finish_in_thread(dedup_image, segmented, self._settings.dedup)
        picture = await finish_in_thread(with_backdrop, decoded)
        refined = await refine_image(picture, segmented, deduped, self._refiner)
        usage = segmented.result.usage
        return SideAnswer(
            _masks(refined),
            perf_counter() - began,
            calls=usage.calls if usage else 0,
            cost=(usage.cost or 0.0) if usage else 0.0,
        )

    async def aclose(self) -> None:
        """Close the segmenter's connections."""
        await self._segmenter.aclose()


class GenerationSide:
    """What a deal has: what is current, or was so many generations ago.

    Args:
        store: The deals.
        mode: The mode.
        back: How many generations ago; 0 is what is current.
    """

    def __init__(self, store: DealStore, mode: Mode, back: int = 0) -> None:
        self._store = store
        self._mode = mode
        self._back = back

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self._back} generations ago" if self._back else "what is current"

    @property
    def max_megapixels(self) -> float:
        """Whatever the runs took."""
        return _ANY_SIZE

    async def answer(self, deal: str, loaded: LoadedPhoto) -> SideAnswer:
        """Read the photo's items."""
        return await finish_in_thread(self._read, deal, loaded.info.image)

    async def aclose(self) -> None:
        """Nothing is held."""

    def _read(self, deal: str, image: str) -> SideAnswer:
        commits = self._store.commits(deal, self._mode)
        if len(commits) <= self._back:
            raise EmptyDealError(f"there is no generation of {self.name} to compare", deal=deal)
        generation = commits[-1 - self._back].generation
        snapshot = self._store.snapshot(deal, self._mode, generation)
        with DealResults(deal, snapshot, COMPARED_STAGES) as results:
            return SideAnswer(_masks(results.photo(image).of(REFINEMENT)))


def _masks(refined: RefinedImage) -> tuple[Mask, ...]:
    return tuple(item.mask for item in refined.items if item.mask is not None)

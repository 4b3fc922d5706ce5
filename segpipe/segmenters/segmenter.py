"""The segmenter protocol, what wraps a segmenter, and for whom one is asked."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from segpipe.detection import Candidate, SegmentationResult, Thresholds
from segpipe.errors import UnsupportedPromptError
from segpipe.prompt import Point, Prompt
from segpipe.vision.image import RgbImage


class Segmenter(Protocol):
    """Finds items in an image; whoever derives from it has to define ``id`` and ``segment``.

    An implementation never changes the image that it is given. It raises
    :class:`~segpipe.errors.UnsupportedPromptError` for a prompt it cannot follow, and
    :class:`~segpipe.errors.SegmenterError` when it fails; "nothing found" is a result
    without detections, never an error. With ``inside_box`` there is one detection for each box,
    in their order, of score :data:`~segpipe.detection.NO_EVIDENCE` where nothing was found.
    Several calls may be under way at once; cancelling one drops its work.
    """

    @property
    def id(self) -> str:
        """Its name, as recorded in results; a wrapper's composes: ``recursive(classical)``."""
        ...

    @property
    def concurrency(self) -> int:
        """How many calls at the same time keep it busy, 1 or more."""
        return 1

    @property
    def device(self) -> str | None:
        """Where it computes: ``cpu``, ``cuda:0``; None for what is elsewhere or not loaded yet."""
        return None

    @property
    def default_texts(self) -> tuple[str, ...]:
        """What it looks for where a prompt says nothing; none is everything."""
        return ()

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8.

        Args:
            image: The picture.
            prompt: What to look for.
            thresholds: What counts as found; None is what the settings say.
        """
        ...

    async def candidates(
        self, image: RgbImage, points: Sequence[Point]
    ) -> tuple[Candidate, Candidate, Candidate]:
        """Three readings of what the points mean, taken together, the best score first.

        Raises:
            PromptError: No point is positive, or one lies outside the image.
            UnsupportedPromptError: It has no readings of points.
        """
        raise UnsupportedPromptError(
            f"{self.id} has no readings of points; use the segmenter classical, or sam3 with the "
            "backend internal or local",
            field="points",
        )

    async def paid_calls(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> int:
        """How many paid calls the answer takes, at least; what is kept takes none."""
        return 0

    async def require_budget(self, calls: int) -> None:
        """Raise BudgetExceededError when so many more paid calls would pass a request's limit."""
        return

    async def revision(self) -> str:
        """What names its weights: another value may mean other answers. It may load them."""
        return ""

    async def aclose(self) -> None:
        """Let go of connections and models; the segmenter is not used any more."""


class WrappedSegmenter(Segmenter, Protocol):
    """A segmenter around another one: what a wrapper does not define is the inner one's."""

    _inner: Segmenter

    @property
    def id(self) -> str:
        """The id of the inner segmenter: the answers are its own."""
        return self._inner.id

    @property
    def concurrency(self) -> int:
        """That of the inner segmenter."""
        return self._inner.concurrency

    @property
    def device(self) -> str | None:
        """That of the inner segmenter."""
        return self._inner.device

    @property
    def default_texts(self) -> tuple[str, ...]:
        """Those of the inner segmenter."""
        return self._inner.default_texts

    async def candidates(
        self, image: RgbImage, points: Sequence[Point]
    ) -> tuple[Candidate, Candidate, Candidate]:
        """Those of the inner segmenter."""
        return await self._inner.candidates(image, points)

    async def paid_calls(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> int:
        """Those of the inner segmenter for the same question."""
        return await self._inner.paid_calls(image, prompt, thresholds)

    async def require_budget(self, calls: int) -> None:
        """Ask the inner segmenter, whose budget it is."""
        await self._inner.require_budget(calls)

    async def revision(self) -> str:
        """That of the inner segmenter."""
        return await self._inner.revision()

    async def aclose(self) -> None:
        """Close the inner segmenter."""
        await self._inner.aclose()


@dataclass(frozen=True, slots=True)
class CallContext:
    """For which run, deal and image a segmenter is asked; empty where it is not known.

    Bills and budgets are kept by it. It travels beside the call, in a context variable, since an
    answer must not depend on it.

    Attributes:
        run_id: The run.
        deal: The deal.
        image: The photo.
        request: What the run is a part of, when a request is cut into runs: they spend one budget.
    """

    run_id: str = ""
    deal: str = ""
    image: str = ""
    request: str = ""


_UNKNOWN = CallContext()
_current: ContextVar[CallContext] = ContextVar("call_context", default=_UNKNOWN)


def current_call_context() -> CallContext:
    """The context of the code that is running."""
    return _current.get()


@contextmanager
def call_context(run_id: str, deal: str, image: str, request: str = "") -> Iterator[None]:
    """Name the context of everything that is asked inside the block, tasks included."""
    token = _current.set(CallContext(run_id, deal, image, request))
    try:
        yield
    finally:
        _current.reset(token)

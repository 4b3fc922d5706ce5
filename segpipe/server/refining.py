"""The refiner of the service: loaded beside the port; whatever befalls it, answers go on."""

import logging
import time
from collections.abc import Sequence
from typing import Literal

import numpy as np

from segpipe.errors import RefinerError
from segpipe.progress import Tell, tell_nobody
from segpipe.refiners.refiner import Refinement, Refiner
from segpipe.server.gate import Gate
from segpipe.server.metrics import Metrics
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

_log = logging.getLogger(__name__)

State = Literal["none", "loading", "ready", "failed"]

REFINER_FAILED = "the refiner failed on this image; the service's log has the reason"
NOT_ASKED_FOR = "refinement was not asked for"
_NOT_REFINED: dict[State, str] = {
    "none": "the service has no refiner",
    "loading": "the refiner is still being loaded",
    "failed": "the refiner could not be loaded; the service's log has the reason",
}

_TRIAL_SIDE_PX = 64
_TRIAL_BOX = Box(16, 16, 48, 48)
_TRIAL_GREY = 220


class Refining:
    """Holds one refiner, or none, and lets requests have it.

    Args:
        refiner: The refiner; it loads what it needs when it is first asked.
        gate: Who may be in it.
        metrics: Where it is counted.
    """

    def __init__(self, refiner: Refiner | None, gate: Gate, metrics: Metrics) -> None:
        self._refiner = refiner
        self._gate = gate
        self._metrics = metrics
        self._state: State = "none" if refiner is None else "loading"
        metrics.watch(
            "segpipe_refiner_loaded", "1 while the refiner can be asked.", lambda: self.is_ready
        )
        metrics.watch("segpipe_in_refiner", "Photos in the refiner.", lambda: gate.in_refiner)

    async def load(self) -> None:
        """Have the refiner load what it needs, by asking it about a tiny picture.

        What goes wrong is logged, and the service does without a refiner.
        """
        if self._refiner is None:
            return
        picture = np.zeros((_TRIAL_SIDE_PX, _TRIAL_SIDE_PX, 3), np.uint8)
        mask = Mask.from_box(_TRIAL_BOX, image_width=_TRIAL_SIDE_PX, image_height=_TRIAL_SIDE_PX)
        picture[mask.to_full() == 1] = _TRIAL_GREY
        try:
            await self._refiner.refine(picture, [mask])
        except Exception:  # noqa: BLE001 - logged whole
            # Whatever it raises, coarse masks are answers too.
            _log.exception("the refiner %s could not be loaded: masks stay coarse", self.name)
            self._state = "failed"
        else:
            _log.info("the refiner %s is loaded", self.name)
            self._state = "ready"

    @property
    def name(self) -> str | None:
        """The refiner's id; None when there is none."""
        return self._refiner.id if self._refiner else None

    @property
    def is_ready(self) -> bool:
        """Whether there is a refiner, and it is loaded."""
        return self._state == "ready"

    def for_request(self, *, is_wanted: bool = True) -> "Refiner":
        """The refiner for one request: ``none``, with the reason, where it cannot be asked."""
        if self._refiner is None or not self.is_ready:
            return Unrefined(_NOT_REFINED[self._state])
        if not is_wanted:
            return Unrefined(NOT_ASKED_FOR)
        return _Guarded(self._refiner, self._gate, self._metrics)


class Unrefined:
    """Gives back every coarse mask, with the reason why nothing else is there.

    Args:
        reason: For people.
    """

    id = "none"

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell = tell_nobody
    ) -> tuple[Refinement, ...]:
        """Keep the coarse masks of one image."""
        return tuple(Refinement(mask, accepted=False, reason=self._reason) for mask in masks)


class _Guarded:
    """Asks a refiner when there is room in it; coarse masks stay where it fails."""

    def __init__(self, inner: Refiner, gate: Gate, metrics: Metrics) -> None:
        self._inner = inner
        self._gate = gate
        self._metrics = metrics

    @property
    def id(self) -> str:
        return self._inner.id

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell = tell_nobody
    ) -> tuple[Refinement, ...]:
        if not masks:
            return ()
        async with self._gate.with_refiner():
            started = time.perf_counter()
            try:
                return _one_each(masks, await self._inner.refine(image, masks, tell), self.id)
            except Exception:  # noqa: BLE001 - logged whole
                _log.exception("the refiner failed: the masks of this image stay coarse")
                self._metrics.refiner_failures.inc()
                return await Unrefined(REFINER_FAILED).refine(image, masks)
            finally:
                self._metrics.refiner_seconds.observe(time.perf_counter() - started)


def _one_each(
    masks: Sequence[Mask], answers: tuple[Refinement, ...], refiner: str
) -> tuple[Refinement, ...]:
    if len(answers) != len(masks):
        raise RefinerError(f"{refiner} answered {len(answers)} masks for {len(masks)} of them")
    return answers

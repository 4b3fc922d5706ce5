"""Progress as lines in the run's log."""

import time

import dagster as dg

from segpipe.progress import (
    DealDone,
    DealFailed,
    DealSkipped,
    DealStarted,
    DealWanted,
    Event,
    PhotoDone,
    Tell,
)

_QUIET_S = 10.0


class LogProgress:
    """Logs the deals of a run, and its photos no more often than every few seconds.

    Args:
        log: The run's log.
        also: Who else is told.
    """

    def __init__(self, log: dg.DagsterLogManager, also: Tell) -> None:
        self._log = log
        self._also = also
        self._photos = 0
        self._done = 0
        self._spoke_at = 0.0

    def __call__(self, event: Event) -> None:
        """Say what is worth a line."""
        match event:
            case DealWanted(deal, reason):
                self._log.info("deal %r: %s", deal, reason)
            case DealStarted(deal, photos):
                self._photos, self._done, self._spoke_at = photos, 0, time.monotonic()
                self._log.info("deal %r: %d photos", deal, photos)
            case PhotoDone(deal):
                self._done += 1
                if time.monotonic() - self._spoke_at >= _QUIET_S:
                    self._spoke_at = time.monotonic()
                    self._log.info("deal %r: %d of %d photos", deal, self._done, self._photos)
            case DealDone(deal, counts):
                self._log.info(
                    "deal %r: promoted; %d photos, %d detections, %d survivors, %d crops",
                    deal,
                    counts.images,
                    counts.detections,
                    counts.survivors,
                    counts.crops,
                )
            case DealSkipped(deal, reason):
                self._log.info("deal %r: nothing to do: %s", deal, reason)
            case DealFailed(deal, reason):
                self._log.error("deal %r: failed: %s", deal, reason)
        self._also(event)

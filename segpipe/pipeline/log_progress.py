"""Progress as lines in the run's log."""

import time

import dagster as dg

from segpipe.flow.progress import Progress
from segpipe.progress import Counts

_QUIET_S = 10.0


class LogProgress:
    """Logs the deals of a run, and its photos no more often than every few seconds.

    Args:
        log: The run's log.
        also: Who else is told.
    """

    def __init__(self, log: dg.DagsterLogManager, also: Progress) -> None:
        self._log = log
        self._also = also
        self._images = 0
        self._done = 0
        self._spoke_at = 0.0

    def deal_started(self, deal: str, images: int) -> None:
        """Say how many photos there are."""
        self._images, self._done, self._spoke_at = images, 0, time.monotonic()
        self._log.info("deal %r: %d photos", deal, images)
        self._also.deal_started(deal, images)

    def image_done(self, deal: str, file_name: str, counts: Counts) -> None:
        """Say how far the deal is, when nothing was said for a while."""
        self._done += 1
        if time.monotonic() - self._spoke_at >= _QUIET_S:
            self._spoke_at = time.monotonic()
            self._log.info("deal %r: %d of %d photos", deal, self._done, self._images)
        self._also.image_done(deal, file_name, counts)

    def deal_done(self, deal: str, counts: Counts) -> None:
        """Say what was promoted."""
        self._log.info(
            "deal %r: promoted; %d photos, %d detections, %d survivors, %d crops",
            deal,
            counts.images,
            counts.detections,
            counts.survivors,
            counts.crops,
        )
        self._also.deal_done(deal, counts)

    def deal_skipped(self, deal: str) -> None:
        """Say so."""
        self._log.info("deal %r: nothing to do", deal)
        self._also.deal_skipped(deal)

    def deal_failed(self, deal: str, reason: str) -> None:
        """Say why."""
        self._log.error("deal %r: failed: %s", deal, reason)
        self._also.deal_failed(deal, reason)

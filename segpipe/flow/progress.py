"""How a run tells what it is doing."""

from typing import Protocol

from segpipe.progress import Counts


class Progress(Protocol):
    """Told as the work goes on; an implementation must not raise."""

    def deal_started(self, deal: str, images: int) -> None:
        """Work on a deal begins."""
        ...

    def image_done(self, deal: str, file_name: str, counts: Counts) -> None:
        """One of its photos is through every stage."""
        ...

    def deal_done(self, deal: str, counts: Counts) -> None:
        """The deal is promoted."""
        ...

    def deal_skipped(self, deal: str) -> None:
        """There is nothing to do for the deal."""
        ...

    def deal_failed(self, deal: str, reason: str) -> None:
        """The deal failed: nothing was promoted, or after that its finds were not recorded."""
        ...


class NoProgress:
    """Tells nobody."""

    def deal_started(self, deal: str, images: int) -> None:
        """Nothing."""

    def image_done(self, deal: str, file_name: str, counts: Counts) -> None:
        """Nothing."""

    def deal_done(self, deal: str, counts: Counts) -> None:
        """Nothing."""

    def deal_skipped(self, deal: str) -> None:
        """Nothing."""

    def deal_failed(self, deal: str, reason: str) -> None:
        """Nothing."""

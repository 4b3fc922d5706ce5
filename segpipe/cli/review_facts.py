"""What the commands about reviews tell, in the form that ``--json`` prints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReviewCounts:
    """How many items stand how; of one photo, or with none named of all ``photos`` of a deal.

    ``done`` counts the photos that somebody says are done, ``items`` all but superseded finds.
    """

    deal: str
    mode: str
    photo: str | None
    photos: int
    done: int
    items: int
    accepted: int
    rejected: int
    edited: int
    added: int
    superseded: int
    changed: int
    unreviewed: int


@dataclass(frozen=True, slots=True)
class ReviewList:
    """``segpipe reviews`` and ``segpipe review``; ``faults`` are reviews that cannot be used."""

    reviews: tuple[ReviewCounts, ...]
    faults: tuple[str, ...]

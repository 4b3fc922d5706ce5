"""For which run, deal and image a segmenter is asked: what a bill or a budget is kept by.

It travels beside the call, in a context variable, since an answer must not depend on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Occasion:
    """Where a question comes from; empty where it is not known."""

    run_id: str = ""
    deal: str = ""
    image: str = ""


_UNKNOWN = Occasion()
_current: ContextVar[Occasion] = ContextVar("occasion", default=_UNKNOWN)


def current_occasion() -> Occasion:
    """The occasion of the code that is running."""
    return _current.get()


@contextmanager
def occasion(run_id: str, deal: str, image: str) -> Iterator[None]:
    """Name the occasion of everything that is asked inside the block, tasks included."""
    token = _current.set(Occasion(run_id, deal, image))
    try:
        yield
    finally:
        _current.reset(token)

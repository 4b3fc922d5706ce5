"""How far a job over all deals is, kept beside them, so that one that is tried again goes on."""

import time
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from segpipe.store import layout
from segpipe.store.storage import Storage, store_errors

CHUNK = 500
"""How many deals are looked at between two notes of how far a job is."""
_STALE_S = 43_200.0
"""A pass that has stood still for so long is begun anew: what it has seen is no longer true."""


class _Pass(BaseModel):
    """The stored document."""

    model_config = ConfigDict(extra="ignore")

    began_at: float
    saved_at: float
    previous_began_at: float | None = None
    after: str = ""
    is_done: bool = False
    found: list[str] = []
    counts: dict[str, int] = {}


class JobProgress:
    """One pass of a job over all deals in the order of their ids.

    >>> from segpipe.store.data_root import DataRoot
    >>> storage = DataRoot.parse("memory://jobs").storage()
    >>> first = JobProgress(storage, "sweep")
    >>> chunks = first.chunks(["b", "a"])
    >>> next(chunks), list(chunks), list(JobProgress(storage, "sweep").chunks(["a", "b", "c"]))
    (['a', 'b'], [], [['c']])

    Two that are at work at once do the same twice, and nothing else happens.

    Args:
        storage: The data root.
        name: Of the job.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._key = layout.job_key(name)
        self._pass = self._begin()

    @property
    def began_at(self) -> float:
        """When this pass began, seconds since 1970."""
        return self._pass.began_at

    @property
    def previous_began_at(self) -> float | None:
        """When the last pass that came to its end began; None when none has."""
        return self._pass.previous_began_at

    @property
    def found(self) -> list[str]:
        """What the pass has found so far; may be added to while a chunk is worked on."""
        return self._pass.found

    @property
    def counts(self) -> dict[str, int]:
        """The same for numbers."""
        return self._pass.counts

    def chunks(self, deals: Sequence[str]) -> Iterator[list[str]]:
        """The deals that are left, some at a time: they count as done when the next are asked for.

        Args:
            deals: All deals.
        """
        left = sorted(deal for deal in deals if deal > self._pass.after)
        for start in range(0, len(left), CHUNK):
            chunk = left[start : start + CHUNK]
            yield chunk
            self._pass.after = chunk[-1]
            self._save()

    def finish(self) -> None:
        """The next pass begins anew."""
        self._pass.is_done = True
        self._save()

    def _begin(self) -> _Pass:
        now = time.time()
        new = _Pass(began_at=now, saved_at=now)
        with store_errors():
            try:
                before = _Pass.model_validate_json(self._storage.read(self._key))
            except (FileNotFoundError, ValidationError):  # nobody depends on it
                return new
        if not before.is_done and before.saved_at > now - _STALE_S:
            return before
        done_at = before.began_at if before.is_done else before.previous_began_at
        return new.model_copy(update={"previous_began_at": done_at})

    def _save(self) -> None:
        self._pass.saved_at = time.time()
        with store_errors():
            self._storage.replace(self._key, self._pass.model_dump_json().encode())

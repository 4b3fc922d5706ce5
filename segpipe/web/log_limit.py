"""A log that junk cannot fill."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

_Kind = tuple[str, str, int]
"""Logger, file and line number: what one call in the code writes is of one kind."""


@dataclass(slots=True)
class _Window:
    begun: float
    written: int = 0
    dropped: int = 0


class LimitRepeats(logging.Filter):
    """Lets so many records of one kind through in a while, and counts the rest.

    The next record that passes says how many were left out since the last one.

    >>> records = LimitRepeats(most=2)
    >>> junk = logging.LogRecord("web", logging.WARNING, "web.py", 1, "junk", None, None)
    >>> [records.filter(junk) for _ in range(4)]
    [True, True, False, False]

    Args:
        most: Records of a kind in each window.
        window_s: How long a window is, seconds.
        now: A clock, in seconds.
    """

    def __init__(
        self, most: int = 20, window_s: float = 60, now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most = most
        self._window_s = window_s
        self._now = now
        self._windows: dict[_Kind, _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        kind, now = (record.name, record.pathname, record.lineno), self._now()
        window = self._windows.setdefault(kind, _Window(now))
        dropped = 0
        if now - window.begun >= self._window_s:
            dropped = window.dropped
            window = self._windows[kind] = _Window(now)
        if window.written >= self._most:
            window.dropped += 1
            return False
        window.written += 1
        if dropped:
            record.msg = f"{record.getMessage()} ({dropped:,} more like it were not written)"
            record.args = None
        return True

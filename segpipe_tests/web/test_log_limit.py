"""A log that junk cannot fill."""

import logging

from segpipe.web.log_limit import LimitRepeats


def record(line: int = 1, *, message: str = "junk %d", number: int = 5) -> logging.LogRecord:
    return logging.LogRecord("web", logging.WARNING, "web.py", line, message, (number,), None)


def test_records_of_one_kind_are_counted_and_told_with_the_next_that_passes() -> None:
    now = 0.0
    limit = LimitRepeats(most=2, window_s=60, now=lambda: now)
    assert [limit.filter(record(number=number)) for number in range(5)] == [True, True] + [
        False
    ] * 3
    assert limit.filter(record(line=2))  # of another kind

    now = 60.0
    following = record(number=7)
    assert limit.filter(following)
    assert following.getMessage() == "junk 7 (3 more like it were not written)"
    another = record(number=8)
    assert limit.filter(another)
    assert another.getMessage() == "junk 8"

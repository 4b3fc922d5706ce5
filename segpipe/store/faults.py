"""Operating system errors, told as errors of the store."""

import contextlib
import errno
import os
from collections.abc import Iterator

from segpipe.errors import SegpipeError, StoreError

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@contextlib.contextmanager
def store_errors(deal: str | None = None) -> Iterator[None]:
    """Raise OSErrors as StoreErrors, and fill in the deal of every error that lacks it."""
    try:
        yield
    except SegpipeError as error:
        error.at(deal=deal)
        raise
    except OSError as error:
        raise StoreError(_explain(error), deal=deal) from error


def _explain(error: OSError) -> str:
    """What to do about it; without the path, which says more about the machine than the fault."""
    if error.errno in _NO_SPACE:
        return "no space left on the data root; free some, then run again: nothing current changed"
    if error.errno in _NOT_WRITABLE:
        return "the data root is read-only, or not permitted to this user; grant it write access"
    reason = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    return f"the data root failed: {reason}"

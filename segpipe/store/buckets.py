"""Buckets of object stores: how one is opened, read piece by piece, and what its faults mean."""

import contextlib
import errno
import functools
import io
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import MemoryStore, from_url
from typing_extensions import Buffer

from segpipe.errors import ConfigError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_FIRST_READ_BYTES = 1024 * 1024


def open_bucket(scheme: str, name: str) -> "ObjectStore":
    """A bucket or container, as the environment describes it; nothing is asked of it yet.

    https://developmentseed.org/obstore/latest/authentication/ has the variables: with S3,
    ``AWS_ACCESS_KEY_ID`` and so on, ``AWS_ENDPOINT_URL`` for what only speaks it.

    Args:
        scheme: ``s3``, ``gs``, ``az`` or another scheme of obstore, or ``memory``.
        name: The bucket; with ``memory`` any name, the same objects for all who give it.

    Raises:
        ConfigError: The environment lacks something, such as the account.
    """
    if scheme == "memory":
        return _memory_of(name)
    try:
        return from_url(f"{scheme}://{name}")
    except (BaseError, ValueError) as error:
        raise ConfigError(
            f"{scheme}://{name} cannot be opened: {first_line(error)}", field="root"
        ) from error


@functools.cache
def _memory_of(name: str) -> "ObjectStore":
    return MemoryStore()


class ObjectReader(io.RawIOBase):
    """Reads an object piece by piece; a small one came whole with the first request."""

    def __init__(self, store: "ObjectStore", path: str, key: str) -> None:
        super().__init__()
        self._store = store
        self._path = path
        self._key = key
        self._position = 0
        self._first, self._size = self._read_first()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move there."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Read what fits; 0 at the end."""
        view = memoryview(buffer).cast("B")
        start, end = self._position, min(self._position + len(view), self._size)
        if start >= end:
            return 0
        if end <= len(self._first):
            data: Buffer = self._first[start:end]
        else:
            with os_errors(self._key):
                data = obstore.get_range(self._store, self._path, start=start, end=end)
        view[: end - start] = memoryview(data)
        self._position = end
        return end - start

    def _read_first(self) -> tuple[bytes, int]:
        with os_errors(self._key):
            try:
                found = obstore.get(
                    self._store, self._path, options={"range": (0, _FIRST_READ_BYTES)}
                )
                return bytes(found.bytes()), found.meta["size"]
            except BaseError:
                # An empty object has no range.
                if obstore.head(self._store, self._path)["size"]:
                    raise
                return b"", 0


@contextlib.contextmanager
def os_errors(key: str) -> Iterator[None]:
    """Raise obstore's errors as the OSErrors that they would be on a disk."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key) from error
    except (AlreadyExistsError, PreconditionError) as error:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), key) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), key) from error
    except (InvalidPathError, ValueError) as error:
        raise OSError(f"a name that the object store refuses: {key!r}") from error
    except BaseError as error:
        raise OSError(first_line(error)) from error


def first_line(error: Exception) -> str:
    """What obstore says, without its dump of structures, and without signatures in URLs."""
    return re.sub(r"\?\S*", "", str(error).partition("\n")[0])

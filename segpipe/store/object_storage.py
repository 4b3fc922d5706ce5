"""Storage on an object store, or any other file system of fsspec.

Atomic steps are single PUTs: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
A PUT is durable when it is answered, and there are no folders to sync or to remove.
"""

import contextlib
import io
import posixpath
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, ClassVar, cast

from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from typing_extensions import override

from segpipe.errors import StoreError
from segpipe.store.storage import Entry, Kind, Storage

_NS_PER_S = 1_000_000_000
# The names under which file systems of fsspec give the time of the last change.
_MODIFIED_FIELDS = ("LastModified", "last_modified", "modified", "updated", "mtime", "created")
_S3 = "s3"
# What S3 answers when an object is not, or is just ceasing to be, the one that was asked for.
_OTHER_OBJECT_CODES = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
# MemoryFileSystem looks whether a name is free and then takes it, in two steps.
_memory_lock = threading.Lock()


class ObjectStorage(Storage):
    """A tree of files on a file system of fsspec.

    ``put_if_absent`` is exactly as atomic as the file system's ``pipe_file(mode="create")``: on S3
    one PUT with ``If-None-Match: *``, in memory a lock of this process. ``swap`` is one PUT with
    ``If-Match`` on S3, and is refused by file systems that have nothing of the kind.

    Args:
        fs: The file system.
        root: The data root in it, without protocol.
    """

    settles: ClassVar[bool] = False

    def __init__(self, fs: AbstractFileSystem, root: str) -> None:
        self._fs = fs
        self._root = root.rstrip("/")

    @override
    def entry(self, key: str) -> Entry | None:
        path = self._path(key)
        self._fs.invalidate_cache(posixpath.dirname(path))
        try:
            return _entry(posixpath.basename(path), self._fs.info(path))
        except FileNotFoundError:
            return None

    @override
    def list(self, key: str) -> list[Entry]:
        path = self._path(key)
        self._fs.invalidate_cache(path)
        try:
            infos = self._fs.ls(path, detail=True)
        except FileNotFoundError:
            return []
        # Some stores list an empty object that stands for the folder itself.
        return [
            _entry(posixpath.basename(info["name"].rstrip("/")), info)
            for info in infos
            if info["name"].rstrip("/") != path
        ]

    @override
    def walk(self, key: str) -> Iterator[Entry]:
        path = self._path(key)
        self._fs.invalidate_cache(path)
        for name, info in self._fs.find(path, detail=True).items():
            yield _entry(posixpath.relpath(name, path), info)

    @override
    def open(self, key: str) -> BinaryIO:
        if isinstance(self._fs, MemoryFileSystem):  # its readers share one position
            return io.BytesIO(self.read(key))
        return cast("BinaryIO", self._fs.open(self._path(key), "rb"))

    @override
    def read(self, key: str) -> bytes:
        return cast("bytes", self._fs.cat_file(self._path(key)))

    @override
    def read_input(self, key: str) -> tuple[bytes, Entry]:
        data = self.read(key)
        found = self.entry(key)
        if found is None:
            raise FileNotFoundError(key)
        return data, found

    @override
    def create(self, key: str) -> "_ObjectFile":
        path = self._path(key)
        if self._fs.exists(path):
            raise FileExistsError(key)
        return _ObjectFile(self._fs.open(path, "wb"))

    @override
    def sync_folders(self, keys: Iterable[str]) -> None:
        pass

    @override
    def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
        data = b"".join(chunks)
        in_memory = isinstance(self._fs, MemoryFileSystem)
        with _memory_lock if in_memory else contextlib.nullcontext():
            self._fs.pipe_file(self._path(key), data, mode="create")

    @override
    def replace(self, key: str, data: bytes) -> None:
        self._fs.pipe_file(self._path(key), data)

    @override
    def swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        if expected is None:
            try:
                self.put_if_absent(key, [data])
            except FileExistsError:
                return self._holds(key, data)
            return True
        if _S3 in _protocols(self._fs):
            return self._put_if_match(key, expected, data)
        if not isinstance(self._fs, MemoryFileSystem):
            raise StoreError(
                f"{type(self._fs).__name__} cannot replace a file only if it is still the one that "
                "was read, which editing prompts needs; use a local folder or S3"
            )
        with _memory_lock:
            is_expected = self._holds(key, expected)
            if is_expected:
                self.replace(key, data)
            return is_expected

    @override
    def refresh(self, key: str) -> None:
        # No object store can do it without writing the object again.
        if self.entry(key) is None:
            raise FileNotFoundError(key)

    @override
    def remove(self, key: str) -> None:
        self._fs.rm_file(self._path(key))

    @override
    def remove_folder(self, key: str) -> bool:
        return False

    def _put_if_match(self, key: str, expected: bytes, data: bytes) -> bool:
        path = self._path(key)
        self._fs.invalidate_cache(posixpath.dirname(path))
        try:
            # The tag first: should another object come before we read, its tag is another, too.
            tag = self._fs.info(path)["ETag"]
            if not self._holds(key, expected):
                return False
            self._fs.pipe_file(path, data, IfMatch=tag)
        except FileNotFoundError:
            return False
        except OSError as error:
            if _s3_code(error) not in _OTHER_OBJECT_CODES:
                raise
            return self._holds(key, data)
        return True

    def _holds(self, key: str, data: bytes) -> bool:
        """Whether these bytes are there.

        After a refusal: a client that repeats a request whose answer was lost is refused by its
        own success.
        """
        try:
            return self.read(key) == data
        except FileNotFoundError:
            return False

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"


class _ObjectFile:
    """An object under creation."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)

    def finish(self) -> None:
        self._file.close()

    def abandon(self) -> None:
        if hasattr(self._file, "discard"):  # an upload in parts, not to be completed
            self._file.discard()


def _protocols(fs: AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _s3_code(error: OSError) -> str | None:
    """The code that S3 gave; s3fs tells refused conditions by EINVAL, as a dozen other things."""
    response = getattr(error.__cause__, "response", None) or {}
    return cast("str | None", response.get("Error", {}).get("Code"))


def _entry(name: str, info: Mapping[str, Any]) -> Entry:
    if info["type"] == "directory":
        return Entry(name, Kind.FOLDER)
    modified = next((info[field] for field in _MODIFIED_FIELDS if info.get(field)), 0)
    seconds = modified.timestamp() if isinstance(modified, datetime) else float(modified)
    modified_ns = round(seconds * _NS_PER_S)
    return Entry(name, Kind.FILE, info["size"], modified_ns, modified_ns)

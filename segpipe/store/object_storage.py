"""Storage on an object store: S3 and what speaks it, Google's, Azure's, or this process's memory.

Atomic steps are single PUTs, with the condition that no object has the name, or that the one that
has it is still the one that was read:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
A PUT is durable when it is answered, and there are no folders to sync or to remove.

The answer to a PUT may get lost, and a client that repeats it is then refused by its own success.
So whoever is refused, or told of a fault, first reads back what is there.
"""

import contextlib
import errno
import io
import os
import posixpath
import random
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, MutableSequence, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Literal, NamedTuple, cast

import obstore
from typing_extensions import override

from segpipe.store.buckets import ObjectReader, os_errors
from segpipe.store.storage import Entry, Kind, Storage

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode, UpdateVersion
    from obstore.store import ObjectStore

_NS_PER_S = 1_000_000_000
_CREATE: Literal["create"] = "create"
_FIRST_READ_BYTES = 1024 * 1024
_BUFFER_BYTES = 8 * 1024 * 1024
# A request costs more than the memory of one: the cut-outs of a deal are mostly put at once.
_MAX_PUT_BYTES = 128 * 1024 * 1024
_PART_BYTES = 64 * 1024 * 1024
_PARTS_AT_ONCE = 2
# AWS answers 409 while somebody else's PUT of the same name is under way, which may yet fail.
_PUT_TRIES = 10
_PUT_TRIES_AT_FAULT = 9
_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 2.0


class _Object(NamedTuple):
    data: bytes
    meta: "ObjectMeta"


class ObjectStorage(Storage):
    """A tree of files in a bucket, or below a prefix of one.

    Args:
        store: The bucket.
        prefix: The data root in it; empty for all of it.
    """

    settles: ClassVar[bool] = False
    keeps_empty_folders: ClassVar[bool] = False
    prefers_few_files: ClassVar[bool] = True

    def __init__(self, store: "ObjectStore", prefix: str) -> None:
        self._store = store
        self._above = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @override
    def entry(self, key: str) -> Entry | None:
        path = self._path(key)
        with os_errors(key):
            try:
                return _entry(_name_of(key), obstore.head(self._store, path))
            except FileNotFoundError:
                pass
        return Entry(_name_of(key), Kind.FOLDER) if self.is_folder(key) else None

    @override
    def is_folder(self, key: str) -> bool:
        with os_errors(key):
            return bool(next(iter(obstore.list(self._store, self._path(key), chunk_size=1)), []))

    @override
    def leaves_root(self, key: str) -> bool:
        return False

    @override
    def list(self, key: str) -> list[Entry]:
        path = self._path(key)
        with os_errors(key):
            found = obstore.list_with_delimiter(self._store, path)
        folders = [Entry(_name_of(prefix), Kind.FOLDER) for prefix in found["common_prefixes"]]
        # Some stores list an empty object that stands for the folder itself.
        files = (meta for meta in found["objects"] if meta["path"] != path)
        return [*folders, *(_entry(_name_of(meta["path"]), meta) for meta in files)]

    @override
    def names_after(self, key: str, after: str, limit: int) -> Sequence[str]:
        path = self._path(key)
        names: MutableSequence[str] = []
        offset = f"{path}/{after}" if after else None
        with os_errors(key):
            for chunk in obstore.list(self._store, path, offset=offset):
                names += (meta["path"].removeprefix(f"{path}/") for meta in chunk)
                if len(names) >= limit:  # object stores list in the order of names
                    break
        return names[:limit]

    @override
    def walk(self, key: str) -> Iterator[Entry]:
        path = self._path(key)
        with os_errors(key):
            for chunk in obstore.list(self._store, path):
                for meta in chunk:
                    name = meta["path"].removeprefix(f"{path}/")
                    if name != meta["path"]:
                        yield _entry(name, meta)

    @override
    def open(self, key: str) -> BinaryIO:
        reader = io.BufferedReader(ObjectReader(self._store, self._path(key), key), _BUFFER_BYTES)
        return cast("BinaryIO", reader)

    @override
    def read(self, key: str) -> bytes:
        return self._get(key).data

    @override
    def read_range(self, key: str, offset: int, length: int) -> bytes:
        if length == 0:  # no range
            return b""
        with os_errors(key):
            part = obstore.get_range(self._store, self._path(key), start=offset, length=length)
            return bytes(part)

    @override
    def read_input(self, key: str) -> tuple[bytes, Entry]:
        data, meta = self._get(key)
        return data, _entry(_name_of(key), meta)

    @override
    def create(self, key: str) -> "_ObjectFile":
        return _ObjectFile(self, key)

    @override
    def sync_folders(self, keys: Iterable[str]) -> None:
        pass

    @override
    def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
        if not self._put_if(key, b"".join(chunks), None, _CREATE):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), key)

    @override
    def replace(self, key: str, data: bytes) -> None:
        with os_errors(key):
            obstore.put(self._store, self._path(key), data, use_multipart=False)

    @override
    def swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        if expected is None:
            try:
                self.put_if_absent(key, [data])
            except FileExistsError:
                return False
            return True
        try:
            present = self._get(key)
        except FileNotFoundError:
            return False
        if present.data != expected:
            return False
        return self._put_if(key, data, expected, _version_of(present.meta))

    @override
    def refresh(self, keys: Collection[str]) -> None:
        # No object store can do it without writing the objects again: they are only looked for,
        # all in one listing of what is near them.
        folder = posixpath.commonpath(keys) if len(keys) > 1 else posixpath.dirname(*keys)
        missing = set(keys).difference(f"{folder}/{entry.name}" for entry in self.walk(folder))
        for key in missing:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)

    @override
    def remove(self, key: str) -> None:
        with os_errors(key):
            obstore.delete(self._store, self._path(key))

    @override
    def remove_folder(self, key: str) -> bool:
        # There is none, but some stores that only speak S3 keep it and go on listing its name,
        # until somebody deletes that; they refuse while anything is in it.
        path = self._path(key)
        with os_errors(key), contextlib.suppress(FileNotFoundError):
            try:
                obstore.head(self._store, path)
            except FileNotFoundError:
                obstore.delete(self._store, path)
        return False

    def put_file(self, key: str, file: BinaryIO) -> None:
        """Put a file of any size from its beginning, in parts; its name is nobody else's."""
        with os_errors(key):
            obstore.put(
                self._store,
                self._path(key),
                file,
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    def _get(self, key: str) -> _Object:
        with os_errors(key):
            found = obstore.get(self._store, self._path(key))
            return _Object(bytes(found.bytes()), found.meta)

    def _put_if(self, key: str, data: bytes, expected: bytes | None, mode: "PutMode") -> bool:
        """Put an object if what is there is what was expected; tell whether it was.

        Tried again while nothing has changed: a refusal was then for a PUT of somebody else that
        came to nothing, and a request that got lost is not repeated by obstore, which cannot know
        that this one may be.
        """
        for number in range(1, _PUT_TRIES + 1):
            fault: OSError | None = None
            try:
                with os_errors(key):
                    obstore.put(self._store, self._path(key), data, mode=mode, use_multipart=False)
                    return True
            except (FileExistsError, FileNotFoundError):
                pass
            except OSError as error:
                fault = error
            held = self._held(key)
            if held == data:
                return True
            if held != expected:
                return False
            if fault and (fault.errno or number >= _PUT_TRIES_AT_FAULT):
                raise fault
            longest = min(_PAUSE_S * 2**number, _LONGEST_PAUSE_S)
            time.sleep(random.uniform(0, longest))  # noqa: S311 - no secret
        return False

    def _held(self, key: str) -> bytes | None:
        try:
            return self.read(key)
        except FileNotFoundError:
            return None

    def _path(self, key: str) -> str:
        return f"{self._above}{key}"


class _ObjectFile:
    """An object under creation: in memory while it is small, else in a temporary file."""

    def __init__(self, storage: ObjectStorage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._data: io.BytesIO | BinaryIO = io.BytesIO()

    def write(self, data: bytes | memoryview) -> None:
        is_in_memory = isinstance(self._data, io.BytesIO)
        if is_in_memory and self._data.tell() + len(data) > _BUFFER_BYTES:
            memory, self._data = self._data, cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115
            self._data.write(cast("io.BytesIO", memory).getbuffer())
        self._data.write(data)

    def finish(self) -> None:
        try:
            if isinstance(self._data, io.BytesIO):
                self._storage.put_if_absent(self._key, [self._data.getvalue()])
            elif self._data.tell() <= _MAX_PUT_BYTES:
                self._data.seek(0)
                self._storage.put_if_absent(self._key, [self._data.read()])
            else:
                self._data.seek(0)
                self._storage.put_file(self._key, self._data)
        finally:
            self._data.close()

    def abandon(self) -> None:
        self._data.close()


def _version_of(meta: "ObjectMeta") -> "UpdateVersion":
    """What names an object as it is: a tag, for Google a version beside it."""
    version: UpdateVersion = {"e_tag": meta["e_tag"]}
    if meta["version"] is not None:
        version["version"] = meta["version"]
    return version


def _name_of(path: str) -> str:
    return path.rpartition("/")[2]


def _entry(name: str, meta: "ObjectMeta") -> Entry:
    modified_ns = _whole_seconds_ns(meta["last_modified"])
    return Entry(name, Kind.FILE, meta["size"], modified_ns, modified_ns)


def _whole_seconds_ns(moment: datetime) -> int:
    """A listing and an answer to a read give one object's time with different precision."""
    return int(moment.timestamp()) * _NS_PER_S

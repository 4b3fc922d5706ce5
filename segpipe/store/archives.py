"""Archives: the many small files of a version as members of one tar, each of which is read alone.

Every file of a version is synced on a disk, and costs a request on an object store. A tar costs
that once, and where its members lie is kept beside it, so that who wants one reads that range only.
"""

import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from isal import isal_zlib

from segpipe.errors import StoreError

if TYPE_CHECKING:
    from segpipe.store.staging import Staging

_BLOCK_BYTES = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK_BYTES)
_MODE = 0o644
_MAX_PLAIN_SIZE = 8**11 - 1


class Member(NamedTuple):
    """Where a member's bytes lie in its archive.

    Attributes:
        offset: Of the first of them, from the beginning of the archive.
        length: How many there are.
        crc32: Their CRC-32, as gzip has it: whoever reads them alone cannot check the archive's
            own digest.
    """

    offset: int
    length: int
    crc32: int


class ArchiveWriter:
    """Writes a tar of a version from front to back; a context manager.

    Equal members in equal order give equal bytes: no member has a time or an owner.

    Args:
        staging: Where the version is staged.
        asset: The asset.
        name: The file's name in the version.

    >>> import tempfile
    >>> from segpipe.store.store import DealStore
    >>> with tempfile.TemporaryDirectory() as root:
    ...     store = DealStore(root)
    ...     with store.stage("lot-7", "find_all", run_id="run-1") as staging:
    ...         with ArchiveWriter(staging, "coins", "coins.tar") as archive:
    ...             member = archive.add("a/gold.txt", b"3 g")
    ...         _ = staging.seal("coins", made_from={})
    ...         _ = staging.promote()
    ...     store.current("lot-7", "find_all").read_member("coins", "coins.tar", member)
    b'3 g'
    """

    def __init__(self, staging: "Staging", asset: str, name: str) -> None:
        self._staging = staging
        self._asset = asset
        self._name = name
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._written = 0

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(self._staging.open(self._asset, self._name))
        self._stack.push(self._end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def _end(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._file:
            self._file.write(_END)

    def add(self, name: str, data: bytes) -> Member:
        """Append a member.

        Args:
            name: Its relative POSIX path; no two members have the same.
            data: Its bytes.

        Raises:
            StoreError: The archive is not open, or the storage failed.
        """
        if self._file is None:
            raise StoreError("an ArchiveWriter is a context manager: use it in a with statement")
        header = _header(name, len(data))
        padding = bytes(-len(data) % _BLOCK_BYTES)
        for part in (header, data, padding):
            self._file.write(part)
        member = Member(self._written + len(header), len(data), crc32_of(data))
        self._written = member.offset + len(data) + len(padding)
        return member


crc32_of: Callable[[bytes], int] = isal_zlib.crc32
"""The CRC-32 of some bytes."""


def _header(name: str, size: int) -> bytes:
    """What stands before a member: its name and size.

    https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html
    """
    if not name.isascii() or len(name) > tarfile.LENGTH_NAME or size > _MAX_PLAIN_SIZE:
        return _member(name, size).tobuf(tarfile.PAX_FORMAT, "utf-8")
    # What most need is a plain header, and to fill one in takes a tenth of making it.
    named, sized = name.encode().ljust(tarfile.LENGTH_NAME, b"\0"), b"%011o\0" % size
    checksum = b"%06o\0 " % (_PLAIN_SUM + sum(named) + sum(sized))
    return b"".join((named, _PLAIN[_MODE_AT], sized, _PLAIN[_TIME_AT], checksum, _PLAIN[_REST_AT]))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, _MODE
    return member


_PLAIN = _member("", 0).tobuf(tarfile.USTAR_FORMAT)
# Where its parts lie; between them are the name, the size and the checksum.
_MODE_AT, _TIME_AT, _REST_AT = slice(100, 124), slice(136, 148), slice(156, None)
# While it is summed, the place of the checksum holds spaces.
_PLAIN_SUM = sum(map(sum, (_PLAIN[_MODE_AT], _PLAIN[_TIME_AT], _PLAIN[_REST_AT], b" " * 8)))

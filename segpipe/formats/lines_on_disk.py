"""Lines that wait on disk until everything is known that has to stand before or in them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self


class LinesOnDisk:
    """Lines in a temporary file without a name, gone with the process; a context manager.

    Args:
        folder: Where there is space for them; None for the system's folder of temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - close() does

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the lines; leaving the context does it too."""
        self._file.close()

    def append(self, line: bytes) -> None:
        """Add a line; it holds no line break."""
        self._file.write(line + b"\n")

    def mark(self) -> int:
        """The place that :meth:`rewind` goes back to."""
        return self._file.tell()

    def rewind(self, mark: int) -> None:
        """Forget every line that was added since a mark."""
        self._file.seek(mark)
        self._file.truncate()

    def __iter__(self) -> Iterator[bytes]:
        """Every line in order; add none meanwhile."""
        self._file.seek(0)
        for line in self._file:
            yield line.removesuffix(b"\n")

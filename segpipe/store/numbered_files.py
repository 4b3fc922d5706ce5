"""Documents in a row, each in a file of its own that is never changed; the highest is current.

Commits and saved settings are such rows. A file appears whole or not at all, and only if its number
is still free: so of all who add to the same row at the same time exactly one succeeds.
"""

from segpipe.store import layout
from segpipe.store.storage import Storage


class NumberedFiles:
    """The files of one row; failures are OSErrors.

    >>> from segpipe.store.data_root import DataRoot
    >>> row = NumberedFiles(DataRoot.parse("memory://row").storage(), "settings")
    >>> row.put(1, b"{}"), row.put(1, b"[]"), row.generations(), row.read(1)
    (True, False, [1], b'{}')

    Args:
        storage: Where they lie.
        folder: The key of their folder, which need not be there.
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder

    def generations(self) -> list[int]:
        """Every generation that has a file, ascending."""
        found = (layout.generation_of(entry.name) for entry in self._storage.list(self._folder))
        return sorted(generation for generation in found if generation is not None)

    def read(self, generation: int) -> bytes | None:
        """The bytes of a generation; None when it has no file."""
        try:
            return self._storage.read(self._key(generation))
        except FileNotFoundError:
            return None

    def put(self, generation: int, data: bytes) -> bool:
        """Take a generation that is free; False when somebody else has it."""
        try:
            self._storage.put_if_absent(self._key(generation), [data])
        except FileExistsError:
            # A client that repeats a request whose answer was lost is refused by its own success.
            return self.read(generation) == data
        return True

    def _key(self, generation: int) -> str:
        return f"{self._folder}/{layout.generation_name(generation)}"

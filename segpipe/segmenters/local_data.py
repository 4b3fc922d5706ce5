"""Answers and accounts in folders of this machine, shared by its processes."""

from dataclasses import dataclass
from pathlib import Path

from segpipe.segmenters.cache.cache_folder import CacheFolder
from segpipe.segmenters.kept_data import KeptData
from segpipe.segmenters.sam3.segmind.ledger_folder import LedgerFolder

DATA_FOLDER = Path("data")
"""Where segmenters keep answers and accounts, unless they are told otherwise."""


@dataclass(frozen=True, slots=True)
class LocalData(KeptData):
    """What is kept below a folder of this machine.

    >>> LocalData(Path("/data")).ledgers("ledger").lines("run-1").place
    '/data/ledger/run-1.jsonl'
    """

    folder: Path = DATA_FOLDER

    def answers(self, folder: str, max_bytes: int) -> CacheFolder:
        """Answers in a folder below, or anywhere if it begins with ``/``."""
        return CacheFolder(self.folder / folder, max_bytes)

    def ledgers(self, folder: str) -> LedgerFolder:
        """Accounts in a folder below, or anywhere if it begins with ``/``."""
        return LedgerFolder(self.folder / folder)

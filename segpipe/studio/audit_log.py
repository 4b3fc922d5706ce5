"""One line for each change that somebody makes in the studio: when, who, what."""

import contextlib
import json
import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from segpipe.studio.roles import Person

FILE_NAME = "audit.jsonl"
_log = logging.getLogger(__name__)


class AuditLog:
    """Appends to a file of JSON lines, and tells the process's log.

    Args:
        folder: Where the file is kept; made when the first line comes.

    >>> import tempfile
    >>> from segpipe.studio.roles import Role
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = AuditLog(Path(folder))
    ...     log.note(Person("Ada", Role.ADMIN), "rolled back", deal="lot-7", generation=3)
    ...     [(line["who"], line["what"], line["deal"]) for line in log.lines()]
    [('Ada', 'rolled back', 'lot-7')]
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._lock = threading.Lock()

    def note(self, person: Person, what: str, **facts: str | int | float | bool | None) -> None:
        """Note a change that was made.

        Args:
            person: Who made it.
            what: In the past tense, for people: "rolled back".
            facts: What it was about: deal, image, mode, generation.
        """
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "who": person.name,
            "role": person.role.value,
            "what": what,
            **facts,
        }
        text = json.dumps(line, ensure_ascii=True)
        _log.info("change: %s", text)
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    # A full disk or a kill may have cut the last one off.
                    text = text if file.read(1) == b"\n" else f"\n{text}"
                file.write(f"{text}\n".encode("ascii"))

    def lines(self) -> list[dict[str, str | int | float | bool | None]]:
        """Every line, the oldest first; one that was cut off is left out."""
        try:
            text = self._path.read_text(encoding="ascii")
        except FileNotFoundError:
            return []
        found = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

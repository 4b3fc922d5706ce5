"""The saved settings as documents: each save is the next of a row, and the highest is current.

What the settings mean is not known here: :mod:`segpipe.flow.saved_settings` knows.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NamedTuple

from pydantic import AwareDatetime, Field, JsonValue, PositiveInt, ValidationError

from segpipe.errors import SavedSettingsError, SettingsConflictError
from segpipe.store.layout import SETTINGS, generation_name
from segpipe.store.manifests import Part, utc_now
from segpipe.store.numbered_files import NumberedFiles
from segpipe.store.storage import Storage, store_errors

_MAX_TRIES = 64
_NO_GENERATION = 10**10  # has no name
HOW_TO_RESTORE = (
    "bring an earlier generation back with 'segpipe settings restore GENERATION' (see 'segpipe "
    "settings history'), or the defaults with 'segpipe settings reset'"
)


class SettingsKind(StrEnum):
    """Why a generation was made."""

    SAVE = "save"
    RESET = "reset"
    """Back to the defaults of the code."""


class SettingsDocument(Part):
    """One generation of the saved settings; only those are kept that differ from the defaults."""

    version: Literal[1] = 1
    generation: PositiveInt
    kind: SettingsKind
    created_at: AwareDatetime
    created_by: str = ""
    note: str = ""
    settings: dict[str, JsonValue] = Field(default_factory=dict)


class KeptSettings(NamedTuple):
    """A generation of the row: its document, or why that cannot be read."""

    generation: int
    document: SettingsDocument | None
    fault: str | None


class SettingsFiles:
    """The saved settings of one data root.

    Args:
        storage: The data root.
    """

    def __init__(self, storage: Storage) -> None:
        self._files = NumberedFiles(storage, SETTINGS)

    def newest_generation(self) -> int:
        """The current generation; 0 before anything was saved."""
        with store_errors():
            return max(self._files.generations(), default=0)

    def read(self, generation: int) -> SettingsDocument:
        """One generation.

        Raises:
            SavedSettingsError: There is none, or it cannot be read.
        """
        with store_errors():
            data = self._files.read(generation) if 0 < generation < _NO_GENERATION else None
        if data is None:
            raise SavedSettingsError(f"there is no generation {generation} of the saved settings")
        return _read(data, generation)

    def history(self) -> list[KeptSettings]:
        """Every generation, the earliest first, with those that cannot be read."""
        with store_errors():
            generations = self._files.generations()
        kept = []
        for generation in generations:
            try:
                kept.append(KeptSettings(generation, self.read(generation), None))
            except SavedSettingsError as error:
                kept.append(KeptSettings(generation, None, error.message))
        return kept

    def append(
        self,
        kind: SettingsKind,
        settings: Mapping[str, JsonValue],
        *,
        by: str = "",
        note: str = "",
        expected: int | None = None,
    ) -> SettingsDocument:
        """Put the next generation, whole or not at all.

        Args:
            kind: Why.
            settings: What differs from the defaults of the code.
            by: Who saves.
            note: What for, in the words of who saves.
            expected: The generation that has to be current; None replaces whatever is.

        Raises:
            SettingsConflictError: Another generation is current, or others came first every time.
        """
        for _ in range(_MAX_TRIES):
            newest = self.newest_generation()
            if expected not in {None, newest}:
                raise SettingsConflictError(
                    f"generation {expected} of the settings was edited, and generation {newest} is "
                    "current: look at what changed, and save again"
                )
            document = SettingsDocument(
                generation=newest + 1,
                kind=kind,
                created_at=utc_now(),
                created_by=by,
                note=note,
                settings=dict(settings),
            )
            with store_errors():
                if self._files.put(newest + 1, _to_bytes(document)):
                    return document
        raise SettingsConflictError(f"{_MAX_TRIES} others saved settings first; try again")


def _to_bytes(document: SettingsDocument) -> bytes:
    return document.model_dump_json(indent=1).encode() + b"\n"


def _read(data: bytes, generation: int) -> SettingsDocument:
    what = f"generation {generation} of the saved settings ({SETTINGS}/"
    what += f"{generation_name(generation)})"
    try:
        document = SettingsDocument.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or None
        raise SavedSettingsError(
            f"{what} cannot be read: {first['msg']}; {HOW_TO_RESTORE}", field=field
        ) from None
    if document.generation != generation:
        raise SavedSettingsError(
            f"{what} says that it is generation {document.generation}; {HOW_TO_RESTORE}",
            field="generation",
        )
    return document

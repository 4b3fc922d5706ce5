"""Saved settings as a row of documents, on disks and in object stores."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segpipe.errors import SavedSettingsError, SettingsConflictError
from segpipe.store.settings_documents import SettingsFiles, SettingsKind
from segpipe.store.store import DealStore

SAVE, RESET = SettingsKind.SAVE, SettingsKind.RESET
SAVERS = 12


def test_each_save_is_the_next_document_and_none_is_changed(store: DealStore, root: str) -> None:
    files = store.settings
    assert files.newest_generation() == 0
    assert files.history() == []
    first = files.append(SAVE, {"crops": {"padding_px": 4}}, by="ann", note="wider")
    second = files.append(RESET, {}, expected=1)
    assert (first.generation, second.generation) == (1, 2)

    again = DealStore(root).settings
    assert again.newest_generation() == 2
    assert again.read(1) == first
    assert [kept.document for kept in again.history()] == [first, second]
    raw = json.loads(store.root.storage().read("settings/0000000001.json"))
    assert list(raw) == [
        "version",
        "generation",
        "kind",
        "created_at",
        "created_by",
        "note",
        "settings",
    ]
    assert raw["settings"] == {"crops": {"padding_px": 4}}


def test_a_save_of_what_is_no_longer_current_is_refused(store: DealStore) -> None:
    store.settings.append(SAVE, {})
    for expected in (0, 2):
        with pytest.raises(SettingsConflictError, match="generation 1 is current"):
            store.settings.append(SAVE, {}, expected=expected)
    assert store.settings.newest_generation() == 1


def test_of_all_who_save_at_once_each_gets_a_generation_or_is_told(store: DealStore) -> None:
    def save(number: int) -> bool:
        files = SettingsFiles(store.root.storage())
        try:
            files.append(SAVE, {"n": number}, expected=0)
        except SettingsConflictError:
            files.append(SAVE, {"n": number})
            return False
        return True

    with ThreadPoolExecutor(SAVERS) as pool:
        first = list(pool.map(save, range(SAVERS)))
    assert first.count(True) == 1
    kept = [kept.document for kept in store.settings.history()]
    assert sorted(str(document.settings["n"]) for document in kept if document) == sorted(
        map(str, range(SAVERS))
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "generation 2"),
        ("[]", "generation 2"),
        ('{"version": 2}', "version"),
        ('{"version": 1, "generation": 3, "kind": "save", "created_at": 0}', "generation 3"),
        (
            '{"version": 1, "generation": 2, "kind": "save", "created_at": 0, "colour": 1}',
            "colour",
        ),
    ],
)
def test_a_broken_document_is_told_and_can_be_replaced(
    tmp_path: Path, text: str, says: str
) -> None:
    store = DealStore(tmp_path)
    store.settings.append(SAVE, {})
    (tmp_path / "settings" / "0000000002.json").write_text(text)
    with pytest.raises(SavedSettingsError) as raised:
        store.settings.read(2)
    assert says in str(raised.value)
    assert "segpipe settings restore" in str(raised.value)
    faults = {kept.generation: kept.fault for kept in store.settings.history()}
    assert faults[1] is None
    assert faults[2]
    assert store.settings.append(SAVE, {}, expected=2).generation == 3


def test_a_generation_that_there_is_not_is_told(store: DealStore) -> None:
    with pytest.raises(SavedSettingsError, match="no generation 4"):
        store.settings.read(4)

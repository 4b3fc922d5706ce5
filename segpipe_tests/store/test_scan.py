"""A quick look at deals tells when their photos or prompts change."""

import os
import time
from pathlib import Path

import pytest

from segpipe.store.data_root import DataRoot
from segpipe.store.local_storage import LOCK_NAME, LocalStorage
from segpipe.store.prompts import DealPrompts, ImagePrompts
from segpipe.store.scan import ScannedDeal
from segpipe.store.storage import Entry
from segpipe.store.store import DealStore
from segpipe_tests.deals import DEAL

CLOCK_TICK_S = 0.02
"""Longer than the steps in which a kernel's clock for files moves."""


def look(store: DealStore) -> ScannedDeal:
    (scanned,) = store.scan()
    return scanned


def say(store: DealStore, text: str) -> None:
    store.prompts.edit_image(DEAL, "a", lambda _: ImagePrompts(image="a", text=text))


@pytest.fixture
def deal(store: DealStore, root: str) -> DealStore:
    DataRoot.parse(root).storage().replace(f"deals/{DEAL}/images/a.jpg", b"photo")
    return store


def test_changed_prompts_change_their_listing_and_not_the_version_of_the_photos(
    deal: DealStore,
) -> None:
    before = look(deal)
    assert (before.prompts, before.prompts_listing) == (0, "")
    say(deal, "ring")
    ring = look(deal)
    assert ring.prompts == 1
    assert ring.changed_at >= before.changed_at
    deal.prompts.edit_deal(DEAL, lambda _: DealPrompts(text="coin"))
    assert look(deal).prompts == 2
    say(deal, "a longer text")
    listings = {each.prompts_listing for each in (before, ring, look(deal))}
    assert len(listings) == 3
    assert look(deal).version == before.version == deal.fingerprint(deal.photos(DEAL))


def test_the_time_of_a_change_counts_though_the_file_is_dated_back(
    local_store: DealStore, tmp_path: Path
) -> None:
    folder = tmp_path / "deals" / DEAL
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.jpg").write_bytes(b"photo")
    say(local_store, "ring")
    before = look(local_store)
    time.sleep(CLOCK_TICK_S)
    (folder / "prompts" / "a.json").write_bytes(b"{}")
    os.utime(folder / "prompts" / "a.json", (1, 1))
    after = look(local_store)
    assert after.changed_at > before.changed_at
    assert after.prompts_listing != before.prompts_listing
    time.sleep(CLOCK_TICK_S)
    (folder / "prompts" / "a.json").unlink()
    removed = look(local_store)
    assert removed.changed_at > after.changed_at
    assert (removed.prompts, removed.prompts_listing) == (0, "")


def test_neither_locks_nor_litter_are_prompts(local_store: DealStore, tmp_path: Path) -> None:
    folder = tmp_path / "deals" / DEAL
    (folder / "images").mkdir(parents=True)
    (folder / "prompts").mkdir()
    for name in (LOCK_NAME, ".a.json.swp", "Thumbs.db"):
        (folder / "prompts" / name).write_bytes(b"")
    assert (look(local_store).prompts, look(local_store).prompts_listing) == (0, "")


def test_a_folder_that_is_not_there_is_not_listed(tmp_path: Path) -> None:
    class Counting(LocalStorage):
        lists = 0

        def list(self, key: str) -> list[Entry]:
            self.lists += 1
            return super().list(key)

    (tmp_path / "deals" / DEAL / "images").mkdir(parents=True)
    storage = Counting(tmp_path)
    look(DealStore(tmp_path, storage=storage))
    assert storage.lists == 3, "the root, the deal and its photos"


def test_prompts_that_are_no_folder_count_as_none(local_store: DealStore, tmp_path: Path) -> None:
    (tmp_path / "deals" / DEAL / "images").mkdir(parents=True)
    (tmp_path / "deals" / DEAL / "prompts").write_bytes(b"no folder")
    assert look(local_store).prompts == 0

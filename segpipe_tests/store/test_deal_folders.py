"""Which folders are deals; and a quick look at them tells when photos or prompts change."""

import os
import shutil
import time
from pathlib import Path

import pytest

from segpipe.errors import DealNotFoundError, EmptyDealError, StoreError
from segpipe.store.data_root import DataRoot
from segpipe.store.deal_folders import ScannedDeal
from segpipe.store.inputs import fingerprint
from segpipe.store.local_storage import LOCK_NAME, LocalStorage
from segpipe.store.prompts import DealPrompts, ImagePrompts
from segpipe.store.storage import Entry
from segpipe.store.store import DealStore
from segpipe_tests.deals import DEAL, FAILURE, MODE, promote, put_photo

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
    assert look(deal).version == before.version == fingerprint(deal.photos(DEAL))


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


# Which folders are deals


def test_a_folder_with_nothing_but_failures_is_no_deal(
    local_store: DealStore, tmp_path: Path
) -> None:
    folder = tmp_path / "deals"
    for name in ("empty", "failed/failures", "littered/.cache", "real/images", "bare/prompts"):
        (folder / name).mkdir(parents=True)
    (folder / "failed" / "failures" / f"{MODE}.json").write_bytes(b"{}")
    (folder / "littered" / ".DS_Store").touch()
    (folder / "file").touch()
    assert local_store.deals() == ["bare", "real"]
    for name in ("empty", "failed", "littered", "file", "unknown"):
        with pytest.raises(DealNotFoundError) as caught:
            local_store.photos(name)
        assert caught.value.deal == name
        with pytest.raises(DealNotFoundError):
            local_store.prompts.of_deal(name)
    with pytest.raises(EmptyDealError):
        local_store.photos("real")


def test_a_deal_that_is_removed_during_its_run_does_not_come_back(
    local_store: DealStore, tmp_path: Path
) -> None:
    put_photo(local_store)
    folder = tmp_path / "deals" / DEAL
    with local_store.stage(DEAL, MODE, run_id="r1") as staging:
        with staging.open("crops", "early.bin") as file:
            file.write(b"early")
        staging.seal("crops", made_from={})
        shutil.rmtree(folder)
        with staging.open("dedup", "late.bin") as file:
            file.write(b"late")
        staging.seal("dedup", made_from={})
        assert folder.is_dir()
        with pytest.raises(DealNotFoundError, match="removed while a run") as caught:
            staging.promote()
        assert caught.value.deal == DEAL
    with pytest.raises(DealNotFoundError):
        local_store.record_failure(DEAL, MODE, FAILURE)
    assert os.listdir(tmp_path / "deals") == []  # noqa: PTH208


def test_a_renamed_or_copied_deal_is_told_with_the_way_out(
    local_store: DealStore, tmp_path: Path
) -> None:
    put_photo(local_store)
    promote(local_store, "r1")
    shutil.copytree(tmp_path / "deals" / DEAL, tmp_path / "deals" / "copy")
    for action in (
        lambda: local_store.current("copy", MODE),
        lambda: promote(local_store, "r2", deal="copy"),
        lambda: local_store.rollback_asset("copy", MODE, "crops", "r1"),
    ):
        with pytest.raises(StoreError, match=f"copied from deal '{DEAL}'") as caught:
            action()
        assert caught.value.deal == "copy"
    assert [problem.deal for problem in local_store.verify()] == ["copy"]
    for name in ("commits", "runs"):  # what the message says
        shutil.rmtree(tmp_path / "deals" / "copy" / name)
    promote(local_store, "r2", deal="copy")
    assert list(local_store.verify()) == []

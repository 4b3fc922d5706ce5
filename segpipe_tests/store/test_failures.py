import json

import pytest

from segpipe.errors import CorruptVersionError, DealNotFoundError
from segpipe.store.store import DealStore
from segpipe_tests.deals import DEAL, FAILURE, MODE, promote, put_photo


def test_the_last_failure_is_kept_for_each_mode(store: DealStore) -> None:
    put_photo(store)
    assert store.last_failure(DEAL, MODE) is None
    store.record_failure(DEAL, MODE, FAILURE)
    again = FAILURE.model_copy(update={"run_id": "r2"})
    store.record_failure(DEAL, MODE, again)
    assert store.last_failure(DEAL, MODE) == again
    assert store.last_failure(DEAL, "inside_box") is None


def test_a_promotion_makes_a_failure_void(store: DealStore) -> None:
    promote(store, "r1")
    store.record_failure(DEAL, MODE, FAILURE)
    promote(store, "r2", mode="inside_box")
    assert store.last_failure(DEAL, MODE) == FAILURE
    promote(store, "r2")
    assert store.last_failure(DEAL, MODE) is None
    store.record_failure(DEAL, MODE, FAILURE)
    assert store.last_failure(DEAL, MODE) == FAILURE


def test_a_rollback_does_not_make_a_failure_void(store: DealStore) -> None:
    promote(store, "r1")
    store.record_failure(DEAL, MODE, FAILURE)
    store.rollback(DEAL, MODE, 1)
    assert store.last_failure(DEAL, MODE) == FAILURE


def test_a_failure_older_than_all_kept_commits_is_void(store: DealStore) -> None:
    few = DealStore(store.root.place, keep_commits=2)
    promote(few, "r1")
    few.record_failure(DEAL, MODE, FAILURE)
    promote(few, "r2")
    for _ in range(2):
        few.rollback_asset(DEAL, MODE, "crops", "r2")
    assert few.last_failure(DEAL, MODE) is None


def test_a_damaged_record_is_an_error(store: DealStore) -> None:
    put_photo(store)
    store.record_failure(DEAL, MODE, FAILURE)
    store.root.storage().replace(f"deals/{DEAL}/failures/{MODE}.json", b"{}")
    with pytest.raises(CorruptVersionError):
        store.last_failure(DEAL, MODE)


def test_a_record_of_a_release_that_knew_no_prompts_is_read(store: DealStore) -> None:
    put_photo(store)
    store.record_failure(DEAL, MODE, FAILURE)
    storage, key = store.root.storage(), f"deals/{DEAL}/failures/{MODE}.json"
    record = json.loads(storage.read(key))
    del record["failure"]["prompts_version"]
    storage.replace(key, json.dumps(record).encode())
    assert store.last_failure(DEAL, MODE) == FAILURE.model_copy(update={"prompts_version": ""})


def test_a_failure_can_be_forgotten(store: DealStore) -> None:
    put_photo(store)
    store.record_failure(DEAL, MODE, FAILURE)
    for _ in range(2):
        store.forget_failure(DEAL, MODE)
    assert store.last_failure(DEAL, MODE) is None


def test_there_is_no_record_of_a_deal_that_is_not_there(store: DealStore) -> None:
    with pytest.raises(DealNotFoundError):
        store.record_failure(DEAL, MODE, FAILURE)
    assert store.deals() == []

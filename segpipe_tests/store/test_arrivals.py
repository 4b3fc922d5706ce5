"""The log of arrivals: in order, read from a place on, and forgotten in time."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from segpipe.errors import DealNotFoundError, InvalidIdError
from segpipe.store.arrivals import Arrival, place_at
from segpipe.store.store import DealStore
from segpipe_tests.goods import goods_photo

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400


def deals_after(store: DealStore, place: str, limit: int = 100) -> list[str]:
    return [arrival.deal for arrival in store.arrivals.after(place, limit)]


def test_arrivals_come_in_the_order_of_time_and_from_a_place_on(store: DealStore) -> None:
    assert store.arrivals.after("", 10) == []
    times = [NOON + n * DAY_S / 2.5 for n in range(8)]
    places = {n: store.arrivals.put(f"lot-{n}", times[n]) for n in (3, 0, 7, 1, 6, 2, 5, 4)}
    assert places[0] == "2026-01-31/120000.000000-lot-0"
    assert deals_after(store, "") == [f"lot-{n}" for n in range(8)]
    assert deals_after(store, "", 3) == ["lot-0", "lot-1", "lot-2"]
    assert deals_after(store, places[3]) == ["lot-4", "lot-5", "lot-6", "lot-7"]
    assert deals_after(store, places[3], 2) == ["lot-4", "lot-5"]
    assert deals_after(store, place_at(times[5])) == ["lot-5", "lot-6", "lot-7"]
    assert deals_after(store, places[7]) == []


def test_all_of_many_are_read_step_by_step(store: DealStore) -> None:
    for number in range(57):
        store.arrivals.put(f"lot-{number % 5}", NOON + number * 60)
    place, read = "", list[str]()
    while found := store.arrivals.after(place, 10):
        place = found[-1].place
        read += [arrival.deal for arrival in found]
    assert read == [f"lot-{number % 5}" for number in range(57)]


def test_what_is_no_arrival_stops_nobody(store: DealStore) -> None:
    storage = store.root.storage()
    for name in ("no-time", "120000-", "120001-..", "120002-good"):
        storage.replace(f"arrivals/2026-01-31/{name}", b"")
    storage.replace("arrivals/notes/readme.txt", b"mine")
    assert [deal for deal in deals_after(store, "") if deal] == ["good"]
    assert Arrival("2026-01-31/120002-good", "good") in store.arrivals.after("", 100)
    with pytest.raises(InvalidIdError):
        store.arrivals.put("..")


def test_days_of_long_ago_are_forgotten(store: DealStore) -> None:
    for day in range(4):
        store.arrivals.put("lot", NOON + day * DAY_S)
        store.arrivals.put("other", NOON + day * DAY_S)
    assert store.arrivals.forget(NOON + 2 * DAY_S) == 4
    assert deals_after(store, "") == ["lot", "other"] * 2


def test_photos_and_the_marker_tell_that_they_came(store: DealStore, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(goods_photo(1))
    store.add_photos("lot", [photo])
    assert deals_after(store, "") == ["lot"]
    place = store.arrivals.after("", 1)[0].place
    store.mark_complete("lot")
    assert deals_after(store, place) == ["lot"]
    (scanned,) = store.scan()
    assert scanned.is_complete
    with pytest.raises(DealNotFoundError):
        store.mark_complete("none")

"""Which deals the sensor asks for."""

from hypothesis import given
from hypothesis import strategies as st

from segpipe.pipeline.new_deals import Cursor, Decision, decide, parse_cursor
from segpipe.store.deal_folders import ScannedDeal

SETTLE_S = 30.0


def scanned(
    deal: str = "lot",
    *,
    version: str = "v1",
    changed_at: float = 0.0,
    photos: int = 2,
    is_complete: bool = False,
    fault: str | None = None,
) -> ScannedDeal:
    return ScannedDeal(deal, version, changed_at, photos, is_complete, fault)


def tick(
    *listing: ScannedDeal,
    cursor: Cursor | None = None,
    known: frozenset[str] = frozenset(),
    now: float = 1000.0,
    limit: int = 100,
) -> Decision:
    return decide(listing, cursor or Cursor(), known=known, now=now, settle_s=SETTLE_S, limit=limit)


def ready(decision: Decision) -> list[str]:
    return [deal.deal for deal in decision.ready]


def test_a_new_deal_that_is_still_is_ready() -> None:
    assert ready(tick(scanned(changed_at=900.0))) == ["lot"]


def test_a_new_deal_that_is_still_changing_waits_for_a_later_tick() -> None:
    first = tick(scanned(changed_at=990.0))
    assert (ready(first), first.settling) == ([], 1)
    second = tick(scanned(changed_at=990.0), cursor=first.cursor, now=1025.0)
    assert ready(second) == ["lot"]


def test_a_complete_deal_does_not_have_to_settle() -> None:
    assert ready(tick(scanned(changed_at=999.0, is_complete=True))) == ["lot"]


def test_a_deal_without_photos_is_not_requested() -> None:
    assert ready(tick(scanned(photos=0, is_complete=True))) == []


def test_a_deal_is_requested_once_for_what_it_contains() -> None:
    deal = scanned(changed_at=999.0, is_complete=True)
    decision, known = tick(deal), frozenset({"lot"})
    for now in (1005.0, 1029.0, 1031.0, 1100.0, 5000.0):
        decision = tick(deal, cursor=decision.cursor, known=known, now=now)
        assert ready(decision) == []
    assert decision.cursor == Cursor(seen_to=4970.0)


def test_a_known_deal_that_changes_is_requested_again_once_it_is_still() -> None:
    known = frozenset({"lot"})
    cursor = tick(scanned(changed_at=100.0)).cursor
    changed = scanned(version="v2", changed_at=1010.0)
    assert ready(tick(changed, cursor=cursor, known=known, now=1020.0)) == []
    later = tick(changed, cursor=cursor, known=known, now=1041.0)
    assert ready(later) == ["lot"]
    assert ready(tick(changed, cursor=later.cursor, known=known, now=1100.0)) == []


def test_a_change_right_after_a_request_is_seen() -> None:
    known = frozenset({"lot"})
    first = tick(scanned(changed_at=999.0, is_complete=True))
    changed = scanned(version="v2", changed_at=1001.0, is_complete=True)
    assert ready(tick(changed, cursor=first.cursor, known=known, now=1030.0)) == ["lot"]


def test_a_deal_that_waits_is_not_forgotten_while_the_cursor_moves_on() -> None:
    known = frozenset({"lot"})
    cursor = Cursor(seen_to=970.0)
    for now in (1000.0, 1020.0, 1040.0):  # somebody goes on adding photos
        decision = tick(scanned(version=f"v{now}", changed_at=now), cursor=cursor, known=known)
        cursor = decision.cursor
        assert ready(decision) == []
    last = tick(scanned(version="v1040", changed_at=1040.0), cursor=cursor, known=known, now=1071.0)
    assert ready(last) == ["lot"]


def test_more_than_the_limit_follow_on_later_ticks() -> None:
    deals = [scanned(f"lot-{n}", changed_at=100.0) for n in range(5)]
    known = frozenset(deal.deal for deal in deals[:3])
    asked: list[str] = []
    cursor = Cursor()
    for _ in range(3):
        decision = tick(*deals, cursor=cursor, known=known, limit=2)
        asked += ready(decision)
        cursor, known = decision.cursor, known | set(asked)
    assert asked == [f"lot-{n}" for n in range(5)]
    assert ready(tick(*deals, cursor=cursor, known=known, limit=2)) == []


def test_a_deal_that_cannot_be_listed_is_named_and_looked_at_again() -> None:
    known = frozenset({"lot"})
    faulty = tick(scanned(fault="no permission"), cursor=Cursor(seen_to=900.0), known=known)
    assert faulty.faults == {"lot": "no permission"}
    # It had changed while it could not be listed, before the time that was seen to.
    after = tick(scanned(changed_at=910.0), cursor=faulty.cursor, known=known, now=2000.0)
    assert ready(after) == ["lot"]


def test_clocks_that_differ_by_less_than_the_settling_time_lose_nothing() -> None:
    # The file server is 20 s behind: what changes now carries a time before this tick.
    cursor = tick(now=1000.0).cursor
    late = scanned(changed_at=985.0)
    assert ready(tick(late, cursor=cursor, known=frozenset({"lot"}), now=1040.0)) == ["lot"]


def test_a_cursor_that_cannot_be_read_starts_anew() -> None:
    assert parse_cursor("rubbish") == parse_cursor(None) == parse_cursor("") == Cursor()
    cursor = Cursor(seen_to=5.0, waiting=frozenset({"a"}), requested={"b": "v"})
    assert parse_cursor(cursor.model_dump_json()) == cursor


@given(
    st.lists(
        st.tuples(
            st.floats(0, 500),  # when it changes
            st.sampled_from(["a", "b", "c"]),
            st.booleans(),  # with a marker
        ),
        max_size=12,
    ),
    st.integers(1, 3),
    st.floats(1, 60),
)
def test_the_last_version_of_every_deal_is_requested_exactly_once(
    changes: list[tuple[float, str, bool]], limit: int, interval_s: float
) -> None:
    """Whatever changes when, and however the ticks fall, the end state has been asked for."""
    requested: list[tuple[str, str]] = []
    known: frozenset[str] = frozenset()
    cursor, now = Cursor(), 0.0
    while now < 800.0:
        listing = {}
        for at, deal, is_complete in sorted(changes):
            if at <= now:
                listing[deal] = scanned(
                    deal, version=str(at), changed_at=at, is_complete=is_complete
                )
        decision = tick(*listing.values(), cursor=cursor, known=known, now=now, limit=limit)
        requested += [(deal.deal, deal.version) for deal in decision.ready]
        known, cursor = known | {deal.deal for deal in decision.ready}, decision.cursor
        now += interval_s
    for deal in {deal for _, deal, _ in changes}:
        last = str(max(at for at, name, _ in changes if name == deal))
        assert requested.count((deal, last)) == 1
    assert not cursor.waiting

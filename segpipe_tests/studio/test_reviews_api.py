"""What people decide, over HTTP: the queue, tags, merging, leases, who may."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from segpipe.studio.review_leases import LEASE_S, ReviewLeases
from segpipe.studio.roles import Role
from segpipe.studio.studio_settings import TOKEN_VARIABLES
from segpipe_tests.studio.review_page import FIND_ALL, decisions, make_items
from segpipe_tests.studio.running_studio import RunningStudio, running_studio

TOKENS = {role: f"a-token-of-{role}" for role in Role}
REVIEW = "/api/deals/lot/photos/b/review"
ACCEPT, REJECT = {"verdict": "accept"}, {"verdict": "reject", "reason": "double"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """A studio with a token for each role, and deals to review."""
    root: Path = tmp_path_factory.mktemp("reviews") / "data"
    for deal in ("lot", "rest", "film"):
        make_items(root, deal)
    environment = {name: TOKENS[role] for role, name in TOKEN_VARIABLES.items()}
    with running_studio(root, environment) as running:
        yield running


@pytest.fixture
def reviewer(guarded: RunningStudio) -> Iterator[httpx.Client]:
    with guarded.client(Authorization=f"Bearer {TOKENS[Role.REVIEWER]}") as client:
        yield client


def decide(key: str, to: object, was: object = None) -> dict[str, Any]:
    return {"op": "decide", "key": key, "was": was, "to": to}


def keys_of(client: httpx.Client, url: str = REVIEW) -> list[str]:
    return [item["key"] for item in client.get(f"{url}/items").json()["items"]]


def test_the_queue_has_each_item_in_the_order_that_is_asked_for(reviewer: httpx.Client) -> None:
    url = "/api/deals/film/review/queue"
    by_deal = reviewer.get(url, params={"order": "deal"}).json()
    assert [item["image"] for item in by_deal["items"]] == ["a", "a", "b", "b", "b"]
    assert (by_deal["generation"], by_deal["total"]) == (1, 5)
    assert by_deal["photos"]["a"]["width"] == 160
    uncertain = reviewer.get(url).json()["items"]
    scores = [item["score"] for item in uncertain]
    assert scores == sorted(scores)
    sample: dict[str, str | int] = {"order": "sample", "percent": 40, "seed": 3}
    some = reviewer.get(url, params=sample).json()
    assert (len(some["items"]), some["total"]) == (2, 5)
    assert reviewer.get(url, params=sample).json() == some
    drawn = {
        tuple(
            item["key"] for item in reviewer.get(url, params=sample | {"seed": n}).json()["items"]
        )
        for n in range(20)
    }
    assert len(drawn) > 5
    for wrong in ({"percent": 0}, {"percent": 101}, {"order": "best"}):
        assert reviewer.get(url, params=wrong).status_code in {400, 422}


def test_decisions_merge_and_a_second_one_about_the_same_item_is_told(
    guarded: RunningStudio, reviewer: httpx.Client
) -> None:
    first, second, third = keys_of(reviewer)
    written = reviewer.patch(REVIEW, json={"operations": [decide(first, ACCEPT)]})
    assert written.status_code == 200
    tag = written.headers["ETag"]
    assert reviewer.get(REVIEW, headers={"If-None-Match": tag}).status_code == 304
    # The same request again changes nothing.
    again = reviewer.patch(REVIEW, json={"operations": [decide(first, ACCEPT)]})
    assert again.headers["ETag"] == tag
    assert reviewer.patch(REVIEW, json={"operations": [decide(second, REJECT)]}).status_code == 200
    stale = reviewer.patch(
        REVIEW, json={"operations": [decide(third, ACCEPT)]}, headers={"If-Match": tag}
    )
    assert stale.status_code == 412
    met = reviewer.patch(
        REVIEW, json={"operations": [decide(third, ACCEPT), decide(first, REJECT)]}
    )
    assert met.status_code == 412
    assert met.json()["decisions"] == [first]
    assert len(met.json()["document"]["decisions"]) == 2
    assert decisions(guarded.store, "lot")["b"] == [("accept", None), ("reject", "double")]
    states = {
        item["key"]: item["state"] for item in reviewer.get(f"{REVIEW}/items").json()["items"]
    }
    assert states == {first: "accepted", second: "rejected", third: "unreviewed"}
    # Turned round, an operation takes itself back.
    back = reviewer.patch(REVIEW, json={"operations": [decide(first, None, ACCEPT)]})
    assert [each["verdict"] for each in back.json()["decisions"]] == ["reject"]
    gone = reviewer.patch(REVIEW, json={"operations": [decide("0" * 64, ACCEPT)]})
    assert (gone.status_code, "not there" in gone.text or "no mask" in gone.text) == (400, True)


def test_masks_are_those_of_the_run_and_one_outside_the_photo_is_refused(
    guarded: RunningStudio, reviewer: httpx.Client
) -> None:
    key = keys_of(reviewer, "/api/deals/lot/photos/a/review")[0]
    masks = reviewer.get(f"/api/deals/lot/photos/a/review/masks/{key}").json()
    assert masks["now"] == masks["coarse"]
    assert (masks["now"]["x"], masks["now"]["y"], masks["now"]["size"]) == (4, 20, [16, 12])
    assert masks["refined"] is None
    missing = reviewer.get(f"/api/deals/lot/photos/a/review/masks/{'0' * 64}")
    assert missing.status_code == 404
    outside = masks["now"] | {"x": 155}
    url = "/api/deals/lot/photos/a/review"
    drawn = decide("new", {"verdict": "add", "mask": outside})
    assert reviewer.patch(url, json={"operations": [drawn]}).status_code == 400
    drawn = decide("new", {"verdict": "add", "mask": masks["now"] | {"x": 100, "y": 70}})
    assert reviewer.patch(url, json={"operations": [drawn]}).status_code == 200
    items = reviewer.get(f"{url}/items").json()["items"]
    assert [(each["key"], each["state"]) for each in items][-1] == ("new", "added")
    assert items[-1]["box"] == [100, 70, 112, 86]


def test_the_rest_is_accepted_and_what_was_decided_stays(
    guarded: RunningStudio, reviewer: httpx.Client
) -> None:
    url = "/api/deals/rest/photos/a/review"
    bad = keys_of(reviewer, url)[0]
    reviewer.patch(url, json={"operations": [decide(bad, REJECT)]})
    some = reviewer.post("/api/deals/rest/review/accept", json={"images": ["a"]}).json()["photos"]
    assert {image: len(keys) for image, keys in some.items()} == {"a": 1}
    rest = reviewer.post("/api/deals/rest/review/accept", json={}).json()["photos"]
    assert {image: len(keys) for image, keys in rest.items()} == {"b": 3}
    assert reviewer.post("/api/deals/rest/review/accept", json={}).json() == {"photos": {}}
    assert decisions(guarded.store, "rest") == {
        "a": [("accept", None), ("reject", "double")],
        "b": [("accept", None)] * 3,
    }


def test_two_reviewers_do_not_meet(reviewer: httpx.Client) -> None:
    url = "/api/deals/film/review/leases"
    items = [
        {"image": "b", "key": key} for key in keys_of(reviewer, "/api/deals/film/photos/b/review")
    ]
    mine = reviewer.put(url, json={"tab": "one", "items": items[:2]}).json()
    assert mine == {"held": [], "for_s": LEASE_S}
    other = reviewer.put(url, json={"tab": "two", "items": items}).json()["held"]
    assert [{"image": each["image"], "key": each["key"]} for each in other] == items[:2]
    # Who goes on gives back what was before.
    reviewer.put(url, json={"tab": "one", "items": items[1:2]})
    left = reviewer.put(url, json={"tab": "two", "items": items}).json()["held"]
    assert [each["key"] for each in left] == [items[1]["key"]]
    reviewer.put(url, json={"tab": "one", "items": []})
    assert reviewer.put(url, json={"tab": "two", "items": items}).json()["held"] == []


def test_a_lease_ends_when_nobody_says_so_again() -> None:
    now = [0.0]
    leases = ReviewLeases(lambda: now[0])
    item = ("lot", FIND_ALL.value, "a", "k")
    leases.take("one", "ann", [item])
    now[0] = LEASE_S - 1
    assert leases.take("two", "bob", [item]) == {item: "ann"}
    leases.take("one", "ann", [item])
    now[0] = 2 * LEASE_S - 2
    assert leases.take("two", "bob", [item]) == {item: "ann"}
    now[0] = 2 * LEASE_S
    assert leases.take("two", "bob", [item]) == {}


def test_a_viewer_looks_and_does_not_decide(guarded: RunningStudio) -> None:
    with guarded.client(Authorization=f"Bearer {TOKENS[Role.VIEWER]}") as viewer:
        assert viewer.get("/api/deals/film/review/queue").status_code == 200
        (key, *_) = keys_of(viewer, "/api/deals/film/photos/a/review")
        url = "/api/deals/film/photos/a/review"
        assert viewer.patch(url, json={"operations": [decide(key, ACCEPT)]}).status_code == 403
        assert viewer.post("/api/deals/film/review/accept", json={}).status_code == 403
        leases = {"tab": "t", "items": []}
        assert viewer.put("/api/deals/film/review/leases", json=leases).status_code == 403


def test_each_change_has_a_line_in_the_audit_log(
    guarded: RunningStudio, reviewer: httpx.Client
) -> None:
    before = len(guarded.studio.audit.lines())
    key = keys_of(reviewer, "/api/deals/film/photos/a/review")[0]
    url = "/api/deals/film/photos/a/review"
    reviewer.patch(url, json={"operations": [decide(key, ACCEPT)]})
    reviewer.post("/api/deals/film/review/accept", json={"images": ["a"]})
    lines = guarded.studio.audit.lines()[before:]
    assert [(line["what"], line["deal"]) for line in lines] == [
        ("reviewed items", "film"),
        ("accepted the rest", "film"),
    ]

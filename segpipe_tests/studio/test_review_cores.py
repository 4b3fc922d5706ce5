"""The pure cores of the review page, in the browser, with Python as the oracle."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page
from scipy.stats import binomtest

from segpipe.errors import ReviewConflictError
from segpipe.store.reviews import ImageReview, MaskRuns
from segpipe.store.reviews.review_operations import Decide, SetDone, apply_operations
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import mask_digest
from segpipe_tests.reviews import NOW, rectangle, review
from segpipe_tests.studio.running_studio import RunningStudio

ROUNDS = 200
MASKS = [rectangle(3 * number, number) for number in range(4)]
SEEN: dict[str, Mask] = {mask_digest(mask): mask for mask in MASKS[:3]}


@pytest.fixture(scope="module")
def script(browser: Browser, studio: RunningStudio) -> Iterator[Page]:
    """A page that runs modules of the studio."""
    page = browser.new_page(base_url=studio.url)
    page.goto("/health")
    yield page
    page.close()


def call(page: Page, module: str, body: str, given: object) -> Any:
    """Run something with a module as ``core`` and what is given as ``given``."""
    return page.evaluate(
        f"async (given) => {{ const core = await import('/static/review/{module}.js'); {body} }}",
        given,
    )


def random_decisions(rng: np.random.Generator) -> list[dict[str, Any]]:
    """What one person may decide about three finds and an item of their own."""
    drawn = MaskRuns.of(MASKS[3]).model_dump(mode="json")
    finds = [
        {"verdict": "accept"},
        {"verdict": "reject", "reason": "double"},
        {"verdict": "reject"},
        {"verdict": "edit", "mask": drawn, "label": "ring"},
    ]
    own = [{"verdict": "add", "mask": drawn}, {"verdict": "add", "mask": drawn, "label": "coin"}]
    keys = [*SEEN, "u-mine"]
    state: dict[str, Any] = {}
    operations: list[dict[str, Any]] = []
    for _ in range(rng.integers(1, 12)):
        key = keys[rng.integers(4)]
        choices = [None, *(own if key == "u-mine" else finds)]
        to = choices[rng.integers(len(choices))]
        if rng.random() < 0.1:
            operations.append({"op": "done", "to": bool(rng.integers(2))})
        operations.append({"op": "decide", "key": key, "was": state.get(key), "to": to})
        state[key] = to
    return operations


def applied_by_the_store(present: ImageReview, operations: list[dict[str, Any]]) -> ImageReview:
    read = [
        Decide.model_validate(each) if each["op"] == "decide" else SetDone.model_validate(each)
        for each in operations
    ]
    return apply_operations(present, read, seen_masks=SEEN, created_by="ann", created_at=NOW)


def contents(present: ImageReview) -> dict[str, Any]:
    """What is decided, as the browser has it."""
    return {
        each.key: each.model_dump(
            mode="json", exclude_none=True, include={"verdict", "reason", "label", "mask"}
        )
        for each in present.decisions
    }


def test_decisions_mean_the_same_in_the_browser_joined_undone_and_on_the_server(
    script: Page,
) -> None:
    rng = np.random.default_rng(1)
    given = [random_decisions(rng) for _ in range(ROUNDS)]
    found = call(
        script,
        "decisions",
        """const empty = {done: false, decisions: []};
        return given.map((operations) => {
          const applied = core.applied(empty, operations);
          const joined = core.compacted(operations);
          const decided = operations.filter(({op}) => op === 'decide');
          const back = core.compacted(core.turnedRound(decided));
          return {applied, joined, undone: core.applied(applied, back)};
        });""",
        given,
    )
    for operations, got in zip(given, found, strict=True):
        one_by_one = applied_by_the_store(review(), operations)
        joined = applied_by_the_store(review(), got["joined"])
        assert (contents(joined), joined.done) == (contents(one_by_one), one_by_one.done)
        # Sent twice, as after a lost answer, it is there once.
        assert applied_by_the_store(joined, got["joined"]) == joined
        shown = {each.pop("id"): each for each in got["applied"]["decisions"]}
        assert (shown, got["applied"]["done"]) == (contents(one_by_one), one_by_one.done)
        assert got["undone"]["decisions"] == []


def test_what_is_rebased_is_taken_by_the_server(script: Page) -> None:
    key = next(iter(SEEN))
    mine = {"op": "decide", "key": key, "was": None, "to": {"verdict": "accept"}}
    theirs = mine | {"to": {"verdict": "reject", "reason": "other"}}
    present = applied_by_the_store(review(), [theirs])
    with pytest.raises(ReviewConflictError):
        applied_by_the_store(present, [mine])
    document = present.model_dump(mode="json", exclude_none=True)
    again = call(
        script,
        "decisions",
        "return core.rebased(given.mine, core.reviewRules.read({tag: '1', ...given.document}));",
        {"mine": mine, "document": document},
    )
    assert contents(applied_by_the_store(present, [again])) == {key: {"verdict": "accept"}}


def test_the_interval_of_a_share_is_wilsons(script: Page) -> None:
    rng = np.random.default_rng(2)
    trials = rng.integers(1, 400, ROUNDS)
    given = [[int(rng.integers(0, count + 1)), int(count)] for count in trials]
    found = call(
        script,
        "interval",
        "return given.map(([hits, trials]) => core.wilson(hits, trials));",
        given,
    )
    for (hits, count), interval in zip(given, found, strict=True):
        wanted = binomtest(hits, count).proportion_ci(0.95, method="wilson")
        assert interval == pytest.approx([wanted.low, wanted.high], abs=1e-9)


def test_numbers_are_read_as_people_type_them(script: Page) -> None:
    texts = ["", "3", " 3, 12;7  3", "0", "25", "2.5x", "three", "1.5", "24"]
    found = call(script, "sheet", "return given.map((text) => core.numbersIn(text, 24));", texts)
    assert found == [[], [3], [3, 12, 7], None, None, None, None, [1, 5], [24]]

"""Deciding about items in a browser: by keyboard, on a contact sheet, with others."""

from typing import Any

from playwright.sync_api import Browser, Page, expect

from segpipe.store.reviews import Decision, ImageReview, MaskRuns, Verdict
from segpipe.vision.mask import Mask
from segpipe_tests.studio.review_page import (
    FIND_ALL,
    ReviewingPage,
    decisions,
    make_items,
    run_again,
    said,
)
from segpipe_tests.studio.running_studio import (
    RunningStudio,
    Watch,
    assert_accessible,
    watched_context,
)


def test_items_are_decided_by_keyboard_alone_and_undone_to_the_beginning(
    page: Page, studio: RunningStudio
) -> None:
    store = make_items(studio.root, "keyed", (2, 3, 4))
    review = ReviewingPage(page).open("keyed")
    review.left(9, of=9)
    review.shows("a")
    assert_accessible(page)
    review.press("a", "x", "2", "x", "x", "a", "n", "a", "x", "7")
    review.says("Rejected")
    review.left(3, of=9)
    review.saved()
    wanted = {
        "a": [("accept", None), ("reject", "double")],
        "b": [("accept", None), ("reject", None)],
        "c": [("accept", None), ("reject", "other")],
    }
    assert decisions(store, "keyed") == wanted
    # What was left for later comes again.
    for _ in range(3):
        review.press("a")
    expect(page.locator("[data-none]")).to_be_visible()
    review.left(0, of=9)
    review.saved()
    before = [said(store.reviews.of_image("keyed", FIND_ALL, image)) for image in "abc"]
    for _ in range(9):
        review.press("z")
        page.wait_for_timeout(30)
    review.left(9, of=9)
    review.saved()
    assert decisions(store, "keyed") == {}
    review.press(*"Z" * 1)
    review.left(8, of=9)
    for _ in range(8):
        review.press("Z")
        page.wait_for_timeout(30)
    review.left(0, of=9)
    review.saved()
    assert [said(store.reviews.of_image("keyed", FIND_ALL, image)) for image in "abc"] == before
    review.press("z")
    review.says("Undone: Accepted")


def test_a_reloaded_page_goes_on_and_a_changed_mask_comes_back(
    page: Page, studio: RunningStudio
) -> None:
    store = make_items(studio.root, "again", (2, 2))
    review = ReviewingPage(page).open("again")
    review.press("a", "x", "5")
    review.left(2, of=4)
    review.saved()
    run_again(store, "again")
    review.open("again")
    review.left(2, of=4)
    review.shows("b")
    review.press("[")
    expect(page.locator("[data-standing]")).to_have_text("Rejected: bad edge")
    review.press("a")
    review.saved()
    assert decisions(store, "again") == {"a": [("accept", None)] * 2}


def test_the_rest_is_accepted_and_taken_back(page: Page, studio: RunningStudio) -> None:
    store = make_items(studio.root, "many", (3, 3))
    review = ReviewingPage(page).open("many")
    review.press("x", "1")
    review.left(5, of=6)
    review.press("R")
    expect(page.locator("[data-none]")).to_be_visible()
    accepted = [("accept", None)] * 3
    assert decisions(store, "many") == {
        "a": [*accepted[:2], ("reject", "not_an_item")],
        "b": accepted,
    }
    page.locator(".toast").get_by_role("button", name="Undo").click()
    review.left(5, of=6)
    review.saved()
    assert decisions(store, "many") == {"a": [("reject", "not_an_item")]}
    page.get_by_role("button", name="Photo is done").click()
    expect(page.get_by_role("button", name="Photo is done")).to_have_attribute(
        "aria-pressed", "true"
    )
    review.saved()
    done = {image: one.done for image, one in store.reviews.images("many", FIND_ALL).items()}
    assert True in done.values()


def test_on_a_contact_sheet_the_numbers_of_the_bad_ones_are_typed(
    page: Page, studio: RunningStudio
) -> None:
    store = make_items(studio.root, "sheet", (6, 6, 6, 6, 6))
    review = ReviewingPage(page).open("sheet")
    review.press("s")
    field = page.get_by_label("Numbers of the bad ones")
    expect(field).to_be_focused()
    expect(page.locator(".sheet-items figure")).to_have_count(24)
    assert_accessible(page)
    page.keyboard.type("3 25")
    review.press("Enter")
    review.says("Type numbers from 1 to 24.")
    field.fill("3, 24")
    expect(page.locator(".sheet-items figure.bad")).to_have_count(2)
    page.get_by_label("Item 5 is bad").click()
    expect(field).to_have_value("3 24 5")
    page.locator("[data-sheet-reason]").select_option("double")
    page.get_by_role("button", name="Decide, and next sheet").click()
    expect(page.locator(".sheet-items figure")).to_have_count(6)
    review.saved()
    found = [one for each in decisions(store, "sheet").values() for one in each]
    assert (found.count(("accept", None)), found.count(("reject", "double"))) == (21, 3)
    page.locator("[data-sheet]").get_by_role("button", name="Undo").click()
    review.left(30, of=30)
    review.saved()
    assert decisions(store, "sheet") == {}


def test_a_sample_says_how_sure_its_precision_is(page: Page, studio: RunningStudio) -> None:
    make_items(studio.root, "sampled", (5, 5))
    review = ReviewingPage(page).open("sampled", query="order=sample&percent=40&seed=1")
    review.left(4, of=4)
    review.press("a", "a", "a", "x", "1")
    # Wilson for 3 of 4, by hand: (0.75 + z2/8 -+ z sqrt(.1875/4 + z2/64)) / (1 + z2/4).
    expect(page.locator("[data-precision]")).to_have_text(
        "75.0 % of 4 are items (95 %: 30.1 % to 95.4 %)"
    )
    review.saved()


def test_deals_are_selected_on_the_list_and_looked_at_one_after_the_other(
    page: Page, studio: RunningStudio
) -> None:
    for deal in ("row-one", "row-two"):
        make_items(studio.root, deal, (1,))
    page.goto("/deals?search=row-")
    for deal in ("row-one", "row-two"):
        page.get_by_label(f"Select {deal}").check()
    page.get_by_role("button", name="Review selected").click()
    page.wait_for_selector("[data-review][data-ready]", state="attached")
    review = ReviewingPage(page)
    review.left(2, of=2)
    review.press("a", "a")
    review.left(0, of=2)
    review.saved()
    page.goto("/review")
    assert_accessible(page)
    page.get_by_role("link", name="row-one").click()
    page.wait_for_selector("[data-review][data-ready]", state="attached")
    review.left(0, of=1)


def test_two_reviewers_are_shown_different_items_and_one_who_is_late_is_told(
    browser: Browser, page: Page, studio: RunningStudio, watch: Watch
) -> None:
    store = make_items(studio.root, "shared", (7, 7, 7))
    first = ReviewingPage(page).open("shared")
    options: dict[str, Any] = {"base_url": studio.url, "viewport": {"width": 1280, "height": 860}}
    with watched_context(browser, watch, **options) as context:
        second = ReviewingPage(context.new_page()).open("shared")
        shown = [
            one.page.locator("[data-review]").get_attribute("data-shown") for one in (first, second)
        ]
        assert shown[0] != shown[1]
        # What the first one leaves for later the second has meanwhile decided otherwise.
        second.page.keyboard.press("a")
        second.saved()
        key = (shown[0] or "").split(" ")[2]
        watch.expected.append("412")

        def decide_elsewhere(review: ImageReview) -> ImageReview:
            return review.model_copy(update={"decisions": (*review.decisions, other)})

        _, seen = studio.studio.reviews.seen("shared", FIND_ALL, "a")
        assert seen
        other = _decision(key, seen.masks[key])
        store.reviews.edit("shared", FIND_ALL, "a", decide_elsewhere)
        first.press("a")
        expect(first.page.locator(".toast")).to_contain_text("Somebody else has decided")
        first.saved()
        decided = store.reviews.of_image("shared", FIND_ALL, "a").decision(key)
        assert decided
        assert decided.verdict is Verdict.REJECT


def test_what_is_decided_while_the_studio_is_away_is_saved_when_it_is_back(
    page: Page, studio: RunningStudio, watch: Watch
) -> None:
    store = make_items(studio.root, "away", (3,))
    review = ReviewingPage(page).open("away")
    watch.expected.append("ERR_FAILED")
    page.route("**/review?mode=*", lambda route: route.abort())
    review.press("a", "x", "3")
    expect(page.locator("[data-status]")).to_have_attribute("data-state", "offline")
    page.reload()
    page.wait_for_selector("[data-review][data-ready]", state="attached")
    review.left(1, of=3)
    page.unroute("**/review?mode=*")
    review.saved()
    expect(page.locator("[data-status]")).to_have_text("Saved")
    assert decisions(store, "away") == {"a": [("accept", None), ("reject", "part_of_item")]}


def _decision(key: str, mask: Mask) -> Decision:
    return Decision(verdict=Verdict.REJECT, seen=key, seen_mask=MaskRuns.of(mask))

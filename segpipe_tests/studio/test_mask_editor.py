"""Mending masks in a browser: what is on the screen is what is kept, to the pixel."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from segpipe.flow.finds import write_finds
from segpipe.flow.results import DealResults
from segpipe.flow.stages.crop_files import read_crop
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.crops_table import CROPS_FILE, crops_from_table
from segpipe.store.reviews import ImageReview, MaskRuns, Verdict
from segpipe.store.store import DealStore
from segpipe.vision.image import decode_image
from segpipe.vision.mask import Bitmap, Mask
from segpipe_tests.studio.review_page import (
    FIND_ALL,
    ReviewingPage,
    make_items,
    run_again,
    said,
)
from segpipe_tests.studio.running_studio import RunningStudio, assert_accessible, in_thread

WIDTH, HEIGHT = 160, 120
FIRST = (slice(20, 36), slice(4, 16))
SECOND = (slice(20, 36), slice(24, 36))
_SEEN = """([width, height]) => {
  const canvas = document.querySelector('.review-pane canvas:not(.loupe)');
  const image = document.querySelector('.review-pane .stage img');
  const [shown, photo] = [canvas, image].map((each) => each.getBoundingClientRect());
  const ratio = canvas.width / shown.width;
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const scale = photo.width / width;
  let seen = '';
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const px = Math.floor((photo.left - shown.left + (x + 0.5) * scale) * ratio);
      const py = Math.floor((photo.top - shown.top + (y + 0.5) * scale) * ratio);
      const isOn = px >= 0 && py >= 0 && px < canvas.width && py < canvas.height;
      seen += isOn ? (data[4 * (py * canvas.width + px) + 3] > 0 ? '1' : '0') : '?';
    }
  }
  return seen;
}"""


def seen_on_screen(page: Page) -> tuple[Bitmap, Bitmap]:
    """Which pixels of the photo the screen shows as the item's, and which it shows at all."""
    page.wait_for_timeout(200)  # until the view has come to rest
    text = page.evaluate(_SEEN, [WIDTH, HEIGHT])
    seen = np.array(list(text)).reshape(HEIGHT, WIDTH)
    return (seen == "1").astype(np.uint8), (seen != "?").astype(np.uint8)


def full(runs: MaskRuns | None) -> Bitmap:
    assert runs
    return runs.to_mask(WIDTH, HEIGHT).to_full()


def filled(*parts: tuple[slice, slice]) -> Bitmap:
    bits = np.zeros((HEIGHT, WIDTH), np.uint8)
    for part in parts:
        bits[part] = 1
    return bits


def review_of(studio: RunningStudio, deal: str) -> ImageReview:
    return studio.store.reviews.of_image(deal, FIND_ALL, "a")


def open_mending(page: Page, studio: RunningStudio, deal: str) -> tuple[DealStore, ReviewingPage]:
    store = make_items(studio.root, deal, (3,))
    review = ReviewingPage(page).open(deal)
    review.mend()
    return store, review


def test_a_mask_goes_bit_for_bit_from_the_screen_to_the_document_and_into_the_crop(
    page: Page, studio: RunningStudio
) -> None:
    store, review = open_mending(page, studio, "bits")
    assert_accessible(page)
    review.stroke((5.3, 21.2), (22.1, 30.7), (10.2, 44.4))
    review.press("e")
    review.stroke((14.4, 22.0), (9.1, 27.3))
    review.press("l")
    review.stroke((16, 38), (26, 40), (21, 48), (14, 46))
    review.saved()
    screen, is_shown = seen_on_screen(page)
    (decision,) = review_of(studio, "bits").decisions
    drawn = full(decision.mask)
    assert decision.verdict is Verdict.EDIT
    assert is_shown[15:50, 2:30].all()
    # The edge is drawn on the first pixel outside, to the right and below: look at the others.
    edge = np.roll(drawn, 1, 0) | np.roll(drawn, 1, 1)
    compared = (is_shown & (drawn | (1 - edge))).astype(np.bool_)
    assert np.array_equal(screen[compared], drawn[compared])
    review.press("k")
    review.says("Kept")
    review.left(2, of=3)
    run_again(store, "bits")
    snapshot = store.current("bits", FIND_ALL)
    assert snapshot
    with DealResults("bits", snapshot, [CROPS]) as results:
        crops = crops_from_table(results.rows(CROPS, CROPS_FILE, "a"))
    cut = np.zeros_like(drawn)
    assert crops[0].window
    x, y, width, height = crops[0].window
    alpha = decode_image(read_crop(snapshot, CROPS.name, crops[0])).alpha
    assert alpha is not None
    cut[y : y + height, x : x + width] = alpha.reshape(height, width) > 0
    assert np.array_equal(cut, drawn)


def test_every_stroke_is_a_step_that_is_taken_back_and_done_again(
    page: Page, studio: RunningStudio
) -> None:
    _, review = open_mending(page, studio, "steps")
    before = said(review_of(studio, "steps"))
    states = []
    for step in range(5):
        review.stroke((4 + step, 40 + 3 * step), (20 + step, 42 + 3 * step))
        review.saved()
        states.append(said(review_of(studio, "steps")))
    review.press("w")
    review.saved()
    states.append(said(review_of(studio, "steps")))
    assert len({json.dumps(state, default=str) for state in states}) == 6
    for state in [*states[-2::-1], before]:
        review.press("z")
        review.saved()
        page.wait_for_timeout(350)
        assert said(review_of(studio, "steps")) == state
    for state in states:
        review.press("Z")
        page.wait_for_timeout(350)
        review.saved()
        assert said(review_of(studio, "steps")) == state
    # Left as it was, nothing is decided; kept, all of it is one step.
    review.press("Escape")
    review.says("Left as it was")
    review.saved()
    assert said(review_of(studio, "steps")) == before
    review.mend()
    review.stroke((5, 30), (20, 42))
    review.press("f", "i", "k")
    review.says("Kept")
    review.saved()
    assert len(review_of(studio, "steps").decisions) == 1
    review.press("z")
    review.says("Undone: Mended")
    review.saved()
    assert said(review_of(studio, "steps")) == before


def test_the_whole_mask_is_changed_by_buttons(page: Page, studio: RunningStudio) -> None:
    _, review = open_mending(page, studio, "whole")

    def mask() -> Bitmap:
        review.saved()
        page.wait_for_timeout(300)
        review.saved()
        return full(review_of(studio, "whole").decisions[0].mask)

    def press(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    press("Grow")
    grown = mask()
    assert grown.sum() == 16 * 12 + 2 * (16 + 12)
    press("Shrink")
    page.wait_for_timeout(400)
    review.saved()
    assert review_of(studio, "whole").decisions == ()
    review.press("e", ",", ",")
    review.stroke((10, 28), (10.4, 28))
    holed = mask()
    assert 0 < holed[FIRST].sum() < 16 * 12
    press("Fill holes")
    page.wait_for_timeout(400)
    review.saved()
    assert review_of(studio, "whole").decisions == ()
    review.press("b")
    review.stroke((12, 60), (20, 60))
    assert mask()[50:].any()
    press("Drop islands")
    page.wait_for_timeout(400)
    review.saved()
    assert review_of(studio, "whole").decisions == ()
    review.stroke((12, 60), (20, 60))
    mask()
    press("Coarse")
    page.wait_for_timeout(400)
    review.saved()
    assert review_of(studio, "whole").decisions == ()
    expect(page.get_by_role("button", name="Refined", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Loupe").click()
    page.mouse.move(*review.at(10, 28))
    expect(page.locator("canvas.loupe")).to_be_visible()


def test_a_line_splits_an_item_and_another_is_joined(page: Page, studio: RunningStudio) -> None:
    _, review = open_mending(page, studio, "parts")
    review.press("s")
    review.stroke((2, 26), (18, 26))
    review.says("Split into 2")
    review.saved()
    decided = {each.verdict: each for each in review_of(studio, "parts").decisions}
    assert set(decided) == {Verdict.EDIT, Verdict.ADD}
    both = full(decided[Verdict.EDIT].mask), full(decided[Verdict.ADD].mask)
    assert np.array_equal(both[0] + both[1], filled(FIRST))
    review.press("z", "j")
    page.mouse.click(*review.at(30, 28))
    review.says("Joined")
    review.saved()
    page.wait_for_timeout(300)
    review.saved()
    decided = {each.verdict: each for each in review_of(studio, "parts").decisions}
    assert set(decided) == {Verdict.EDIT, Verdict.REJECT}
    assert np.array_equal(full(decided[Verdict.EDIT].mask), filled(FIRST, SECOND))
    assert decided[Verdict.REJECT].reason == "part_of_item"
    review.press("k")
    review.left(1, of=3)


def test_an_item_that_was_not_found_is_drawn_with_the_keyboard_alone(
    page: Page, studio: RunningStudio
) -> None:
    make_items(studio.root, "unseen", (1,))
    review = ReviewingPage(page).open("unseen")
    review.press("w")
    page.wait_for_selector("[data-mask-tools]:not([hidden])")
    stage = page.locator(".review-pane .stage")
    expect(stage).to_be_focused()
    review.press("Enter", *["Shift+ArrowRight"] * 2, "ArrowDown", "Enter")
    review.says("The pen is up")
    review.saved()
    (drawn,) = review_of(studio, "unseen").decisions
    assert drawn.verdict is Verdict.ADD
    bits = full(drawn.mask)
    assert bits[60, 80:101].all()
    review.press("k")
    review.says("Kept")
    expect(page.locator("[data-close]")).to_be_visible()
    review.press("z")
    review.saved()
    page.wait_for_timeout(300)
    review.saved()
    assert review_of(studio, "unseen").decisions == ()


def test_points_ask_the_model_and_its_mask_is_taken_as_it_is(
    page: Page, studio: RunningStudio
) -> None:
    rng = np.random.default_rng(3)
    offers = []
    for _ in range(3):
        bits = np.zeros((HEIGHT, WIDTH), np.uint8)
        bits[50:70, 60:90] = rng.random((20, 30)) < 0.7
        mask = Mask.from_full(bits)
        assert mask.box
        offers.append((bits, {"box": list(mask.box), "path": "", "score": 0.9, "label": None}))
    items = [
        {**item, "mask": MaskRuns.of(Mask.from_full(bits)).model_dump(mode="json")}
        for bits, item in offers
    ]
    asked: list[Any] = []

    def answer(route: Route) -> None:
        asked.append(json.loads(route.request.post_data or "")["points"])
        route.fulfill(json={"items": items})

    page.route("**/candidates", answer)
    _, review = open_mending(page, studio, "magic")
    review.press("m")
    page.mouse.click(*review.at(10, 28))
    expect(page.get_by_role("button", name="1: 90 %")).to_be_visible()
    page.keyboard.down("Alt")
    page.mouse.click(*review.at(13, 33))
    page.keyboard.up("Alt")
    expect(page.get_by_role("button", name="1: 90 %")).to_be_visible()
    assert [[point["positive"] for point in points] for points in asked] == [[True], [True, False]]
    review.press("2", "t")
    review.says("Taken from the model")
    review.saved()
    assert np.array_equal(full(review_of(studio, "magic").decisions[0].mask), offers[1][0])
    page.mouse.click(*review.at(10, 28))
    expect(page.get_by_role("button", name="3: 90 %")).to_be_visible()
    review.press("3", "T")
    page.wait_for_timeout(400)
    review.saved()
    both = offers[1][0] | offers[2][0]
    assert np.array_equal(full(review_of(studio, "magic").decisions[0].mask), both)


@pytest.mark.parametrize("name", ["mask_tools.html"])
def test_the_tools_are_the_same_wherever_masks_are_mended(name: str) -> None:
    templates = Path(__file__).parents[2] / "segpipe" / "studio" / "templates"
    users = [each.name for each in templates.iterdir() if name in each.read_text()]
    assert sorted(users) == ["annotate.html", "review.html"]


def test_on_the_drawing_page_the_same_tools_mend_what_a_run_has_found(
    page: Page, studio: RunningStudio
) -> None:
    store = make_items(studio.root, "drawn", (3,))
    in_thread(lambda: write_finds(store, "drawn"))
    page.goto("/deals/drawn/annotate/a")
    page.wait_for_selector("[data-annotate][data-ready]", state="attached")
    page.locator("[data-found-items] button").first.click()
    page.get_by_role("button", name="Mend its mask").click()
    expect(page.get_by_role("toolbar", name="Mending the mask")).to_be_visible()
    page.get_by_role("button", name="Grow", exact=True).click()
    page.get_by_role("button", name="Grow", exact=True).click()
    page.get_by_role("button", name="Undo", exact=True).last.click()
    assert_accessible(page)
    page.keyboard.press("k")
    expect(page.locator(".toast")).to_contain_text("The mask is kept")
    (decision,) = review_of(studio, "drawn").decisions
    assert full(decision.mask).sum() == 16 * 12 + 2 * (16 + 12)
    # The keys are those of the drawing page again.
    page.keyboard.press("b")
    expect(page.locator("[data-stage]")).to_have_attribute("data-tool", "box")

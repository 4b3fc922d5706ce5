"""Deals to review, and the page on which people do."""

import asyncio
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from segpipe.flow.deal import DealTask, process_deal
from segpipe.prompt import Mode
from segpipe.store.reviews import ImageReview
from segpipe.store.store import DealStore
from segpipe_tests.deals import make_deal, make_tools
from segpipe_tests.goods import BrightSegmenter
from segpipe_tests.studio.running_studio import in_thread

FIND_ALL = Mode.FIND_ALL
_IS_SEEN = """() => {
  const image = document.querySelector('[data-close] img');
  return !image || image.complete;
}"""


def make_items(root: Path, deal: str, items: Iterable[int] = (2, 3)) -> DealStore:
    """A promoted deal with a photo for each number of goods: a.png, b.png, …"""
    store = make_deal(root, deal, items)
    run_again(store, deal)
    return store


def run_again(store: DealStore, deal: str) -> None:
    """Another run of the deal."""
    task = DealTask(deal, f"run-{uuid.uuid4().hex[:8]}")
    tools = make_tools(BrightSegmenter())
    in_thread(lambda: asyncio.run(process_deal(store, task, tools)))


def decisions(store: DealStore, deal: str) -> dict[str, list[tuple[str, str | None]]]:
    """What was decided, by image: verdict and reason, sorted."""
    return {
        image: sorted(
            (each.verdict.value, each.reason and each.reason.value) for each in one.decisions
        )
        for image, one in store.reviews.images(deal, FIND_ALL).items()
        if one.decisions
    }


def said(review: ImageReview) -> dict[str, object]:
    """A review but for generations, and who said it and when."""
    dumped = review.model_dump(exclude={"generation"})
    for each in dumped["decisions"]:
        del each["created_by"], each["created_at"]
    return dumped


@dataclass(frozen=True, slots=True)
class ReviewingPage:
    """The page on which people decide about items."""

    page: Page

    def open(self, *deals: str, query: str = "order=deal") -> "ReviewingPage":
        """Go there, and wait until the first item is shown."""
        names = "".join(f"&deal={deal}" for deal in deals)
        self.page.goto(f"/review?{query}{names}")
        self.page.wait_for_selector("[data-review][data-ready]", state="attached")
        return self

    def press(self, *keys: str) -> None:
        """Press keys one after the other, each when the item that it is about is to be seen."""
        for key in keys:
            self.page.wait_for_function(_IS_SEEN)
            self.page.keyboard.press(key)

    def shows(self, image: str) -> None:
        """The item that is shown is of this photo."""
        expect(self.page.locator("[data-review]")).to_have_attribute(
            "data-shown", re.compile(f" {image} ")
        )

    def left(self, count: int, of: int) -> None:
        """So many are left."""
        expect(self.page.locator("[data-left]")).to_have_text(f"{count} of {of} left")

    def says(self, text: str) -> None:
        """What the page says."""
        expect(self.page.locator("[data-said]")).to_have_text(text)

    def saved(self) -> None:
        """Everything is saved."""
        expect(self.page.locator("[data-status]")).to_have_attribute("data-state", "saved")

    def mend(self) -> "Locator":
        """Begin to mend the item that is shown, with room around it; the stage on which it is."""
        self.press("e")
        self.page.wait_for_selector("[data-mask-tools]:not([hidden])")
        stage = self.page.locator(".review-pane .stage")
        stage.hover()
        for _ in range(5):
            self.page.mouse.wheel(0, 240)
        self.page.wait_for_timeout(250)  # until the view has come to rest
        return stage

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the photo is on the screen."""
        place = self.page.evaluate(
            """([x, y]) => {
              const image = document.querySelector('.review-pane .stage img');
              const {left, top, width} = image.getBoundingClientRect();
              const scale = width / parseFloat(image.style.width);
              return [left + x * scale, top + y * scale];
            }""",
            [x, y],
        )
        return place[0], place[1]

    def stroke(self, *places: tuple[float, float]) -> None:
        """Draw a stroke through places of the photo."""
        mouse = self.page.mouse
        mouse.move(*self.at(*places[0]))
        mouse.down()
        for place in places[1:]:
            mouse.move(*self.at(*place), steps=4)
        mouse.up()

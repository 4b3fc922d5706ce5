"""A photo in a browser, to draw on as people do: in pixels of the photo."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from segpipe.prompt import Mode
from segpipe.store.prompts import Annotation, ImagePrompts, Source
from segpipe.store.store import DealStore
from segpipe.vision.encode import encode_png
from segpipe_tests.deals import put_photos
from segpipe_tests.goods import goods_image

Place = tuple[float, float]
SIDES = (400, 300)
"""Of the photos of :func:`make_photos`."""


def make_photos(root: Path, deal: str, images: Sequence[str] = ("a",)) -> DealStore:
    """A deal of its own for a test: photos of 400 x 300 pixels with goods on them."""
    data = encode_png(goods_image(5, width=SIDES[0], height=SIDES[1]))
    put_photos(root, deal, {f"{image}.png": data for image in images})
    return DealStore(root)


@dataclass(frozen=True, slots=True)
class DrawingPage:
    """The page on which people draw.

    Attributes:
        page: In the browser.
        deal: The deal.
        image: The photo.
        width: Of the upright photo, pixels.
    """

    page: Page
    deal: str
    image: str = "a"
    width: int = SIDES[0]

    def open(self, mode: Mode = Mode.FIND_ALL) -> "DrawingPage":
        """Go there, and wait until it works."""
        query = "" if mode is Mode.FIND_ALL else f"?mode={mode}"
        self.page.goto(f"/deals/{self.deal}/annotate/{self.image}{query}")
        self.ready()
        return self

    def ready(self) -> None:
        """Wait until the page works."""
        expect(self.page.locator("[data-ready]")).to_be_attached()
        photo = self.page.locator("[data-photo]")
        expect(photo).to_have_js_property("complete", True)
        expect(photo).to_have_attribute("style", re.compile("transform"))

    @property
    def stage(self) -> Locator:
        """The surface."""
        return self.page.locator("[data-stage]")

    @property
    def status(self) -> Locator:
        """What is said of saving."""
        return self.page.locator("[data-status]")

    @property
    def dialog(self) -> Locator:
        """What asks where two people disagree."""
        return self.page.locator("[data-conflict]")

    def items(self) -> Locator:
        """The list of what is drawn."""
        return self.page.locator("[data-items] li")

    def on_screen(self, place: Place) -> Place:
        """Where a place of the photo is on the screen."""
        rect = self.page.locator("[data-photo]").evaluate(
            "image => { const {left, top, width} = image.getBoundingClientRect();"
            " return [left, top, width]; }"
        )
        scale = rect[2] / self.width
        return rect[0] + place[0] * scale, rect[1] + place[1] * scale

    def drag(self, start: Place, end: Place, *, button: str = "left") -> None:
        """Draw from one place of the photo to another."""
        mouse = self.page.mouse
        mouse.move(*self.on_screen(start))
        mouse.down(button=button)  # type: ignore[arg-type]
        mouse.move(*self.on_screen(end), steps=2)
        mouse.up(button=button)  # type: ignore[arg-type]

    def click(self, place: Place) -> None:
        """Click on a place of the photo."""
        self.page.mouse.click(*self.on_screen(place))

    def do(self, name: str) -> None:
        """Press a button of the tool bar or the panel."""
        self.page.locator(f"[data-do={name}], button[data-tool={name}]").click()

    def saved(self) -> None:
        """Wait until everything is saved."""
        expect(self.status).to_have_text("Saved")


def drawn(prompts: ImagePrompts) -> list[Annotation]:
    """What people have drawn."""
    return [each for each in prompts.annotations if each.source is Source.USER]


def said(prompts: ImagePrompts) -> list[tuple[str, ...]]:
    """What people have drawn: kind, rounded place, class."""
    return [
        (
            each.prompt_type.value + ("" if each.label is None else str(each.label)),
            " ".join(str(round(value)) for value in each.box or each.point or ()),
            each.category or "",
        )
        for each in drawn(prompts)
    ]

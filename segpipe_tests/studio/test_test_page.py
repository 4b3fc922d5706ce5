"""The page of trials: what stays is solid, what is rejected faded and dashed, with what beat it."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from segpipe.detection import Detection, SegmentationResult, Thresholds
from segpipe.flow.saved_settings import read_saved
from segpipe.prompt import Prompt
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe_tests.deals import make_deal, put_photos
from segpipe_tests.studio.running_studio import (
    RunningStudio,
    Watch,
    assert_accessible,
    running_studio,
    watched_context,
)

GREY = 60
KEPT, DOUBLE = Box(40, 40, 200, 200), Box(260, 40, 460, 240)


class TwoOfOne(Segmenter):
    """Finds an item, and a larger one twice."""

    id = "two-of-one"

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        height, width = image.shape[:2]
        found = [
            Detection(box, score, mask=Mask.from_box(box, image_width=width, image_height=height))
            for box, score in ((KEPT, 0.9), (DOUBLE, 0.5), (Box(300, 80, 440, 220), 0.8))
        ]
        return SegmentationResult.of_one_pass(found, image, self.id, 0.0)

    async def aclose(self) -> None:
        """Nothing is held."""


def grey_photo() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (500, 300), (GREY, GREY, GREY)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningStudio]:
    """A studio on a deal with photos of goods, and one that is grey."""
    make_deal(tmp_path, "lot", (2, 3))
    put_photos(tmp_path, "grey", {"g.png": grey_photo()})
    with running_studio(tmp_path) as running:
        yield running


@pytest.fixture
def trial_page(own: RunningStudio, browser: Browser, watch: Watch) -> Iterator[Page]:
    size = {"width": 1600, "height": 900}
    with watched_context(browser, watch, base_url=own.url, viewport=size) as context:
        page = context.new_page()
        page.goto("/test?deal=lot")
        yield page


def try_it(page: Page) -> None:
    page.get_by_role("button", name="Try").click()
    expect(page.get_by_role("button", name="Try")).to_be_enabled()


def test_a_photo_of_a_deal_is_tried_and_the_last_results_blink(
    own: RunningStudio, trial_page: Page
) -> None:
    page = trial_page
    assert_accessible(page)
    expect(page.locator("[data-kind=sam3]")).to_be_visible()
    expect(page.locator("[data-kind=sam3]")).to_have_attribute("disabled", "")
    try_it(page)
    expect(page.locator("#said")).to_contain_text("classical: 2 found · Pass 1: 2")
    expect(page.locator("#picture path")).to_have_count(2)

    page.get_by_label("Recursive", exact=True).check()
    page.get_by_label("Leave out what a better one shows").check()
    try_it(page)
    expect(page.locator("#said")).to_contain_text("2 of")
    expect(page.locator("#said")).to_contain_text("Pass 2: 0 · stopped")
    expect(page.locator("#rejected li").first).to_contain_text("beaten by #")
    expect(page.get_by_role("button", name="Result 2")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("b")
    expect(page.locator("#said")).to_contain_text("2 found")
    assert_accessible(page)
    assert not (own.root / "settings").exists()


def test_a_photo_of_this_machine_is_tried(trial_page: Page) -> None:
    page = trial_page
    page.get_by_label("Or one of this machine").set_input_files(
        {"name": "grey.png", "mimeType": "image/png", "buffer": grey_photo()}
    )
    try_it(page)
    expect(page.locator("#said")).to_contain_text("0 found")
    expect(page.locator("#picture img")).to_have_js_property("naturalWidth", 500)


def test_what_is_wrong_stands_beside_its_field(trial_page: Page, watch: Watch) -> None:
    page = trial_page
    page.locator("[data-kind=classical]").get_by_label("Min score").fill("7")
    watch.expected.append("422")
    try_it(page)
    field = page.locator("[data-kind=classical] .field", has_text="Min score")
    expect(field.locator(".fault")).to_contain_text("less than or equal to 1")


def test_settings_that_were_tried_are_copied_and_that_is_undone(
    own: RunningStudio, trial_page: Page
) -> None:
    page = trial_page
    page.locator("[data-kind=classical]").get_by_label("Min score").fill("0.5")
    page.get_by_role("button", name="Copy to settings").click()
    expect(page.get_by_text("Saved as generation 1")).to_be_visible()
    assert read_saved(own.store).settings.changed() == {
        "segmenter": {"kind": "classical", "min_score": 0.5}
    }
    page.get_by_role("button", name="Undo").click()
    page.wait_for_function("() => !document.querySelector('.toast')")
    page.get_by_role("link", name="Load from settings").click()
    expect(page.locator("[data-kind=classical]").get_by_label("Min score")).to_have_value("0.35")
    assert read_saved(own.store).settings.changed() == {}


def brightness(page: Page) -> NDArray[np.int16]:
    """The picture on the page, scaled to the photo's 500 pixels."""
    shot = page.locator("#picture").screenshot()
    with Image.open(io.BytesIO(shot)) as opened:
        grey = opened.convert("L").resize((500, 300), Image.Resampling.BOX)
    return np.asarray(grey, np.int16)


def test_a_rejected_one_is_faded_and_dashed_and_a_kept_one_solid(
    own: RunningStudio, trial_page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segpipe.studio.trials.build_segmenter", lambda *_: TwoOfOne())
    page = trial_page
    page.goto("/test?deal=grey")
    page.get_by_label("Leave out what a better one shows").check()
    try_it(page)
    expect(page.locator("#picture .rejected")).to_have_count(1)
    expect(page.locator("#picture .kept")).to_have_count(2)
    pixels = brightness(page)
    around = GREY + 12

    def edge(box: Box) -> NDArray[np.int16]:
        rows = pixels[int(box.y1) - 2 : int(box.y1) + 3, int(box.x1) + 10 : int(box.x2) - 10]
        return np.asarray(rows.max(axis=0), np.int16)

    kept, rejected = edge(KEPT), edge(DOUBLE)
    assert (kept > around).all()  # solid
    share = float(np.mean(rejected > around))
    assert 0.3 < share < 0.8  # dashed
    assert np.count_nonzero(np.diff((rejected > around).astype(int))) >= 8
    alpha = page.locator("#picture .rejected").evaluate("e => getComputedStyle(e).opacity")
    assert float(alpha) < 1
    assert rejected.max() < 245  # faded: white at half its strength
    title = page.locator("#picture .rejected title").text_content()
    assert title == "#1: beaten by #2, containment 1.00"

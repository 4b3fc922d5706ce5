"""Drawing on a photo, as people do it in a browser."""

import asyncio
import io
import re

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.finds import write_finds
from segpipe.prompt import Mode
from segpipe.store.prompts import PromptType
from segpipe.vision.encode import encode_png
from segpipe_tests.deals import default_tools, put_photos
from segpipe_tests.studio.drawing_page import DrawingPage, drawn, make_photos, said
from segpipe_tests.studio.running_studio import (
    RunningStudio,
    Watch,
    assert_accessible,
    in_thread,
    watched_context,
)

EXAMPLE, NOT_THIS, BOX = "positive_exemplar", "negative_exemplar", "segment"


def near(place: str, expected: str) -> bool:
    """Whether two boxes or points are the same within two pixels of the photo."""
    pairs = zip(map(float, place.split()), map(float, expected.split()), strict=True)
    return all(abs(one - other) <= 2 for one, other in pairs)


def test_boxes_points_examples_words_and_classes_are_drawn_and_saved(
    studio: RunningStudio, page: Page
) -> None:
    store = make_photos(studio.root, "drawing")
    at = DrawingPage(page, "drawing").open()
    at.drag((20, 20), (80, 90))
    at.drag((100, 20), (150, 90), button="right")
    page.keyboard.down("Alt")
    at.drag((200, 20), (250, 90))
    page.keyboard.up("Alt")
    at.do("negative")
    at.drag((300, 20), (350, 90))
    at.do("negative")
    at.do("point")
    at.click((40, 200))
    page.get_by_label("Class").fill("ring")
    page.get_by_label("Class").blur()
    page.get_by_label("This photo").fill("gold ring")
    page.get_by_label("All photos of the deal").fill("jewellery")
    page.get_by_label("All photos of the deal").blur()
    at.saved()

    prompts = store.prompts.of_image("drawing", "a")
    wanted = [
        (EXAMPLE, "20 20 80 90", ""),
        (NOT_THIS, "100 20 150 90", ""),
        (NOT_THIS, "200 20 250 90", ""),
        (NOT_THIS, "300 20 350 90", ""),
        ("point1", "40 200", "ring"),
    ]
    found = said(prompts)
    assert [(kind, name) for kind, _, name in found] == [(kind, name) for kind, _, name in wanted]
    assert all(near(one[1], other[1]) for one, other in zip(found, wanted, strict=True))
    assert (prompts.text, store.prompts.of_deal("drawing").text) == ("gold ring", "jewellery")
    assert {each.created_by for each in drawn(prompts)} == {"operator"}
    assert_accessible(page)

    # The other mode shows its own alone, and a box is another thing there.
    page.get_by_role("link", name="Inside boxes").click()
    at.ready()
    expect(at.items()).to_have_count(0)
    at.drag((20, 20), (80, 90))
    at.saved()
    expect(at.items()).to_have_count(1)
    assert said(store.prompts.of_image("drawing", "a"))[-1][0] == BOX
    assert_accessible(page)


def test_a_box_is_picked_moved_resized_turned_removed_and_all_is_undone(
    studio: RunningStudio, page: Page
) -> None:
    store = make_photos(studio.root, "editing")
    at = DrawingPage(page, "editing").open()
    at.drag((20, 20), (200, 200))
    at.drag((60, 60), (120, 120))
    at.do("select")
    page.keyboard.press("Escape")
    at.click((90, 90))  # the smaller one
    at.drag((90, 90), (190, 100))
    at.drag((220, 130), (240, 160))
    at.do("turn")
    at.saved()

    def places() -> list[tuple[str, ...]]:
        return said(store.prompts.of_image("editing", "a"))

    kinds = [kind for kind, _, _ in places()]
    assert kinds == [EXAMPLE, NOT_THIS]
    assert near(places()[1][1], "160 70 240 160")
    at.do("remove")
    at.saved()
    assert len(places()) == 1
    for steps in range(1, 5):
        at.do("undo")
        expect(page.locator("[data-said]")).to_contain_text("Undone")
        at.saved()
        assert len(places()) == 2, steps
    assert near(places()[1][1], "60 60 120 120")
    at.do("undo")
    at.saved()
    assert [place for _, place, _ in places()] == ["20 20 200 200"]
    at.do("redo")
    expect(at.items()).to_have_count(2)


@pytest.fixture(scope="module")
def found(studio: RunningStudio) -> str:
    """A deal of which a run has found the goods."""
    store = make_photos(studio.root, "found", ("a", "b"))

    def run() -> None:
        asyncio.run(process_deal(store, DealTask("found", "r1"), default_tools()))
        write_finds(store, "found")

    in_thread(run)
    return "found"


def test_what_a_run_found_is_told_apart_and_can_be_used(
    studio: RunningStudio, page: Page, found: str
) -> None:
    at = DrawingPage(page, found).open()
    expect(page.locator("[data-found-items] li")).to_have_count(5)
    expect(at.items()).to_have_count(0)
    for place, button in [((10, 28), "example"), ((30, 28), "not-this"), ((50, 28), "cut-out")]:
        at.do("select")
        page.keyboard.press("Escape")
        at.click(place)
        at.do(button)
    at.saved()
    prompts = studio.store.prompts.of_image(found, "a")
    assert said(prompts) == [
        (EXAMPLE, "4 20 16 36", ""),
        (NOT_THIS, "24 20 36 36", ""),
        (BOX, "44 20 56 36", ""),
    ]
    assert [each.mode for each in drawn(prompts)] == [
        Mode.FIND_ALL,
        Mode.FIND_ALL,
        Mode.INSIDE_BOX,
    ]
    found_before = [each for each in prompts.annotations if each.prompt_type is PromptType.SEGMENT]
    assert len(found_before) == 6  # what the run recorded stays as it is


def test_a_preview_says_what_would_be_found_and_writes_nothing(
    studio: RunningStudio, page: Page, found: str
) -> None:
    before = studio.store.prompts.of_image(found, "b")
    at = DrawingPage(page, found, "b").open()
    at.do("preview")
    expect(page.locator("[data-preview-note]")).to_contain_text("5 items by classical")
    at.do("preview")
    expect(page.locator("[data-preview-note]")).to_be_empty()
    assert studio.store.prompts.of_image(found, "b") == before


def test_one_of_three_outlines_of_a_point_becomes_a_box(studio: RunningStudio, page: Page) -> None:
    store = make_photos(studio.root, "magic")
    at = DrawingPage(page, "magic").open(Mode.INSIDE_BOX)
    at.do("magic")
    at.click((30, 28))
    readings = page.locator("[data-readings] button")
    expect(readings).to_have_count(3)
    page.keyboard.press("2")
    expect(readings.nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("1")
    at.do("take")
    at.saved()
    ((kind, place, _),) = said(store.prompts.of_image("magic", "a"))
    assert kind == BOX
    assert near(place, "24 20 36 36")


def test_marks_are_copied_from_the_previous_photo(studio: RunningStudio, page: Page) -> None:
    store = make_photos(studio.root, "copying", ("a", "b"))
    at = DrawingPage(page, "copying").open(Mode.INSIDE_BOX)
    at.drag((20, 20), (80, 90))
    at.drag((120, 20), (180, 90))
    at.saved()
    page.keyboard.press(".")
    page.wait_for_url("**/annotate/b*")
    at.ready()
    expect(page.locator(".strip [aria-current]")).to_have_attribute("title", "b.png")
    at.do("copy")
    expect(at.items()).to_have_count(2)
    at.saved()
    assert said(store.prompts.of_image("copying", "b")) == said(
        store.prompts.of_image("copying", "a")
    )
    at.do("undo")
    expect(at.items()).to_have_count(0)


def marked_photo(orientation: int) -> bytes:
    """A photo of 400 x 300 upright pixels with a mark at (100, 60, 160, 90), stored turned."""
    upright = np.full((300, 400, 3), 90, np.uint8)
    upright[60:90, 100:160] = (230, 20, 20)
    picture = Image.fromarray(upright)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    stored = picture.transpose(undo) if undo is not None else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, "JPEG", quality=95, subsampling=0, exif=exif)
    return file.getvalue()


def test_a_box_around_a_mark_is_the_same_upright_pixels_however_a_camera_was_held(
    studio: RunningStudio, page: Page
) -> None:
    photos = {f"o{turn}.jpg": marked_photo(turn) for turn in range(1, 9)}
    put_photos(studio.root, "turned", photos)
    for turn in range(1, 9):
        at = DrawingPage(page, "turned", f"o{turn}").open(Mode.INSIDE_BOX)
        rect = at.stage.bounding_box()
        assert rect
        seen = cv2.imdecode(np.frombuffer(at.stage.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        assert seen is not None
        is_red = (seen[..., 2] > 180) & (seen[..., 1] < 70)
        rows, columns = np.nonzero(is_red)
        start = rect["x"] + columns.min(), rect["y"] + rows.min()
        end = rect["x"] + columns.max() + 1, rect["y"] + rows.max() + 1
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*end, steps=2)
        page.mouse.up()
        at.saved()
        (box,) = [each.box for each in drawn(studio.store.prompts.of_image("turned", f"o{turn}"))]
        assert box == pytest.approx((100, 60, 160, 90), abs=1), turn


def test_everything_is_done_with_the_keyboard(studio: RunningStudio, page: Page) -> None:
    store = make_photos(studio.root, "keys")
    at = DrawingPage(page, "keys").open()
    at.stage.focus()
    press = page.keyboard.press
    press("Enter")
    for _ in range(3):
        press("Shift+ArrowRight")
    press("Enter")
    for _ in range(4):
        press("Shift+ArrowRight")
        press("Shift+ArrowDown")
    press("Enter")
    at.saved()
    (box,) = [each.box for each in drawn(store.prompts.of_image("keys", "a"))]
    assert box
    press("ArrowLeft")
    press("Control+ArrowDown")
    press("t")
    press("l")
    page.keyboard.type("coin b")  # letters, not keys
    press("Enter")
    page.get_by_label("Class").blur()
    at.saved()
    (annotation,) = drawn(store.prompts.of_image("keys", "a"))
    assert (annotation.prompt_type, annotation.category) == (
        PromptType.NEGATIVE_EXEMPLAR,
        "coin b",
    )
    assert annotation.box
    assert annotation.box[0] < box[0]
    assert annotation.box[3] > box[3]
    at.stage.focus()
    press("p")
    press("Escape")
    press("Enter")
    press("Enter")
    at.saved()
    assert said(store.prompts.of_image("keys", "a"))[1][0] == "point1"
    press("[")
    press("Delete")
    press("Delete")
    at.saved()
    assert said(store.prompts.of_image("keys", "a")) == []
    press("Control+z")
    expect(at.items()).to_have_count(1)
    # Tab leaves the photo.
    at.stage.focus()
    press("Tab")
    expect(at.stage).not_to_be_focused()


def test_whoever_looks_closely_sees_the_photo_in_full(studio: RunningStudio, page: Page) -> None:
    photo = np.full((1200, 3000, 3), 90, np.uint8)
    put_photos(studio.root, "large", {"a.png": encode_png(photo)})
    at = DrawingPage(page, "large", width=3000).open()
    image = page.locator("[data-photo]")
    expect(image).to_have_js_property("naturalWidth", 2560)
    before = at.on_screen((1500, 600))
    for _ in range(4):
        at.do("zoom-in")
    expect(image).to_have_js_property("naturalWidth", 3000)
    assert at.on_screen((1500, 600)) == pytest.approx(before, abs=2)
    at.do("fit")
    expect(page.locator("[data-stage] canvas")).to_have_attribute(
        "style", re.compile(r"scale\(1\)")
    )
    assert at.on_screen((1500, 600)) == pytest.approx(before, abs=2)


def test_single_keys_can_be_changed_and_switched_off(studio: RunningStudio, page: Page) -> None:
    make_photos(studio.root, "remapped")
    at = DrawingPage(page, "remapped").open()

    def tool() -> str:
        return at.stage.get_attribute("data-tool") or ""

    page.keyboard.press("p")
    assert tool() == "point"
    page.keyboard.press("?")
    page.get_by_role("button", name="Change the key of: Draw a box").click()
    page.keyboard.press("y")
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("b")
    assert tool() == "point"
    page.keyboard.press("y")
    assert tool() == "box"
    page.keyboard.press("?")
    page.get_by_label("Single keys do something").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("p")
    assert tool() == "box"


def test_one_finger_draws_and_two_move_and_zoom(
    browser: Browser, studio: RunningStudio, watch: Watch
) -> None:
    store = make_photos(studio.root, "touch")
    options = {
        "base_url": studio.url,
        "viewport": {"width": 820, "height": 1180},
        "has_touch": True,
    }
    with watched_context(browser, watch, **options) as context:
        page = context.new_page()
        at = DrawingPage(page, "touch").open()
        fingers = context.new_cdp_session(page)

        def touch(kind: str, *places: tuple[float, float]) -> None:
            points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        start, end = at.on_screen((50, 50)), at.on_screen((150, 120))
        touch("touchStart", start)
        touch("touchMove", end)
        touch("touchEnd")
        at.saved()
        ((_, place, _),) = said(store.prompts.of_image("touch", "a"))
        assert near(place, "50 50 150 120")

        (x, y), width = (
            at.on_screen((200, 150)),
            at.on_screen((400, 0))[0] - at.on_screen((0, 0))[0],
        )
        touch("touchStart", (x - 40, y))
        touch("touchStart", (x - 40, y), (x + 40, y))
        touch("touchMove", (x - 80, y + 30), (x + 80, y + 30))
        touch("touchEnd")
        page.wait_for_timeout(300)
        wider = at.on_screen((400, 0))[0] - at.on_screen((0, 0))[0]
        assert wider == pytest.approx(2 * width, rel=0.02)
        assert at.on_screen((200, 150)) == pytest.approx((x, y + 30), abs=2)
        assert len(drawn(store.prompts.of_image("touch", "a"))) == 1

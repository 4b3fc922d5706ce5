"""What every page has."""

import pytest
from playwright.sync_api import Page, expect

from segpipe.studio.studio_app import PAGES
from segpipe_tests.studio.running_studio import assert_accessible

PATHS = [entry.path for module in PAGES for entry in getattr(module, "NAVIGATION", ())]


def test_the_deals_are_listed_with_how_they_stand(page: Page) -> None:
    page.goto("/")
    row = page.get_by_role("row", name="done")
    expect(row).to_contain_text("other settings")
    expect(page.get_by_role("row", name="fresh")).to_contain_text("never made")
    expect(row.locator("img").first).to_have_js_property("complete", True)
    assert row.locator("img").first.evaluate("image => image.naturalWidth") > 0
    assert_accessible(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_of_the_rail_is_accessible(page: Page, theme: str) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    for path in PATHS:
        page.goto(path)
        expect(page.locator("nav a[aria-current=page]").first).to_be_visible()
        assert_accessible(page)


def test_keys_search_and_help_can_be_changed_and_switched_off(page: Page) -> None:
    page.goto("/deals")
    page.keyboard.press("/")
    expect(page.get_by_label("Search deals")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_label("Search deals")).to_have_value("?")
    page.get_by_label("Search deals").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Help")).to_be_visible()
    assert_accessible(page)
    page.get_by_label("Change the key of: Search").first.click()
    page.keyboard.press("s")
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("s")
    expect(page.get_by_label("Search deals")).to_be_focused()
    page.get_by_label("Search deals").blur()
    page.keyboard.press("?")
    page.get_by_label("Single keys do something").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("s")
    expect(page.get_by_label("Search deals")).not_to_be_focused()

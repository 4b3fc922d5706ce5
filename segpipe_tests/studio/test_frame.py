"""What every page has."""

from playwright.sync_api import Page, expect

from segpipe_tests.studio.running_studio import assert_accessible


def test_the_deals_are_listed_with_how_they_stand(page: Page) -> None:
    page.goto("/")
    row = page.get_by_role("row", name="done")
    expect(row).to_contain_text("other settings")
    expect(page.get_by_role("row", name="fresh")).to_contain_text("never made")
    expect(row.locator("img").first).to_have_js_property("complete", True)
    assert row.locator("img").first.evaluate("image => image.naturalWidth") > 0
    assert_accessible(page)

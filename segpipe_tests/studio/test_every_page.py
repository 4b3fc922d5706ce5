"""What holds for every page: axe finds nothing serious, and all of it is on the screen."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from segpipe_tests.deals import make_deal
from segpipe_tests.studio.running_studio import (
    RunningStudio,
    Watch,
    assert_accessible,
    running_studio,
    watched_context,
)

DEAL = "/deals/done"
PATHS = (
    "/deals",
    "/deals?search=nowhere",
    DEAL,
    *(f"{DEAL}?tab={tab}" for tab in ("crops", "report", "history", "costs")),
    "/deals/fresh?tab=crops",
    f"{DEAL}/annotate",
    f"{DEAL}/annotate?mode=inside_box",
    "/test",
    "/process",
    "/process?deal=done&deal=fresh",
    "/process/estimate?scope=all",
    "/runs",
    "/costs",
    "/settings",
    "/exports",
    "/exports?deal=done&deal=fresh",
)
PROBLEMS = ("/deals/nowhere", "/nowhere", "/runs/00000000-0000-0000-0000-000000000000")
_IS_WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page_nor_in_its_help(
    page: Page, watch: Watch, scheme: str
) -> None:
    watch.expected.append("404")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for path in (*PATHS, *PROBLEMS):
        page.goto(path)
        assert_accessible(page)
    page.goto("/deals")
    page.get_by_role("button", name="Help").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_accessible(page)


@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_is_wider_than_the_screen_and_nothing_is_cut_off(
    browser: Browser, studio: RunningStudio, watch: Watch, width: int
) -> None:
    watch.expected.append("404")
    long = "a-deal-whose-name-is-long-" * 4
    make_deal(studio.root, long, (1,))
    options = {"base_url": studio.url, "viewport": {"width": width, "height": 860}}
    with watched_context(browser, watch, **options) as context:
        page = context.new_page()
        for path in (*PATHS, *PROBLEMS):
            page.goto(path)
            assert page.evaluate(_IS_WIDER) <= 0, path
        page.goto("/settings")
        hidden = "form => form.scrollHeight - form.clientHeight"
        assert page.locator("form[data-settings] fieldset").evaluate(hidden) <= 1
        entries = page.get_by_role("navigation", name="Pages").get_by_role("link")
        for entry in entries.all():
            box = entry.bounding_box()
            assert box
            assert 0 <= box["x"] < box["x"] + box["width"] <= width
    shutil.rmtree(studio.root / "deals" / long)


def test_the_login_page_is_accessible_also_after_a_wrong_token(
    browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    watch.expected.append("401")
    with (
        running_studio(tmp_path, {"SEGPIPE_STUDIO_TOKEN": "right"}) as guarded,
        watched_context(browser, watch, base_url=guarded.url) as context,
    ):
        page = context.new_page()
        page.goto("/login")
        assert_accessible(page)
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_be_visible()
        assert_accessible(page)

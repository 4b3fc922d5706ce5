"""The page about quality: what was measured, drawn over time, and what has drifted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from playwright.sync_api import Page, expect

from segpipe.flow.quality import QUALITY_SCHEMA
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.deals import make_deal
from segpipe_tests.flow.test_quality import rows_of, simulate
from segpipe_tests.studio.running_studio import RunningStudio, assert_accessible, running_studio


def test_new_deals_are_measured_and_a_point_leads_to_its_deal(
    page: Page, studio: RunningStudio
) -> None:
    page.goto("/quality?mode=inside_box")
    expect(page.get_by_role("heading", name="Nothing is measured yet")).to_be_visible()
    page.goto("/quality")
    page.get_by_role("button", name="Measure new deals").click()
    expect(page.get_by_role("heading", name="Items a photo")).to_be_visible()
    assert_accessible(page)
    page.locator(".chart a").first.click()
    page.wait_for_url("**/deals/done*")


def test_what_has_drifted_is_said_first_and_settings_are_marked(tmp_path: Path) -> None:
    make_deal(tmp_path, "lot-129")
    rng = np.random.default_rng(3)
    before, later = simulate(rng, 100), simulate(rng, 30, shift=-0.1, first=100)
    rows = [*before, *(replace(row, settings_generation=4) for row in later)]
    table = pa.Table.from_pylist(rows_of(rows), QUALITY_SCHEMA)
    DealStore(tmp_path).quality.append(Mode.FIND_ALL, table)
    with running_studio(tmp_path) as running, running.client() as client:
        text = client.get("/quality").text
        assert "score, median: 0.701 in the last 30 deals, 0.801 before" in text
        assert text.index("Score, lowest tenth</h2>") < text.index("Items a photo</h2>")
        assert "<title>Settings 4</title>" in text
        assert "lot-129, generation 1" in text


def test_a_viewer_sees_the_numbers_and_measures_nothing(tmp_path: Path) -> None:
    make_deal(tmp_path, "lot")
    tokens = {"SEGPIPE_STUDIO_TOKEN": "x" * 16, "SEGPIPE_STUDIO_VIEWER_TOKEN": "v" * 16}
    with running_studio(tmp_path, tokens) as running, running.client() as client:
        client.post("/login", data={"token": "v" * 16})
        assert "Nothing is measured yet" in client.get("/quality").text
        assert client.post("/quality").status_code == 403

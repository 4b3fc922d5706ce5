"""Deals processed from the studio through a real daemon: the operator's story, and its steps."""

import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import Browser, Page, expect

from segpipe.flow.deal_inputs import current_inputs
from segpipe.pipeline.chosen_settings import SETTINGS_TAG
from segpipe.pipeline.family import SEGMENTER_POOL
from segpipe.pipeline.partitions import REQUEST_TAG
from segpipe.prompt import Mode
from segpipe.vision.encode import encode_png
from segpipe_tests.deals import FAILURE, make_deal, put_photos
from segpipe_tests.goods import goods_image, goods_photo
from segpipe_tests.studio.drawing_page import SIDES, DrawingPage
from segpipe_tests.studio.running_studio import (
    RunningStudio,
    Watch,
    assert_accessible,
    running_studio,
    wait_until,
    watched_context,
)

pytestmark = pytest.mark.timeout(300)

START_LIMIT_S = 120.0
RUN_LIMIT_S = 120.0
ENDS_WITHIN_S = 8.0
RUN_ID_LIMIT_S = 2.0  # of this process's time, which other work on the machine does not stretch
SHOWN_LIMIT_S = 9.0  # three times what is promised on a machine that does nothing else
RUN_LIMIT_MS = RUN_LIMIT_S * 1000


@pytest.fixture(scope="module")
def processing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """A studio with Dagster's pages and daemon, without a deal."""
    root = tmp_path_factory.mktemp("processing") / "data"
    root.mkdir()
    with running_studio(root, dagster=True, daemon=True) as running:
        wait_until(lambda: running.studio.dagster.is_ready, patience_s=START_LIMIT_S)
        yield running


@pytest.fixture
def operator(processing: RunningStudio, browser: Browser, watch: Watch) -> Iterator[Page]:
    """A page of a fresh browser."""
    with watched_context(browser, watch, base_url=processing.url) as context:
        yield context.new_page()


@pytest.fixture
def held_queue(processing: RunningStudio) -> Iterator[None]:
    """No run that uses a segmenter begins."""
    storage = processing.studio.dagster.instance().event_log_storage
    storage.set_concurrency_slots(SEGMENTER_POOL, 0)
    yield
    storage.delete_concurrency_limit(SEGMENTER_POOL)


def wait_for_run(page: Page) -> None:
    """Look at the page of a run until it says that the run is done; nobody reloads it."""
    expect(page.locator(".head .chip")).to_have_text("done", timeout=RUN_LIMIT_MS)


def lines_about(studio: RunningStudio, what: str) -> list[dict[str, object]]:
    """The lines of the audit log about one kind of change."""
    return [dict(line) for line in studio.studio.audit.lines() if line["what"] == what]


def width_of_crop(page: Page) -> int:
    """Pixels of the first cut-out on a deal's page."""
    first = page.locator(".crops img").first
    return int(first.evaluate("image => image.decode().then(() => image.naturalWidth)"))


def test_an_operator_adds_photos_draws_tries_saves_processes_looks_and_rolls_back(
    processing: RunningStudio, operator: Page, tmp_path: Path
) -> None:
    page = operator
    photo = tmp_path / "a.png"
    photo.write_bytes(encode_png(goods_image(5, width=SIDES[0], height=SIDES[1])))
    page.goto("/deals")
    page.get_by_label("Name of the deal").fill("spring")
    page.get_by_label("Photos", exact=True).set_input_files(photo)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", name="spring")).to_be_visible()

    # Two boxes are drawn, and settings are tried before anything is run.
    at = DrawingPage(page, "spring").open(Mode.INSIDE_BOX)
    at.drag((2, 15), (18, 40))
    at.drag((22, 15), (38, 40))
    at.saved()
    page.goto("/test?deal=spring")
    page.get_by_role("button", name="Try").click()
    expect(page.locator("#picture .kept")).to_have_count(5)  # all that is on the photo

    page.goto("/process?mode=inside_box")
    expect(page.locator(".estimate").first).to_contain_text("1 photo in 1 deal")
    expect(page.get_by_label("Deals and why")).to_contain_text("never made")
    assert_accessible(page)
    page.get_by_role("button", name="Process 1 changed").click()
    expect(page.get_by_role("heading", name=re.compile(r"^Run \w{8}$"))).to_be_visible()
    expect(page.get_by_text("the defaults, as none are saved")).to_be_visible()
    wait_for_run(page)
    expect(page.get_by_label("Deals of the run")).to_contain_text("1 of 1")
    assert_accessible(page)
    page.get_by_role("link", name="spring").click()
    expect(page.locator(".crops img")).to_have_count(2)
    before = width_of_crop(page)

    # Other settings make it out of date; nothing runs by saving.
    page.goto("/settings?mode=inside_box")
    page.get_by_label("Padding px").fill("4")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".done-note")).to_contain_text("Generation 1 is saved")
    page.get_by_role("link", name="Deals", exact=True).click()
    page.get_by_label("Select spring").check()
    page.get_by_role("button", name="Process selected").click()
    selected = page.get_by_role("form", name="Process the selected deals")
    expect(selected).to_contain_text("crops.padding_px 0 → 4")
    expect(selected.locator(".estimate")).to_contain_text("looked for anew in 0 of them")
    selected.get_by_role("button", name="Process 1 selected").click()
    expect(page.get_by_text("Settings: generation 1")).to_be_visible()
    wait_for_run(page)
    page.get_by_role("link", name="spring").click()
    assert width_of_crop(page) == before + 8
    page.get_by_role("link", name="History").click()
    page.get_by_role("button", name="Make generation 1 current").click()
    page.get_by_role("link", name="Crops").click()
    assert width_of_crop(page) == before
    page.goto("/process?mode=inside_box")
    expect(page.get_by_text("Everything is up to date, at rest, or under way")).to_be_visible()
    assert len(lines_about(processing, "started runs")) == 2


def test_a_second_click_starts_nothing_and_the_runs_of_a_request_share_their_settings(
    processing: RunningStudio, operator: Page
) -> None:
    for deal in ("twice-1", "twice-2", "twice-4"):
        put_photos(processing.root, deal, {"a.png": goods_photo(2)})
    wanted = {
        "mode": "find_all",
        "deals": ["twice-1", "twice-2", "twice-4"],
        "request_id": "the-same-click",
    }
    with processing.client() as client:
        begun = time.process_time()
        first = client.post("/api/runs", json=wanted)
        assert time.process_time() - begun < RUN_ID_LIMIT_S
        assert first.status_code == 202, first.text
        again = client.post("/api/runs", json=wanted).json()
        assert again == {**first.json(), "is_new": False}
        place = f"/api/runs/{first.json()['run_id']}"
        operator.goto(f"/runs/{first.json()['run_id']}")

        def done() -> int:
            told = client.get(place).json()["progress"]
            return sum(each["stand"] == "done" for each in told)

        chips = operator.locator("td .chip.good")
        # What the page shows follows what is so: nobody reloads it.
        for count in range(1, 4):
            wait_until(partial(lambda least: done() >= least, count), patience_s=RUN_LIMIT_S)
            shown = partial(lambda least: chips.count() >= least, count)
            wait_until(shown, patience_s=SHOWN_LIMIT_S)
        wait_for_run(operator)
    instance = processing.studio.dagster.instance()
    runs = [run for run in instance.get_runs() if run.tags.get(REQUEST_TAG) == "the-same-click"]
    assert len(runs) == 1
    assert {run.tags[SETTINGS_TAG] for run in runs} == {
        str(processing.store.settings.newest_generation())
    }


@pytest.mark.usefixtures("held_queue")
def test_a_run_is_cancelled_on_its_page_and_started_without_scripts(
    processing: RunningStudio, browser_without_scripts: Page, operator: Page
) -> None:
    page = browser_without_scripts
    put_photos(processing.root, "quiet", {"a.png": goods_photo(2)})
    page.goto(f"{processing.url}/process?deal=quiet")
    page.get_by_role("link", name="What will it take?").first.click()
    expect(page.get_by_text("1 photo in 1 deal")).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Process 1 selected").click()
    expect(page.get_by_label("Deals of the run")).to_contain_text("quiet")
    with page.expect_navigation():  # a reload amid it would have no page to work on
        page.get_by_role("button", name="Cancel this run").click()
    wait_until(
        lambda: bool(page.reload()) and page.locator(".head .chip").inner_text() == "cancelled",
        patience_s=RUN_LIMIT_S,
    )
    assert processing.store.current("quiet", Mode.FIND_ALL) is None
    page.get_by_role("link", name="Runs", exact=True).first.click()
    over = page.get_by_label("Runs that are over")
    expect(over.get_by_role("row", name=re.compile("quiet"))).to_contain_text("cancelled")
    operator.goto("/runs")
    expect(operator.get_by_role("row", name=re.compile("quiet"))).to_be_visible()
    assert_accessible(operator)


@pytest.mark.usefixtures("held_queue")
def test_a_request_of_several_runs_is_cancelled_whole_in_dagster_elsewhere(
    processing: RunningStudio,
) -> None:
    """Deals that do not follow on each other need a run each."""
    deals = [f"apart-{index}" for index in range(5)]
    for deal in deals:
        put_photos(processing.root, deal, {"a.png": goods_photo(2)})
    instance = processing.studio.dagster.instance()
    instance.add_dynamic_partitions("deals", deals)
    with running_studio(processing.root, dagster_url=f"{processing.url}/dagster") as other:
        with other.client() as client:
            wanted = {"mode": "find_all", "deals": deals[::2], "request_id": "several-runs"}
            answer = client.post("/api/runs", json=wanted)
            assert answer.status_code == 202, answer.text
            place = f"/api/runs/{answer.json()['run_id']}"
            ended = client.post(f"{place}/cancel?whole_request=true")
            assert ended.status_code == 200, ended.text
            filters = dg.RunsFilter(tags={REQUEST_TAG: "several-runs"})
            wait_until(
                lambda: all(run.is_finished for run in instance.get_runs(filters)),
                patience_s=RUN_LIMIT_S,
            )
            assert client.post(f"{place}/cancel").status_code == 409

            # One whose process has died while it was to end would say nothing for minutes.
            again = client.post("/api/runs", json={**wanted, "request_id": "a-silent-run"}).json()
            silent = instance.get_run_by_id(again["run_id"])
            assert silent
            instance.report_run_canceling(silent)
            assert client.post(f"/api/runs/{silent.run_id}/cancel").status_code == 200
            assert client.get(f"/api/runs/{silent.run_id}").json()["status"] == "cancelled"
            whole = f"/api/runs/{silent.run_id}/cancel?whole_request=true"
            assert client.post(whole).status_code == 200
        statuses = {run.status for run in instance.get_runs(filters)}
        assert statuses == {dg.DagsterRunStatus.CANCELED}
        assert other.studio.audit.lines()[-1]["what"] == "cancelled runs"
    for deal in deals:
        assert processing.store.current(deal, Mode.FIND_ALL) is None


def test_a_run_that_is_still_starting_ends_within_seconds(processing: RunningStudio) -> None:
    """Dagster refuses to end it; what its process does later is nothing."""
    put_photos(processing.root, "early", {"a.png": goods_photo(2)})
    instance = processing.studio.dagster.instance()

    def status() -> dg.DagsterRunStatus | None:
        run = instance.get_run_by_id(run_id)
        return run.status if run else None

    with processing.client() as client:
        run_id = client.post("/api/runs", json={"mode": "find_all", "deals": ["early"]}).json()[
            "run_id"
        ]
        wait_until(lambda: status() is dg.DagsterRunStatus.STARTING, patience_s=RUN_LIMIT_S)
        asked = time.monotonic()
        answer = client.post(f"/api/runs/{run_id}/cancel")
        assert answer.status_code == 200, answer.text
        wait_until(lambda: status() is dg.DagsterRunStatus.CANCELED)
        assert time.monotonic() - asked < ENDS_WITHIN_S
        assert client.get(f"/api/runs/{run_id}").json()["status"] == "cancelled"

        # Its process comes, finds it ended, and goes; another run takes its place.
        next_id = client.post("/api/runs", json={"mode": "find_all", "deals": ["early"]}).json()[
            "run_id"
        ]
        place = f"/api/runs/{next_id}"
        wait_until(lambda: client.get(place).json()["is_over"], patience_s=RUN_LIMIT_S)
        assert client.get(place).json()["status"] == "done"
    assert status() is dg.DagsterRunStatus.CANCELED
    current = processing.store.current("early", Mode.FIND_ALL)
    assert current
    assert (current.generation, current.commit.run_id) == (1, next_id)


def test_failed_deals_are_told_with_the_reason_though_no_run_would_help(
    page: Page, studio: RunningStudio
) -> None:
    store = make_deal(studio.root, "hopeless", (1,))
    inputs = current_inputs(store, "hopeless", Mode.FIND_ALL)
    mark = {"photos_fingerprint": inputs.photos, "prompts_version": inputs.prompts}
    failure = FAILURE.model_copy(update={**mark, "retryable": False})
    store.record_failure("hopeless", "find_all", failure)
    page.goto("/process")
    row = page.get_by_label("Deals and why").get_by_role("row", name=re.compile("hopeless"))
    expect(row).to_contain_text("known to be bad")
    expect(row).to_contain_text("the last run could not use it")
    expect(page.get_by_text("started without Dagster")).to_be_visible()


def test_who_may_run_what(processing: RunningStudio, tmp_path: Path) -> None:
    tokens = {"SEGPIPE_STUDIO_TOKEN": "a", "SEGPIPE_STUDIO_REVIEWER_TOKEN": "r"}
    put_photos(tmp_path, "lot", {"a.png": goods_photo(2)})
    with running_studio(tmp_path, tokens) as running:
        for scope, anew, status in (
            ("all", False, 403),
            ("changed", True, 403),
            ("changed", False, 503),
        ):
            with running.client(Authorization="Bearer r") as client:
                body = {"mode": "find_all", "scope": scope, "anew": anew}
                answer = client.post("/api/runs", json=body)
                assert answer.status_code == status, answer.text
                page = client.get("/process").text
                assert "Process all" not in page
                assert "segpipe run" in page

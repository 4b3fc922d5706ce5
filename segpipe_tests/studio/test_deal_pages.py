"""The pages of deals: the list, and one deal with its photos, cut-outs, report and history."""

import asyncio
import io
import json
import re
import zipfile
from pathlib import Path

from playwright.sync_api import Page, expect

from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.deal_inputs import current_inputs
from segpipe.flow.export import export_deals
from segpipe.flow.export_task import ExportTask
from segpipe.flow.finds import write_finds
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.deals import FAILURE, default_tools, make_deal, make_tools, put_photos, run_deal
from segpipe_tests.goods import FixedSegmenter, photo_of
from segpipe_tests.studio.drawing_page import make_photos
from segpipe_tests.studio.running_studio import (
    RunningStudio,
    assert_accessible,
    in_thread,
    running_studio,
)


def rerun(store: DealStore, deal: str, run_id: str) -> None:
    """Another run of a deal."""
    task = DealTask(deal, run_id)
    in_thread(lambda: asyncio.run(process_deal(store, task, make_tools(FixedSegmenter()))))


def two_generations(studio: RunningStudio, deal: str) -> DealStore:
    """A deal whose first generation has one photo with items, the second two."""
    store = in_thread(lambda: run_deal(studio.root, deal, ("a.png",)))
    put_photos(studio.root, deal, {"b.png": photo_of(True, 1)})
    rerun(store, deal, "second-run")
    return store


def found_by(store: DealStore, deal: str) -> set[str]:
    """The runs whose finds are among the prompts of the photo "a"."""
    return {each.created_by for each in store.prompts.of_image(deal, "a").annotations}


def test_a_deal_shows_its_photos_and_what_was_found_in_them(page: Page) -> None:
    page.goto("/deals")
    page.get_by_role("link", name="done").click()
    expect(page.get_by_role("heading", name="done")).to_be_visible()
    overlay = page.locator(".overlay").first
    expect(overlay).to_be_visible()
    assert overlay.evaluate("image => image.decode().then(() => image.naturalWidth)") == 400
    page.get_by_label("Show what was found").uncheck()
    expect(overlay).to_be_hidden()
    page.get_by_label("Show what was found").check()
    page.get_by_label("how strong").fill("40")
    expect(overlay).to_have_css("opacity", "0.4")
    assert_accessible(page)


def test_crops_are_shown_on_chosen_backgrounds(page: Page) -> None:
    page.goto("/deals/done?tab=crops")
    crops = page.locator(".crops img")
    expect(crops).to_have_count(8)
    for crop in crops.all():
        assert crop.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    ground = page.locator(".ground").first
    for name, colour in (("White", "255, 255, 255"), ("Black", "11, 13, 13"), ("Green", "0, 177")):
        page.get_by_label(name).check()
        assert colour in ground.evaluate("place => getComputedStyle(place).backgroundColor")
    page.get_by_label("Another colour").fill("#102030")
    expect(ground).to_have_css("background-color", "rgb(16, 32, 48)")
    assert_accessible(page)


def test_the_report_tells_of_each_photo(page: Page) -> None:
    page.goto("/deals/done?tab=report")
    expect(page.get_by_role("row", name="a.png")).to_contain_text(re.compile("400 . 300"))
    sheet = page.get_by_alt_text("The photos of the deal")
    assert sheet.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert_accessible(page)


def test_a_generation_comes_back_whole_and_is_what_is_shown_and_exported(
    page: Page, studio: RunningStudio, tmp_path: Path
) -> None:
    store = two_generations(studio, "twice")

    def exported() -> list[str]:
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        export_deals(store, ["twice"], ExportTask("coco", out))
        return [each["file_name"] for each in json.loads(out.read_text())["images"]]

    page.goto("/deals/twice?tab=history")
    assert_accessible(page)
    page.get_by_role("button", name="Make generation 1 current").click()
    expect(page.get_by_text("Generation 3 is current")).to_be_visible()
    first = store.snapshot("twice", "find_all", 1)
    current = store.current("twice", "find_all")
    assert current
    assert current.commit.assets == first.commit.assets
    page.get_by_role("link", name="Crops").click()
    expect(page.locator(".crops img")).to_have_count(4)
    assert len(exported()) == 1

    page.go_back()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Generation 4 is current")).to_be_visible()
    page.get_by_role("link", name="Crops").click()
    expect(page.locator(".crops img")).to_have_count(8)
    assert len(exported()) == 2
    noted = [line for line in studio.studio.audit.lines() if line.get("deal") == "twice"]
    assert [(line["what"], line["of"], line["generation"]) for line in noted] == [
        ("rolled back", 1, 3),
        ("rolled back", 2, 4),
    ]


def test_two_generations_are_shown_side_by_side(page: Page, studio: RunningStudio) -> None:
    two_generations(studio, "beside")
    page.goto("/deals/beside?tab=history")
    page.get_by_role("button", name="Show side by side").click()
    beside = page.get_by_role("region", name="Side by side")
    expect(beside.get_by_role("heading")).to_have_text(
        ["Generation 1 4 items", "Generation 2 8 items"]
    )
    expect(beside.locator("figcaption")).to_have_text(
        [
            re.compile(r"a\.png 4 of"),
            re.compile(r"a\.png 4 of"),
            "b.png not in it",
            re.compile("4 of"),
        ]
    )
    for overlay in beside.locator(".overlay").all():
        assert overlay.evaluate("image => image.decode().then(() => image.naturalWidth)") == 400
    assert_accessible(page)


def test_selected_deals_are_exported_as_one_archive_also_without_scripts(
    browser_without_scripts: Page, studio: RunningStudio, tmp_path: Path
) -> None:
    page = browser_without_scripts
    page.goto(f"{studio.url}/deals")
    for deal in ("done", "fresh"):
        page.get_by_label(f"Select {deal}", exact=True).check()
    page.get_by_role("button", name="Export selected").click()
    expect(page.get_by_role("heading", name="Export", exact=False).first).to_have_text("Export 1")
    expect(page.get_by_role("listitem").filter(has_text="fresh")).to_contain_text("never made")
    for name, files in (
        ("COCO", {"images/done/a.png", "export.json"}),
        ("Cut-outs", {"cutouts.csv"}),
    ):
        page.get_by_label(name).check()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        archive = tmp_path / download.value.suggested_filename
        download.value.save_as(archive)
        with zipfile.ZipFile(archive) as packed:
            assert files <= set(packed.namelist())
            assert packed.testzip() is None
    with studio.client() as client:
        form = {"mode": "find_all", "format": "coco", "deal": ["done", "fresh"]}
        packed = zipfile.ZipFile(io.BytesIO(client.post("/exports", data=form).content))
        assert "fresh: " in packed.read("not-in-this-export.txt").decode()
        assert client.post("/exports", data={**form, "format": "x"}).status_code == 400
        assert client.post("/exports", data={**form, "deal": "nowhere"}).status_code == 404
        assert (
            client.post("/exports", data={"mode": "find_all", "format": "coco"}).status_code == 400
        )


def test_after_a_rollback_what_is_drawn_on_is_what_is_current(
    page: Page, studio: RunningStudio
) -> None:
    """What a run had found comes back on the photo and among its prompts."""
    store = make_photos(studio.root, "back")
    task = DealTask("back", "found-much")
    in_thread(lambda: asyncio.run(process_deal(store, task, default_tools())))
    write_finds(store, "back")
    rerun(store, "back", "found-less")
    write_finds(store, "back")
    page.goto("/deals/back/annotate/a")
    expect(page.locator("[data-found-items] li")).to_have_count(4)
    assert found_by(store, "back") == {"found-less"}

    page.goto("/deals/back?tab=history")
    page.get_by_role("button", name="Make generation 1 current").click()
    expect(page.get_by_text("Generation 3 is current")).to_be_visible()
    page.goto("/deals/back/annotate/a")
    expect(page.locator("[data-found-items] li")).to_have_count(5)
    assert found_by(store, "back") == {"found-much"}
    page.goto("/deals/back?tab=history")
    page.get_by_role("button", name="Make generation 2 current").click()
    expect(page.get_by_text("Generation 4 is current")).to_be_visible()
    assert found_by(store, "back") == {"found-less"}


def test_who_saw_an_older_state_rolls_nothing_back(page: Page, studio: RunningStudio) -> None:
    store = two_generations(studio, "raced")
    page.goto("/deals/raced?tab=history")
    rerun(store, "raced", "third-run")
    with studio.client() as client:
        form = {"mode": "find_all", "generation": 1, "seen": 2}
        answer = client.post("/deals/raced/rollback", data=form)
        assert answer.status_code == 409
        assert client.post("/deals/raced/rollback", data={**form, "seen": 3}).status_code == 303
        assert (
            client.post(
                "/api/deals/raced/rollback", json={"mode": "find_all", "generation": 99}
            ).status_code
            == 404
        )


def test_failures_are_told_by_photo(page: Page, studio: RunningStudio) -> None:
    store = make_deal(studio.root, "failing", (1, 2))
    errors = (
        FAILURE.errors[0].model_copy(update={"image": "a.png", "message": "it is <b>cut</b> off"}),
        FAILURE.errors[1],
    )
    store.record_failure("failing", "find_all", FAILURE.model_copy(update={"errors": errors}))
    page.goto("/deals/failing")
    failed = page.get_by_role("region", name="The last run failed")
    expect(failed.get_by_role("listitem").first).to_have_text("a.png: it is <b>cut</b> off")
    expect(failed.get_by_role("listitem").last).to_have_text("no space")
    assert_accessible(page)


def test_names_from_outside_are_shown_as_text(page: Page, studio: RunningStudio) -> None:
    for deal in ("<img src=x onerror=alert(1)>", "מבצע-2026", '"><script>x', "a&b=c#d?e%41"):
        put_photos(studio.root, deal, {'<svg onload="x">.png': photo_of(True)})
        page.goto("/deals")
        page.get_by_label("Search deals").fill(deal)
        page.get_by_label("Search deals").press("Enter")
        expect(page.get_by_role("row")).to_have_count(2)
        page.get_by_role("link", name=deal).click()
        expect(page.get_by_role("heading", name=deal, exact=True)).to_be_visible()
        expect(page.locator("figcaption bdi")).to_have_text('<svg onload="x">.png')
        image = page.locator(".stacked img")
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_the_list_is_searched_filtered_sorted_and_paged_without_scripts(
    browser_without_scripts: Page, tmp_path: Path
) -> None:
    page = browser_without_scripts
    photo = photo_of(True)
    for index in range(70):
        photos = {f"{name}.png": photo for name in "abc"[: 1 + index % 3]}
        put_photos(tmp_path, f"lot-{index:03}", photos)
    failed = DealStore(tmp_path)
    inputs = current_inputs(failed, "lot-007", Mode.FIND_ALL)
    mark = {"photos_fingerprint": inputs.photos, "prompts_version": inputs.prompts}
    failed.record_failure("lot-007", "find_all", FAILURE.model_copy(update=mark))
    with running_studio(tmp_path) as running:
        page.goto(f"{running.url}/deals")
        rows = page.locator("tbody tr")
        seen = []
        for count in (50, 20):
            expect(rows).to_have_count(count)
            seen += page.locator(".deal-name bdi").all_inner_texts()
            if count == 50:
                page.get_by_role("link", name="Next 50").click()
        assert seen == [f"lot-{index:03}" for index in range(70)]
        page.get_by_label("Sorted by").select_option("Photos")
        page.get_by_label("Last first").check()
        page.get_by_role("button", name="Sort").click()
        expect(rows.first).to_contain_text("lot-002")
        page.get_by_role("link", name=re.compile("^Not made, or at rest 69")).click()
        expect(page.get_by_role("heading", name="Deals")).to_have_text("Deals 69")
        page.get_by_role("link", name=re.compile(r"^Failed 1")).click()
        expect(rows).to_have_count(1)
        expect(rows.first).to_contain_text("known to be bad")
        page.get_by_label("Search deals").fill("LOT-01")
        page.get_by_label("Search deals").press("Enter")
        expect(rows).to_have_count(10)
        page.goto(f"{running.url}/deals/random")
        expect(page).to_have_url(re.compile(r"/deals/lot-\d{3}$"))
        page.get_by_role("link", name="Inside boxes").click()
        expect(page).to_have_url(re.compile("mode=inside_box$"))
        expect(page.get_by_text("no photo of the deal has a box")).to_be_visible()
        page.get_by_role("link", name="Deals", exact=True).first.click()
        expect(page).to_have_url(re.compile("mode=inside_box$"))

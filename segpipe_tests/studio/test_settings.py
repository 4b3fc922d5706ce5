"""Settings in the studio: the page, with and without scripts, the API, and keys nobody sees."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from segpipe.flow.saved_settings import SavedSettings, read_saved, save
from segpipe.flow.setting_fields import with_texts
from segpipe.studio.settings_form import form_groups, read_form
from segpipe_tests.deals import make_deal, run_deal
from segpipe_tests.loopback.reply import json_reply
from segpipe_tests.loopback.server import Loopback
from segpipe_tests.studio.running_studio import (
    RunningStudio,
    Watch,
    assert_accessible,
    in_thread,
    running_studio,
    watched_context,
)

CANARY = "sg-canary-0123456789"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningStudio]:
    """A studio whose settings the test may change; keys are kept beside it."""
    monkeypatch.setenv("SEGPIPE_SECRETS_FILE", str(tmp_path / "home" / "secrets.json"))
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    root = tmp_path / "data"
    root.mkdir()
    with running_studio(root) as running:
        yield running


@pytest.fixture
def settings_page(own: RunningStudio, browser: Browser, watch: Watch) -> Iterator[Page]:
    with watched_context(browser, watch, base_url=own.url) as context:
        page = context.new_page()
        page.goto("/settings")
        yield page


def current(studio: RunningStudio) -> SavedSettings:
    return read_saved(studio.store).settings


def with_(**texts: str) -> SavedSettings:
    return with_texts(SavedSettings(), {k.replace("__", "."): v for k, v in texts.items()})


def test_settings_are_saved_restored_and_reset_on_their_page(
    own: RunningStudio, settings_page: Page
) -> None:
    page = settings_page
    in_thread(lambda: run_deal(own.root, "done"))
    expect(page.get_by_text("Nothing was saved yet: runs use the defaults")).to_be_visible()
    assert_accessible(page)
    page.get_by_label("Padding px").fill("4")
    page.get_by_label("What for").fill("wider cut-outs")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".done-note")).to_contain_text("Generation 1 is saved")
    expect(page.locator(".done-note")).to_contain_text("1 deal was made with other settings")
    expect(page.locator(".head")).to_contain_text("by operator: wider cut-outs")
    assert current(own).changed() == {"crops": {"padding_px": 4}}

    page.get_by_role("button", name="Reset all to the defaults").click()
    expect(page.locator("#history li").first).to_contain_text("crops.padding_px 4 → 0")
    assert current(own) == SavedSettings()
    page.get_by_role("button", name="Restore").last.click()
    expect(page.locator("#history li").first).to_contain_text("generation 1 restored")
    assert current(own).changed() == {"crops": {"padding_px": 4}}
    told = [line["what"] for line in own.studio.audit.lines()]
    assert told == ["saved settings", "reset settings", "restored settings"]


def test_another_kind_shows_its_settings_and_what_is_wrong_stands_beside_the_field(
    own: RunningStudio, settings_page: Page, watch: Watch
) -> None:
    page = settings_page
    page.get_by_label("Segmenter", exact=True).select_option("sam3")
    expect(page.get_by_label("Backend", exact=True)).to_have_value("segmind")
    expect(page.get_by_label("Api key env")).to_have_value("SEGMIND_API_KEY")
    page.get_by_label("Texts", exact=True).fill("[ring, bracelet]")
    page.get_by_label("Threshold", exact=True).fill("7")
    page.get_by_label("Containment threshold", exact=True).fill("much")
    watch.expected.append("422")
    page.get_by_role("button", name="Save").click()
    field = page.locator(".field", has=page.get_by_label("Threshold", exact=True))
    expect(field).to_contain_text("less than or equal to 1")
    expect(page.get_by_label("Threshold", exact=True)).to_have_value("7")
    expect(page.locator(".field", has_text="valid number")).to_have_count(1)
    expect(page.get_by_label("Texts", exact=True)).to_have_value("[ring, bracelet]")
    assert_accessible(page)
    assert read_saved(own.store).generation == 0

    page.get_by_label("Threshold", exact=True).fill("0.4")
    page.get_by_label("Containment threshold", exact=True).fill("0.9")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".done-note")).to_contain_text("Generation 1")
    assert current(own).changed() == {
        "segmenter": {
            "kind": "sam3",
            "backend": {"kind": "segmind", "threshold": 0.4},
            "texts": ["ring", "bracelet"],
        },
        "dedup": {"containment_threshold": 0.9},
    }


def test_a_second_saver_sees_what_the_first_one_changed(
    own: RunningStudio, settings_page: Page, watch: Watch
) -> None:
    page = settings_page
    save(own.store, with_(crops__padding_px="9"), by="bob")
    page.get_by_label("Iou threshold").fill("0.4")
    watch.expected.append("412")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("crops.padding_px 0 → 9")
    expect(page.get_by_label("Iou threshold")).to_have_value("0.4")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".done-note")).to_contain_text("Generation 2")
    assert current(own).changed() == {"dedup": {"iou_threshold": 0.4}}


def test_settings_that_cannot_be_used_are_told_and_an_earlier_generation_comes_back(
    own: RunningStudio, settings_page: Page
) -> None:
    page = settings_page
    save(own.store, with_(crops__padding_px="4"))
    save(own.store, with_(crops__padding_px="5"))
    path = own.root / "settings" / "0000000002.json"
    path.write_text(path.read_text().replace('"padding_px": 5', '"padding_px": -5'))
    page.goto("/settings")
    expect(page.get_by_role("alert")).to_contain_text("Generation 2 cannot be used")
    expect(page.get_by_role("alert")).to_contain_text("crops.padding_px")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#history li").first).to_contain_text("generation 1 restored")
    assert current(own).changed() == {"crops": {"padding_px": 4}}


def test_every_page_goes_on_with_settings_that_cannot_be_used_and_offers_to_restore(
    own: RunningStudio, settings_page: Page, watch: Watch
) -> None:
    """A field that nobody knows, edited into the document, of which generation 1 has none."""
    page = settings_page
    in_thread(lambda: run_deal(own.root, "done"))
    save(own.store, with_(crops__padding_px="4"))
    save(own.store, with_(crops__padding_px="5"))
    second, third = (own.root / "settings" / f"000000000{number}.json" for number in (2, 3))
    second.write_text(second.read_text().replace('"padding_px": 5', '"padding": 5'))
    third.write_text("{")
    own.studio.deals.forget("done")
    places = ["/deals", "/deals?tone=bad&order=items", "/deals/done", "/deals/done?tab=history"]
    for place in (*places, "/deals/done/annotate/a", "/process", "/runs", "/costs", "/test"):
        page.goto(place)
        banner = page.locator(".banner")
        expect(banner).to_contain_text("Generation 3 of the saved settings cannot be used")
    assert_accessible(page)
    third.unlink()
    page.goto("/deals")
    expect(banner).to_contain_text("Generation 2 of the saved settings cannot be used")
    expect(banner).to_contain_text("crops.padding")
    expect(page.locator("td .chip").first).to_have_attribute("title", re.compile("crops.padding"))
    expect(page.locator(".deals .num").last).to_have_text("8")  # what is current is still there
    with own.client() as client:
        started = client.post("/api/runs", json={"mode": "find_all", "deals": ["done"]})
        assert started.status_code >= 400
        assert client.get("/api/settings").json()["field"] == "crops.padding"
        assert client.get("/api/deals").status_code == 200
    page.get_by_role("link", name="Settings").last.click()
    expect(page.get_by_role("alert")).to_contain_text("crops.padding")
    page.go_back()
    page.get_by_role("button", name="Restore generation 1").click()
    expect(page.locator("#history li").first).to_contain_text("generation 1 restored")
    page.goto("/deals")
    expect(page.locator(".banner")).to_have_count(0)
    assert current(own).changed() == {"crops": {"padding_px": 4}}


def test_settings_work_without_scripts(own: RunningStudio, browser_without_scripts: Page) -> None:
    page = browser_without_scripts
    page.goto(f"{own.url}/settings")
    page.get_by_label("Segmenter", exact=True).select_option("recursive")
    page.get_by_role("button", name="Show its settings").first.click()
    page.get_by_label("Max passes").fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".done-note")).to_contain_text("Generation 1 is saved")
    assert current(own).changed()["segmenter"] == {"kind": "recursive", "max_passes": 3}


def test_a_form_of_what_are_no_settings_is_refused_and_saves_nothing(own: RunningStudio) -> None:
    save(own.store, with_(crops__padding_px="4"))
    shown = [field for group in form_groups(current(own)) for field in group.fields]
    whole = {field.path: field.text for field in shown}
    forms: tuple[tuple[dict[str, str], str], ...] = (
        ({"bogus": "1"}, "no setting &#39;bogus&#39;"),
        ({"crops.bogus": "1"}, "crops.bogus"),
        ({"was:bogus": "1"}, "no setting"),
        (whole | {"bogus": "<b>"}, "no setting &#39;bogus&#39;"),
        (whole | {"crops.bogus": "1"}, "crops.bogus"),
        (whole | {"bogus.x": "1"}, "bogus"),
        ({"note": "nothing else"}, "has no setting"),
        ({}, "has no setting"),
    )
    with own.client() as client:
        for form, says in forms:
            answer = client.post("/settings", data=form, headers={"Accept": "text/html"})
            assert answer.status_code == 422, form
            assert says in answer.text, form
            assert read_saved(own.store).generation == 1, form
        assert client.post("/settings", json={"crops.padding_px": 4}).status_code == 422
        assert client.post("/settings", data=whole | {"note": "x"}).status_code == 303
    assert current(own).changed() == {"crops": {"padding_px": 4}}


def put(client: httpx.Client, body: object, **headers: str) -> httpx.Response:
    return client.put("/api/settings", json=body, headers=headers)


def test_the_api_saves_what_was_edited_and_tells_a_second_saver(own: RunningStudio) -> None:
    with own.client() as client:
        empty = client.get("/api/settings")
        assert (empty.headers["etag"], empty.json()["settings"]) == ('"0"', {})
        wide = {"settings": {"crops": {"padding_px": 4}}, "note": "wider"}
        saved = put(client, wide, **{"If-Match": '"0"'})
        assert (saved.status_code, saved.headers["etag"]) == (200, '"1"')
        late = put(client, {"settings": {}}, **{"If-Match": '"0"'})
        assert late.status_code == 412
        assert late.json()["changes"] == ["crops.padding_px 0 → 4"]
        assert put(client, {"settings": {}}).json()["generation"] == 2  # the last write wins
        back = client.post("/api/settings/restore/1")
        assert back.json()["settings"] == {"crops": {"padding_px": 4}}
        assert client.post("/api/settings/reset").json()["settings"] == {}
        assert client.post("/api/settings/reset", headers={"If-Match": "x"}).status_code == 400
        told = client.get("/api/settings/history").json()
        assert [each["kind"] for each in told] == ["reset", "save", "save", "save"]
        wrong = put(client, {"settings": {"crops": {"padding_px": -1}, "dedup": {"x": 1}}})
        assert wrong.status_code == 422
        assert {each["field"] for each in wrong.json()["fields"]} == {
            "settings.crops.padding_px",
            "settings.dedup.x",
        }


def test_only_admins_change_settings(tmp_path: Path) -> None:
    tokens = {"SEGPIPE_STUDIO_TOKEN": "a" * 20, "SEGPIPE_STUDIO_VIEWER_TOKEN": "v" * 20}
    (tmp_path / "data").mkdir()
    with running_studio(tmp_path / "data", tokens) as running:
        with running.client(Authorization="Bearer " + "v" * 20, Accept="text/html") as viewer:
            assert put(viewer, {"settings": {}}).status_code == 403
            shown = viewer.get("/settings")
            assert shown.status_code == 200
            assert "Reset all" not in shown.text
            for path in ("", "/reset", "/restore/1", "/keys"):
                assert viewer.post(f"/settings{path}").status_code == 403
        with running.client(Authorization="Bearer " + "a" * 20) as admin:
            assert put(admin, {"settings": {}}).status_code == 200


def sightings(root: Path, needle: str) -> list[str]:
    """The files under a folder that hold a text."""
    return [
        str(path)
        for path in root.rglob("*")
        if path.is_file() and needle.encode() in path.read_bytes()
    ]


def test_a_key_is_written_once_and_seen_nowhere(
    own: RunningStudio,
    settings_page: Page,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    page, seen = settings_page, [""]
    page.get_by_label("SEGMIND_API_KEY", exact=False).first.fill(CANARY)
    page.get_by_role("button", name="Keep keys").click()
    expect(page.locator("#keys")).to_contain_text("Set.")
    seen.append(page.content())
    make_deal(own.root, "lot", (1,))
    with own.client() as client, Loopback(json_reply({"masks": []})) as server:
        told = client.get("/api/settings")
        assert told.json()["secrets"]["SEGMIND_API_KEY"] == "****"
        backend = {"kind": "segmind", "endpoint": server.url}
        settings = {"segmenter": {"kind": "sam3", "backend": backend}}
        for kept in (None, ""):  # both keep what is there, and so does leaving it out
            answer = put(client, {"settings": settings, "secrets": {"SEGMIND_API_KEY": kept}})
            assert answer.status_code == 200
            seen.append(answer.text)
        hidden = put(client, {"settings": {}, "secrets": {"SEGMIND_API_KEY": "****"}})
        assert (hidden.status_code, hidden.json()["field"]) == (422, "secrets.SEGMIND_API_KEY")
        stranger = put(client, {"settings": {}, "secrets": {"PATH": CANARY}})
        assert stranger.status_code == 422
        image = {"kind": "deal_image", "deal_id": "lot", "image_id": "a"}
        trial = client.post("/admin/api/test/segmentation", json={"image": image})
        evil = {**backend, "endpoint": "https://evil.example.org"}
        refused = client.post(
            "/admin/api/test/segmentation",
            json={"image": image, "segmenter_config": {"kind": "sam3", "backend": evil}},
        )
        assert refused.status_code == 409
        html = client.get("/settings", headers={"Accept": "text/html"})
        history = client.get("/api/settings/history")
        openapi = client.get("/api/openapi.json")
        for each in (told, hidden, stranger, trial, refused, html, history, openapi):
            seen += [each.text, json.dumps(dict(each.headers))]
        # It was sent where it belongs, and nowhere else.
        assert {CANARY in json.dumps(one.headers) for one in server.requests} == {True}
    out = capfd.readouterr()
    assert CANARY not in "".join([*seen, out.out, out.err, caplog.text])
    assert sightings(own.root, CANARY) == []
    assert sightings(own.root, "****") == []
    assert sightings(tmp_path / "home", CANARY) == [str(tmp_path / "home" / "secrets.json")]


def test_a_file_of_keys_that_others_can_read_is_refused(
    own: RunningStudio, settings_page: Page, tmp_path: Path, watch: Watch
) -> None:
    page = settings_page
    page.get_by_label("SEGMIND_API_KEY", exact=False).first.fill(CANARY)
    page.get_by_role("button", name="Keep keys").click()
    (tmp_path / "home" / "secrets.json").chmod(0o644)
    page.goto("/settings")
    expect(page.locator("#keys")).to_contain_text("others can read")
    watch.expected.append("422")
    page.get_by_label("SEGMIND_API_KEY", exact=False).first.fill("sg-other")
    page.get_by_role("button", name="Keep keys").click()
    expect(page.locator("#keys")).to_contain_text("others can read")
    assert CANARY not in page.content()


def test_the_form_of_any_settings_gives_them_back() -> None:
    chosen = {
        "segmenter": "recursive",
        "segmenter.inner": "sam3",
        "segmenter.inner.backend": "local",
        "segmenter.inner.texts": "[ring, bracelet]",
        "refiner": "none",
        "crops.format": "jpg",
        "crops.canvas": "{width: 640, height: 480}",
    }
    for settings in (SavedSettings(), with_texts(SavedSettings(), chosen)):
        shown = [field for group in form_groups(settings) for field in group.fields]
        read = read_form({field.path: field.text for field in shown})
        assert read.faults == {}
        assert read.settings == settings

"""Photos that come in: by drop, by a form without scripts, by programs; whole or not at all."""

import socket
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from segpipe.pipeline.partitions import DEALS
from segpipe_tests.goods import goods_photo, photo_of
from segpipe_tests.studio.running_studio import (
    PATIENCE_S,
    RunningStudio,
    Watch,
    assert_accessible,
    running_studio,
    wait_until,
)

DROP = """([place, files]) => {
  const data = new DataTransfer();
  for (const [name, bytes] of files)
    data.items.add(new File([Uint8Array.from(bytes)], name));
  document.querySelector(place).dispatchEvent(
    new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


def put(client: httpx.Client, deal: str, name: str, data: bytes) -> httpx.Response:
    return client.put(f"/api/deals/{deal}/photos/{name}", content=data)


def names(studio: RunningStudio, deal: str) -> list[str]:
    return [photo.name for photo in studio.store.photos(deal)]


def test_photos_are_dropped_onto_the_page(page: Page, studio: RunningStudio) -> None:
    photos = [[f"photo {index}.png", list(goods_photo(index + 1))] for index in range(3)]
    page.goto("/deals")
    page.get_by_label("Name of the deal").fill("dropped lot")
    page.evaluate(DROP, [".drop", photos])
    expect(page).to_have_url(f"{studio.url}/deals/dropped%20lot")
    expect(page.locator(".photos li")).to_have_count(3)
    assert names(studio, "dropped lot") == ["photo 0.png", "photo 1.png", "photo 2.png"]
    known = studio.studio.dagster.instance().get_dynamic_partitions(DEALS.name or "")
    assert "dropped lot" in known


def test_what_cannot_be_added_is_told_by_photo_and_the_others_are_added(
    page: Page, studio: RunningStudio, watch: Watch
) -> None:
    good, other = list(goods_photo(2)), list(goods_photo(3))
    page.goto("/deals")
    page.get_by_label("Name of the deal").fill("mixed")
    page.evaluate(DROP, [".drop", [["a.png", good]]])
    expect(page).to_have_url(f"{studio.url}/deals/mixed")
    page.wait_for_load_state()  # its script takes what is dropped
    watch.expected.append("400 (Bad Request)")
    wrong = [["a.png", other], ["b.png", good], ["c.txt", [1, 2, 3]], ["d.png", good[:30]]]
    page.evaluate(DROP, [".drop", wrong])
    expect(page.get_by_text("3 of 4 photos could not be added")).to_be_visible()
    lines = page.locator(".uploads li")
    expect(lines.nth(0)).to_contain_text("different")
    expect(lines.nth(1)).to_contain_text("added")
    expect(lines.nth(2)).to_contain_text("no image of a known format")
    assert "/tmp" not in lines.nth(2).inner_text()
    assert names(studio, "mixed") == ["a.png", "b.png"]
    assert_accessible(page)


def test_a_form_without_scripts_adds_all_or_none(
    browser_without_scripts: Page, studio: RunningStudio, tmp_path: Path, watch: Watch
) -> None:
    watch.expected.append("400 (Bad Request)")
    page = browser_without_scripts
    for name, data in {"a.png": goods_photo(1), "b.png": goods_photo(2), "c.png": b"no"}.items():
        (tmp_path / name).write_bytes(data)

    def add(*chosen: str) -> None:
        page.goto(f"{studio.url}/deals")
        page.get_by_label("Name of the deal").fill("by form")
        page.get_by_label("Photos", exact=True).set_input_files([tmp_path / one for one in chosen])
        page.get_by_role("button", name="Add").click()

    add("a.png", "c.png")
    expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
    expect(page.locator("main")).to_contain_text("c.png")
    assert "by form" not in studio.store.deals()
    add("a.png", "b.png")
    expect(page.locator(".photos li")).to_have_count(2)
    assert names(studio, "by form") == ["a.png", "b.png"]
    assert studio.studio.audit.lines()[-1]["what"] == "added photos"


def test_programs_add_photos_and_a_photo_twice_is_no_error(studio: RunningStudio) -> None:
    with studio.client() as client:
        for expected in (["a.png"], []):
            told = put(client, "by-program", "a.png", goods_photo(2)).json()
            assert (told["new"], told["same"]) == (expected, [] if expected else ["a.png"])
        assert put(client, "by-program", "a.png", goods_photo(3)).status_code == 400
        for bad in ("..", "x" * 129, "a%00b", "%2e%2e%2fb"):
            assert put(client, bad, "a.png", b"x").status_code in {400, 404}
            assert put(client, "by-program", f"{bad}%2f..", b"x").status_code in {400, 404, 405}
        assert names(studio, "by-program") == ["a.png"]
        facts = client.get("/api/deals/by-program").json()
        assert (facts["photos"], facts["modes"][0]["state"]) == (1, "never made")
        assert client.get("/api/deals/nothing-here").status_code == 404


def test_a_photo_that_breaks_off_or_is_too_large_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    photo = photo_of(True)
    limit = len(photo)
    with running_studio(tmp_path / "data", max_upload_mb=limit / 1e6) as running:
        with running.client() as client:
            assert put(client, "lot", "a.png", photo).status_code == 200
            answer = put(client, "lot", "b.png", photo + b"x")
            assert (answer.status_code, answer.json()["error"]) == (413, "TooLarge")
        host, port = running.url.removeprefix("http://").split(":")
        head = f"PUT /api/deals/lot/photos/c.png HTTP/1.1\r\nHost: {host}:{port}\r\n"
        with socket.create_connection((host, int(port)), PATIENCE_S) as connection:
            connection.sendall(f"{head}Content-Length: {limit}\r\n\r\n".encode() + photo[:500])
            wait_until(lambda: any(scratch.glob("*/c.png")))
        wait_until(lambda: not any(scratch.glob("*/*.png")))
        assert names(running, "lot") == ["a.png"]
        assert [path.name for path in tmp_path.glob("data/deals/lot/images/*")] == ["a.png"]

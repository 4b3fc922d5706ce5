"""What processing would take, and what was paid: with a service that counts its calls."""

import asyncio
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from segpipe.errors import DealFailedError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.saved_settings import SavedSettings, read_saved, save
from segpipe.flow.setting_fields import parse
from segpipe.flow.tools import Tools
from segpipe.prompt import Mode
from segpipe.refiners.build_refiner import build_refiner
from segpipe.segmenters.build_segmenter import build_segmenter
from segpipe.segmenters.local_data import LocalData
from segpipe.store.store import DealStore
from segpipe.studio.deal_status import StatusReader
from segpipe.studio.estimates import Estimate, estimate_of
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_png
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import to_base64
from segpipe_tests.deals import make_deal, put_photos
from segpipe_tests.goods import goods_photo
from segpipe_tests.loopback.reply import Reply, json_reply
from segpipe_tests.loopback.server import Loopback
from segpipe_tests.studio.running_studio import (
    RunningStudio,
    Watch,
    assert_accessible,
    in_thread,
    running_studio,
    watched_context,
)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", "sg-canary")


def paid_reply() -> Reply:
    mask = Mask.from_box(Box(4, 20, 16, 36), image_width=160, image_height=120)
    return json_reply({"masks": [to_base64(mask)]}, headers={"x-cost": "0.01"})


def save_paid(store: DealStore, url: str) -> SavedSettings:
    """Save settings that ask a paid service for two things in each photo."""
    settings = {
        "segmenter": {
            "kind": "sam3",
            "texts": ["ring", "bracelet"],
            "backend": {"kind": "segmind", "endpoint": url},
        },
        "refiner": {"kind": "none"},
        "budget": {"max_cost_per_run": 5},
    }
    return save(store, parse(SavedSettings, settings)).settings


def run(store: DealStore, root: Path, deal: str, run_id: str) -> None:
    """Run a deal with the saved settings."""
    saved = read_saved(store)
    settings = saved.settings.of_run(saved.generation)
    segmenter = build_segmenter(settings.segmenter, LocalData(root))  # type: ignore[arg-type]
    tools = Tools(segmenter, build_refiner(settings.refiner), settings)  # type: ignore[arg-type]

    async def work() -> None:
        try:
            await process_deal(store, DealTask(deal, run_id), tools)
        finally:
            await segmenter.aclose()

    in_thread(lambda: asyncio.run(work()))


def estimate(store: DealStore, root: Path, *, anew: bool = False) -> Estimate:
    deals = StatusReader(store).statuses(store.deals())
    return in_thread(
        lambda: asyncio.run(estimate_of(store, LocalData(root), Mode.FIND_ALL, deals, anew=anew))
    )


@pytest.mark.usefixtures("key")
def test_an_estimate_knows_which_answers_are_kept_and_asks_for_none(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot-1", (1, 2))
    make_deal(tmp_path, "lot-2", (3,))
    with Loopback(paid_reply()) as server:
        free = estimate(store, tmp_path)
        assert (free.photos, free.asked, free.not_kept, free.paid_calls) == (3, 3, None, None)
        save_paid(store, server.url)
        first = estimate(store, tmp_path)
        assert (first.deals, first.not_kept, first.paid_calls) == (2, 3, 6)
        assert first.credits == pytest.approx(6 * 0.005)  # what settings say that a call costs
        assert (first.seconds, first.is_sampled, first.max_credits) == (None, False, 5)
        assert server.requests == []

        run(store, tmp_path, "lot-1", "run-1")
        paid = len(server.requests)
        assert paid == 4
        after = estimate(store, tmp_path)
        assert (after.photos, after.asked, after.not_kept, after.paid_calls) == (3, 1, 1, 2)
        anew = estimate(store, tmp_path, anew=True)
        assert (anew.asked, anew.not_kept, anew.paid_calls) == (3, 1, 2)
        assert anew.credits == pytest.approx(2 * 0.01)  # what calls have cost so far
        assert anew.seconds is not None
        assert len(server.requests) == paid


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("kinds", ["tiled", "tiled recursive", "recursive tiled"])
def test_an_estimate_counts_the_calls_for_each_tile(tmp_path: Path, kinds: str) -> None:
    """As many as a run then pays for, which has one pass; more passes may follow."""
    pixels = np.random.default_rng(1).integers(0, 255, (2, 120, 160, 3), np.uint8)
    photos = {f"{name}.png": encode_png(each) for name, each in zip("ab", pixels, strict=True)}
    put_photos(tmp_path, "lot", photos)
    store = DealStore(tmp_path)
    with Loopback(json_reply({"masks": []})) as server:
        config: dict[str, object] = {
            "kind": "sam3",
            "texts": ["ring"],
            "backend": {"kind": "segmind", "endpoint": server.url},
        }
        for kind in reversed(kinds.split()):
            more = {"tile_px": 80, "min_photo_px": 0} if kind == "tiled" else {"max_passes": 1}
            config = {"kind": kind, "inner": config, **more}
        save(store, parse(SavedSettings, {"segmenter": config, "refiner": {"kind": "none"}}))
        told = estimate(store, tmp_path)
        assert (told.not_kept, told.is_more, told.unknown) == (2, False, "")
        run(store, tmp_path, "lot", "run-1")
        assert told.paid_calls == len(server.requests) > 10
        assert estimate(store, tmp_path, anew=True).paid_calls == 0


@pytest.mark.usefixtures("key")
def test_of_many_photos_a_sample_is_looked_at_and_a_bad_one_is_left_out(tmp_path: Path) -> None:
    photos = {f"{index:02}.png": goods_photo(1 + index % 7) for index in range(39)}
    put_photos(tmp_path, "many", {**photos, "39.png": b"text"})
    store = DealStore(tmp_path)
    with Loopback(paid_reply()) as server:
        save_paid(store, server.url)
        told = estimate(store, tmp_path)
    assert told.is_sampled
    assert (told.photos, told.not_kept, told.paid_calls) == (40, 40, 80)


@pytest.mark.usefixtures("key")
def test_a_budget_of_the_saved_settings_stops_a_run_and_nothing_is_promoted(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", (1, 2))
    with Loopback(paid_reply()) as server:
        settings = save_paid(store, server.url)
        budget = settings.budget.model_copy(update={"max_paid_calls_per_run": 1})
        save(store, settings.model_copy(update={"budget": budget}))
        assert estimate(store, tmp_path).max_calls == 1
        with pytest.raises(DealFailedError, match="allowed"):
            run(store, tmp_path, "lot", "run-1")
        assert len(server.requests) == 1
    assert store.current("lot", Mode.FIND_ALL) is None


def test_without_a_key_the_estimate_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    store = make_deal(tmp_path, "lot", (1,))
    save_paid(store, "https://api.segmind.com/v1/sam3")
    told = estimate(store, tmp_path)
    assert "SEGMIND_API_KEY" in told.unknown
    assert told.paid_calls is None


@pytest.mark.usefixtures("key")
def test_what_was_paid_is_shown_by_day_deal_and_run(
    tmp_path: Path, browser: Browser, watch: Watch
) -> None:
    store = make_deal(tmp_path, "lot-1", (1, 2))
    make_deal(tmp_path, "lot-2", (3,))
    with Loopback(paid_reply()) as server:
        save_paid(store, server.url)
        for deal in ("lot-1", "lot-2"):
            in_thread(partial(run, store, tmp_path, deal, f"run-of-{deal}"))
    with (
        running_studio(tmp_path) as running,
        watched_context(browser, watch, base_url=running.url) as context,
    ):
        page = context.new_page()
        page.goto("/costs")
        expect(page.locator(".facts")).to_contain_text(re.compile(r"Credits\s*0\.060"))
        expect(page.locator(".facts")).to_contain_text(re.compile(r"A run may spend\s*5"))
        days = page.get_by_role("region", name="By day").get_by_role("row")
        expect(days).to_have_count(2)
        expect(days.last).to_contain_text("0.0600")
        dearest = page.get_by_role("region", name="By deal").get_by_role("row").nth(1)
        expect(dearest).to_contain_text("lot-1")
        assert_accessible(page)
        dearest.get_by_role("link").click()
        runs = page.get_by_label("Paid calls by run").get_by_role("row")
        expect(runs).to_have_count(2)
        expect(runs.last).to_contain_text("0.0400")
        assert_accessible(page)
        page.goto("/deals")
        row = page.get_by_role("row", name="lot-1")
        row.get_by_role("link", name="0.040").click()
        expect(page.get_by_label("Paid calls by run").get_by_role("row")).to_have_count(2)
        _estimate_is_shown(running)


def _estimate_is_shown(running: RunningStudio) -> None:
    with running.client() as client:
        told = client.get("/process/estimate?scope=all").text
        assert "0 photos without a kept answer" in told
        assert "A run stops at 5.000 credits" in re.sub(r"\s+", " ", told)

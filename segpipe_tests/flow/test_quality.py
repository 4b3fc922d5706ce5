"""What is measured of deals, and when it has drifted."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.errors import StoreError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.drift import DriftSettings, find_drift
from segpipe.flow.quality import (
    QUALITY_SCHEMA,
    DealQuality,
    measure_deal,
    measure_new,
    read_quality,
)
from segpipe.flow.run_settings import FlowSettings, RunSettings
from segpipe.flow.tools import Tools
from segpipe.prompt import Mode
from segpipe.refiners.build_refiner import build_refiner
from segpipe.refiners.refiner import NoneConfig
from segpipe.store.store import DealStore
from segpipe_tests.deals import make_deal, make_tools, put_photos
from segpipe_tests.goods import BrightConfig, BrightSegmenter, goods_photo, photo_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_deal_is_measured_from_its_promoted_files(tmp_path: Path) -> None:
    put_photos(tmp_path, "lot", {"a.png": goods_photo(3), "b.png": photo_of(items=False)})
    store = DealStore(tmp_path)
    asyncio.run(process_deal(store, DealTask("lot", "1"), make_tools(BrightSegmenter())))
    row = measure_deal(store, "lot", Mode.FIND_ALL)
    assert (row.photos, row.items, row.items_per_photo, row.empty_ratio) == (2, 3, 1.5, 0.5)
    assert row.rejected_ratio == 0
    assert row.score_p10 is not None
    assert row.score_p50 is not None
    assert 0 < row.score_p10 <= row.score_p50 <= 1
    assert row.item_size is not None
    assert 0.01 < row.item_size < 1
    assert row.seconds_per_photo is not None
    assert row.seconds_per_photo > 0
    assert (row.reviewed, row.reject_reasons, row.edit_iou, row.cost_per_photo) == (0, {}, None, 0)


def test_only_what_is_new_is_measured_and_each_generation_is_kept(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "a")
    make_deal(tmp_path, "b")
    make_deal(tmp_path, "never made")
    for deal in ("a", "b"):
        asyncio.run(process_deal(store, DealTask(deal, "1"), make_tools(BrightSegmenter())))
    assert measure_new(store, Mode.FIND_ALL) == 2
    assert measure_new(store, Mode.FIND_ALL) == 0
    asyncio.run(process_deal(store, DealTask("b", "2"), make_tools(BrightSegmenter())))
    assert measure_new(store, Mode.FIND_ALL) == 1
    found = [(row.deal, row.generation) for row in read_quality(store, Mode.FIND_ALL)]
    assert found == [("a", 1), ("b", 1), ("b", 2)]
    parts = sorted((tmp_path / "quality" / "find_all").iterdir())
    assert [path.name for path in parts] == ["0000000001.parquet", "0000000002.parquet"]
    assert pq.read_table(parts[0]).schema.names == QUALITY_SCHEMA.names
    assert read_quality(store, Mode.INSIDE_BOX) == []


def test_a_damaged_deal_is_told_and_keeps_no_other_from_being_measured(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "a")
    make_deal(tmp_path, "b")
    for deal in ("a", "b"):
        asyncio.run(process_deal(store, DealTask(deal, "1"), make_tools(BrightSegmenter())))
    snapshot = store.current("a", Mode.FIND_ALL)
    assert snapshot
    Path(snapshot.path("dedup", "dedup.parquet")).write_bytes(b"rubbish")
    told: list[str] = []
    assert measure_new(store, Mode.FIND_ALL, lambda deal, why: told.append(f"{deal}: {why}")) == 1
    assert len(told) == 1
    assert told[0].startswith("a: ")


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "a")
    (tmp_path / "quality" / "find_all").mkdir(parents=True)
    (tmp_path / "quality" / "find_all" / "0000000001.parquet").write_bytes(b"rubbish")
    with pytest.raises(StoreError, match=r"quality/find_all/0000000001.parquet is no table"):
        measure_new(store, Mode.FIND_ALL)


def test_masks_that_are_not_refined_are_measured_as_they_are(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    none = NoneConfig()
    tools = Tools(
        BrightSegmenter(), build_refiner(none), RunSettings(BrightConfig(), none, FlowSettings())
    )
    asyncio.run(process_deal(store, DealTask("lot", "1"), tools))
    row = measure_deal(store, "lot", Mode.FIND_ALL)
    assert row.accepted_ratio == 0
    assert row.refined_iou is None
    assert row.item_size is not None


def simulate(
    rng: np.random.Generator,
    deals: int,
    *,
    lost: float = 0.0,
    shift: float = 0.0,
    eroded_px: float = 0.0,
    first: int = 0,
    photos: int = 10,
) -> list[DealQuality]:
    """Deals of photos of 1000 x 1000 pixels with a dozen items of about 60 pixels each."""
    rows = []
    for number in range(deals):
        found = rng.binomial(rng.poisson(12, photos), 1 - lost)
        items = int(found.sum())
        scores = np.clip(rng.normal(0.8, 0.08, items) + shift, 0, 1)
        sides = np.clip(rng.lognormal(np.log(60), 0.35, items), 8, None) - 2 * eroded_px
        low, middle, high = np.percentile(scores, (10, 50, 90)).tolist()
        rows.append(
            DealQuality(
                deal=f"lot-{first + number}",
                generation=1,
                made_at=BEGIN + timedelta(minutes=first + number),
                settings_generation=None,
                segmenter="sam3",
                refiner="grabcut",
                photos=photos,
                items=items,
                items_per_photo=items / photos,
                empty_ratio=float((found == 0).mean()),
                rejected_ratio=rng.binomial(2 * items, 0.3) / (2 * items),
                score_p10=low,
                score_p50=middle,
                score_p90=high,
                accepted_ratio=rng.binomial(items, 0.9) / items,
                refined_iou=float(rng.normal(0.93, 0.03, items).mean()),
                item_size=float(np.median(sides)) / 1000,
                reviewed=0,
                reject_reasons={},
                edit_iou=None,
                seconds_per_photo=1.0,
                cost_per_photo=0.0,
            )
        )
    return rows


def rows_of(rows: Sequence[DealQuality]) -> list[dict[str, object]]:
    """As a table takes them."""
    return [asdict(row) for row in rows]


CHANGES = {
    "items_per_photo": partial(simulate, lost=0.1),
    "score_p50": partial(simulate, shift=-0.1),
    "item_size": partial(simulate, eroded_px=2.0),
}


@pytest.mark.parametrize("metric", CHANGES)
@pytest.mark.parametrize("seed", range(4))
def test_a_planted_change_is_flagged_within_30_deals(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [*simulate(rng, 270), *CHANGES[metric](rng, 30)]
    assert find_drift(rows[:270]) == ()
    flagged = {drift.metric: drift for drift in find_drift(rows)}
    assert metric in flagged
    assert flagged[metric].deals[0] == rows[-1].deal
    assert len(flagged[metric].deals) == 30


def test_a_thousand_deals_without_a_change_are_flagged_at_most_once_in_a_hundred() -> None:
    rows = simulate(np.random.default_rng(7), 1000)
    flagged = sum(bool(find_drift(rows[: count + 1])) for count in range(1000))
    assert flagged <= 10


def test_few_deals_and_deals_that_are_all_alike_say_nothing() -> None:
    rng = np.random.default_rng(1)
    assert find_drift([*simulate(rng, 20), *simulate(rng, 30, shift=-0.3)]) == ()
    (alike,) = simulate(rng, 1)
    assert find_drift([alike] * 300) == ()
    other = replace(alike, score_p50=0.5)
    assert [drift.metric for drift in find_drift([alike] * 270 + [other] * 30)] == ["score_p50"]


def test_the_thresholds_are_settings() -> None:
    rng = np.random.default_rng(1)
    rows = [*simulate(rng, 270), *simulate(rng, 30, shift=-0.1)]
    assert find_drift(rows, DriftSettings(min_psi=100.0)) == ()
    assert find_drift(rows[:70], DriftSettings(window_deals=10)) == ()
    assert find_drift(rows[:-20], DriftSettings(window_deals=10))


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "a")
    (row,) = simulate(np.random.default_rng(2), 1)
    row = replace(row, reject_reasons={"double": 2}, edit_iou=0.9)
    store.quality.append("find_all", pa.Table.from_pylist(rows_of([row]), QUALITY_SCHEMA))
    assert read_quality(store, Mode.FIND_ALL) == [row]

"""Backgrounds, through Dagster as their users ask for them."""

from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest

from segpipe.flow.deal_state import State
from segpipe.flow.todo import todo_of
from segpipe.pipeline.recording import asset_key
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe.vision.image import decode_image
from segpipe_tests.deals import make_deal, make_tools
from segpipe_tests.goods import BrightSegmenter, goods_image, require_clean
from segpipe_tests.pipeline.dagster_runs import make_defs, run_deals
from segpipe_tests.server.running import ToldModel

JOB = "find_all_background"


@pytest.fixture
def store(tmp_path: Path, instance: dg.DagsterInstance) -> DealStore:
    """A deal that every usual stage has been through."""
    store = make_deal(tmp_path, "lot", items=(2, 0))
    assert run_deals(make_defs(tmp_path), instance, ["lot"]).success
    return store


def test_a_background_is_made_when_it_is_asked_for_and_not_before(
    store: DealStore, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    before = store.current("lot", Mode.FIND_ALL)
    assert before is not None
    assert not before.has("background")
    settings = make_tools(BrightSegmenter()).settings
    assert todo_of(store, "lot", Mode.FIND_ALL, settings).state is State.UP_TO_DATE

    assert run_deals(make_defs(tmp_path), instance, ["lot"], job=JOB).success

    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    with snapshot.open("background", "background.parquet") as file:
        rows = pq.read_table(file).to_pylist()
    assert [(row["image"], row["items"], row["erased_px"]) for row in rows] == [
        ("a", 2, 2 * 12 * 16),
        ("b", 0, 0),
    ]
    photo, empty = goods_image(2), goods_image(0)
    clean = decode_image(snapshot.read("background", "backgrounds/a.png")).rgb
    require_clean(clean, empty, photo)
    np.testing.assert_array_equal(
        decode_image(snapshot.read("background", "backgrounds/b.png")).rgb, empty
    )
    # The photo itself is as it was, and the deal is as up to date as before.
    (original,) = [one for one in store.photos("lot") if one.image == "a"]
    np.testing.assert_array_equal(decode_image(store.read_photo("lot", original)).rgb, photo)
    assert todo_of(store, "lot", Mode.FIND_ALL, settings).state is State.UP_TO_DATE
    record = instance.get_latest_materialization_event(asset_key(Mode.FIND_ALL, "background"))
    assert record is not None


def test_its_settings_are_those_of_a_run(
    store: DealStore, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    config = {"background": {"inpainter": {"opencv": {"method": "ns"}}, "format": "jpg"}}
    assert run_deals(make_defs(tmp_path), instance, ["lot"], job=JOB, config=config).success
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    with snapshot.open("background", "background.parquet") as file:
        rows = pq.read_table(file).to_pylist()
    assert [(row["file"], row["inpainter"]) for row in rows] == [
        ("backgrounds/a.jpg", "opencv-ns"),
        ("backgrounds/b.jpg", "opencv-ns"),
    ]


def test_a_new_run_of_everything_neither_makes_nor_misses_it(
    store: DealStore, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    assert run_deals(make_defs(tmp_path), instance, ["lot"], job=JOB).success
    assert run_deals(make_defs(tmp_path), instance, ["lot"]).success
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    assert snapshot.has("background")
    assert snapshot.generation == 3
    assert not list(store.verify())


def test_a_photo_that_its_items_cover_whole_has_a_reason_and_fails_nothing(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    definitions = make_defs(tmp_path, ToldModel)
    assert run_deals(definitions, instance, ["lot"]).success
    assert run_deals(definitions, instance, ["lot"], job=JOB).success
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    with snapshot.open("background", "background.parquet") as file:
        (row,) = pq.read_table(file).to_pylist()
    assert (row["file"], "nothing is left of the photo" in row["reason"]) == (None, True)

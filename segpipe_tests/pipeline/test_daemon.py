"""Deals through the real daemon and the project's own settings, in processes of their own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import skimage.data
from dagster._core.execution.backfill import BulkActionStatus

from segpipe.flow.deal import DealTask, process_deal
from segpipe.pipeline.jobs import only_stale
from segpipe.pipeline.recording import asset_key
from segpipe.prompt import Mode
from segpipe.vision.boxes import Box
from segpipe_tests.deals import default_tools, put_photos
from segpipe_tests.drawing import FIRST, SECOND, boxed, draw
from segpipe_tests.goods import goods_photo
from segpipe_tests.pipeline.deployment import Deployment, is_backfill_over, request_backfill
from segpipe_tests.pipeline.postgres_server import PostgresServer

PATIENCE_S = 200.0
BULK = {"files": 100, "postgresql": 20}
BULK_PATIENCE_S = 400.0
COINS = Path(skimage.data.__file__).parent / "coins.png"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", params=list(BULK))
def state(request: pytest.FixtureRequest) -> str:
    """Where Dagster keeps its own state."""
    return str(request.param)


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, state: str
) -> Iterator[Deployment]:
    url = postgres.new_database() if state == "postgresql" else None
    deployment = Deployment(tmp_path_factory.mktemp("deployment"), postgres_url=url)
    with deployment.running_daemon():
        yield deployment


def test_a_dropped_folder_becomes_crops_with_nothing_else_done(deployment: Deployment) -> None:
    store = deployment.store()
    store.add_photos("dropped", [COINS])
    (deployment.root / "deals" / "dropped" / "_COMPLETE").touch()

    deployment.dagster("sensor", "start", "new_deals", "-w", "workspace.yaml")

    deployment.wait_until(lambda: store.current("dropped", Mode.FIND_ALL) is not None, PATIENCE_S)
    snapshot = store.current("dropped", Mode.FIND_ALL)
    assert snapshot is not None
    crops = [entry for entry in snapshot.files("crops") if entry.path.endswith(".png")]
    assert len(crops) == 24
    assert not list(store.verify("dropped"))


def test_a_backfill_over_deals_does_the_good_ones_and_names_the_bad_one(
    deployment: Deployment,
) -> None:
    deals = ["lot-1", "lot-2", "lot-3"]
    for deal in deals:
        put_photos(deployment.root, deal, {"a.png": goods_photo(3)})
    put_photos(deployment.root, "lot-2", {"b.jpg": b"text"})
    store = deployment.store()

    with deployment.open_instance() as instance:
        instance.add_dynamic_partitions("deals", deals)
        request_backfill(instance, "everything", deals)
        deployment.wait_until(lambda: is_backfill_over(instance, "everything"), PATIENCE_S)
        crops = asset_key(Mode.FIND_ALL, "crops")
        assert {"lot-1", "lot-3"} <= instance.get_materialized_partitions(crops)
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": "everything"}))
        assert [run.status for run in runs] == [dg.DagsterRunStatus.FAILURE]

    assert store.current("lot-1", Mode.FIND_ALL) is not None
    assert store.current("lot-2", Mode.FIND_ALL) is None
    failure = store.last_failure("lot-2", Mode.FIND_ALL)
    assert failure is not None
    assert [(item.image, item.error) for item in failure.errors] == [
        ("b.jpg", "UnsupportedFormatError")
    ]


def test_a_backfill_in_which_there_is_nothing_to_do_ends_well(deployment: Deployment) -> None:
    """Deals are up to date in one mode, and without a box for the other."""
    deals = ["same-1", "same-2"]
    store = deployment.store()
    tools = default_tools()
    for deal in deals:
        put_photos(deployment.root, deal, {"a.png": goods_photo(2)})
        asyncio.run(process_deal(store, DealTask(deal, f"run-{deal}"), tools))
    names = {mode: f"nothing-{mode}" for mode in Mode}
    with deployment.open_instance() as instance:
        instance.add_dynamic_partitions("deals", deals)
        for mode, name in names.items():
            request_backfill(instance, name, deals, mode, only_stale(mode))
        deployment.wait_until(
            lambda: all(is_backfill_over(instance, name) for name in names.values()), PATIENCE_S
        )
        ended = [instance.get_backfill(name) for name in names.values()]
    statuses = [backfill.status for backfill in ended if backfill]
    assert statuses == [BulkActionStatus.COMPLETED_SUCCESS] * 2
    assert [len(store.commits(deal, mode)) for deal in deals for mode in Mode] == [1, 0] * 2


def test_backfills_of_both_modes_at_once_do_not_meet(deployment: Deployment, state: str) -> None:
    """Every deal has its own number of boxes, so that an answer of another deal would show."""
    deals = [f"bulk-{index:03}" for index in range(BULK[state])]
    store = deployment.store()
    boxes = {deal: 1 + index % 2 for index, deal in enumerate(deals)}
    for deal in deals:
        put_photos(deployment.root, deal, {"a.png": goods_photo(3)})
        drawn = [boxed("one", FIRST), boxed("two", SECOND)]
        draw(store, "a", *drawn[: boxes[deal]], deal=deal)
    bad = deals[BULK[state] // 2]
    draw(store, "a", boxed("far", Box(0.0, 0.0, 999.0, 20.0)), deal=bad)

    with deployment.open_instance() as instance:
        instance.add_dynamic_partitions("deals", deals)
        for mode in Mode:
            request_backfill(instance, f"bulk-{mode}", deals, mode)
        names = [f"bulk-{mode}" for mode in Mode]
        deployment.wait_until(
            lambda: all(is_backfill_over(instance, name) for name in names), BULK_PATIENCE_S
        )
        done = {
            mode: instance.get_materialized_partitions(asset_key(mode, "crops")) for mode in Mode
        }

    assert done[Mode.FIND_ALL].issuperset(deals)
    assert done[Mode.INSIDE_BOX] & set(deals) == set(deals) - {bad}
    for deal in deals:
        crops = {
            mode: sum(entry.path.endswith(".png") for entry in snapshot.files("crops"))
            for mode in Mode
            if (snapshot := store.current(deal, mode))
        }
        expected = {Mode.FIND_ALL: 3, Mode.INSIDE_BOX: boxes[deal]}
        if deal == bad:
            del expected[Mode.INSIDE_BOX]
        assert crops == expected
        assert not list(store.verify(deal))
    failure = store.last_failure(bad, Mode.INSIDE_BOX)
    assert failure
    assert "annotation 'far'" in failure.errors[0].message

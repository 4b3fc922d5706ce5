"""Deals through the real daemon and the project's own settings, in processes of their own."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import skimage.data

from segpipe.flow.stages import Stage
from segpipe.pipeline.recording import asset_key
from segpipe.segmenters.prompt import Mode
from segpipe_tests.goods import goods_photo, put_photos
from segpipe_tests.pipeline.deployment import Deployment, is_backfill_over, request_backfill

PATIENCE_S = 200.0
COINS = Path(skimage.data.__file__).parent / "coins.png"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    with deployment.running_daemon():
        yield deployment


def test_a_dropped_folder_becomes_crops_with_nothing_else_done(deployment: Deployment) -> None:
    store = deployment.store()
    store.add_photos("dropped", [COINS])
    store.mark_complete("dropped")

    deployment.dagster("sensor", "start", "new_deals", "-w", "workspace.yaml")

    deployment.wait_until(lambda: store.current("dropped", Mode.FIND_ALL) is not None, PATIENCE_S)
    snapshot = store.current("dropped", Mode.FIND_ALL)
    assert snapshot is not None
    crops = [entry for entry in snapshot.files(Stage.CROPS) if entry.path.endswith(".png")]
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
        crops = asset_key(Mode.FIND_ALL, Stage.CROPS)
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

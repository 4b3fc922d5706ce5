"""The quality of deals in Dagster: measured by a job, with a check that warns of drift."""

from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from segpipe.flow.quality import QUALITY_SCHEMA
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.deals import make_deal
from segpipe_tests.flow.test_quality import rows_of, simulate
from segpipe_tests.pipeline.dagster_runs import make_defs, run_deals


def measure(
    root: Path, instance: dg.DagsterInstance, **settings: float
) -> tuple[dg.AssetMaterialization, dg.AssetCheckEvaluation]:
    """What the job of a mode tells."""
    job = make_defs(root).resolve_job_def("find_all_quality")
    config = {"ops": {"find_all__quality": {"config": settings}}}
    result = job.execute_in_process(instance=instance, run_config=config)
    assert result.success
    (made,) = result.asset_materializations_for_node("find_all__quality")
    (checked,) = result.get_asset_check_evaluations()
    return made, checked


def test_new_deals_are_measured_and_their_numbers_are_plotted(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a")
    make_deal(tmp_path, "b")
    run_deals(make_defs(tmp_path), instance, ["a"])
    made, checked = measure(tmp_path, instance)
    assert made.metadata["measured_deals"].value == 1
    assert made.metadata["last_deals/items_per_photo"].value == 2.5
    assert checked.passed
    run_deals(make_defs(tmp_path), instance, ["b"])
    made, _ = measure(tmp_path, instance)
    assert made.metadata["measured_deals"].value == 1
    assert made.metadata["dagster/row_count"].value == 2


def test_drift_is_a_warning_that_names_the_deals(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    (tmp_path / "deals").mkdir()
    rng = np.random.default_rng(3)
    rows = [*simulate(rng, 100), *simulate(rng, 30, shift=-0.1, first=100)]
    table = pa.Table.from_pylist(rows_of(rows), QUALITY_SCHEMA)
    DealStore(tmp_path).quality.append(Mode.FIND_ALL, table)
    made, checked = measure(tmp_path, instance)
    assert made.metadata["drifted_metrics"].value == 3
    assert not checked.passed
    assert checked.severity is dg.AssetCheckSeverity.WARN
    assert "score, median: 0.701 in the last 30 deals, 0.801 before" in (checked.description or "")
    assert "lot-129, lot-128" in (checked.description or "")
    _, checked = measure(tmp_path, instance, min_psi=50.0)
    assert checked.passed


def test_a_bad_threshold_is_refused_before_the_run(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    (tmp_path / "deals").mkdir()
    with pytest.raises(dg.DagsterInvalidConfigError, match="max_p_value"):
        measure(tmp_path, instance, max_p_value="often")  # type: ignore[arg-type]

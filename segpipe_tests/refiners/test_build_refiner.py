"""Every refiner as its user gets it: from its settings, into a deal."""

import asyncio
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.run_settings import FlowSettings, RunSettings
from segpipe.flow.tools import Tools
from segpipe.refiners.build_refiner import AnyRefinerConfig, RefinerConfig, build_refiner
from segpipe_tests.deals import make_deal
from segpipe_tests.goods import BrightConfig, BrightSegmenter

WEIGHTS = {"hq_sam": "tiny_hq_sam", "sam3_tracker": "tiny_sam3"}
KINDS = [kind.model_fields["kind"].default for kind in get_args(AnyRefinerConfig)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_deal_is_refined_by_every_kind(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    values: dict[str, Any] = {"kind": kind}
    if kind in WEIGHTS:
        values |= {"checkpoint": str(request.getfixturevalue(WEIGHTS[kind])), "device": "cpu"}
    config: AnyRefinerConfig = TypeAdapter(RefinerConfig).validate_python(values)
    refiner = build_refiner(config)
    tools = Tools(BrightSegmenter(), refiner, RunSettings(BrightConfig(), config, FlowSettings()))
    store = make_deal(tmp_path, "goods")
    outcome = asyncio.run(process_deal(store, DealTask("goods", "run"), tools))
    assert outcome.summary.refiner == kind
    snapshot = store.current("goods", "find_all")
    assert snapshot
    path = Path(snapshot.path("refinement", "refinement.parquet"))
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == 5
    assert all(row["accepted"] or row["reason"] for row in rows)

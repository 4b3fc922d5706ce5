"""Every refiner as its user gets it: from its settings, into a deal."""

import asyncio
import shutil
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.run_settings import FlowSettings, RunSettings
from segpipe.flow.tools import Tools
from segpipe.models.checkpoint import PINNED
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
    refine_a_deal(values, tmp_path)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_model_runs_as_it_stands(
    kind: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = TypeAdapter[Any](RefinerConfig).validate_python({"kind": kind})
    # What a download of the pinned commit leaves behind, with the weights of the tiny model.
    name = f"models--{config.checkpoint.replace('/', '--')}"
    kept = tmp_path / "hub" / name / "snapshots" / PINNED[config.checkpoint]
    shutil.copytree(request.getfixturevalue(WEIGHTS[kind]), kept)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    refine_a_deal({"kind": kind}, tmp_path / "root")


def refine_a_deal(values: dict[str, Any], root: Path) -> None:
    """Run a deal with a refiner, and look at what its table says of every item."""
    config: AnyRefinerConfig = TypeAdapter(RefinerConfig).validate_python(values)
    refiner = build_refiner(config)
    tools = Tools(BrightSegmenter(), refiner, RunSettings(BrightConfig(), config, FlowSettings()))
    store = make_deal(root, "goods")
    outcome = asyncio.run(process_deal(store, DealTask("goods", "run"), tools))
    assert outcome.summary.refiner == config.kind
    snapshot = store.current("goods", "find_all")
    assert snapshot
    path = Path(snapshot.path("refinement", "refinement.parquet"))
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == 5
    assert all(row["accepted"] or row["reason"] for row in rows)

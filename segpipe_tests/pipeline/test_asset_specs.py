"""What Dagster shows of the assets: the lineage, and who and what stands behind each."""

import asyncio
from pathlib import Path

import dagster as dg

from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.pipeline.recording import asset_key
from segpipe.prompt import Mode
from segpipe_tests.deals import make_deal, make_tools
from segpipe_tests.goods import BrightSegmenter
from segpipe_tests.pipeline.dagster_runs import make_defs


def test_the_lineage_is_the_drawn_one(tmp_path: Path) -> None:
    graph = make_defs(tmp_path).resolve_asset_graph()
    for mode in Mode:
        drawn = {
            f"{above.path[-1]} > {name}"
            for name in STAGES
            for above in graph.get(asset_key(mode, name)).parent_keys
        }
        assert drawn == {
            "deal_photos > segmentation",
            "deal_prompts > segmentation",
            "segmentation > dedup",
            "dedup > refinement",
            "refinement > review",
            "deal_reviews > review",
            "deal_reviews > crops",
            "deal_reviews > coco",
            "deal_reviews > background",
            "deal_reviews > deal_report",
            "review > crops",
            "review > coco",
            "review > background",
            "crops > deal_report",
        }


def test_every_asset_has_an_owner_a_mode_and_a_link_to_its_code(tmp_path: Path) -> None:
    graph = make_defs(tmp_path).resolve_asset_graph()
    for mode in Mode:
        for name, stage in STAGES.items():
            node = graph.get(asset_key(mode, name))
            assert node.owners == ["team:segpipe"]
            assert node.tags["segpipe/mode"] == mode.value
            (code,) = node.metadata["dagster/code_references"].code_references
            lines = Path(code.file_path).read_text().splitlines()
            assert lines[code.line_number - 1].startswith(f"class {type(stage).__name__}(")
        assert graph.get(asset_key(mode, "deal_report")).freshness_policy


def test_a_run_launched_in_the_ui_is_tagged_with_its_mode_and_deal(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "lot")
    instance.add_dynamic_partitions("deals", ["lot"])
    job = make_defs(tmp_path).resolve_implicit_global_asset_job_def()
    selection = [asset_key(mode, name) for mode in Mode for name in STAGES]
    result = job.execute_in_process(
        instance=instance, partition_key="lot", asset_selection=selection, raise_on_error=False
    )
    assert result.success  # though inside_box has no box to look into
    run = instance.get_run_by_id(result.run_id)
    assert run
    assert sorted(run.tags["segpipe/mode"].split(", ")) == ["find_all", "inside_box"]
    assert run.tags["segpipe/deals"] == "lot"
    said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert [line for line in said if "did not yield" in line] == []


def test_the_kinds_of_an_asset_are_the_formats_of_its_files(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    task = DealTask("lot", "run", stages=frozenset(STAGES))
    asyncio.run(process_deal(store, task, make_tools(BrightSegmenter())))
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot
    suffixes = {"parquet": ".parquet", "json": ".json", "jpeg": ".jpg"}
    for name, stage in STAGES.items():
        written = {Path(file.path).suffix for file in snapshot.files(name)}
        for kind, suffix in suffixes.items():
            assert (kind in stage.kinds) == (suffix in written), (name, kind)
        assert stage.kinds <= set(suffixes)

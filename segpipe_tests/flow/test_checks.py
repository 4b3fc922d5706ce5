"""The checks find what they promise, in promoted files that were tampered with."""

import asyncio
from pathlib import Path

import pyarrow as pa
import pytest

from segpipe.errors import StaleUpstreamError
from segpipe.flow.checks import CheckSettings, Finding
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.run_settings import FlowSettings
from segpipe.flow.stages.crops_table import CROPS_SCHEMA
from segpipe.flow.stages.segmentation import (
    DETECTIONS_SCHEMA,
    IMAGES_FILE,
    IMAGES_SCHEMA,
    SEGMENTATION,
)
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.prompt import Mode
from segpipe.store.store import DealStore, Snapshot
from segpipe.store.tables import TableWriter
from segpipe_tests.deals import make_deal, make_tools
from segpipe_tests.goods import BrightSegmenter


def made(root: Path, *, doubles: bool = False) -> Snapshot:
    store = make_deal(root, "lot", items=(2, 0))
    tools = make_tools(BrightSegmenter(doubles=doubles), FlowSettings())
    asyncio.run(process_deal(store, DealTask("lot", "run-1"), tools))
    snapshot = DealStore(root).current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    return snapshot


def find(name: str, stage: str, snapshot: Snapshot, percent: float = 50.0) -> Finding:
    (check,) = [check for check in STAGES[stage].checks if check.name == name]
    return check.find(snapshot, CheckSettings(max_rejected_percent=percent))


def test_a_deal_that_is_all_right_passes_but_for_the_photo_without_goods(tmp_path: Path) -> None:
    snapshot = made(tmp_path)
    for stage in STAGES.in_order(STAGES.names):
        for check in stage.checks:
            finding = check.find(snapshot, CheckSettings())
            assert finding.passed == (check.name != "has_detections"), (stage.name, finding)


@pytest.mark.parametrize("stage", sorted(STAGES.names))
@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_the_manifest_check_sees_a_damaged_file(tmp_path: Path, stage: str, damage: str) -> None:
    snapshot = made(tmp_path)
    path = Path(snapshot.path(stage, snapshot.files(stage)[0].path))
    if damage == "removed":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    finding = find("manifest_verifies", "deal_report", snapshot)
    assert not finding.passed
    assert stage in finding.text
    assert path.name in finding.text


def test_photos_where_nothing_was_found_are_named(tmp_path: Path) -> None:
    finding = find("has_detections", "segmentation", made(tmp_path))
    assert finding.text == "nothing was found in: b"
    assert finding.numbers == {"detections": 2, "images_without": 1}


@pytest.mark.parametrize(("limit", "passes"), [(49.0, False), (50.0, True)])
def test_too_many_rejected_detections_are_worth_a_warning(
    tmp_path: Path, limit: float, passes: bool
) -> None:
    finding = find("few_rejected", "dedup", made(tmp_path, doubles=True), limit)
    assert finding.passed is passes
    assert finding.numbers == {"rejected": 2, "percent": 50.0}


def test_names_are_unique_for_each_asset() -> None:
    for stage in STAGES.values():
        names = [check.name for check in stage.checks]
        assert len(set(names)) == len(names)


def promote_table(
    root: Path, stage: str, name: str, schema: pa.Schema, rows: list[dict[str, object]]
) -> Snapshot:
    """Make a version current with a table that no run would write, and empty ones beside it."""
    store = DealStore(root)
    with store.stage("lot", Mode.FIND_ALL, run_id="tampered") as staging:
        with TableWriter(staging, stage, name, schema) as writer:
            writer.write("a", pa.Table.from_pylist(rows, schema=schema))
        if stage == "segmentation":
            with TableWriter(staging, stage, "images.parquet", IMAGES_SCHEMA) as writer:
                image = {"image": "a", "width": 160, "height": 120}
                writer.write("a", pa.Table.from_pylist([image], schema=IMAGES_SCHEMA))
        staging.seal(stage, made_from={})
        staging.promote()
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    return snapshot


def test_a_survivor_with_neither_crop_nor_reason_is_named(tmp_path: Path) -> None:
    made(tmp_path)
    crop = {"image": "a", "detection": 0, "file": None, "format": "png", "reason": "too thin"}
    snapshot = promote_table(tmp_path, "crops", "crops.parquet", CROPS_SCHEMA, [crop])
    finding = find("survivors_have_crops", "crops", snapshot)
    assert not finding.passed
    assert finding.text == "no crop and no reason for: a 1"


def test_a_mask_that_leaves_its_photo_is_named(tmp_path: Path) -> None:
    made(tmp_path)
    mask = {"x": 150, "y": 0, "w": 16, "h": 1, "bits": b"\xff\xff"}
    row = {"image": "a", "detection": 0, "mask": mask}
    row |= {"x1": 0.0, "y1": 0.0, "x2": 1.0, "y2": 1.0, "score": 1.0, "pass_index": 0}
    snapshot = promote_table(
        tmp_path, "segmentation", "detections.parquet", DETECTIONS_SCHEMA, [row]
    )
    finding = find("masks_inside_image", "segmentation", snapshot)
    assert not finding.passed
    assert finding.text == "outside their image: a 0"


def test_a_check_of_a_table_of_an_older_release_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = made(tmp_path)
    newer = IMAGES_SCHEMA.append(pa.field("of_tomorrow", pa.int32()))
    monkeypatch.setitem(SEGMENTATION.tables, IMAGES_FILE, newer)
    with pytest.raises(StaleUpstreamError, match="older segpipe, without of_tomorrow"):
        find("has_detections", "segmentation", snapshot)

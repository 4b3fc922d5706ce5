"""A deal through real Dagster runs over each backend, chosen by run config alone."""

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.flow.stages.refinement import REFINEMENT_FILE
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.options import LocalRoot
from segpipe.pipeline.partitions import range_tags
from segpipe.pipeline.recording import asset_key
from segpipe.pipeline.resources import DealStoreResource
from segpipe.prompt import Mode
from segpipe.segmenters.cache.kept_answers import decode_answer
from segpipe.segmenters.classical.classical_segmenter import ClassicalSegmenter
from segpipe.store.prompts import PromptType
from segpipe.store.store import DealStore
from segpipe.vision.encode import encode_png
from segpipe.vision.image import decode_image
from segpipe_tests.deals import make_deal, put_photos
from segpipe_tests.drawing import FIRST, SECOND, boxed, draw
from segpipe_tests.goods import goods_photo
from segpipe_tests.loopback import Loopback, Received, Reply, json_reply
from segpipe_tests.refiners.loop.tiny_hq_sam import make_tiny_checkpoint as make_tiny_hq_sam
from segpipe_tests.segmenters.sam3.local.tiny import make_tiny_checkpoint
from segpipe_tests.server.running import running

KEY = "sg-canary-3f9c1d7e5b"
COST = 0.25
DEAL = "lot"
EACH_ITEM = [2, 3]

Config = dict[str, Any]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)


def segmind(received: Received) -> Reply:
    """Answers as Segmind does, with a mask for everything that is bright."""
    assert received.headers["x-api-key"] == KEY
    photo = decode_image(base64.b64decode(received.json()["image"])).rgb
    count, labels = cv2.connectedComponents((photo.max(axis=2) > 170).astype(np.uint8))
    found = []
    for label in range(1, count):
        mask = np.where(labels == label, 255, 0).astype(np.uint8)[..., None]
        picture = base64.b64encode(encode_png(mask)).decode()
        found.append({"label": "goods", "score": 0.9, "mask": picture})
    return json_reply(
        {"detections": found},
        headers={"x-cost": str(COST), "x-remaining-credits": "12.5"},
    )


def over_segmind(server: Loopback, **settings: Any) -> Config:
    quick = {"backoff_s": 0.0, "max_attempts": 2, "deadline_s": 20.0}
    return {"sam3": {"backend": {"segmind": {"endpoint": server.url, "http": quick, **settings}}}}


def run(
    root: Path,
    instance: dg.DagsterInstance,
    backend: Config,
    *,
    mode: Mode = Mode.FIND_ALL,
    refiner: Config | None = None,
) -> dg.ExecuteInProcessResult:
    overrides = {
        "store": DealStoreResource(root=LocalRoot(path=str(root))),
    }
    definitions = build_defs(overrides, retry_policy=dg.RetryPolicy(max_retries=1, delay=0))
    if DEAL not in instance.get_dynamic_partitions("deals"):
        instance.add_dynamic_partitions("deals", [DEAL])
    return definitions.resolve_job_def(everything_job_name(mode)).execute_in_process(
        instance=instance,
        tags=range_tags([DEAL]),
        run_config={
            "resources": {
                "segmenter": {"config": {"backend": backend}},
                "refiner": {"config": {"backend": refiner or {"none": {}}}},
            }
        },
        raise_on_error=False,
    )


def metadata(instance: dg.DagsterInstance, stage: str = "segmentation") -> dict[str, Any]:
    """Of the latest materialisation, as plain values."""
    (record,) = instance.fetch_materializations(asset_key(Mode.FIND_ALL, stage), limit=1).records
    assert record.asset_materialization
    return {name: item.value for name, item in record.asset_materialization.metadata.items()}


def crops(root: Path) -> dict[str, int]:
    """The number of crops of each photo."""
    snapshot = DealStore(root).current(DEAL, Mode.FIND_ALL)
    assert snapshot
    names = [entry.path for entry in snapshot.manifest("crops").files]
    pictures = [name.split("/")[1] for name in names if name.startswith("crops/")]
    return {image: pictures.count(image) for image in pictures}


def ledger(root: Path) -> list[dict[str, Any]]:
    files = sorted((root / "ledger").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def test_over_segmind_with_its_costs_in_the_metadata_and_the_ledger(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, DEAL, items=EACH_ITEM)
    with Loopback(segmind) as server:
        assert run(tmp_path, instance, over_segmind(server)).success

    assert crops(tmp_path) == {"a": 2, "b": 3}
    told = metadata(instance)
    assert told["segmenter"] == "sam3-segmind"
    assert (told["usage/calls"], told["usage/cost"]) == (2, 2 * COST)
    assert told["usage/remaining_credits"] == 12.5
    assert {(line["deal"], line["image"]) for line in ledger(tmp_path)} == {
        (DEAL, "a.png"),
        (DEAL, "b.png"),
    }


@pytest.fixture
def service() -> Iterator[str]:
    with running(ClassicalSegmenter) as service:
        yield service.url


def test_over_our_own_service(tmp_path: Path, instance: dg.DagsterInstance, service: str) -> None:
    make_deal(tmp_path, DEAL, items=EACH_ITEM)

    result = run(tmp_path, instance, {"sam3": {"backend": {"internal": {"url": service}}}})

    assert result.success
    assert crops(tmp_path) == {"a": 2, "b": 3}
    assert metadata(instance)["segmenter"] == "sam3-internal"


def test_over_a_model_in_process(
    tmp_path: Path, instance: dg.DagsterInstance, checkpoint: Path
) -> None:
    make_deal(tmp_path, DEAL, items=EACH_ITEM)
    local = {"checkpoint": str(checkpoint), "threshold": 0.0, "max_masks": 5}
    texts = ["ring", "Armband für Zoë"]

    result = run(tmp_path, instance, {"sam3": {"backend": {"local": local}, "texts": texts}})

    assert result.success
    assert crops(tmp_path)
    assert metadata(instance)["segmenter"] == "sam3-local"


@pytest.mark.parametrize("refiner", ["hq_sam", "sam3_tracker"])
def test_with_masks_refined_by_a_model_in_process(
    tmp_path: Path,
    instance: dg.DagsterInstance,
    tmp_path_factory: pytest.TempPathFactory,
    checkpoint: Path,
    refiner: str,
) -> None:
    make_deal(tmp_path, DEAL, items=EACH_ITEM)
    weights = checkpoint
    if refiner == "hq_sam":
        weights = make_tiny_hq_sam(tmp_path_factory.mktemp("hq_sam"))
    anything = {"min_iou": 0.0, "min_predicted_iou": 0.0}

    result = run(
        tmp_path,
        instance,
        {"classical": {}},
        refiner={refiner: {"checkpoint": str(weights), "embed": "image", **anything}},
    )

    assert result.success
    assert crops(tmp_path) == {"a": 2, "b": 3}
    assert metadata(instance, "refinement")["refiner"] == refiner
    snapshot = DealStore(tmp_path).current(DEAL, Mode.FIND_ALL)
    assert snapshot
    rows = pq.read_table(pa.BufferReader(snapshot.read("refinement", REFINEMENT_FILE)))
    assert any(rows["accepted"].to_pylist())
    assert max(rows["iterations"].to_pylist()) > 1
    assert all(path.startswith("M") for path in rows["svg_path"].to_pylist())


def test_any_backend_can_be_wrapped_in_the_recursive_segmenter(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, DEAL, items=EACH_ITEM)
    with Loopback(segmind) as server:
        assert run(tmp_path, instance, {"recursive": {"inner": over_segmind(server)}}).success

    assert crops(tmp_path) == {"a": 2, "b": 3}
    told = metadata(instance)
    assert told["segmenter"] == "recursive(sam3-segmind)"
    assert [stats["new"] for stats in told["pass_stats"]] == [5, 0]
    assert told["usage/calls"] == 4


def test_tiles_of_a_paid_backend_are_counted_before_and_kept(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, DEAL, items=EACH_ITEM)

    def tiled(**settings: Any) -> Config:
        inner = over_segmind(server, **settings)
        return {"tiled": {"inner": inner, "tile_px": 64, "min_photo_px": 0}}

    with Loopback(segmind) as server:
        assert not run(tmp_path, instance, tiled(max_paid_calls=3)).success
        assert server.requests == []
        assert run(tmp_path, instance, {"recursive": {"max_passes": 1, "inner": tiled()}}).success
        assert metadata(instance)["segmenter"] == "recursive(tiled(sam3-segmind))"
        asked = len(server.requests)
        assert asked > 4
        assert run(tmp_path, instance, tiled(max_paid_calls=3)).success
        assert metadata(instance)["segmenter"] == "tiled(sam3-segmind)"
        assert metadata(instance)["usage/calls"] == 0
        assert len(server.requests) == asked
    assert crops(tmp_path) == {"a": 2, "b": 3}


def test_nothing_is_paid_twice(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    photos = 5
    put_photos(tmp_path, DEAL, {f"{n}.png": goods_photo(n + 1) for n in range(photos)})
    seen: set[str] = set()

    def failing_once_for_the_last(received: Received) -> Reply:
        seen.add(received.json()["image"])
        last = len(server.requests) == photos
        return Reply(502, b"bad gateway", "text/plain") if last else segmind(received)

    with Loopback(failing_once_for_the_last) as server:
        assert not run(tmp_path, instance, over_segmind(server)).success
        assert len(server.requests) == photos

        # The retry pays for what failed alone, and another setting of dedup for nothing.
        assert run(tmp_path, instance, over_segmind(server)).success
        assert len(server.requests) == photos + 1
        told = metadata(instance)
        assert (told["usage/calls"], told["usage/from_cache"]) == (1, photos - 1)
        assert run(tmp_path, instance, over_segmind(server)).success
        assert len(server.requests) == photos + 1

    assert len(crops(tmp_path)) == photos


def test_a_limit_of_the_run_stops_it_before_the_call_that_would_pass_it(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, DEAL, items=(1, 2, 3))
    with Loopback(segmind) as server:
        result = run(tmp_path, instance, over_segmind(server, max_paid_calls=2))

        assert not result.success
        assert len(server.requests) == 2
    (failure,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    user_failure = failure.step_failure_data.user_failure_data
    assert user_failure
    assert "max_paid_calls" in (user_failure.description or "")
    assert f"deal '{DEAL}'" in (user_failure.description or "")


def test_a_missing_key_stops_the_run_at_once_and_says_which(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGMIND_API_KEY")
    make_deal(tmp_path, DEAL)

    result = run(tmp_path, instance, {"sam3": {"backend": {"segmind": {}}}})

    assert not result.success
    events = [e.event_type_value for e in result.all_events]
    assert "STEP_UP_FOR_RETRY" not in events
    (failure,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "SEGMIND_API_KEY" in str(failure.step_failure_data.user_failure_data)


def readable(path: Path) -> str:
    """What a file holds, unpacked."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return f"{table.schema.metadata} {table.to_pylist()}"
    if path.suffix == ".entry":
        return str(decode_answer(path.parent.name + path.stem, data))
    return data.decode("latin-1")


@pytest.mark.parametrize("status", [200, 401])
def test_the_key_is_nowhere_in_what_a_run_leaves(
    tmp_path: Path,
    instance: dg.DagsterInstance,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    status: int,
) -> None:
    make_deal(tmp_path, DEAL)

    def telling_the_key(received: Received) -> Reply:
        echo = f"bad key {received.headers['x-api-key']}"
        if status != 200:
            return Reply(status, echo.encode(), "text/plain", {"x-echo": echo})
        answer = segmind(received)
        told = answer.body.replace(b'"goods"', json.dumps(echo).encode())
        return replace(answer, body=told, headers={**answer.headers, "x-echo": echo})

    with caplog.at_level(logging.DEBUG), Loopback(telling_the_key) as server:
        result = run(tmp_path, instance, over_segmind(server))

    assert result.success == (status == 200)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    written += [path for path in Path(instance.root_directory).rglob("*") if path.is_file()]
    assert any("ledger" in path.parts for path in written)
    assert any(path.suffix == ".entry" for path in written) == (status == 200)
    assert any(path.suffix == ".db" for path in written)
    assert not [path for path in written if KEY in readable(path)]
    out, err = capfd.readouterr()
    assert KEY not in out + err + caplog.text


def asked_by_prompts(root: Path, instance: dg.DagsterInstance, backend: Config) -> None:
    """A deal with an example on one photo and boxes on another, in both modes."""
    store = make_deal(root, DEAL, items=EACH_ITEM)
    kind = PromptType.POSITIVE_EXEMPLAR
    draw(store, "a", boxed("like", FIRST, mode=Mode.FIND_ALL, prompt_type=kind))
    draw(store, "b", boxed("two", SECOND), boxed("one", FIRST))
    for mode in Mode:
        assert run(root, instance, backend, mode=mode).success
    snapshot = store.current(DEAL, Mode.FIND_ALL)
    assert snapshot
    with snapshot.open("segmentation", "images.parquet") as stream:
        prompts = [json.loads(text) for text in pq.read_table(stream)["prompt"].to_pylist()]
    assert [prompt["exemplars"] for prompt in prompts] == [[[*FIRST, True]], []]
    snapshot = store.current(DEAL, Mode.INSIDE_BOX)
    assert snapshot
    with snapshot.open("segmentation", "detections.parquet") as stream:
        boxes = pq.read_table(stream).to_pylist()
    assert [(row["image"], row["annotation"]) for row in boxes] == [("b", "two"), ("b", "one")]


def test_prompts_of_a_deal_reach_segmind(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    with Loopback(segmind) as server:
        asked_by_prompts(tmp_path, instance, over_segmind(server))
    asked = [json.loads(received.json().get("boxes_input", "[]")) for received in server.requests]
    assert sorted(map(len, asked)) == [0, 1, 2]  # everything in b, the like of one, two boxes


def test_prompts_of_a_deal_reach_our_own_service(
    tmp_path: Path, instance: dg.DagsterInstance, service: str
) -> None:
    asked_by_prompts(tmp_path, instance, {"sam3": {"backend": {"internal": {"url": service}}}})


def test_prompts_of_a_deal_reach_sam3_in_this_process(
    tmp_path: Path, instance: dg.DagsterInstance, checkpoint: Path
) -> None:
    local = {"checkpoint": str(checkpoint), "threshold": 0.0, "max_masks": 4}
    everything = {"points_per_side": 4}
    asked_by_prompts(
        tmp_path, instance, {"sam3": {"backend": {"local": {**local, "everything": everything}}}}
    )

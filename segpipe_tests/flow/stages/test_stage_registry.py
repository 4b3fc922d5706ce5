"""A stage is one file and one entry: everything else walks over the registry."""

import asyncio
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import Field
from typing_extensions import override

from segpipe.errors import NotPromotedError
from segpipe.flow.deal import DealTask, process_deal, waves
from segpipe.flow.photo import PhotoInfo
from segpipe.flow.results import DealResults
from segpipe.flow.run_settings import RunSettings, settings_model
from segpipe.flow.stages.dedup import DEDUP
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage import PhotoResults, PhotoWork, Stage
from segpipe.flow.stages.stage_registry import STAGES, Stages
from segpipe.flow.tools import Tools
from segpipe.prompt import Mode
from segpipe.refiners.refiner import NoneConfig, NoneRefiner
from segpipe.settings import Settings
from segpipe_tests.deals import make_deal
from segpipe_tests.goods import BrightConfig, BrightSegmenter


class WeightSettings(Settings):
    """How heavy things are."""

    grams_per_pixel: float = Field(default=2.0, description="What a pixel weighs.")


class Weights(Stage[list[float], WeightSettings]):
    """Weighs the survivors: all that a new stage needs to say."""

    name = "weights"
    description = "What each survivor weighs."
    code_version = "1"
    upstream = (SEGMENTATION, DEDUP)
    settings = WeightSettings
    settings_name = "weights"
    tables: ClassVar = {
        "weights.parquet": pa.schema(
            [pa.field("image", pa.string(), nullable=False), ("grams", pa.float64())]
        )
    }

    @override
    async def make(self, work: PhotoWork, settings: WeightSettings) -> list[float]:
        found = work.results.of(SEGMENTATION).result.detections
        masks = [found[index].mask for index in work.results.of(DEDUP).kept]
        return [settings.grams_per_pixel * mask.area for mask in masks if mask]

    @override
    def rows(self, photo: PhotoInfo, result: list[float]) -> dict[str, pa.Table]:
        columns = {"image": [photo.image] * len(result), "grams": result}
        return {"weights.parquet": pa.table(columns, schema=self.tables["weights.parquet"])}

    @override
    def read(self, photo: PhotoResults) -> list[float]:
        grams: list[float] = photo.rows(self, "weights.parquet")["grams"].to_pylist()
        return grams


WEIGHTS = Weights()


def test_a_new_stage_has_settings_identity_tables_and_a_reader(tmp_path: Path) -> None:
    stages = Stages(*STAGES.values(), WEIGHTS)
    store = make_deal(tmp_path, "lot", items=(2, 1))
    model = settings_model(stages)
    settings = RunSettings(
        BrightConfig(), NoneConfig(), model.model_validate({"weights": {"grams_per_pixel": 3}})
    )
    tools = Tools(BrightSegmenter(doubles=True), NoneRefiner(), settings)

    def run(run_id: str, names: frozenset[str]) -> None:
        task = DealTask("lot", run_id, stages=names)
        asyncio.run(process_deal(store, task, tools, stages=stages))

    run("run-1", stages.names)
    run("run-2", frozenset({"weights"}))  # reads what the first one made

    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot
    info = snapshot.manifest("weights").info
    assert info.settings == {"grams_per_pixel": 3.0}
    assert info.identity == tools.identity(WEIGHTS).digest
    made_from = snapshot.version("weights").made_from
    assert {name: made_from[name] for name in ("segmentation", "dedup")} == {
        "segmentation": "run-1.0",
        "dedup": "run-1.0",
    }
    with snapshot.open("weights", "weights.parquet") as file:
        assert pq.read_table(file).column_names == ["deal", "image", "grams"]
    with DealResults("lot", snapshot, [SEGMENTATION, DEDUP, WEIGHTS]) as results:
        grams = {each.photo.image: each.of(WEIGHTS) for each in results}
    assert grams == {"a": [576.0, 576.0], "b": [576.0]}


def test_a_reader_wants_what_it_reads_to_be_there(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    with pytest.raises(NotPromotedError, match="weights must be made first"):
        DealResults("lot", store.current("lot", Mode.FIND_ALL), [WEIGHTS])


def test_stages_stand_after_those_they_read() -> None:
    with pytest.raises(ValueError, match="weights must stand once, and after dedup"):
        Stages(SEGMENTATION, WEIGHTS)


def test_stages_that_wait_for_none_of_each_other_go_side_by_side() -> None:
    names = [[stage.name for stage in wave] for wave in waves(list(STAGES.values()))]
    assert names == [
        ["segmentation"],
        ["dedup"],
        ["refinement"],
        ["review"],
        ["crops", "coco", "deal_report", "background"],
    ]

"""The promoted COCO JSON of a deal, in both modes, as pycocotools reads it."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO

from segpipe.detection import SegmentationResult, Thresholds
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.run_settings import FlowSettings
from segpipe.flow.stages.coco import COCO_FILE, CocoSettings
from segpipe.formats.label_format import CocoMasks
from segpipe.prompt import Mode, Prompt
from segpipe.store.tables import masks_from_arrow
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe_tests.deals import make_deal, make_tools, todo
from segpipe_tests.drawing import EMPTY, FIRST, SECOND, boxed, draw
from segpipe_tests.goods import BrightSegmenter

# pycocotools has not caught up with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("masks", CocoMasks)
@pytest.mark.parametrize("mode", Mode)
def test_every_survivor_of_a_deal_decodes_to_its_very_mask(
    tmp_path: Path, mode: Mode, masks: CocoMasks, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_deal(tmp_path, "lot", items=(2, 3))
    draw(store, "a", boxed("two", SECOND), boxed("none", EMPTY), boxed("one", FIRST))
    settings = FlowSettings(coco=CocoSettings(masks=masks))
    tools = make_tools(BrightSegmenter(doubles=True), settings)
    asyncio.run(process_deal(store, DealTask("lot", "run-1", mode=mode), tools))
    snapshot = store.current("lot", mode)
    assert snapshot

    coco = COCO(snapshot.path("coco", COCO_FILE))

    capsys.readouterr()  # it prints
    with snapshot.open("refinement", "refinement.parquet") as stream:
        table = pq.read_table(stream)
    expected = {
        (image, detection): mask
        for image, detection, mask in zip(
            table["image"].to_pylist(),
            table["detection"].to_pylist(),
            masks_from_arrow(table["coarse_mask"], 160, 120),
            strict=True,
        )
        if mask is not None
    }
    names = {one["id"]: one["file_name"].removesuffix(".png") for one in coco.imgs.values()}
    decoded = {
        (names[one["image_id"]], one["detection"]): coco.annToMask(one)
        for one in coco.anns.values()
    }
    assert len(decoded) == {Mode.FIND_ALL: 5, Mode.INSIDE_BOX: 2}[mode]
    assert decoded.keys() == expected.keys()
    for key, mask in expected.items():
        assert np.array_equal(decoded[key], mask.to_full())
    assert {one["iscrowd"] for one in coco.anns.values()} == {0}
    assert [one["name"] for one in coco.cats.values()] == ["item"]


def test_other_masks_make_the_coco_asset_stale_alone(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    asyncio.run(process_deal(store, DealTask("lot", "run-1"), make_tools(BrightSegmenter())))
    polygons = FlowSettings(coco=CocoSettings(masks=CocoMasks.POLYGONS))
    tools = make_tools(BrightSegmenter(), polygons)
    assert todo(store, settings=polygons, replace_other_settings=True).stages == {"coco"}

    stages = frozenset({"coco"})
    asyncio.run(process_deal(store, DealTask("lot", "run-2", stages=stages), tools))

    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot
    content = json.loads(snapshot.read("coco", COCO_FILE))
    assert [len(one["segmentation"]) for one in content["annotations"]] == [1, 1]
    assert todo(store, settings=polygons, replace_other_settings=True).stages == frozenset()


class EmptyMasks(BrightSegmenter):
    """Finds boxes whose masks have no pixel."""

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        result = await super().segment(image, prompt)
        none = Mask.empty(image_width=result.image_width, image_height=result.image_height)
        return replace(
            result, detections=tuple(replace(found, mask=none) for found in result.detections)
        )


@pytest.mark.parametrize("masks", CocoMasks)
def test_an_item_with_an_empty_mask_stands_as_its_box_and_says_so(
    tmp_path: Path, masks: CocoMasks
) -> None:
    store = make_deal(tmp_path, "lot", items=(1,))
    tools = make_tools(EmptyMasks(), FlowSettings(coco=CocoSettings(masks=masks)))
    asyncio.run(process_deal(store, DealTask("lot", "run-1"), tools))
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot
    (annotation,) = json.loads(snapshot.read("coco", COCO_FILE))["annotations"]
    assert (annotation["has_mask"], annotation["bbox"]) == (False, [4, 20, 12, 16])
    assert annotation["area"] == 12 * 16

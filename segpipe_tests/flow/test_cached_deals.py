"""No photo of a deal is paid for twice, whatever happens to the deal."""

import asyncio
from pathlib import Path

import pytest

from segpipe.detection import SegmentationResult, Thresholds
from segpipe.errors import BackendUnavailableError, DealFailedError
from segpipe.flow.deal import DealOutcome, DealTask, process_deal
from segpipe.flow.run_settings import FlowSettings, RunSettings
from segpipe.flow.stages.crop_settings import CropSettings
from segpipe.flow.stages.dedup import DedupSettings
from segpipe.flow.tools import Tools
from segpipe.prompt import Prompt
from segpipe.refiners.refiner import NoneConfig, NoneRefiner
from segpipe.segmenters.cache import CachedSegmenter
from segpipe.segmenters.cache.cache_folder import CacheFolder
from segpipe.store.store import DealStore
from segpipe.vision.crop import CropFormat
from segpipe.vision.encode import encode_png
from segpipe.vision.image import RgbImage
from segpipe_tests.deals import make_deal, put_photos
from segpipe_tests.goods import BrightConfig, BrightSegmenter, goods_image

PHOTOS = 20


class FailingBrightSegmenter(BrightSegmenter):
    """Fails at one of its calls, counted from 1."""

    def __init__(self, failing_call: int = 0) -> None:
        super().__init__(doubles=True)
        self._failing_call = failing_call

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        if self.calls + 1 == self._failing_call:
            self.calls += 1
            raise BackendUnavailableError("busy")
        return await super().segment(image, prompt)


def process(
    store: DealStore,
    run_id: str,
    inner: BrightSegmenter,
    cache: Path,
    *,
    deal: str = "lot",
    settings: FlowSettings | None = None,
) -> DealOutcome:
    segmenter = CachedSegmenter(inner, CacheFolder(cache, 10_000_000), settings=BrightConfig())
    run_settings = RunSettings(BrightConfig(), NoneConfig(), settings or FlowSettings())
    tools = Tools(segmenter, NoneRefiner(), run_settings)
    return asyncio.run(process_deal(store, DealTask(deal, run_id), tools))


def put_different_photos(root: Path) -> DealStore:
    photos = {}
    for index in range(PHOTOS):
        image = goods_image(2)
        image[-1, index] += 1
        photos[f"{index:02}.png"] = encode_png(image)
    put_photos(root, "lot", photos)
    return DealStore(root)


def test_a_deal_whose_last_photo_failed_costs_one_call_on_the_retry(tmp_path: Path) -> None:
    store = put_different_photos(tmp_path)
    first = FailingBrightSegmenter(failing_call=PHOTOS)
    with pytest.raises(DealFailedError, match="busy"):
        process(store, "run-1", first, tmp_path / "cache")
    assert first.calls == PHOTOS

    retry = FailingBrightSegmenter()
    outcome = process(store, "run-2", retry, tmp_path / "cache")

    assert retry.calls == 1
    assert outcome.summary.counts.images == PHOTOS


@pytest.mark.parametrize(
    "settings",
    [
        FlowSettings(dedup=DedupSettings(iou_threshold=0.9)),
        FlowSettings(crops=CropSettings(format=CropFormat.JPG)),
    ],
    ids=["dedup", "crops"],
)
def test_changed_settings_of_later_stages_cost_no_call(
    tmp_path: Path, settings: FlowSettings
) -> None:
    store = make_deal(tmp_path, "lot")
    process(store, "run-1", BrightSegmenter(doubles=True), tmp_path / "cache")
    again = BrightSegmenter(doubles=True)
    outcome = process(store, "run-2", again, tmp_path / "cache", settings=settings)
    assert again.calls == 0
    assert outcome.summary.counts.detections == 10


def test_two_identical_photos_cost_one_call(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(3, 3))
    segmenter = BrightSegmenter()
    outcome = process(store, "run-1", segmenter, tmp_path / "cache")
    assert segmenter.calls == 1
    assert outcome.summary.counts.detections == 6


def test_a_photo_that_is_in_two_deals_costs_one_call(tmp_path: Path) -> None:
    segmenter = BrightSegmenter()
    for deal in ("lot", "heap"):
        store = make_deal(tmp_path, deal, items=(3,))
        process(store, "run-1", segmenter, tmp_path / "cache", deal=deal)
    assert segmenter.calls == 1

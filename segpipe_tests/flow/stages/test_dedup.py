"""Dedup of what several passes found: traces of paint, and earlier finds that stay."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from segpipe.detection import Detection, SegmentationResult, Thresholds
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.results import DealResults
from segpipe.flow.stages.dedup import DEDUP, DEDUP_FILE, DedupedImage, DedupSettings, dedup_image
from segpipe.flow.stages.segmentation import (
    DETECTIONS_FILE,
    SEGMENTATION,
    TRACE,
    SegmentedImage,
)
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.classical import ClassicalSegmenter
from segpipe.segmenters.recursive import RecursiveSegmenter
from segpipe.segmenters.segmenter import Segmenter
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.dedup import Criterion
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe_tests.deals import make_deal, make_tools

FILL = (128, 128, 128)


class PaintFinder(Segmenter):
    """Finds bright goods with a fair score, and patches of paint with a better one."""

    id = "paint-finder"

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        goods = image.max(axis=2) > 160
        paint = (image == FILL).all(axis=2)
        found = [Detection(_box(mask), 0.6, mask=mask) for mask in _blobs(goods)]
        found += [Detection(_box(mask), 0.95, mask=mask) for mask in _blobs(paint)]
        found += [Detection(_box(mask), 0.99, mask=mask) for mask in _rims(paint)]
        return SegmentationResult.of_one_pass(found, image, self.id, 0.0)

    async def aclose(self) -> None:
        pass


def _blobs(plane: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> list[Mask]:
    count, labels = cv2.connectedComponents(plane.astype(np.uint8))
    return [Mask.from_full(labels == label) for label in range(1, count)]


def _rims(plane: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> list[Mask]:
    """Rings of two pixels around the patches, without a pixel of theirs."""
    grown = cv2.dilate(plane.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.bool_)
    return _blobs(np.asarray(grown & ~plane, np.bool_)) if plane.any() else []


def _box(mask: Mask) -> Box:
    assert mask.box
    return mask.box


def deduped(found: Sequence[Detection], width: int = 100, height: int = 100) -> DedupedImage:
    result = SegmentationResult(tuple(found), width, height, "made up", 0.0, ())
    return dedup_image(SegmentedImage((), Prompt(), {}, result), DedupSettings())


def square(left: float, score: float, *, passed: int = 0, of: int | None = None) -> Detection:
    box = Box(left, 10, left + 20, 30)
    mask = Mask.from_box(box, image_width=100, image_height=100)
    return Detection(box, score, mask=mask, pass_index=passed, trace_of=of)


def process(store: DealStore, segmenter: Segmenter, run_id: str) -> DealResults:
    asyncio.run(process_deal(store, DealTask("lot", run_id), make_tools(segmenter)))
    return DealResults("lot", store.current("lot", Mode.FIND_ALL), [SEGMENTATION, DEDUP])


def test_painted_patches_are_raw_detections_with_a_reason_and_replace_nothing(
    tmp_path: Path,
) -> None:
    store = make_deal(tmp_path, "lot", items=(4,))
    with process(store, PaintFinder(), "once") as once:
        (photo,) = once
        kept = {photo.of(SEGMENTATION).result.detections[i].box for i in photo.of(DEDUP).kept}
    assert len(kept) == 4
    with process(store, RecursiveSegmenter(PaintFinder(), max_passes=3), "again") as again:
        (photo,) = again
        found = photo.of(SEGMENTATION).result.detections
        assert {found[index].box for index in photo.of(DEDUP).kept} == kept
        assert all((one.trace_of is None) == (one.pass_index == 0) for one in found)
        assert photo.of(SEGMENTATION).missing == {}
        raw = again.rows(SEGMENTATION, DETECTIONS_FILE, "a").to_pylist()
        rejected = again.rows(DEDUP, DEDUP_FILE, "a").to_pylist()
    assert len(raw) > 4 + 4
    for row, decided in zip(raw[4:], rejected[4:], strict=True):
        assert row["reason"] == f"{TRACE}{decided['survivor']}"
        assert row["pass_index"] == 1
        assert decided["criterion"] == "trace"
        assert decided["survivor"] in range(4)
    assert all(row["reason"] is None for row in raw[:4])


@pytest.mark.parametrize("name", ["coins.png", "coffee.png", "chelsea.png", "rocket.jpg"])
def test_survivors_of_two_passes_contain_those_of_one_box_for_box(name: str) -> None:
    import skimage

    photo = cv2.imread(str(Path(skimage.__file__).parent / "data" / name))
    image = np.ascontiguousarray(np.asarray(photo, np.uint8)[..., ::-1])

    def survivors(passes: int) -> set[Box]:
        segmenter = RecursiveSegmenter(ClassicalSegmenter(), max_passes=passes)
        found = asyncio.run(segmenter.segment(image, Prompt())).detections
        return {found[index].box for index in deduped(found, *image.shape[1::-1]).kept}

    once = survivors(1)
    assert once
    assert once <= survivors(2)


def test_a_later_pass_never_takes_the_place_of_an_earlier_find() -> None:
    result = deduped([square(10, 0.5), square(12, 0.9, passed=1), square(60, 0.4, passed=1)])
    assert result.kept == (0, 2)
    (rejection,) = result.rejections
    assert (rejection.index, rejection.survivor, rejection.criterion) == (1, 0, Criterion.IOU)


def test_within_a_pass_the_better_score_stays() -> None:
    assert deduped([square(10, 0.5), square(12, 0.9), square(14, 0.7)]).kept == (1,)


def test_a_trace_of_what_was_itself_rejected_names_the_survivor() -> None:
    result = deduped([square(10, 0.5), square(11, 0.8), square(60, 1.0, passed=1, of=0)])
    assert result.kept == (1,)
    assert [(one.index, one.survivor) for one in result.rejections] == [(0, 1), (2, 1)]
    assert (result.rejections[1].criterion, result.rejections[1].value) == (Criterion.TRACE, 0.0)

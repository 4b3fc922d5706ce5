"""What the refinement stage keeps of each survivor."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from segpipe.detection import Detection, SegmentationResult
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.photo import PhotoInfo
from segpipe.flow.stages.dedup import DedupedImage
from segpipe.flow.stages.refinement import REFINEMENT, REFINEMENT_SCHEMA, RefinedItem, refine_image
from segpipe.flow.stages.segmentation import SEGMENTATION, SegmentedImage
from segpipe.flow.stages.stage import PhotoResults
from segpipe.progress import Tell, tell_nobody
from segpipe.prompt import Mode, Prompt
from segpipe.refiners.grabcut import GrabCutConfig, GrabCutRefiner
from segpipe.refiners.refiner import NoneRefiner, Refinement, Refiner
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask
from segpipe.vision.path_fill import path_to_mask
from segpipe_tests.deals import make_deal, make_tools
from segpipe_tests.goods import BrightSegmenter

WIDTH, HEIGHT = 400, 300
RGB = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
DRAWN = Box(90.0, 40.0, 310.0, 260.0)


def ellipse(*, grown_px: int = 0) -> Mask:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    bits = ((x - 200) / (90 + grown_px)) ** 2 + ((y - 150) / (60 + grown_px)) ** 2 <= 1
    return Mask.from_full(bits.astype(np.uint8)).tight()


def noise() -> Mask:
    """So many corners that no path data may hold them."""
    bits = np.random.default_rng(1).integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8)
    return Mask.from_full(bits)


class Answers:
    """A refiner that gives what it was built with."""

    id = "answers"

    def __init__(self, *answers: Refinement) -> None:
        self._answers = answers

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell = tell_nobody
    ) -> tuple[Refinement, ...]:
        assert len(masks) == len(self._answers)
        return self._answers


def refined(coarse: Mask | None, *answers: Refinement) -> tuple[SegmentedImage, RefinedItem]:
    result = SegmentationResult(
        (Detection(DRAWN, 0.9, mask=coarse),), WIDTH, HEIGHT, "test", 1.0, ()
    )
    segmented = SegmentedImage((), Prompt(), {}, result)
    done = asyncio.run(refine_image(RGB, segmented, DedupedImage((0,), ()), Answers(*answers)))
    photo = PhotoInfo("a", "a.jpg", "digest", "JPEG", WIDTH, HEIGHT)
    rows = REFINEMENT.rows(photo, done)
    stored = PhotoResults(photo, lambda stage, file, image: rows[file])
    stored.put(SEGMENTATION, segmented)
    (read,) = stored.of(REFINEMENT).items
    (item,) = done.items
    assert (read.box, read.coarse_box, read.svg_path) == (item.box, item.coarse_box, item.svg_path)
    return segmented, item


def drawn(item: RefinedItem) -> Mask:
    return path_to_mask(item.svg_path, item.box, image_width=WIDTH, image_height=HEIGHT)


def test_an_accepted_mask_has_its_own_box_and_outline_and_the_coarse_box_stays() -> None:
    coarse, sharp = ellipse(grown_px=8), ellipse()
    _, item = refined(coarse, Refinement(sharp, accepted=True, iterations=6, predicted_iou=0.8))
    assert item.coarse_box == coarse.box
    assert item.box == sharp.box
    assert abs(drawn(item).area - sharp.area) < 0.005 * sharp.area


def test_a_refused_mask_leaves_the_coarse_box_and_outline() -> None:
    coarse = ellipse(grown_px=8)
    _, item = refined(coarse, Refinement(coarse, accepted=False, reason="left the item"))
    assert item.box == item.coarse_box == coarse.box
    assert abs(drawn(item).area - coarse.area) < 0.005 * coarse.area


def test_without_a_mask_there_is_the_drawn_box_and_no_outline() -> None:
    _, item = refined(None)
    assert (item.box, item.coarse_box, item.svg_path) == (DRAWN, DRAWN, "")


def test_an_empty_mask_counts_as_none_for_the_box() -> None:
    empty = Mask.empty(image_width=WIDTH, image_height=HEIGHT)
    _, item = refined(empty, Refinement(empty, accepted=False, reason="the mask is empty"))
    assert (item.box, item.coarse_box, item.svg_path) == (DRAWN, DRAWN, "")


def test_a_refined_mask_that_cannot_be_traced_is_kept_beside_the_coarse_outline(
    caplog: pytest.LogCaptureFixture,
) -> None:
    coarse, jagged = ellipse(), noise()
    with caplog.at_level(logging.WARNING):
        _, item = refined(coarse, Refinement(jagged, accepted=True))
    assert item.refined is jagged
    assert item.box == coarse.box
    assert abs(drawn(item).area - coarse.area) < 0.005 * coarse.area
    assert "no outline of detection 0" in caplog.text


def test_nothing_that_can_be_traced_leaves_an_empty_path() -> None:
    jagged = noise()
    _, item = refined(jagged, Refinement(jagged, accepted=False, reason="refiner is none"))
    assert (item.box, item.svg_path) == (jagged.box, "")
    assert replace(item, refined=None).mask is jagged


class Inset:
    """A refiner that takes a rim of two pixels off every mask."""

    id = "inset"

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell = tell_nobody
    ) -> tuple[Refinement, ...]:
        kernel = np.ones((5, 5), np.uint8)
        return tuple(
            Refinement(Mask.from_full(cv2.erode(mask.to_full(), kernel)).tight(), accepted=True)
            for mask in masks
        )


def run_with(root: Path, refiner: Refiner) -> DealStore:
    store = make_deal(root, "lot", items=(2,))
    tools = replace(make_tools(BrightSegmenter()), refiner=refiner)
    asyncio.run(process_deal(store, DealTask("lot", "run-1"), tools))
    return store


def test_crops_use_the_refined_mask(tmp_path: Path) -> None:
    snapshot = run_with(tmp_path, Inset()).current("lot", Mode.FIND_ALL)
    assert snapshot
    with snapshot.open("crops", "crops.parquet") as stream:
        crops = pq.read_table(stream).to_pylist()
    # The goods are 12 x 16 pixels.
    assert [(crop["width"], crop["height"]) for crop in crops] == [(8, 12), (8, 12)]


@pytest.mark.parametrize("refiner", [NoneRefiner(), GrabCutRefiner(GrabCutConfig()), Inset()])
def test_every_refiner_gives_the_same_table(tmp_path: Path, refiner: Refiner) -> None:
    snapshot = run_with(tmp_path, refiner).current("lot", Mode.FIND_ALL)
    assert snapshot
    with snapshot.open("refinement", "refinement.parquet") as stream:
        table = pq.read_table(stream)
    assert table.drop_columns(["deal"]).schema.equals(REFINEMENT_SCHEMA)
    for row in table.to_pylist():
        assert row["coarse_mask"]
        assert row["svg_path"].startswith("M")
        assert row["coarse_x2"] - row["coarse_x1"] == 12
        assert row["accepted"] == (row["refined_mask"] is not None) == (row["reason"] is None)

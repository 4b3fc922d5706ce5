"""What settings would find in one photo, and what beat what they leave out."""

import asyncio
from itertools import pairwise

import numpy as np

from segpipe.detection import Detection, SegmentationResult, Thresholds
from segpipe.flow.mode_prompts import PhotoPrompt
from segpipe.flow.stages.dedup import DedupSettings
from segpipe.flow.try_photo import Trial, draw_trial, try_photo, without_kept_answers
from segpipe.prompt import Prompt
from segpipe.segmenters.build_segmenter import RecursiveConfig, Sam3Config, TiledConfig, innermost
from segpipe.segmenters.sam3.segmind import SegmindConfig
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.boxes import Box
from segpipe.vision.image import DecodedImage, RgbImage
from segpipe.vision.mask import Mask

SIDE = 300
KEPT, DOUBLE = Box(30, 30, 130, 130), Box(150, 150, 270, 270)


class TwoOfOne(Segmenter):
    """Finds an item, and a larger one twice."""

    id = "two-of-one"

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        inner = Box(180, 180, 262, 262)
        found = [
            Detection(box, score, mask=Mask.from_box(box, image_width=SIDE, image_height=SIDE))
            for box, score in ((KEPT, 0.9), (DOUBLE, 0.5), (inner, 0.8))
        ]
        return SegmentationResult.of_one_pass(found, image, self.id, 0.0)

    async def aclose(self) -> None:
        """Nothing is held."""


def trial(dedup: DedupSettings | None) -> tuple[RgbImage, Trial]:
    rgb = np.full((SIDE, SIDE, 3), 90, np.uint8)
    asked = PhotoPrompt(Prompt())
    return rgb, asyncio.run(try_photo(DecodedImage(rgb, "png", ()), TwoOfOne(), asked, dedup))


def test_what_beat_a_rejected_one_is_told() -> None:
    _, found = trial(DedupSettings())
    assert found.kept == (0, 2)
    (rejection,) = found.rejections.values()
    assert (rejection.index, rejection.survivor) == (1, 2)
    outline = found.outlines[0]
    assert outline
    assert outline.box == KEPT
    assert outline.path == "M0,0L0,1L1,1L1,0Z"


def test_without_dedup_everything_stays() -> None:
    _, found = trial(None)
    assert (found.deduped, found.kept, found.rejections) == (None, (0, 1, 2), {})


def test_a_rejected_one_is_drawn_dashed_and_faded_and_a_kept_one_solid() -> None:
    rgb, found = trial(DedupSettings())
    picture = draw_trial(rgb, found)
    assert picture.shape == rgb.shape

    def changed(row: int, start: int, stop: int) -> list[bool]:
        return [bool((picture[row, x] != rgb[row, x]).any()) for x in range(start, stop)]

    # The upper edges, away from plates.
    kept_line = changed(int(KEPT.y1), 80, 125)
    dashed_line = changed(int(DOUBLE.y1), 175, 260)
    assert all(kept_line)
    assert 0.2 < np.mean(dashed_line) < 0.9
    gaps = sum(a != b for a, b in pairwise(dashed_line))
    assert gaps >= 3
    # The rejected one is not tinted, the kept ones are.
    assert (picture[165, 165] == rgb[165, 165]).all()
    assert (picture[100, 100] != rgb[100, 100]).any()
    brightest_kept = int(picture[int(KEPT.y1), 80:125].max())
    assert brightest_kept > int(picture[int(DOUBLE.y1), 175:260].max()) - 40


def test_a_trial_keeps_no_answers() -> None:
    sam3 = Sam3Config(backend=SegmindConfig())
    for config in (sam3, RecursiveConfig(inner=sam3), TiledConfig(inner=sam3)):
        inner = innermost(without_kept_answers(config))
        assert isinstance(inner, Sam3Config)
        assert not inner.cache.enabled

import asyncio
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from segpipe.detection import Detection, PassStats, SegmentationResult, Thresholds
from segpipe.errors import ConfigError, MissingMaskError, SegmenterError
from segpipe.prompt import Exemplar, Mode, Prompt
from segpipe.segmenters.classical import ClassicalSegmenter
from segpipe.segmenters.each_text import EachText
from segpipe.segmenters.recursive import RecursiveSegmenter
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask, intersection_area

GREY = (128, 128, 128)
INSIDE_A_BOX = Prompt(mode=Mode.INSIDE_BOX, boxes=(Box(0, 0, 20, 20),))


class Finder(Segmenter):
    """Finds the connected blobs of what a rule picks, and remembers the pictures it saw."""

    id = "finder"
    concurrency = 2

    def __init__(self, pick: Callable[[NDArray[np.uint8]], NDArray[np.bool_]]) -> None:
        self.pick = pick
        self.pictures: list[RgbImage] = []

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        self.pictures.append(image)
        _, labels = cv2.connectedComponents(self.pick(image.max(axis=2)).astype(np.uint8))
        masks = [Mask.from_full(labels == label) for label in range(1, int(labels.max()) + 1)]
        return result_of(
            self.id, image, [Detection(box_of(mask), 0.9, mask=mask) for mask in masks]
        )

    async def aclose(self) -> None:
        pass


class Scripted(Segmenter):
    """Gives prepared answers, one a pass; an error among them is raised."""

    id = "scripted"
    concurrency = 2

    def __init__(self, *answers: Sequence[Detection] | Exception) -> None:
        self.answers = list(answers)

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return result_of(self.id, image, answer)

    async def aclose(self) -> None:
        pass


def result_of(
    segmenter: str, image: RgbImage, detections: Sequence[Detection]
) -> SegmentationResult:
    height, width, _ = image.shape
    stats = (PassStats(len(detections), len(detections), 0.0),)
    return SegmentationResult(tuple(detections), width, height, segmenter, 0.0, stats)


def box_of(mask: Mask) -> Box:
    return mask.box or Box(0, 0, 1, 1)


def brightest(light: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Items dazzle: only the brightest ones are seen, and nothing below 150."""
    return np.asarray((light == light.max()) & (light > 150), np.bool_)


def anything_light(light: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return light > 60


def outlines(light: NDArray[np.uint8]) -> NDArray[np.bool_]:
    edges = cv2.morphologyEx(light, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.asarray(edges > 30, np.bool_)


def scene(*items: tuple[Box, int]) -> RgbImage:
    image = np.zeros((60, 80, 3), np.uint8)
    for box, brightness in items:
        x1, y1, x2, y2 = map(int, box)
        image[y1:y2, x1:x2] = brightness
    return image


def detection(box: Box) -> Detection:
    return Detection(box, 0.9, mask=Mask.from_box(box, image_width=80, image_height=60))


def segment(
    segmenter: Segmenter, image: RgbImage | None = None, prompt: Prompt | None = None
) -> SegmentationResult:
    image = scene() if image is None else image
    return asyncio.run(segmenter.segment(image, prompt or Prompt()))


FIRST, SECOND, THIRD = Box(5, 5, 15, 15), Box(40, 5, 50, 20), Box(20, 40, 35, 50)
DAZZLING = scene((FIRST, 250), (SECOND, 220), (THIRD, 190))


def test_later_passes_find_what_earlier_finds_outshone() -> None:
    result = segment(RecursiveSegmenter(Finder(brightest), max_passes=3), DAZZLING)
    assert [(one.box, one.pass_index) for one in result.detections] == [
        (FIRST, 0),
        (SECOND, 1),
        (THIRD, 2),
    ]
    assert [(stats.found, stats.new) for stats in result.pass_stats] == [(1, 1)] * 3


def test_passes_stop_at_the_most_allowed() -> None:
    result = segment(RecursiveSegmenter(Finder(brightest), max_passes=2), DAZZLING)
    assert len(result.detections) == 2
    assert [stats.stopped for stats in result.pass_stats] == [None, "2 passes, the most allowed"]


def test_passes_stop_when_too_little_is_new() -> None:
    result = segment(RecursiveSegmenter(Finder(brightest), max_passes=9), DAZZLING)
    assert [stats.new for stats in result.pass_stats] == [1, 1, 1, 0]
    assert [stats.stopped for stats in result.pass_stats] == [None] * 3 + ["0 new, fewer than 1"]


def test_a_pass_must_earn_the_next_one() -> None:
    finder = Finder(brightest)
    result = segment(RecursiveSegmenter(finder, max_passes=9, min_new_detections=2), DAZZLING)
    assert len(finder.pictures) == 1
    assert result.pass_stats[0].stopped == "1 new, fewer than 2"


def test_one_pass_is_the_inner_segmenter_alone() -> None:
    finder = Finder(brightest)
    result = segment(RecursiveSegmenter(finder, max_passes=1), DAZZLING)
    assert len(finder.pictures) == len(result.pass_stats) == 1
    assert finder.pictures[0] is DAZZLING


def test_the_image_is_not_changed() -> None:
    image = DAZZLING.copy()
    image.setflags(write=False)
    segment(RecursiveSegmenter(Finder(brightest), max_passes=3), image)
    assert np.array_equal(image, DAZZLING)


def test_later_passes_see_finds_painted_out_with_their_edges() -> None:
    finder = Finder(brightest)
    segment(
        RecursiveSegmenter(finder, max_passes=3, fill_color=(10, 20, 30), fill_dilate_px=2),
        scene((FIRST, 250), (SECOND, 220)),
    )
    first, second, third = finder.pictures
    assert first[5:15, 5:15].min() == 250
    for picture in (second, third):
        assert (picture[5:15, 5:15] == (10, 20, 30)).all()
        assert (picture[8, 3:17] == (10, 20, 30)).all()
        assert (picture[8, [2, 17]] == 0).all()
    assert second[5:20, 40:50].min() == 220
    assert (third[5:20, 40:50] == (10, 20, 30)).all()


def test_only_the_mask_is_painted_not_its_box() -> None:
    corner = scene()
    cv2.fillPoly(corner, [np.array([[10, 10], [40, 10], [10, 40]])], (255, 255, 255))
    finder = Finder(brightest)
    segment(RecursiveSegmenter(finder, fill_dilate_px=0), corner)
    painted = finder.pictures[1]
    assert (painted[corner[..., 0] > 0] == GREY).all()
    assert (painted[corner[..., 0] == 0] == 0).all()


@pytest.mark.parametrize("dilate_px", [0, 3])
def test_the_paint_itself_buys_no_pass(dilate_px: int) -> None:
    segmenter = RecursiveSegmenter(Finder(anything_light), max_passes=9, fill_dilate_px=dilate_px)
    result = segment(segmenter, scene((FIRST, 250), (SECOND, 220)))
    assert [(stats.found, stats.new) for stats in result.pass_stats] == [(2, 2), (2, 0)]


def test_outlines_of_the_paint_buy_no_pass() -> None:
    result = segment(RecursiveSegmenter(Finder(outlines), max_passes=9), scene((SECOND, 250)))
    assert result.pass_stats[1].found > 0
    assert [stats.new for stats in result.pass_stats] == [1, 0]


def test_paint_of_two_items_that_runs_together_buys_no_pass() -> None:
    neighbours = scene((Box(10, 10, 20, 20), 250), (Box(24, 10, 34, 20), 250))
    result = segment(RecursiveSegmenter(Finder(anything_light), max_passes=9), neighbours)
    assert [(stats.found, stats.new) for stats in result.pass_stats] == [(2, 2), (1, 0)]


def test_a_trace_names_what_was_painted_out() -> None:
    segmenter = RecursiveSegmenter(Finder(anything_light), max_passes=9)
    result = segment(segmenter, scene((FIRST, 250), (SECOND, 220)))
    assert [(one.pass_index, one.trace_of) for one in result.detections] == [
        (0, None),
        (0, None),
        (1, 0),
        (1, 1),
    ]
    rings = segment(RecursiveSegmenter(Finder(outlines), max_passes=2), scene((SECOND, 250)))
    assert {one.trace_of for one in rings.detections[1:]} == {0}


def test_traces_name_their_item_through_every_wrapper() -> None:
    image = scene((FIRST, 250), (SECOND, 220), (THIRD, 40))
    inner = RecursiveSegmenter(Finder(anything_light), max_passes=2, fill_dilate_px=2)
    result = segment(EachText(RecursiveSegmenter(inner), ["cup", "lid"]), image)
    found = result.detections
    for one in found:
        if one.trace_of is not None:
            painted = found[one.trace_of]
            assert painted.trace_of is None
            assert one.label == painted.label
            assert one.mask
            assert painted.mask
            assert intersection_area(one.mask, painted.mask) == painted.mask.area
    assert sum(one.trace_of is None for one in found) == 4


def test_what_is_found_again_stays_among_the_detections_but_is_not_new() -> None:
    scripted = Scripted([detection(FIRST)], [detection(FIRST), detection(SECOND)], [])
    result = segment(RecursiveSegmenter(scripted, max_passes=3))
    assert [(one.box, one.pass_index) for one in result.detections] == [
        (FIRST, 0),
        (FIRST, 1),
        (SECOND, 1),
    ]
    assert [stats.new for stats in result.pass_stats] == [1, 1, 0]


def test_finds_of_every_earlier_pass_are_known() -> None:
    scripted = Scripted([detection(FIRST)], [detection(SECOND)], [detection(FIRST)])
    result = segment(RecursiveSegmenter(scripted, max_passes=9))
    assert [stats.new for stats in result.pass_stats] == [1, 1, 0]


@pytest.mark.parametrize(
    ("again", "thresholds", "new"),
    [
        (Box(5, 5, 15, 25), {"iou_threshold": 0.4}, 0),
        (Box(5, 5, 15, 25), {"iou_threshold": 0.5}, 1),
        (Box(5, 8, 25, 20), {"containment_threshold": 0.6}, 0),
        (Box(5, 8, 25, 20), {"containment_threshold": 0.7}, 1),
    ],
)
def test_new_is_what_exceeds_no_threshold(
    again: Box, thresholds: dict[str, float], new: int
) -> None:
    scripted = Scripted([detection(FIRST)], [detection(again)])
    segmenter = RecursiveSegmenter(
        scripted,
        fill_dilate_px=0,
        iou_threshold=thresholds.get("iou_threshold", 1.0),
        containment_threshold=thresholds.get("containment_threshold", 1.0),
    )
    assert segment(segmenter).pass_stats[1].new == new


def test_an_empty_mask_buys_no_pass() -> None:
    nothing = Detection(FIRST, 0.9, mask=Mask.empty(image_width=80, image_height=60))
    result = segment(RecursiveSegmenter(Scripted([nothing]), max_passes=9))
    assert len(result.detections) == 1
    assert [(stats.found, stats.new) for stats in result.pass_stats] == [(1, 0)]


@pytest.mark.parametrize("failing_pass", [0, 1])
def test_a_detection_without_a_mask_is_refused_in_any_pass(failing_pass: int) -> None:
    answers = [[detection(FIRST)], [detection(SECOND)]]
    answers[failing_pass] = [detection(THIRD), Detection(SECOND, 0.5)]
    with pytest.raises(MissingMaskError, match="detection 1"):
        segment(RecursiveSegmenter(Scripted(*answers)))


def test_a_mask_of_another_image_is_refused() -> None:
    other = Detection(FIRST, 0.9, mask=Mask.empty(image_width=60, image_height=80))
    with pytest.raises(SegmenterError, match="60 x 80"):
        segment(RecursiveSegmenter(Scripted([other])))


@pytest.mark.parametrize("failing_pass", [0, 1])
def test_a_pass_that_fails_fails_the_whole_segmentation(failing_pass: int) -> None:
    answers: list[Sequence[Detection] | Exception] = [[detection(FIRST)]] * failing_pass
    with pytest.raises(SegmenterError, match="out of memory"):
        segment(RecursiveSegmenter(Scripted(*answers, SegmenterError("out of memory"))))


def test_a_prompt_of_boxes_is_answered_in_one_pass() -> None:
    scripted = Scripted([detection(FIRST), Detection(SECOND, 0.5)])
    result = segment(RecursiveSegmenter(scripted, max_passes=9), prompt=INSIDE_A_BOX)
    assert [one.box for one in result.detections] == [FIRST, SECOND]
    assert len(result.pass_stats) == 1
    assert result.segmenter_id == "recursive(scripted)"


def exemplars(*boxes: Box) -> Prompt:
    return Prompt(exemplars=tuple(Exemplar(box, box is not THIRD) for box in boxes))


@pytest.mark.parametrize(
    "drawn",
    [FIRST, Box(2, 2, 18, 18), Box(7, 7, 13, 13), Box(5.5, 5.5, 14.5, 14.5)],
    ids=["exactly", "loosely", "tightly", "between pixels"],
)
def test_what_an_exemplar_shows_is_never_painted_out(drawn: Box) -> None:
    finder = Finder(anything_light)
    result = segment(RecursiveSegmenter(finder, max_passes=9), DAZZLING, exemplars(drawn, THIRD))
    _, second = finder.pictures
    assert (second[:25, :25] == DAZZLING[:25, :25]).all()
    assert (second[35:, :45] == DAZZLING[35:, :45]).all()
    assert (second[5:20, 40:50] == GREY).all()
    assert [stats.new for stats in result.pass_stats] == [3, 0]


def test_paint_of_a_neighbour_does_not_reach_into_an_exemplar_box() -> None:
    image = scene((Box(10, 10, 20, 20), 250), (Box(23, 10, 40, 20), 250))
    finder = Finder(anything_light)
    segment(RecursiveSegmenter(finder, fill_dilate_px=5), image, exemplars(Box(9, 9, 21, 21)))
    _, second = finder.pictures
    assert (second[9:21, 9:21] == image[9:21, 9:21]).all()
    assert (second[10:20, 21:40] == GREY).all()


def test_what_is_found_in_an_exemplar_box_is_no_trace_of_the_paint_beside_it() -> None:
    beside, within = detection(Box(10, 10, 20, 20)), detection(Box(21, 10, 27, 20))
    segmenter = RecursiveSegmenter(Scripted([beside], [within]), fill_dilate_px=5)
    result = segment(segmenter, prompt=exemplars(Box(21, 10, 31, 20)))
    assert [stats.new for stats in result.pass_stats] == [1, 1]


def test_what_holds_an_exemplar_among_others_is_not_painted_out_either() -> None:
    image = scene((Box(10, 10, 60, 50), 250))
    finder = Finder(anything_light)
    segment(RecursiveSegmenter(finder), image, exemplars(Box(15, 15, 25, 25)))
    assert (finder.pictures[1] == image).all()


def test_an_exemplar_outside_the_image_protects_nothing() -> None:
    finder = Finder(anything_light)
    segment(RecursiveSegmenter(finder), DAZZLING, exemplars(Box(200, 5, 210, 15)))
    assert (finder.pictures[1] == GREY).any()


def test_exemplars_keep_their_look_from_pass_to_pass() -> None:
    """The second pass finds the same kind again: its example is no grey blot."""
    image = np.full((240, 320, 3), (200, 195, 190), np.uint8)
    for x, colour in ((60, (170, 40, 50)), (160, (170, 40, 50)), (260, GREY)):
        cv2.circle(image, (x, 120), 30, colour, cv2.FILLED)
    example = Box(30, 90, 91, 151)
    segmenter = RecursiveSegmenter(ClassicalSegmenter(), max_passes=3)
    result = segment(segmenter, image, Prompt(exemplars=(Exemplar(example),)))
    assert [(round(one.box.x1, -1), one.pass_index) for one in result.detections] == [
        (30, 0),
        (130, 0),
        (30, 1),
    ]
    assert [stats.new for stats in result.pass_stats] == [2, 0]


def test_nothing_found_is_a_result() -> None:
    result = segment(RecursiveSegmenter(Finder(brightest)))
    assert result.detections == ()
    assert (result.image_width, result.image_height) == (80, 60)
    assert [stats.found for stats in result.pass_stats] == [0]


def test_ids_compose() -> None:
    segmenter = RecursiveSegmenter(RecursiveSegmenter(Finder(brightest)))
    assert segmenter.id == "recursive(recursive(finder))"
    assert segment(segmenter).segmenter_id == segmenter.id


def test_segmentations_under_way_at_once_do_not_mix() -> None:
    segmenter = RecursiveSegmenter(Finder(brightest), max_passes=3)
    scenes = [scene((box, 250)) for box in (FIRST, SECOND, THIRD)]

    async def all_at_once() -> list[SegmentationResult]:
        return await asyncio.gather(*(segmenter.segment(image, Prompt()) for image in scenes))

    found = [[one.box for one in result.detections] for result in asyncio.run(all_at_once())]
    assert found == [[FIRST], [SECOND], [THIRD]]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: RecursiveSegmenter(Scripted(), max_passes=0), "max_passes"),
        (lambda: RecursiveSegmenter(Scripted(), min_new_detections=0), "min_new_detections"),
        (lambda: RecursiveSegmenter(Scripted(), fill_color=(0, 0, 256)), "fill_color"),
        (lambda: RecursiveSegmenter(Scripted(), fill_color=(0, 0, -1)), "fill_color"),
        (lambda: RecursiveSegmenter(Scripted(), fill_dilate_px=-1), "fill_dilate_px"),
        (lambda: RecursiveSegmenter(Scripted(), iou_threshold=1.5), "iou_threshold"),
        (
            lambda: RecursiveSegmenter(Scripted(), containment_threshold=float("nan")),
            "containment_threshold",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused(make: Callable[[], object], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.field == field

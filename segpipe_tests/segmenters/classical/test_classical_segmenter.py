import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from segpipe.detection import Detection
from segpipe.errors import SegmenterError, UnsupportedPromptError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.scenes import Scene, make_scene
from segpipe.segmenters.classical import ClassicalConfig, ClassicalSegmenter
from segpipe.vision.boxes import Box
from segpipe_tests.segmenters.classical.pictures import RED, disc, find_all, table

A_BOX = Box(10, 10, 60, 60)


@pytest.fixture(scope="module")
def scene() -> Scene:
    scene = make_scene(12, width=400, height=300)
    scene.image.setflags(write=False)
    return scene


def prompts(scene: Scene) -> tuple[Prompt, Prompt, Prompt]:
    exemplars = tuple(Exemplar(box, index < 2) for index, box in enumerate(scene.boxes[:3]))
    return (
        Prompt(),
        Prompt(mode=Mode.INSIDE_BOX, boxes=scene.boxes),
        Prompt(exemplars=exemplars),
    )


def as_bytes(detections: Sequence[Detection]) -> list[tuple[Box, float, bytes]]:
    assert all(d.mask is not None for d in detections)
    return [(d.box, d.score, d.mask.bits.tobytes()) for d in detections if d.mask is not None]


def test_result_describes_the_image_and_the_one_pass(scene: Scene) -> None:
    result = asyncio.run(ClassicalSegmenter().segment(scene.image, Prompt()))

    assert (result.image_width, result.image_height) == (400, 300)
    assert result.segmenter_id == ClassicalSegmenter().id == "classical"
    assert result.elapsed_ms > 0
    (only_pass,) = result.pass_stats
    assert only_pass.found == only_pass.new == len(result.detections) > 0


@pytest.mark.parametrize("index", [0, 1, 2], ids=["find_all", "inside_box", "exemplars"])
def test_every_detection_keeps_the_contract(scene: Scene, index: int) -> None:
    result = asyncio.run(ClassicalSegmenter().segment(scene.image, prompts(scene)[index]))

    for detection in result.detections:
        assert type(detection.score) is float
        assert 0 <= detection.score <= 1
        assert detection.label is None
        assert detection.mask is not None
        assert detection.box == detection.mask.box


@pytest.mark.parametrize("index", [0, 1, 2], ids=["find_all", "inside_box", "exemplars"])
def test_many_calls_at_once_give_the_bytes_of_a_single_one(scene: Scene, index: int) -> None:
    segmenter, prompt = ClassicalSegmenter(), prompts(scene)[index]

    async def all_at_once() -> list[list[tuple[Box, float, bytes]]]:
        results = await asyncio.gather(*(segmenter.segment(scene.image, prompt) for _ in range(3)))
        return [as_bytes(result.detections) for result in results]

    alone = as_bytes(asyncio.run(segmenter.segment(scene.image, prompt)).detections)
    assert all(together == alone for together in asyncio.run(all_at_once()))


@pytest.mark.parametrize("mode", list(Mode))
def test_text_is_refused_with_the_names_of_the_backends_that_read(mode: Mode) -> None:
    prompt = Prompt(
        mode=mode, texts=("blue mug",), boxes=(A_BOX,) if mode is Mode.INSIDE_BOX else ()
    )

    with pytest.raises(UnsupportedPromptError, match=r"cannot read text.*segmind, internal, local"):
        asyncio.run(ClassicalSegmenter().segment(table(), prompt))


def test_empty_text_counts_as_none() -> None:
    result = asyncio.run(ClassicalSegmenter().segment(table(), Prompt(texts=("  ",))))
    assert result.detections == ()


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (Prompt(exemplars=(Exemplar(A_BOX),), points=(Point(1, 2),)), "points"),
        (Prompt(exemplars=(Exemplar(A_BOX),), texts=("mug",)), "text"),
    ],
)
def test_what_cannot_be_followed_together_is_refused(prompt: Prompt, field: str) -> None:
    with pytest.raises(UnsupportedPromptError) as caught:
        asyncio.run(ClassicalSegmenter().segment(table(), prompt))
    assert caught.value.field == field


def test_a_picture_that_is_no_rgb_is_a_segmenter_error() -> None:
    with pytest.raises(SegmenterError, match=r"\(60, 80\)"):
        asyncio.run(ClassicalSegmenter().segment(np.zeros((60, 80), np.uint8), Prompt()))


def test_settings_bound_what_is_found() -> None:
    image = table()
    disc(image, 60, 60, 30)
    disc(image, 200, 60, 20)
    disc(image, 200, 160, 10)
    disc(image, 60, 160, 24, (190, 180, 182))  # nearly the table's own colour
    everything = find_all(image)
    large = find_all(image, ClassicalConfig(min_area_fraction=0.01))
    clear = find_all(image, ClassicalConfig(min_score=0.7))
    best = find_all(image, ClassicalConfig(max_detections=2))

    assert [len(found) for found in (everything, large, clear, best)] == [4, 3, 3, 2]
    assert as_bytes(best) == as_bytes(everything[:2])


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="min_area"):
        ClassicalConfig.model_validate({"kind": "classical", "min_area": 3})


def test_settings_are_documented_and_flat() -> None:
    for name, field in ClassicalConfig.model_fields.items():
        if name != "kind":
            assert field.annotation in (int, float, bool, str), name
            assert field.description, name


def test_red_is_not_blue() -> None:
    """Channels are RGB: the same disc is as far from a red table as red is."""
    image = np.full((120, 160, 3), RED, np.uint8)
    disc(image, 80, 60, 30, RED[::-1])
    assert len(find_all(image)) == 1

"""Several texts are asked for at once where a prompt says nothing."""

import asyncio

import pytest

from segpipe.detection import Detection, PassStats, SegmentationResult, Thresholds, Usage
from segpipe.errors import BackendRefusedError, ConfigError
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.segmenters.each_text import EachText
from segpipe.segmenters.segmenter import Segmenter
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe_tests.goods import goods_image

A_BOX = Box(1, 1, 5, 5)
IMAGE = goods_image(2)


class Lexicon(Segmenter):
    """Finds for each text what it was told; all questions have to be under way at once."""

    id = "lexicon"
    concurrency = 2

    def __init__(self, scores: dict[str | None, list[float]], *, labels: bool = False) -> None:
        self.prompts: list[Prompt] = []
        self.thresholds: list[Thresholds | None] = []
        self.closed = 0
        self._scores = scores
        self._labels = labels
        self._all_here = asyncio.Event()

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        self.prompts.append(prompt)
        self.thresholds.append(thresholds)
        if len(self.prompts) == len(self._scores):
            self._all_here.set()
        await self._all_here.wait()
        label = f"a {prompt.text}" if self._labels else None
        found = tuple(Detection(A_BOX, score, label) for score in self._scores[prompt.text])
        stats = PassStats(len(found), len(found), 1.0, prompt.text)
        usage = Usage(calls=1, cost=0.5)
        notes = ("of all", f"of {prompt.text}")
        height, width, _ = image.shape
        return SegmentationResult(found, width, height, self.id, 1.0, (stats,), usage, notes)

    async def aclose(self) -> None:
        self.closed += 1


def ask(segmenter: EachText, prompt: Prompt) -> SegmentationResult:
    return asyncio.run(segmenter.segment(IMAGE, prompt))


def test_each_text_is_asked_for_and_the_answers_are_one() -> None:
    inner = Lexicon({"cup": [0.9, 0.5], "lid": [0.7, 0.5, 0.4]})
    result = ask(EachText(inner, ["cup", "lid"]), Prompt())

    found = [(one.label, one.score) for one in result.detections]
    assert found == [("cup", 0.9), ("lid", 0.7), ("cup", 0.5), ("lid", 0.5), ("lid", 0.4)]
    assert result.usage == Usage(calls=2, cost=1.0)
    assert result.notes == ("of all", "of cup", "of lid")
    assert [(stats.found, stats.new) for stats in result.pass_stats] == [(5, 5)]
    assert (result.image_width, result.image_height) == (160, 120)
    assert result.segmenter_id == "lexicon"


def test_the_segmenters_own_labels_stay() -> None:
    inner = Lexicon({"cup": [0.9], "lid": [0.7]}, labels=True)
    result = ask(EachText(inner, ["cup", "lid"]), Prompt())
    assert [one.label for one in result.detections] == ["a cup", "a lid"]


def test_nothing_found_for_any_text_is_an_empty_answer() -> None:
    assert ask(EachText(Lexicon({"cup": [], "lid": []}), ["cup", "lid"]), Prompt()).detections == ()


def test_a_text_given_twice_is_asked_for_once() -> None:
    inner = Lexicon({"cup": [0.9]})
    ask(EachText(inner, ["cup", "cup"]), Prompt())
    assert [prompt.text for prompt in inner.prompts] == ["cup"]


def test_the_texts_of_a_prompt_come_before_the_default_ones() -> None:
    inner = Lexicon({"cup": [0.9], "lid": [0.7]})
    examples = (Exemplar(A_BOX, positive=False),)
    result = ask(EachText(inner, ["pan"]), Prompt(texts=("lid", "cup"), exemplars=examples))
    assert [one.label for one in result.detections] == ["cup", "lid"]
    assert inner.prompts == [Prompt(texts=(text,), exemplars=examples) for text in ("lid", "cup")]


def test_without_default_texts_everything_is_asked_for() -> None:
    inner = Lexicon({None: [0.9]})
    ask(EachText(inner), Prompt())
    assert inner.prompts == [Prompt()]


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(texts=("pan",)),
        Prompt(points=(Point(1, 1),)),
        Prompt(exemplars=(Exemplar(A_BOX),)),
        Prompt(mode=Mode.INSIDE_BOX, boxes=(A_BOX,)),
    ],
    ids=repr,
)
def test_a_prompt_that_says_something_goes_through_as_it_is(prompt: Prompt) -> None:
    inner = Lexicon({prompt.text: [0.3]})
    result = ask(EachText(inner, ["cup", "lid"]), prompt)
    assert inner.prompts == [prompt]
    assert result.detections[0].label is None


def test_the_error_of_one_text_is_raised_once_the_others_have_their_answers() -> None:
    answered = []

    class Refusing(Segmenter):
        id = "refusing"
        concurrency = 2

        async def segment(
            self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
        ) -> SegmentationResult:
            if prompt.text == "lid":
                raise BackendRefusedError("no credits")
            await asyncio.sleep(0.01)
            answered.append(prompt.text)
            return SegmentationResult((), 1, 1, self.id, 0.0, ())

        async def aclose(self) -> None: ...

    with pytest.raises(BackendRefusedError, match="no credits"):
        ask(EachText(Refusing(), ["lid", "cup"]), Prompt())
    assert answered == ["cup"]


def test_a_blank_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="text 1 is") as failure:
        EachText(Lexicon({}), ["cup", " "])
    assert failure.value.field == "texts"


def test_it_has_the_id_of_the_inner_one_and_closes_it() -> None:
    inner = Lexicon({})
    segmenter = EachText(inner, ["cup"])
    assert segmenter.id == "lexicon"
    asyncio.run(segmenter.aclose())
    assert inner.closed == 1


def test_the_other_parts_of_a_prompt_are_kept() -> None:
    inner = Lexicon({"cup": []})
    ask(EachText(inner, ["cup"]), Prompt())
    assert inner.prompts == [Prompt(texts=("cup",))]


def test_its_default_texts_are_those_it_looks_for() -> None:
    assert EachText(Lexicon({}), ["cup", "lid", "cup"]).default_texts == ("cup", "lid")
    assert EachText(EachText(Lexicon({}), ["cup"])).default_texts == ("cup",)


def test_thresholds_go_to_the_inner_segmenter_for_each_text() -> None:
    inner = Lexicon({"cup": [], "lid": []})
    strict = Thresholds(score=0.9)
    asyncio.run(EachText(inner, ["cup", "lid"]).segment(IMAGE, Prompt(), strict))
    assert inner.thresholds == [strict, strict]

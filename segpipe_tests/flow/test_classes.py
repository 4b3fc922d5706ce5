"""The class that somebody gives what they draw is that of what is found, and of its export."""

import asyncio
import json
from pathlib import Path

import pytest

from segpipe.flow.deal import DealTask, process_deal
from segpipe.prompt import Mode
from segpipe.store.prompts import Annotation, DealPrompts, ImagePrompts, PromptType, prompts_version
from segpipe_tests.deals import make_deal, make_tools
from segpipe_tests.drawing import FIRST, boxed, draw
from segpipe_tests.flow.exports import export
from segpipe_tests.goods import BrightSegmenter

POSITIVE, NEGATIVE = PromptType.POSITIVE_EXEMPLAR, PromptType.NEGATIVE_EXEMPLAR
NAMELESS = "item"


def example(name: str, category: str | None, kind: PromptType = POSITIVE) -> Annotation:
    drawn = boxed(name, FIRST, mode=Mode.FIND_ALL, prompt_type=kind)
    return drawn.model_copy(update={"category": category})


@pytest.mark.parametrize(
    ("examples", "category"),
    [
        ((example("a", "ring"), example("b", "ring"), example("c", "x", NEGATIVE)), "ring"),
        ((example("a", "ring"), example("b", "coin")), NAMELESS),
        ((example("a", "ring"), example("b", None)), NAMELESS),
        ((example("a", None), example("c", "x", NEGATIVE)), NAMELESS),
    ],
)
def test_what_is_found_by_examples_of_one_class_is_exported_as_that_class(
    tmp_path: Path, examples: tuple[Annotation, ...], category: str
) -> None:
    store = make_deal(tmp_path / "data", "lot", (3,))
    draw(store, "a", *examples)
    asyncio.run(process_deal(store, DealTask("lot", "r1"), make_tools(BrightSegmenter())))
    out = tmp_path / "lot.json"
    export(store, "coco", out)
    coco = json.loads(out.read_text())
    assert [one["name"] for one in coco["categories"]] == [category]
    assert len(coco["annotations"]) == 3


def test_a_class_makes_a_deal_stale_only_where_it_says_something_new() -> None:
    def version(*examples: Annotation) -> str:
        prompts = {"a": ImagePrompts(image="a", annotations=examples)}
        return prompts_version(DealPrompts(), prompts, Mode.FIND_ALL)

    nameless = version(example("a", None), example("b", None))
    assert version(example("a", "ring"), example("b", "coin")) == nameless
    assert version(example("a", "ring"), example("b", "ring")) != nameless

"""The modes beside each other with the real classical segmenter, on a disk and in memory."""

import asyncio
import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from segpipe.errors import DealFailedError, UnsupportedPromptError
from segpipe.flow.deal import DealTask
from segpipe.flow.run_deal import process_in_run, record_finds
from segpipe.flow.stages.coco import COCO_FILE
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.progress import tell_nobody
from segpipe.prompt import Mode
from segpipe.segmenters.classical import ClassicalSegmenter
from segpipe.segmenters.segmenter import Segmenter
from segpipe.store.prompts import PromptType
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.encode import encode_png
from segpipe_tests.deals import make_deal, make_tools, memory_root, todo
from segpipe_tests.drawing import boxed, draw
from segpipe_tests.goods import BrightSegmenter
from segpipe_tests.segmenters.classical.pictures import BLUE, RED, disc, table

# What pycocotools' decode says of numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FIND_ALL, INSIDE_BOX = Mode.FIND_ALL, Mode.INSIDE_BOX
RADIUS = 20
REDS, BLUES = ((50, 60), (150, 60), (250, 60)), ((50, 170), (150, 170))


def around(x: int, y: int) -> Box:
    return Box(*map(float, (x - RADIUS - 3, y - RADIUS - 3, x + RADIUS + 4, y + RADIUS + 4)))


def discs() -> bytes:
    """Three red discs and two blue ones."""
    image = table()
    for colour, places in ((RED, REDS), (BLUE, BLUES)):
        for x, y in places:
            disc(image, x, y, RADIUS, colour)
    return encode_png(image)


def on_disk(folder: Path) -> DealStore:
    return DealStore(folder)


def in_memory(folder: Path) -> DealStore:
    return DealStore(memory_root())


Open = Callable[[Path], DealStore]
EVERYWHERE = pytest.mark.parametrize("where", [on_disk, in_memory])


def fill(store: DealStore) -> DealStore:
    store.root.storage().replace("deals/lot/images/a.png", discs())
    return store


def run(
    store: DealStore,
    mode: Mode,
    run_id: str,
    *,
    stages: frozenset[str] = STAGES.names,
    segmenter: Segmenter | None = None,
) -> None:
    tools = make_tools(segmenter or ClassicalSegmenter())
    task = DealTask("lot", run_id, mode=mode, stages=stages)
    outcome = asyncio.run(process_in_run(store, task, tools, tell_nobody))
    assert outcome
    record_finds(store, outcome, tools, tell_nobody)


def found(store: DealStore, mode: Mode) -> set[tuple[int, int]]:
    """The places of the items in the COCO asset, as pycocotools reads their pixels."""
    snapshot = store.current("lot", mode)
    assert snapshot
    coco = COCO()
    coco.dataset = json.loads(snapshot.read("coco", COCO_FILE))
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    masks = [coco.annToMask(annotation) for annotation in coco.dataset["annotations"]]
    middles = [np.argwhere(mask).mean(axis=0)[::-1].round(-1).astype(int) for mask in masks]
    return {(int(x), int(y)) for x, y in middles}


@EVERYWHERE
def test_each_mode_gives_what_it_was_asked_for(tmp_path: Path, where: Open) -> None:
    store = fill(where(tmp_path))
    like, unlike = PromptType.POSITIVE_EXEMPLAR, PromptType.NEGATIVE_EXEMPLAR
    draw(
        store,
        "a",
        boxed("red", around(*REDS[0]), mode=FIND_ALL, prompt_type=like),
        boxed("blue", around(*BLUES[0]), mode=FIND_ALL, prompt_type=unlike),
        boxed("this", around(*BLUES[1])),
        boxed("nothing", Box(220.0, 150.0, 260.0, 190.0)),
    )
    run(store, FIND_ALL, "run-1")
    run(store, INSIDE_BOX, "run-2")
    assert found(store, FIND_ALL) == set(REDS)
    assert found(store, INSIDE_BOX) == {BLUES[1]}
    assert [todo(store, mode).stages for mode in Mode] == [frozenset()] * 2
    assert not list(store.verify())


@EVERYWHERE
def test_segmentation_alone_and_then_the_rest_is_the_same_as_all_at_once(
    tmp_path: Path, where: Open
) -> None:
    store = fill(where(tmp_path))
    draw(store, "a", boxed("this", around(*BLUES[1])))
    first = frozenset({"segmentation"})
    for mode, expected in ((FIND_ALL, {*REDS, *BLUES}), (INSIDE_BOX, {BLUES[1]})):
        run(store, mode, "run-1", stages=first)
        assert todo(store, mode).stages == STAGES.names - first
        run(store, mode, "run-2", stages=STAGES.names - first)
        assert todo(store, mode).stages == frozenset()
        assert found(store, mode) == expected


def test_a_text_for_a_segmenter_that_reads_none_names_deal_and_photo(tmp_path: Path) -> None:
    store = fill(on_disk(tmp_path))
    store.prompts.edit_deal("lot", lambda own: own.model_copy(update={"text": "ring"}))
    with pytest.raises(DealFailedError) as failure:
        run(store, FIND_ALL, "run-1")
    (error,) = failure.value.errors
    assert isinstance(error, UnsupportedPromptError)
    assert (error.deal, error.image, error.field) == ("lot", "a.png", "text")


@pytest.mark.parametrize(("mine", "other"), [(FIND_ALL, INSIDE_BOX), (INSIDE_BOX, FIND_ALL)])
def test_running_a_mode_touches_no_file_of_the_other(
    tmp_path: Path, mine: Mode, other: Mode
) -> None:
    """Neither when it succeeds nor when it fails."""
    store = fill(on_disk(tmp_path))
    draw(store, "a", boxed("this", around(*BLUES[1])))
    run(store, other, "run-1")
    drawn = store.prompts.of_image("lot", "a").counted(other)

    def files() -> dict[str, tuple[bytes, int]]:
        of_other = [path for path in tmp_path.rglob("*") if path.is_file() and other in str(path)]
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in of_other}

    before = files()
    run(store, mine, "run-2")
    draw(store, "a", boxed("far", Box(0.0, 0.0, 999.0, 9.0), mode=mine, prompt_type=_asks(mine)))
    with pytest.raises(DealFailedError, match="'far'"):
        run(store, mine, "run-3")

    assert before
    assert files() == before
    assert store.prompts.of_image("lot", "a").counted(other) == drawn
    assert todo(store, other).stages == frozenset()


def _asks(mode: Mode) -> PromptType:
    return PromptType.SEGMENT if mode is INSIDE_BOX else PromptType.POSITIVE_EXEMPLAR


def test_what_somebody_draws_during_a_run_and_what_it_finds_are_both_kept(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))

    class Meddling(BrightSegmenter):
        async def segment(self, image, prompt, thresholds=None):  # type: ignore[no-untyped-def]
            draw(store, "a", boxed("late", Box(0.0, 0.0, 9.0, 9.0)))
            return await super().segment(image, prompt)

    run(store, FIND_ALL, "run-1", segmenter=Meddling())
    late, *finds = store.prompts.of_image("lot", "a").annotations
    assert late.id == "late"
    assert [one.created_by for one in finds] == ["run-1"] * 2

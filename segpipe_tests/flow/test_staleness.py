"""Which stages are made anew, and which are left alone."""

import asyncio
import os
from pathlib import Path

import pytest

from segpipe.errors import DealFailedError, EmptyDealError
from segpipe.flow.batch import process_in_run
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.progress import NoProgress
from segpipe.flow.settings import CropSettings, DedupSettings, FlowSettings, ReportSettings
from segpipe.flow.stages import ALL_STAGES, CODE_VERSIONS, Stage, with_downstream
from segpipe.flow.staleness import is_unfinished, stale_stages
from segpipe.flow.tools import Tools
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.deals import make_deal, make_tools, put_photos
from segpipe_tests.goods import BrightSegmenter, goods_photo

FIND_ALL = Mode.FIND_ALL


def tools(settings: FlowSettings | None = None) -> Tools:
    return make_tools(BrightSegmenter(), settings)


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    store = make_deal(tmp_path, "lot")
    asyncio.run(process_deal(store, DealTask("lot", "run-1"), tools()))
    return store


def test_nothing_is_stale_right_after_a_run(store: DealStore) -> None:
    assert stale_stages(store, "lot", FIND_ALL, tools()) == frozenset()
    assert not is_unfinished(store, "lot", FIND_ALL)


def test_everything_is_stale_before_the_first_run(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    assert stale_stages(store, "lot", FIND_ALL) == ALL_STAGES
    assert is_unfinished(store, "lot", FIND_ALL)


@pytest.mark.parametrize(
    ("settings", "stage"),
    [
        (FlowSettings(dedup=DedupSettings(iou_threshold=0.9)), Stage.DEDUP),
        (FlowSettings(crops=CropSettings(padding_px=1)), Stage.CROPS),
        (FlowSettings(report=ReportSettings(columns=2)), Stage.DEAL_REPORT),
    ],
)
def test_other_settings_make_their_stage_and_what_follows_stale(
    store: DealStore, settings: FlowSettings, stage: Stage
) -> None:
    assert stale_stages(store, "lot", FIND_ALL, tools(settings)) == with_downstream({stage})


def test_another_segmenter_makes_everything_stale(store: DealStore) -> None:
    other = make_tools(BrightSegmenter())
    other.segmenter_settings["threshold"] = 5
    assert stale_stages(store, "lot", FIND_ALL, other) == ALL_STAGES


def test_other_code_makes_its_stage_stale(
    store: DealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CODE_VERSIONS, Stage.REFINEMENT, "next")
    stale = stale_stages(store, "lot", FIND_ALL, tools())
    assert stale == with_downstream({Stage.REFINEMENT})


def test_photos_that_were_only_touched_are_the_same(store: DealStore, tmp_path: Path) -> None:
    os.utime(tmp_path / "deals" / "lot" / "images" / "a.png")
    assert stale_stages(store, "lot", FIND_ALL) == frozenset()


def test_changed_photos_make_everything_stale(store: DealStore, tmp_path: Path) -> None:
    put_photos(tmp_path, "lot", {"a.png": goods_photo(5)})
    assert stale_stages(store, "lot", FIND_ALL) == ALL_STAGES


def test_rolling_back_one_asset_makes_what_follows_stale(store: DealStore) -> None:
    asyncio.run(process_deal(store, DealTask("lot", "run-2"), tools()))
    store.rollback("lot", FIND_ALL, Stage.DEDUP, "run-1")
    # dedup of run-1 was made from the segmentation of run-1.
    assert stale_stages(store, "lot", FIND_ALL) == with_downstream({Stage.DEDUP})


def test_a_deal_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    put_photos(tmp_path, "lot", {})
    with pytest.raises(EmptyDealError):
        stale_stages(DealStore(tmp_path), "lot", FIND_ALL)


def test_a_deal_known_to_be_bad_is_finished_until_its_photos_change(tmp_path: Path) -> None:
    put_photos(tmp_path, "lot", {"x.jpg": b"text"})
    store = DealStore(tmp_path)
    assert is_unfinished(store, "lot", FIND_ALL)
    with pytest.raises(DealFailedError):
        asyncio.run(process_in_run(store, DealTask("lot", "run-1"), tools(), NoProgress()))
    assert not is_unfinished(store, "lot", FIND_ALL)
    put_photos(tmp_path, "lot", {"x.jpg": goods_photo(1)})
    assert is_unfinished(store, "lot", FIND_ALL)


def test_a_deal_whose_failure_was_not_its_photos_stays_unfinished(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    crops_alone = DealTask("lot", "run-1", stages=frozenset({Stage.CROPS}))
    with pytest.raises(DealFailedError, match="must be made first"):
        asyncio.run(process_in_run(store, crops_alone, tools(), NoProgress()))
    assert is_unfinished(store, "lot", FIND_ALL)


def test_what_somebody_rolled_back_to_is_finished_until_the_photos_change(
    store: DealStore, tmp_path: Path
) -> None:
    asyncio.run(process_deal(store, DealTask("lot", "run-2"), tools()))
    store.rollback("lot", FIND_ALL, Stage.CROPS, "run-1")
    assert not is_unfinished(store, "lot", FIND_ALL)
    put_photos(tmp_path, "lot", {"a.png": goods_photo(5)})
    assert is_unfinished(store, "lot", FIND_ALL)


def test_what_was_rolled_back_to_from_other_prompts_is_finished_until_those_change(
    store: DealStore,
) -> None:
    def say(text: str) -> None:
        store.prompts.edit_deal("lot", lambda own: own.model_copy(update={"text": text}))

    say("ring")
    asyncio.run(process_deal(store, DealTask("lot", "run-2"), tools()))
    for stage in Stage:
        store.rollback("lot", FIND_ALL, stage, "run-1")
    assert stale_stages(store, "lot", FIND_ALL) == ALL_STAGES
    assert not is_unfinished(store, "lot", FIND_ALL)
    say("coin")
    assert is_unfinished(store, "lot", FIND_ALL)


def test_a_deal_that_is_not_there_is_not_made_by_its_failure(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    with pytest.raises(DealFailedError, match="no such deal"):
        asyncio.run(process_in_run(store, DealTask("gone", "run-1"), tools(), NoProgress()))
    assert store.deals() == ["lot"]

"""What find_all found among the prompts: whatever happens between a run and its records."""

import asyncio
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segpipe.errors import DealFailedError, FindsNotRecordedError, PromptConflictError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.deal_state import State
from segpipe.flow.finds import write_finds_after_rollback
from segpipe.flow.removed_finds import bring_back_finds, remove_finds
from segpipe.flow.run_deal import process_in_run, record_finds
from segpipe.flow.saved_settings import SavedSettings, save
from segpipe.flow.setting_fields import with_texts
from segpipe.progress import tell_nobody
from segpipe.prompt import Mode
from segpipe.store.prompts import Annotation, ImagePrompts, Source
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask
from segpipe_tests.deals import make_deal, make_tools, put_photos, todo
from segpipe_tests.drawing import FIRST, boxed, draw
from segpipe_tests.goods import BrightSegmenter, goods_photo
from segpipe_tests.reviews import edit

FIND_ALL, INSIDE_BOX = Mode.FIND_ALL, Mode.INSIDE_BOX


def run(
    store: DealStore,
    run_id: str = "run-1",
    mode: Mode = FIND_ALL,
    *,
    attempt: int = 0,
    skip_up_to_date: bool = False,
    segmenter: BrightSegmenter | None = None,
) -> int:
    """Do what a run does with a deal; the generation."""
    tools = make_tools(segmenter or BrightSegmenter())
    task = DealTask("lot", run_id, attempt, mode, skip_up_to_date=skip_up_to_date)
    outcome = asyncio.run(process_in_run(store, task, tools, tell_nobody))
    assert outcome
    record_finds(store, outcome, tools, tell_nobody)
    return outcome.promotion.commit.generation


def annotations(store: DealStore, image: str = "a") -> list[Annotation]:
    return list(store.prompts.of_image("lot", image).annotations)


def runs(store: DealStore, image: str = "a") -> list[str]:
    return [one.created_by for one in annotations(store, image)]


@contextmanager
def read_only_prompts() -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segpipe.store.disk.Disk.lock", refuse)
        yield


def test_records_of_a_photo_that_was_removed_are_no_fault_and_go(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2, 3))
    run(store)
    (tmp_path / "deals" / "lot" / "images" / "b.png").unlink()
    run(store, "run-2")
    assert runs(store) == ["run-2"] * 2
    assert annotations(store, "b") == []


def test_what_the_other_mode_is_asked_in_a_removed_photo_is_no_fault(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2, 3))
    draw(store, "b", boxed("one", FIRST))
    (tmp_path / "deals" / "lot" / "images" / "b.png").unlink()
    run(store)
    with pytest.raises(Exception, match="prompts for 'b', but no such photo"):
        run(store, mode=INSIDE_BOX)


def test_a_rerun_that_finds_nothing_leaves_no_records(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    run(store)
    put_photos(tmp_path, "lot", {"a.png": goods_photo(0)})
    run(store, "run-2")
    assert annotations(store) == []


@pytest.mark.parametrize("run_id", ["läuf eins", "r" * 120, "a b"])
def test_runs_may_have_any_name(tmp_path: Path, run_id: str) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    run(store, run_id)
    assert runs(store) == [run_id] * 2


def test_runs_whose_names_begin_alike_lose_no_find(tmp_path: Path) -> None:
    """A user moved a find to another place; the next run finds the item anew."""
    store = make_deal(tmp_path, "lot", items=(2,))
    run(store, "nightly-1")

    def move(prompts: ImagePrompts) -> ImagePrompts:
        first, second = prompts.annotations
        place = {"box": (100.0, 80.0, 120.0, 100.0), "source": Source.USER}
        return prompts.model_copy(update={"annotations": (first.model_copy(update=place), second)})

    store.prompts.edit_image("lot", "a", move)
    run(store, "nightly-2")
    assert runs(store) == ["nightly-1", "nightly-2", "nightly-2"]


def test_a_photo_that_can_have_no_prompts_keeps_no_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_photos(tmp_path, "lot", {"_deal.png": goods_photo(2), "a.png": goods_photo(1)})
    store = DealStore(tmp_path)
    run(store)
    assert runs(store) == ["run-1"]
    assert "'_deal'" in caplog.text


def test_a_late_retry_records_what_is_current_not_what_it_made(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    task, tools = DealTask("lot", "run-1"), make_tools(BrightSegmenter())
    asyncio.run(process_deal(store, task, tools))  # killed before it recorded anything
    run(store, "run-2")
    assert run(store, "run-1", attempt=1) == 1
    assert runs(store) == ["run-2"] * 2


def test_a_run_that_promotes_while_another_records_has_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_deal(tmp_path, "lot", items=(2, 2))
    late = ["run-2"]
    edit = store.prompts.edit_image

    def edit_image(deal, image, change):  # type: ignore[no-untyped-def]
        if image == "b" and late:
            run(store, late.pop())
        return edit(deal, image, change)

    monkeypatch.setattr(store.prompts, "edit_image", edit_image)
    run(store)
    assert runs(store) + runs(store, "b") == ["run-2"] * 4


def test_finds_that_cannot_be_written_leave_the_results_and_are_made_up_for(
    tmp_path: Path,
) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    with read_only_prompts(), pytest.raises(FindsNotRecordedError) as failure:
        run(store)
    assert "its results are promoted" in str(failure.value)
    assert "read-only" in str(failure.value)
    assert todo(store).stages == frozenset()
    on_record = store.last_failure("lot", FIND_ALL)
    assert on_record
    assert on_record.retryable
    assert "its results are promoted" in on_record.errors[0].message
    assert todo(store).needs_run
    with read_only_prompts(), pytest.raises(FindsNotRecordedError):
        run(store, "run-late", skip_up_to_date=True)
    assert todo(store).needs_run

    segmenter = BrightSegmenter()
    assert run(store, "run-2", skip_up_to_date=True, segmenter=segmenter) == 1

    assert segmenter.calls == 0
    assert runs(store) == ["run-1"] * 2
    assert store.last_failure("lot", FIND_ALL) is None
    assert not todo(store).needs_run


def test_a_prompts_file_broken_during_the_run_is_named_until_it_is_mended(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    file = tmp_path / "deals" / "lot" / "prompts" / "a.json"

    class Meddling(BrightSegmenter):
        async def segment(self, image, prompt, thresholds=None):  # type: ignore[no-untyped-def]
            file.parent.mkdir()
            file.write_text("{")
            return await super().segment(image, prompt)

    with pytest.raises(FindsNotRecordedError, match=r"prompts/a\.json"):
        run(store, segmenter=Meddling())
    assert not todo(store).needs_run
    file.write_text('{"image": "a"}')
    assert todo(store).needs_run
    run(store, "run-2", skip_up_to_date=True)
    assert runs(store) == ["run-1"] * 2


def test_a_retry_tells_of_a_damaged_deal_by_its_name(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    run(store)
    for manifest in tmp_path.glob("deals/lot/runs/*/find_all/*/manifest.json"):
        manifest.unlink()
    with pytest.raises(DealFailedError, match="'lot'"):
        run(store, attempt=1)


def test_after_a_rollback_the_records_are_of_what_is_current(tmp_path: Path) -> None:
    """Also where what was current found nothing, or was never refined."""
    store = make_deal(tmp_path, "lot", items=(2,))
    early = DealTask("lot", "run-0", stages=frozenset({"segmentation", "dedup"}))
    asyncio.run(process_deal(store, early, make_tools(BrightSegmenter())))
    run(store)
    put_photos(tmp_path, "lot", {"a.png": goods_photo(0)})
    run(store, "run-2")
    for generation, expected in ((2, ["run-1"] * 2), (3, []), (2, ["run-1"] * 2), (1, [])):
        store.rollback("lot", FIND_ALL, generation)
        write_finds_after_rollback(store, "lot", FIND_ALL)
        assert runs(store) == expected, generation


def test_a_rollback_records_nothing_where_settings_have_runs_record_nothing(
    tmp_path: Path,
) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    asyncio.run(process_deal(store, DealTask("lot", "run-1"), make_tools(BrightSegmenter())))
    save(store, with_texts(SavedSettings(), {"prompts.record_found": "false"}))
    store.rollback("lot", FIND_ALL, 1)
    write_finds_after_rollback(store, "lot", FIND_ALL)
    assert annotations(store) == []


def test_a_find_that_a_person_removed_stays_removed_through_reruns(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(3, 1))
    run(store)
    kept, gone, other = annotations(store)
    remove_finds(store, "lot", "a", [gone.id], by="ann")
    assert annotations(store) == [kept, other]
    assert todo(store).state is State.REVIEWS_CHANGED
    run(store, "run-2")
    assert [one.box for one in annotations(store)] == [kept.box, other.box]
    for number, segmenter in enumerate((BrightSegmenter(), BrightSegmenter(threshold=100))):
        run(store, f"again-{number}", segmenter=segmenter)
        assert [one.box for one in annotations(store)] == [kept.box, other.box]
        crops = store.current("lot", FIND_ALL)
        assert crops
        files = [entry.path for entry in crops.files("crops") if entry.path.endswith(".png")]
        assert len(files) == 3, "of four finds"
    with pytest.raises(PromptConflictError, match="another run has found other items"):
        remove_finds(store, "lot", "a", [kept.id], by="ann")


def test_what_was_removed_can_be_brought_back(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(3,))
    run(store)
    before = annotations(store)
    remove_finds(store, "lot", "a", [before[1].id], by="ann")
    assert bring_back_finds(store, "lot", "a", ["b1", before[0].id, before[1].id]) == [before[1].id]
    assert sorted(annotations(store), key=lambda one: one.id) == before
    assert store.reviews.of_image("lot", FIND_ALL, "a").decisions == ()
    assert todo(store).state is State.UP_TO_DATE


def test_what_a_person_drew_in_place_of_a_find_is_among_the_records(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    run(store)
    first, second = annotations(store)
    seen = Mask.from_box(Box(*(first.box or FIRST)), image_width=160, image_height=120)
    drawn = Mask.from_box(Box(2, 18, 20, 40), image_width=160, image_height=120)
    decided = edit(seen, drawn)
    store.reviews.edit(
        "lot", FIND_ALL, "a", lambda now: now.model_copy(update={"decisions": (decided,)})
    )
    run(store, "run-2", skip_up_to_date=True)
    assert [one.box for one in annotations(store)] == [drawn.box, second.box]

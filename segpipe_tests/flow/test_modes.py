"""A deal in two modes: what each is asked, what comes of it, and that each leaves the other be."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.errors import DealFailedError, PromptError, PromptFileError
from segpipe.flow.deal import DealOutcome, DealTask
from segpipe.flow.mode_prompts import POINTS_WITHOUT_A_BOX, PromptSettings
from segpipe.flow.run_deal import process_in_run, record_finds
from segpipe.flow.run_settings import FlowSettings
from segpipe.flow.stages.refinement import REFINEMENT, REFINEMENT_FILE, REFINEMENT_SCHEMA
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.progress import DealSkipped, Event, tell_nobody
from segpipe.prompt import Exemplar, Mode, Point
from segpipe.segmenters.each_text import EachText
from segpipe.segmenters.segmenter import Segmenter
from segpipe.store.prompts import Annotation, DealPrompts, ImagePrompts, PromptType, Source
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe_tests.deals import make_deal, make_tools, todo
from segpipe_tests.drawing import EMPTY, FIRST, SECOND, boxed, draw
from segpipe_tests.goods import BrightSegmenter


def say(store: DealStore, text: str) -> None:
    store.prompts.edit_deal("lot", lambda prompts: prompts.model_copy(update={"text": text}))


def process(
    store: DealStore,
    mode: Mode = Mode.INSIDE_BOX,
    *,
    run_id: str = "run-1",
    attempt: int = 0,
    segmenter: Segmenter | None = None,
    prompts: PromptSettings | None = None,
    stages: frozenset[str] = STAGES.names,
) -> DealOutcome:
    settings = FlowSettings(prompts=prompts or PromptSettings())
    tools = make_tools(segmenter or BrightSegmenter(), settings)
    task = DealTask("lot", run_id, attempt=attempt, mode=mode, stages=stages)
    outcome = asyncio.run(process_in_run(store, task, tools, tell_nobody))
    assert outcome
    record_finds(store, outcome, tools, tell_nobody)
    return outcome


def without(annotation: str) -> Callable[[ImagePrompts], ImagePrompts]:
    """Removes an annotation."""

    def remove(prompts: ImagePrompts) -> ImagePrompts:
        left = tuple(one for one in prompts.annotations if one.id != annotation)
        return prompts.model_copy(update={"annotations": left})

    return remove


def fails_with(store: DealStore, mode: Mode, **options: PromptSettings) -> list[Exception]:
    with pytest.raises(DealFailedError) as failure:
        process(store, mode, **options)  # type: ignore[arg-type]
    return list(failure.value.errors)


def rows(store: DealStore, mode: Mode, stage: str, file: str) -> list[dict[str, object]]:
    snapshot = store.current("lot", mode)
    assert snapshot
    with snapshot.open(stage, file) as stream:
        return pq.read_table(stream).to_pylist()  # type: ignore[no-any-return]


def columns(found: Sequence[dict[str, object]], *names: str) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in names) for row in found]


# inside_box


def test_each_box_has_a_row_in_its_order_and_an_empty_one_its_reason(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    draw(store, "a", boxed("second", SECOND), boxed("nothing", EMPTY), boxed("first", FIRST))

    outcome = process(store)

    found = rows(store, Mode.INSIDE_BOX, "segmentation", "detections.parquet")
    assert columns(found, "annotation", "x1", "reason") == [
        ("second", 24.0, None),
        ("nothing", 100.0, "nothing was found in the box"),
        ("first", 4.0, None),
    ]
    crops = rows(store, Mode.INSIDE_BOX, "crops", "crops.parquet")
    assert columns(crops, "detection", "file", "reason") == [
        (0, "crops/a/0000.png", None),
        (1, None, "nothing was found in the box"),
        (2, "crops/a/0002.png", None),
    ]
    refined = rows(store, Mode.INSIDE_BOX, "refinement", "refinement.parquet")
    assert columns(refined, "detection", "reason")[1] == (1, "nothing was found in the box")
    assert (outcome.summary.counts.detections, outcome.summary.counts.crops) == (3, 2)


def test_boxes_of_one_item_are_all_kept_and_flagged(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    larger = Box(1.0, 17.0, 19.0, 39.0)
    draw(store, "a", boxed("one", FIRST), boxed("again", larger), boxed("other", SECOND))

    process(store)

    kept = rows(store, Mode.INSIDE_BOX, "dedup", "dedup.parquet")
    assert columns(kept, "detection", "kept", "survivor", "criterion") == [
        (0, True, None, None),
        (1, True, 0, "iou"),
        (2, True, None, None),
    ]
    assert len(rows(store, Mode.INSIDE_BOX, "crops", "crops.parquet")) == 3


def test_flags_are_read_back_by_a_run_of_later_stages(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    draw(store, "a", boxed("one", FIRST), boxed("again", FIRST), boxed("nothing", EMPTY))
    process(store)
    before = rows(store, Mode.INSIDE_BOX, "crops", "crops.parquet")

    process(store, run_id="run-2", stages=frozenset({"crops", "deal_report"}))

    assert rows(store, Mode.INSIDE_BOX, "crops", "crops.parquet") == before


def test_photos_without_boxes_are_not_asked_about(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2, 3))
    draw(store, "b", boxed("one", FIRST))
    segmenter = BrightSegmenter()

    outcome = process(store, segmenter=segmenter)

    assert segmenter.calls == 1
    assert [image.counts.detections for image in outcome.summary.images] == [0, 1]


def test_in_a_deal_without_any_box_there_is_nothing_to_do(tmp_path: Path) -> None:
    store, told = make_deal(tmp_path, "lot"), list[Event]()
    task = DealTask("lot", "run-1", mode=Mode.INSIDE_BOX)
    run = process_in_run(store, task, make_tools(BrightSegmenter()), told.append)
    assert asyncio.run(run) is None
    assert told == [DealSkipped("lot", "no photo of the deal has a box to look into")]
    assert store.last_failure("lot", Mode.INSIDE_BOX) is None


def test_points_travel_with_the_boxes_of_their_photo(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    on = Annotation(
        id="on",
        mode=Mode.INSIDE_BOX,
        prompt_type=PromptType.POINT,
        point=(6.0, 22.0),
        label=1,
    )
    draw(store, "a", boxed("one", FIRST), on)
    segmenter = BrightSegmenter()
    process(store, segmenter=segmenter)
    (prompt,) = segmenter.prompts
    assert (prompt.boxes, prompt.points) == ((FIRST,), (Point(6.0, 22.0),))


def test_points_in_a_photo_without_a_box_are_told_not_to_be_used(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2, 3))
    draw(store, "a", boxed("one", FIRST))
    alone = Annotation(
        id="on", mode=Mode.INSIDE_BOX, prompt_type=PromptType.POINT, point=(6.0, 22.0), label=1
    )
    draw(store, "b", alone)
    warnings = process(store).summary.warnings
    assert warnings == (f"b.png: {POINTS_WITHOUT_A_BOX}",)


# find_all


def example(annotation: str, box: Box, kind: PromptType) -> Annotation:
    return boxed(annotation, box, mode=Mode.FIND_ALL, prompt_type=kind)


def test_text_and_examples_of_a_photo_are_what_is_asked(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2, 2))
    say(store, "ring")
    draw(
        store,
        "a",
        example("yes", FIRST, PromptType.POSITIVE_EXEMPLAR),
        example("no", SECOND, PromptType.NEGATIVE_EXEMPLAR),
        boxed("other-mode", SECOND),
    )
    store.prompts.edit_image("lot", "b", lambda own: own.model_copy(update={"text": "coin"}))
    segmenter = BrightSegmenter()

    process(store, Mode.FIND_ALL, segmenter=segmenter)

    a, b = sorted(segmenter.prompts, key=lambda prompt: prompt.text == "coin")
    assert (a.text, b.text) == ("ring", "coin")
    assert a.exemplars == (Exemplar(FIRST), Exemplar(SECOND, positive=False))
    assert (a.boxes, b.exemplars) == ((), ())
    asked = rows(store, Mode.FIND_ALL, "segmentation", "images.parquet")
    assert json.loads(str(asked[1]["prompt"]))["text"] == "coin"


def test_texts_of_the_segmenter_say_what_to_find(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    inner = BrightSegmenter()
    segmenter = EachText(inner, ["coin"])
    process(store, Mode.FIND_ALL, segmenter=segmenter, prompts=PromptSettings(everything=False))
    assert [prompt.texts for prompt in inner.prompts] == [("coin",)]


def test_negative_examples_alone_fail_their_deal_and_name_the_photo(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    unlike = Annotation(
        id="b1", mode=Mode.FIND_ALL, prompt_type=PromptType.NEGATIVE_EXEMPLAR, box=FIRST
    )
    draw(store, "a", unlike)
    (error,) = fails_with(store, Mode.FIND_ALL)
    assert isinstance(error, PromptError)
    assert (error.deal, error.image, error.field) == ("lot", "a.png", "exemplars")
    assert "add a positive one or a text" in error.message


def test_without_text_and_examples_everything_is_found_unless_that_is_forbidden(
    tmp_path: Path,
) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    (error,) = fails_with(store, Mode.FIND_ALL, prompts=PromptSettings(everything=False))
    assert isinstance(error, PromptError)
    assert "find_all requires text or exemplar boxes" in str(error)
    assert error.image == "a.png"

    assert process(store, Mode.FIND_ALL).summary.counts.crops == 2


def test_finding_nothing_is_success(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(0,))
    outcome = process(store, Mode.FIND_ALL)
    assert (outcome.summary.counts.detections, outcome.promotion.commit.generation) == (0, 1)


# The two beside each other


def test_the_modes_have_results_of_their_own_and_one_may_fail(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    process(store, Mode.FIND_ALL)
    before = store.current("lot", Mode.FIND_ALL)
    draw(store, "a", boxed("one", FIRST), boxed("far", Box(0.0, 0.0, 999.0, 9.0)))
    fails_with(store, Mode.INSIDE_BOX)
    assert store.current("lot", Mode.INSIDE_BOX) is None
    assert store.last_failure("lot", Mode.FIND_ALL) is None

    store.prompts.edit_image("lot", "a", without("far"))
    process(store, run_id="run-2")

    after = store.current("lot", Mode.FIND_ALL)
    assert before
    assert after
    assert before.generation == after.generation
    assert store.last_failure("lot", Mode.INSIDE_BOX) is None
    assert len(rows(store, Mode.INSIDE_BOX, "crops", "crops.parquet")) == 1
    assert len(rows(store, Mode.FIND_ALL, "crops", "crops.parquet")) == 2
    assert not list(store.verify("lot"))


def test_a_changed_prompt_makes_its_own_mode_stale_and_a_record_of_the_model_none(
    tmp_path: Path,
) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    draw(store, "a", boxed("one", FIRST))
    for mode in Mode:
        process(store, mode)
        assert todo(store, mode).stages == frozenset()  # find_all wrote what it found

    draw(store, "a", boxed("two", SECOND))
    assert todo(store, Mode.INSIDE_BOX).stages == STAGES.names
    assert todo(store, Mode.FIND_ALL).stages == frozenset()

    say(store, "ring")
    assert todo(store, Mode.FIND_ALL).stages == STAGES.names


def test_a_bad_prompt_file_fails_its_deal_by_name_until_it_is_mended(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    folder = tmp_path / "deals" / "lot" / "prompts"
    folder.mkdir()
    (folder / "a.json").write_text('{"image": "a", "annotations": [{"id": "x", "bax": []}]}')

    (error,) = fails_with(store, Mode.FIND_ALL)

    assert isinstance(error, PromptFileError)
    assert "prompts/a.json" in str(error)
    assert "'lot'" in str(error)
    assert not todo(store, Mode.FIND_ALL).needs_run
    (folder / "a.json").write_text('{"image": "a"}')
    assert todo(store, Mode.FIND_ALL).needs_run


def test_prompts_for_photos_that_are_not_there_are_all_named(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    draw(store, "z", boxed("one", FIRST))
    draw(store, "y", boxed("one", FIRST))
    errors = fails_with(store, Mode.INSIDE_BOX)
    assert ["'y'" in str(errors[0]), "'z'" in str(errors[1])] == [True, True]


def test_an_annotation_outside_its_photo_is_named(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    draw(store, "a", boxed("far", Box(100.0, 80.0, 161.0, 110.0)))
    (error,) = fails_with(store, Mode.INSIDE_BOX)
    assert isinstance(error, PromptError)
    assert (error.image, error.field) == ("a", "annotations[far].box")
    assert "160 x 120" in str(error)
    process(store, Mode.FIND_ALL)  # it is not asked there


def test_a_deal_without_boxes_is_finished_in_inside_box(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    assert not todo(store, Mode.INSIDE_BOX).needs_run
    draw(store, "a", boxed("one", FIRST))
    assert todo(store, Mode.INSIDE_BOX).needs_run


# What find_all discovers


def found_in(store: DealStore, image: str = "a") -> list[Annotation]:
    return list(store.prompts.of_image("lot", image).annotations)


def test_finds_become_annotations_of_the_model_that_point_at_the_run(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    draw(store, "a", boxed("mine", FIRST))
    process(store, Mode.FIND_ALL, segmenter=BrightSegmenter(doubles=True))

    mine, *found = found_in(store)

    assert mine.id == "mine"
    assert [(one.source, one.mode, one.prompt_type, one.created_by) for one in found] == [
        (Source.MODEL, Mode.FIND_ALL, PromptType.SEGMENT, "run-1")
    ] * 2
    assert [one.box for one in found] == [(4.0, 20.0, 16.0, 36.0), (24.0, 20.0, 36.0, 36.0)]


def test_a_rerun_replaces_the_models_and_leaves_what_a_user_edited(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    process(store, Mode.FIND_ALL)

    def take_over(prompts: ImagePrompts) -> ImagePrompts:
        first, second = prompts.annotations
        edited = first.model_copy(
            update={"box": (3.0, 19.0, 17.0, 37.0), "source": Source.USER, "created_by": "ann"}
        )
        return prompts.model_copy(update={"annotations": (edited, second)})

    store.prompts.edit_image("lot", "a", take_over)
    process(store, Mode.FIND_ALL, run_id="run-2")

    edited, other = found_in(store)
    assert (edited.source, edited.created_by, edited.box) == (
        Source.USER,
        "ann",
        (3.0, 19.0, 17.0, 37.0),
    )
    assert (other.source, other.created_by) == (Source.MODEL, "run-2")
    assert other.box == (24.0, 20.0, 36.0, 36.0)


def test_recording_can_be_switched_off_and_other_stages_record_nothing(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    process(store, Mode.FIND_ALL, prompts=PromptSettings(record_found=False))
    process(store, Mode.FIND_ALL, run_id="run-2", stages=frozenset({"crops"}))
    assert found_in(store) == []


def test_a_retry_records_what_a_killed_attempt_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("segpipe.flow.run_deal.write_finds", killed)
        with pytest.raises(KeyboardInterrupt):
            process(store, Mode.FIND_ALL)
    assert found_in(store) == []

    segmenter = BrightSegmenter()
    outcome = process(store, Mode.FIND_ALL, attempt=1, segmenter=segmenter)

    assert (segmenter.calls, outcome.promotion.commit.generation) == (0, 1)
    assert len(found_in(store)) == 2
    before = store.prompts.of_image("lot", "a")
    process(store, Mode.FIND_ALL, attempt=2)
    assert store.prompts.of_image("lot", "a") == before


def test_prompts_are_those_at_the_start_of_the_run(tmp_path: Path) -> None:
    """A change while a run is under way makes its result stale; it is not half in it."""
    store = make_deal(tmp_path, "lot", items=(2, 2))
    draw(store, "a", boxed("one", FIRST))

    class Meddling(BrightSegmenter):
        async def segment(self, image, prompt, thresholds=None):  # type: ignore[no-untyped-def]
            draw(store, "b", boxed(f"late-{self.calls}", FIRST))
            return await super().segment(image, prompt)

    outcome = process(store, segmenter=Meddling(concurrency=1))
    assert outcome.summary.counts.detections == 1
    assert todo(store, Mode.INSIDE_BOX).stages == STAGES.names


def test_a_deal_level_text_is_no_prompt_of_inside_box(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    say(store, "ring")
    draw(store, "a", boxed("one", FIRST))
    segmenter = BrightSegmenter()
    process(store, segmenter=segmenter)
    assert segmenter.prompts[0].text is None
    assert segmenter.prompts[0].exemplars == ()
    assert isinstance(store.prompts.of_deal("lot"), DealPrompts)


def test_results_of_an_older_release_are_named_instead_of_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    process(store, Mode.FIND_ALL)
    newer = REFINEMENT_SCHEMA.append(pa.field("of_tomorrow", pa.int32()))
    monkeypatch.setitem(REFINEMENT.tables, REFINEMENT_FILE, newer)
    with pytest.raises(DealFailedError) as failure:
        process(store, Mode.FIND_ALL, run_id="run-2", stages=frozenset({"crops"}))
    assert "written by an older segpipe, without of_tomorrow" in str(failure.value)

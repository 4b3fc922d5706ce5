"""Deals that people have reviewed: only what they trust goes on, and every rerun keeps it."""

import asyncio
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe.errors import DealFailedError
from segpipe.flow.apply_review import ReviewState
from segpipe.flow.checks import CheckSettings
from segpipe.flow.deal import DealTask
from segpipe.flow.deal_state import State
from segpipe.flow.export import export_deals
from segpipe.flow.export_task import ExportTask, Images, Reviewed
from segpipe.flow.results import DealResults
from segpipe.flow.run_deal import process_in_run
from segpipe.flow.run_settings import FlowSettings
from segpipe.flow.stages.crop_files import read_crop
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.dedup import DedupSettings
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.review import REVIEW
from segpipe.flow.stages.reviewed_items import ReviewSettings, Unreviewed
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.flow.tools import Tools
from segpipe.progress import tell_nobody
from segpipe.prompt import Mode
from segpipe.store.reviews import Decision
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.image import decode_image
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import from_coco_rle, mask_digest
from segpipe_tests.deals import current, make_deal, make_tools, todo
from segpipe_tests.goods import BrightSegmenter
from segpipe_tests.reviews import accept, add, edit, reject

LOT = "lot"
DOWN = frozenset({"review", "crops", "coco", "deal_report"})
DROP = FlowSettings(review=ReviewSettings(unreviewed=Unreviewed.DROP))


def goods(index: int) -> Mask:
    """What is found of the item of this number: see ``goods_image``."""
    return rectangle(4 + 20 * index, 20, 12, 16)


def rectangle(x: int, y: int, width: int, height: int) -> Mask:
    box = Box(x, y, x + width, y + height)
    return Mask.from_box(box, image_width=160, image_height=120)


def speckled(x: int, y: int, seed: int) -> Mask:
    """What a person drew: no rectangle, so that every pixel tells."""
    full = np.zeros((120, 160), np.uint8)
    full[y : y + 15, x : x + 11] = np.random.default_rng(seed).random((15, 11)) < 0.7
    return Mask.from_full(full)


EDITED, ADDED = speckled(45, 21, 1), speckled(30, 80, 2)
DECISIONS = (
    accept(goods(0)),
    reject(goods(1)),
    edit(goods(2), EDITED, "ring"),
    add("n1", ADDED, "coin"),
)


def decide(store: DealStore, *decisions: Decision, image: str = "a", done: bool = False) -> None:
    store.reviews.edit(
        LOT,
        Mode.FIND_ALL,
        image,
        lambda now: now.model_copy(update={"decisions": decisions, "done": done}),
    )


def run(
    store: DealStore,
    settings: FlowSettings | None = None,
    segmenter: BrightSegmenter | None = None,
    *,
    stages: frozenset[str] = STAGES.names,
) -> BrightSegmenter:
    segmenter = segmenter or BrightSegmenter()
    number = len(store.commits(LOT, Mode.FIND_ALL))
    task = DealTask(LOT, f"run-{number}", stages=stages, skip_up_to_date=True)
    tools: Tools = make_tools(segmenter, settings)
    asyncio.run(process_in_run(store, task, tools, tell_nobody))
    return segmenter


def states(store: DealStore) -> dict[str, list[str]]:
    with DealResults.current(store, LOT, "find_all", [SEGMENTATION, REFINEMENT, REVIEW]) as all_:
        return {
            photo.photo.image: [item.state.value for item in photo.of(REVIEW).items]
            for photo in all_
        }


def test_a_review_makes_what_stands_below_it_anew_and_calls_no_segmenter(tmp_path: Path) -> None:
    store = make_deal(tmp_path, LOT, (4, 2))
    segmenter = run(store)
    assert todo(store).state is State.UP_TO_DATE
    before = current(store, LOT)
    calls = segmenter.calls
    decide(store, *DECISIONS)
    assert (todo(store).state, todo(store).stages) == (State.REVIEWS_CHANGED, DOWN)
    assert "lacks what was decided since" in todo(store).reason
    run(store, segmenter=segmenter)
    after = current(store, LOT)
    assert segmenter.calls == calls == 2
    for stage in ("segmentation", "dedup", "refinement"):
        assert after.version(stage) == before.version(stage)
    assert all(after.version(stage) != before.version(stage) for stage in DOWN)
    assert after.manifest("crops").info.summary
    assert after.manifest("crops").info.summary.usage.cost == 0  # type: ignore[union-attr]
    assert states(store)["a"] == ["accepted", "rejected", "edited", "unreviewed", "added"]
    assert todo(store).state is State.UP_TO_DATE


def test_who_decided_when_and_why_makes_nothing_stale(tmp_path: Path) -> None:
    store = make_deal(tmp_path, LOT, (2,))
    decide(store, accept(goods(0)))
    run(store)
    decide(store, accept(goods(0), by="bob"))
    assert todo(store).state is State.UP_TO_DATE
    decide(store)
    assert todo(store).state is State.REVIEWS_CHANGED, "what was taken back counts"


def masks_of_crops(store: DealStore) -> dict[str, Mask]:
    """The pixels of each crop, by photo and number: what its transparency shows."""
    found = {}
    with DealResults.current(store, LOT, "find_all", [SEGMENTATION, CROPS]) as results:
        for photo in results:
            for crop in photo.of(CROPS).crops:
                picture = Image.open(BytesIO(read_crop(results.snapshot, CROPS.name, crop)))
                alpha = np.asarray(picture.getchannel("A"))
                assert crop.window
                x, y, width, height = crop.window
                full = np.zeros((120, 160), np.uint8)
                full[y : y + height, x : x + width] = alpha > 0
                found[f"{photo.photo.image} {crop.detection}"] = Mask.from_full(full)
    return found


def digests(masks: object) -> list[str]:
    assert isinstance(masks, list | tuple)
    return sorted(mask_digest(mask) for mask in masks)


def masks_of_coco(file: Path) -> list[Mask]:
    return [
        from_coco_rle(
            {
                "size": each["segmentation"]["size"],
                "counts": each["segmentation"]["counts"].encode(),
            }
        )
        for each in json.loads(file.read_text())["annotations"]
    ]


def test_only_what_people_trust_goes_on_in_every_format(tmp_path: Path) -> None:
    store = make_deal(tmp_path / "data", LOT, (4, 2))
    decide(store, *DECISIONS)
    decide(store, reject(goods(0)), image="b")
    run(store, DROP)
    trusted = digests([goods(0), EDITED, ADDED])
    assert digests([*masks_of_crops(store).values()]) == trusted
    coco = tmp_path / "data/deals/lot/current/find_all/coco/coco.json"
    assert digests(masks_of_coco(coco)) == trusted
    labels = {each["id"]: each["name"] for each in json.loads(coco.read_text())["categories"]}
    named = [labels[each["category_id"]] for each in json.loads(coco.read_text())["annotations"]]
    assert sorted(named) == ["coin", "item", "ring"]

    for reviewed in (Reviewed.PREFER, Reviewed.ONLY):
        for format_name in ("coco", "yolo-seg", "labelme", "masks", "cutouts"):
            out = tmp_path / reviewed / format_name
            task = ExportTask(format_name, out, images=Images.NONE, reviewed=reviewed)
            assert export_deals(store, [LOT], task).deals[LOT].items == 3
        masks = [
            Mask.from_full(decode_image(path.read_bytes()).rgb[..., 0])
            for path in sorted((tmp_path / reviewed / "masks").rglob("*.png"))
        ]
        assert digests(masks) == trusted
        assert digests(masks_of_coco(tmp_path / reviewed / "coco/annotations.json")) == trusted
    out = tmp_path / "all.json"
    ignored = ExportTask("coco", out, images=Images.NONE, reviewed=Reviewed.IGNORE)
    assert export_deals(store, [LOT], ignored).deals[LOT].items == 6
    assert digests(masks_of_coco(tmp_path / "all.json")) == digests(
        [goods(0), goods(1), goods(2), goods(3), goods(0), goods(1)]
    )


def test_edits_and_adds_survive_three_reruns_with_other_settings(tmp_path: Path) -> None:
    store = make_deal(tmp_path, LOT, (4,))
    decide(store, *DECISIONS)
    run(store, DROP)
    kept = digests([goods(0), EDITED, ADDED])
    assert digests([*masks_of_crops(store).values()]) == kept
    assert set(masks_of_crops(store)) == {"a 0", "a 2", "a 4"}

    class Growing(BrightSegmenter):
        """Finds everything a column wider than before."""

        def _find(self, image):  # type: ignore[no-untyped-def]
            found = []
            for detection in super()._find(image):
                assert detection.mask
                full = detection.mask.to_full()
                full[:, 1:] |= full[:, :-1]
                mask = Mask.from_full(full)
                assert mask.box
                found.append(detection.__class__(mask.box, 0.9, mask=mask))
            return tuple(found)

    reruns = (
        (BrightSegmenter(doubles=True), FlowSettings(dedup=DedupSettings(iou_threshold=0.9))),
        (Growing(), FlowSettings(dedup=DedupSettings(iou_threshold=0.7))),
        (BrightSegmenter(threshold=205), FlowSettings(dedup=DedupSettings(iou_threshold=0.6))),
    )
    for number, (segmenter, settings) in enumerate(reruns):
        settings = settings.model_copy(update={"review": DROP.review})  # noqa: PLW2901
        task = DealTask(LOT, f"again-{number}")
        asyncio.run(process_in_run(store, task, make_tools(segmenter, settings), tell_nobody))
        assert segmenter.calls == 1
        there = digests([*masks_of_crops(store).values()])
        assert {mask_digest(EDITED), mask_digest(ADDED)} <= set(there)
        # An accept holds for the mask that was seen, and for none that is like it.
        assert (mask_digest(goods(0)) in there) == (not isinstance(segmenter, Growing))
        assert len(there) == (2 if isinstance(segmenter, Growing) else 3)
        if isinstance(segmenter, Growing):
            assert states(store)["a"][:2] == ["changed", "rejected"]
            summary = current(store, LOT).manifest("review").info.summary
            assert summary
            assert "accepted with another mask" in summary.warnings[0]


def test_no_photo_goes_on_in_part_when_whole_photos_are_asked_for(tmp_path: Path) -> None:
    store = make_deal(tmp_path, LOT, (2, 2))
    settings = FlowSettings(review=ReviewSettings(whole_photos=True))
    decide(store, accept(goods(0)))
    decide(store, image="b", done=True)
    run(store, settings)
    assert set(masks_of_crops(store)) == {"b 0", "b 1"}
    decide(store, accept(goods(0)), done=True)
    run(store, settings)
    assert set(masks_of_crops(store)) == {"a 0", "a 1", "b 0", "b 1"}


def test_the_check_counts_what_nobody_has_looked_at(tmp_path: Path) -> None:
    store = make_deal(tmp_path, LOT, (4,))
    (check,) = REVIEW.checks

    def found() -> tuple[bool, str, float]:
        finding = check.find(current(store, LOT), CheckSettings())
        return finding.passed, finding.text, finding.numbers["unreviewed"]

    run(store)
    assert found() == (True, "nobody has begun to review the 4 items", 4)
    decide(store, *DECISIONS)
    run(store)
    assert found() == (False, "1 of 5 items are not reviewed", 1)
    decide(store, *DECISIONS, accept(goods(3)))
    run(store)
    assert found() == (True, "all 5 items are reviewed", 0)


def test_a_mask_outside_its_photo_fails_the_deal_by_name_until_it_is_put_right(
    tmp_path: Path,
) -> None:
    store = make_deal(tmp_path, LOT, (1,))
    far = Mask.from_box(Box(300, 200, 310, 210), image_width=400, image_height=300)
    decide(store, add("n1", far))
    with pytest.raises(DealFailedError, match=r"'n1'.* 160 x 120"):
        run(store)
    assert todo(store).state is State.KNOWN_BAD
    decide(store)
    assert todo(store).state is State.NEVER_MADE


def test_what_somebody_drew_in_a_photo_that_is_gone_is_not_lost_unheard(tmp_path: Path) -> None:
    store = make_deal(tmp_path, LOT, (1,))
    decide(store, accept(goods(0)), image="gone")
    run(store)
    decide(store, add("n1", ADDED), image="gone")
    with pytest.raises(DealFailedError, match="no such photo"):
        run(store)


def test_a_deal_of_an_earlier_release_is_up_to_date_until_somebody_reviews_it(
    tmp_path: Path,
) -> None:
    """Such a deal has no review: here its commit is one that lacks it."""
    store = make_deal(tmp_path, LOT, (3,))
    run(store)
    out = ExportTask("coco", tmp_path / "new.json", images=Images.NONE)
    export_deals(store, [LOT], out)
    commit = tmp_path / "deals/lot/commits/find_all/0000000001.json"
    held = json.loads(commit.read_text())
    del held["assets"]["review"]
    for asset in held["assets"].values():
        asset["made_from"].pop("review", None)
    commit.write_text(json.dumps(held))

    assert todo(store).state is State.UP_TO_DATE
    assert states(store)["a"] == [ReviewState.UNREVIEWED.value] * 3
    old = ExportTask("coco", tmp_path / "old.json", images=Images.NONE)
    export_deals(store, [LOT], old)
    assert (tmp_path / "old.json").read_bytes() == (tmp_path / "new.json").read_bytes()
    assert todo(store, settings=DROP).state is State.OTHER_SETTINGS
    wanted = todo(store, settings=DROP, replace_other_settings=True)
    assert (wanted.state, wanted.stages) == (State.SETTINGS_CHANGED, DOWN)
    run(store, stages=frozenset({"crops"}))
    assert todo(store).state is State.UP_TO_DATE, "nothing was to be done"

    decide(store, *DECISIONS)
    assert (todo(store).state, todo(store).stages) == (State.REVIEWS_CHANGED, DOWN)
    segmenter = run(store)
    assert segmenter.calls == 0
    assert states(store)["a"] == ["accepted", "rejected", "edited", "added"]

"""The road of one deal, from photos to promoted versions."""

import asyncio
import errno
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from segpipe.detection import Detection, SegmentationResult, Thresholds
from segpipe.errors import (
    CorruptImageError,
    DealFailedError,
    NotPromotedError,
    PhotosChangedError,
    SegmenterError,
    StaleUpstreamError,
    UnsupportedFormatError,
)
from segpipe.flow.deal import DealOutcome, DealTask, process_deal
from segpipe.flow.photo import PhotoSettings
from segpipe.flow.run_deal import is_retryable
from segpipe.flow.run_settings import FlowSettings
from segpipe.flow.stages.crop_settings import CropSettings
from segpipe.flow.stages.dedup import DedupSettings
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.prompt import Mode, Prompt
from segpipe.store.disk import Disk
from segpipe.store.local_storage import LocalStorage
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.crop import CropFormat
from segpipe.vision.image import RgbImage, decode_image
from segpipe.vision.mask import Mask
from segpipe_tests.deals import make_deal, make_tools, memory_root, put_photos
from segpipe_tests.goods import BrightSegmenter, camera_raw, goods_image, goods_photo


def process(
    store: DealStore,
    *,
    run_id: str = "run-1",
    deal: str = "lot",
    segmenter: BrightSegmenter | None = None,
    settings: FlowSettings | None = None,
    stages: frozenset[str] = STAGES.names,
) -> DealOutcome:
    tools = make_tools(segmenter or BrightSegmenter(doubles=True), settings)
    return asyncio.run(process_deal(store, DealTask(deal, run_id, stages=stages), tools))


def fails_with(store: DealStore, **options: object) -> list[Exception]:
    with pytest.raises(DealFailedError) as failure:
        process(store, **options)  # type: ignore[arg-type]
    return list(failure.value.errors)


def test_photos_become_verified_crops(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2, 3))

    outcome = process(store)

    counts = outcome.summary.counts
    assert (counts.images, counts.detections, counts.survivors, counts.crops) == (2, 10, 5, 5)
    assert counts.rejected == 5
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    assert snapshot.generation == 1
    crop = decode_image_rgba(snapshot.read("crops", "crops/b/0002.png"))
    assert crop.shape == (16, 12, 4)
    assert crop[0, 0].tolist() == [220, 212, 200, 255]
    assert not list(store.verify("lot"))
    assert set(outcome.summary.seconds) >= {"decode", "segmentation", "dedup", "crops", "write"}


def decode_image_rgba(data: bytes) -> np.ndarray:
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))


def test_raw_detections_are_all_kept_beside_the_reasons_of_the_rejected(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(1,))
    process(store)
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None

    with snapshot.open("segmentation", "detections.parquet") as stream:
        detections = pq.read_table(stream).to_pylist()
    with snapshot.open("dedup", "dedup.parquet") as stream:
        dedup = pq.read_table(stream).to_pylist()

    assert [row["score"] for row in detections] == [0.9, 0.5]
    assert dedup[0]["kept"]
    assert dedup[1] == {
        "deal": "lot",
        "image": "a",
        "detection": 1,
        "kept": False,
        "survivor": 0,
        "criterion": "iou",
        "value": 1.0,
    }


def test_the_report_has_a_sheet_a_preview_of_each_photo_and_the_counts(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2, 3))
    process(store)
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None

    report = json.loads(snapshot.read("deal_report", "report.json"))
    assert [image["counts"]["survivors"] for image in report["images"]] == [2, 3]
    assert decode_image(snapshot.read("deal_report", "contact_sheet.jpg")).rgb.shape[2] == 3
    assert decode_image(snapshot.read("deal_report", "previews/a.jpg")).rgb.size


def test_versions_carry_what_they_were_made_from_and_with(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    outcome = process(store)
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None

    manifest = snapshot.manifest("crops")

    assert manifest.made_from == {
        "deal_photos": outcome.summary.photos_version,
        "segmentation": "run-1.0",
        "dedup": "run-1.0",
        "refinement": "run-1.0",
        "review": "run-1.0",
    }
    assert manifest.info.settings == CropSettings().identity()
    assert snapshot.manifest("segmentation").info.producer == "bright"


def test_a_subset_reads_the_current_upstream_and_segments_nothing(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    process(store)
    segmenter = BrightSegmenter()

    outcome = process(
        store,
        run_id="run-2",
        segmenter=segmenter,
        stages=frozenset({"crops"}),
        settings=FlowSettings(crops=CropSettings(format=CropFormat.JPG, use_mask_crops=False)),
    )

    assert segmenter.calls == 0
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    assert set(outcome.versions) == {"crops"}
    assert snapshot.version("crops").name == "run-2.0"
    assert snapshot.version("segmentation").name == "run-1.0"
    assert {f.path.rpartition(".")[2] for f in snapshot.files("crops")} == {"jpg", "parquet"}


def test_everything_after_segmentation_follows_other_dedup_settings(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2,))
    process(store)
    keep_all = FlowSettings(dedup=DedupSettings(iou_threshold=1.0, containment_threshold=1.0))

    outcome = process(
        store, run_id="run-2", settings=keep_all, stages=STAGES.with_downstream({"dedup"})
    )

    assert outcome.summary.counts.survivors == 4
    assert outcome.summary.counts.crops == 4


def test_a_subset_of_a_deal_without_its_upstream_says_what_is_missing(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")
    (error,) = fails_with(store, stages=frozenset({"crops"}))
    assert isinstance(error, NotPromotedError)
    assert "segmentation, dedup, refinement must be made first" in str(error)


def test_a_subset_is_refused_when_the_current_upstream_does_not_belong_together(
    tmp_path: Path,
) -> None:
    store = make_deal(tmp_path, "lot")
    process(store)
    process(store, run_id="run-2", stages=frozenset({"dedup"}))

    (error,) = fails_with(store, run_id="run-3", stages=frozenset({"crops"}))

    assert isinstance(error, StaleUpstreamError)
    assert "include refinement, review in the run" in str(error)


@pytest.mark.parametrize("change", ["replaced", "added", "removed"])
def test_a_subset_is_refused_when_the_photos_are_others_than_those_segmented(
    tmp_path: Path, change: str
) -> None:
    store = make_deal(tmp_path, "lot")
    process(store)
    images = tmp_path / "deals" / "lot" / "images"
    match change:
        case "replaced":
            (images / "a.png").write_bytes(goods_photo(5))
        case "added":
            (images / "z.png").write_bytes(goods_photo(5))
        case _:
            (images / "a.png").unlink()

    (error,) = fails_with(store, run_id="run-2", stages=STAGES.with_downstream({"crops"}))

    assert isinstance(error, StaleUpstreamError)
    assert "run segmentation again" in str(error)


def test_every_bad_photo_is_named_and_nothing_is_promoted(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(1, 2))
    process(store)
    bad = {"c.jpg": b"just text", "d.png": goods_photo(2)[:200], "f.tif": camera_raw()}
    bad["e.png"] = goods_photo(1)
    put_photos(tmp_path, "lot", bad)

    errors = fails_with(store, run_id="run-2")

    kinds = {getattr(error, "image", None): type(error) for error in errors}
    assert kinds == {
        "c.jpg": UnsupportedFormatError,
        "d.png": CorruptImageError,
        "f.tif": UnsupportedFormatError,
    }
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    assert snapshot.generation == 1
    assert [path.name for path in (tmp_path / "deals" / "lot" / "runs").iterdir()] == ["run-1.0"]
    assert not is_retryable(DealFailedError("lot", errors))


def test_after_a_bad_photo_the_segmenter_is_not_asked_again(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(1,) * 8)
    put_photos(tmp_path, "lot", {"a.png": b"text"})
    segmenter = BrightSegmenter()

    fails_with(
        store,
        segmenter=segmenter,
        settings=FlowSettings(photos=PhotoSettings(images_in_flight=1)),
    )

    assert segmenter.calls == 0


def test_no_more_photos_are_in_flight_than_the_setting(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(1,) * 12)
    segmenter = BrightSegmenter()
    process(
        store,
        segmenter=segmenter,
        settings=FlowSettings(photos=PhotoSettings(images_in_flight=3)),
    )
    assert segmenter.calls == 12
    assert 1 < segmenter.most_in_flight <= 3


def test_as_many_photos_are_in_flight_as_keep_the_segmenter_busy(tmp_path: Path) -> None:
    class Patient(BrightSegmenter):
        """Answers nobody before as many have asked as it can answer at once."""

        asked = 0
        all_there = asyncio.Event()

        async def segment(
            self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
        ) -> SegmentationResult:
            self.asked += 1
            if self.asked == self.concurrency:
                self.all_there.set()
            await self.all_there.wait()
            return await super().segment(image, prompt)

    store = make_deal(tmp_path, "lot", items=(1,) * 8)
    segmenter = Patient(concurrency=5)
    process(store, segmenter=segmenter)
    assert segmenter.calls == 8


def test_photos_that_change_while_they_are_processed_fail_the_deal_for_now(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")

    class Meddler(BrightSegmenter):
        async def segment(
            self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
        ) -> SegmentationResult:
            put_photos(tmp_path, "lot", {"late.png": goods_photo(1)})
            return await super().segment(image, prompt)

    (error,) = fails_with(store, segmenter=Meddler())

    assert isinstance(error, PhotosChangedError)
    assert is_retryable(error)
    assert store.current("lot", Mode.FIND_ALL) is None


def test_a_photo_deleted_meanwhile_fails_the_deal_by_name(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(1,) * 6)

    class Thief(BrightSegmenter):
        async def segment(
            self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
        ) -> SegmentationResult:
            (tmp_path / "deals" / "lot" / "images" / "f.png").unlink(missing_ok=True)
            return await super().segment(image, prompt)

    errors = fails_with(store, segmenter=Thief())

    assert [getattr(error, "image", None) for error in errors] == ["f.png"]
    assert store.current("lot", Mode.FIND_ALL) is None


@pytest.mark.parametrize(
    ("detection", "says"),
    [
        (Detection(Box(-1, 0, 5, 5), 1.0), "box"),
        (Detection(Box(0, 0, 500, 5), 1.0), "box"),
        (Detection(Box(5, 0, 5, 5), 1.0), "box"),
        (Detection(Box(float("nan"), 0, 5, 5), 1.0), "box"),
        (
            Detection(Box(0, 0, 5, 5), 1.0, mask=Mask.empty(image_width=9, image_height=9)),
            "mask of another image size",
        ),
    ],
)
def test_a_segmenter_that_breaks_its_contract_is_told_so(
    tmp_path: Path, detection: Detection, says: str
) -> None:
    store = make_deal(tmp_path, "lot", items=(1,))

    class Liar(BrightSegmenter):
        def _find(self, image: RgbImage) -> tuple[Detection, ...]:
            return (detection,)

    (error,) = fails_with(store, segmenter=Liar())

    assert isinstance(error, SegmenterError)
    assert says in str(error)
    assert "a.png" in str(error)


def test_an_unexpected_error_in_a_segmenter_fails_its_deal_and_is_kept(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(1,))

    class Broken(BrightSegmenter):
        def _find(self, image: RgbImage) -> tuple[Detection, ...]:
            raise ZeroDivisionError("a bug")

    (error,) = fails_with(store, segmenter=Broken())

    assert isinstance(error, ZeroDivisionError)
    assert not is_retryable(error)


def test_detections_without_masks_become_box_crops(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(1,))

    class BoxesOnly(BrightSegmenter):
        def _find(self, image: RgbImage) -> tuple[Detection, ...]:
            return (Detection(Box(4, 20, 16, 36), 0.9),)

    process(store, segmenter=BoxesOnly())

    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    with snapshot.open("crops", "crops.parquet") as stream:
        (row,) = pq.read_table(stream).to_pylist()
    assert (row["kind"], row["x"], row["y"], row["width"], row["height"]) == ("box", 4, 20, 12, 16)


def test_a_photo_with_nothing_on_it_is_a_success_with_empty_results(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(0,))
    outcome = process(store)
    assert outcome.summary.counts.detections == 0
    process(store, run_id="run-2", stages=STAGES.with_downstream({"dedup"}))
    assert not list(store.verify("lot"))


def test_the_same_bytes_under_two_names_are_two_photos_and_a_warning(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(2, 2))
    outcome = process(store)
    assert outcome.summary.counts.crops == 4
    assert outcome.summary.warnings == ("b.png has the same bytes as a.png",)


@pytest.mark.parametrize("name", ["🪑 chair.png", "كرسي.png", "a b.png", "..png", "ü.png"])
def test_photos_may_have_any_name(tmp_path: Path, name: str) -> None:
    put_photos(tmp_path, "lot", {name: goods_photo(1)})
    store = DealStore(tmp_path)
    if name == "..png":  # a dot file, ignored
        (error,) = fails_with(store)
        assert "no photos" in str(error)
        return
    outcome = process(store)
    assert outcome.summary.counts.crops == 1
    assert outcome.summary.images[0].file_name == name


def test_a_photo_of_one_pixel_goes_through(tmp_path: Path) -> None:
    from segpipe.vision.encode import encode_png

    put_photos(tmp_path, "lot", {"dot.png": encode_png(np.zeros((1, 1, 3), np.uint8))})
    outcome = process(DealStore(tmp_path))
    assert outcome.summary.counts.images == 1


def test_results_stay_in_the_order_of_the_photos(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(5, 4, 3, 2, 1))
    outcome = process(store)
    assert [image.counts.survivors for image in outcome.summary.images] == [5, 4, 3, 2, 1]


def test_a_deal_is_processed_in_memory_storage_too() -> None:
    store = DealStore(memory_root())
    store.root.storage().replace("deals/lot/images/a.png", goods_photo(2))
    outcome = process(store)
    assert outcome.summary.counts.crops == 2
    assert not list(store.verify())


def test_crops_show_the_photo_and_nothing_around_the_item(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(3,))
    process(store, settings=FlowSettings(crops=CropSettings(padding_px=2)))
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    crop = decode_image_rgba(snapshot.read("crops", "crops/a/0000.png"))
    truth = goods_image(3)[18:38, 2:18]
    assert (crop[2:-2, 2:-2, :3] == truth[2:-2, 2:-2]).all()
    assert (crop[:2] == 0).all()


def test_a_subset_names_the_segmenter_that_found_what_it_reads(tmp_path: Path) -> None:
    class Other(BrightSegmenter):
        id = "other"

    store = make_deal(tmp_path, "lot")
    process(store)
    after = STAGES.with_downstream({"dedup"})
    outcome = process(store, run_id="run-2", segmenter=Other(), stages=after)
    assert outcome.summary.segmenter == "bright"


def test_every_fault_of_the_folder_is_named(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(1,))
    images = tmp_path / "deals" / "lot" / "images"
    (images / "folder.jpg").mkdir()
    os.mkfifo(images / "pipe.jpg")
    errors = fails_with(store)
    assert [getattr(error, "image", None) for error in errors] == ["folder.jpg", "pipe.jpg"]


@pytest.mark.parametrize(
    ("code", "says"), [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only")]
)
@pytest.mark.parametrize("writes", [0, 1, 4])
def test_a_disk_that_takes_no_more_fails_the_deal_and_loses_nothing(
    tmp_path: Path, code: int, says: str, writes: int
) -> None:
    class Full(Disk):
        left = writes

        def open_new(self, path: Path) -> int:
            if not self.left:
                raise OSError(code, os.strerror(code))
            self.left -= 1
            return super().open_new(path)

    process(make_deal(tmp_path, "lot"))
    full = DealStore(tmp_path, storage=LocalStorage(tmp_path, Full()))

    with pytest.raises(DealFailedError) as failure:
        process(full, run_id="run-2")

    assert says in str(failure.value).lower()
    assert not is_retryable(failure.value)
    snapshot = DealStore(tmp_path).current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    assert snapshot.generation == 1
    assert not list(DealStore(tmp_path).verify())
    assert [path.name for path in (tmp_path / "deals" / "lot" / "runs").iterdir()] == ["run-1.0"]


def test_of_two_runs_at_once_the_one_that_comes_second_says_so(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot")

    async def both() -> list[DealOutcome]:
        tasks = [DealTask("lot", f"run-{n}") for n in (1, 2)]
        runs = [process_deal(store, task, make_tools(BrightSegmenter())) for task in tasks]
        return list(await asyncio.gather(*runs))

    first, second = sorted(asyncio.run(both()), key=lambda o: o.promotion.commit.generation)

    assert [o.promotion.commit.generation for o in (first, second)] == [1, 2]
    assert (first.promotion.overtook, second.promotion.overtook) == ((), (1,))
    snapshot = store.current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    assert {version.version for version in snapshot.commit.assets.values()} == {
        f"{second.task.run_id}.0"
    }
    assert not list(store.verify())


def test_a_photo_more_takes_a_few_kilobytes_of_memory(tmp_path: Path) -> None:
    def peak(photos: int) -> int:
        store = make_deal(tmp_path / str(photos), "lot", items=[1] * photos)
        tracemalloc.start()
        process(store)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = 65, 125  # more than the contact sheet shows
    peak(2)  # loads what is loaded once
    assert (peak(many) - peak(few)) / (many - few) < 10_000


def test_a_photo_replaced_by_one_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", items=(3,))
    process(store)
    photo = tmp_path / "deals" / "lot" / "images" / "a.png"
    status, data = photo.stat(), bytearray(photo.read_bytes())
    before = store.photos("lot")
    data[-1:] = b"\0"  # after the end of the picture: it still decodes
    photo.write_bytes(data)
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert store.photos("lot") == before
    with pytest.raises(DealFailedError, match="new or changed since its segmentation"):
        process(store, run_id="run-2", stages=STAGES.with_downstream({"dedup"}))

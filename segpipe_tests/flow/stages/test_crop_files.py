"""The pictures of a deal in one tar: what reads them as files reads them there, too."""

import asyncio
import gc
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import webdataset  # type: ignore[import-untyped]

from segpipe.errors import CorruptVersionError, VersionNotFoundError
from segpipe.flow.checks import CheckSettings
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.results import DealResults
from segpipe.flow.run_settings import FlowSettings
from segpipe.flow.stages.crop_files import CROPS_ARCHIVE, crops_place, read_crop
from segpipe.flow.stages.crop_settings import CropSettings, CropsLayout
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.crops_table import CROPS_SCHEMA, LATER_COLUMNS
from segpipe.flow.stages.cutting import ItemCrop
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.pipeline.io_manager import StoredAsset
from segpipe.store.store import DealStore, Snapshot
from segpipe_tests.deals import DEAL, MODE, current, leftovers, make_tools, memory_root, put_photos
from segpipe_tests.flow.exports import export, tree
from segpipe_tests.goods import FixedSegmenter, photo_of

PHOTOS = {"a.png": photo_of(True, 1), "b.c.png": photo_of(True, 2), "empty.png": photo_of(False)}
TAR, FILES = CropSettings(layout=CropsLayout.TAR), CropSettings(layout=CropsLayout.FILES)


def run(store: DealStore, run_id: str, crops: CropSettings | None = None) -> Snapshot:
    settings = FlowSettings(crops=crops or CropSettings())
    tools = make_tools(FixedSegmenter(), settings)
    asyncio.run(process_deal(store, DealTask(DEAL, run_id), tools))
    return current(store)


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    put_photos(tmp_path / "data", DEAL, PHOTOS)
    return DealStore(tmp_path / "data")


def all_crops(snapshot: Snapshot) -> list[ItemCrop]:
    with DealResults(DEAL, snapshot, [SEGMENTATION, CROPS]) as results:
        return [crop for photo in results for crop in photo.of(CROPS).crops]


def pictures(snapshot: Snapshot) -> dict[str, bytes]:
    """Every picture, by the name that the table gives it."""
    crops = all_crops(snapshot)
    assert len(crops) == 8
    return {crop.file or "": read_crop(snapshot, "crops", crop) for crop in crops}


def files(snapshot: Snapshot) -> list[str]:
    return [entry.path for entry in snapshot.files("crops")]


def table(snapshot: Snapshot) -> Any:
    with snapshot.open("crops", "crops.parquet") as file:
        return pq.read_table(file)


def test_both_layouts_give_every_reader_the_same(store: DealStore, tmp_path: Path) -> None:
    as_files, packed = run(store, "r1", FILES), run(store, "r2", TAR)
    assert files(packed) == ["crops.parquet", CROPS_ARCHIVE]
    assert pictures(packed) == pictures(as_files)
    one, other = StoredAsset(as_files, "crops"), StoredAsset(packed, "crops")
    assert set(other) - set(one) == {CROPS_ARCHIVE}
    assert all(one[name] == other[name] for name in one if name != "crops.parquet")
    assert len(other) == len(list(other))
    with pytest.raises(KeyError):
        other["crops/a/0009.png"]
    for generation, out in ((1, tmp_path / "files"), (2, tmp_path / "tar")):
        store.rollback(DEAL, MODE, generation)
        export(store, "cutouts", out)
    assert tree(tmp_path / "tar") == tree(tmp_path / "files")
    for name in tree(tmp_path / "files"):
        if name.endswith(".png"):
            assert (tmp_path / "tar" / name).read_bytes() == (
                tmp_path / "files" / name
            ).read_bytes()


# Web dataset leaves what it reads to the garbage collector to close.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_tar_is_a_data_set_of_web_dataset(store: DealStore) -> None:
    snapshot = run(store, "r1", TAR)
    archive = snapshot.path("crops", CROPS_ARCHIVE)
    with DealResults(DEAL, snapshot, [SEGMENTATION, REFINEMENT]) as results:
        expected = [
            {
                "key": f"{photo.photo.image}/{item.detection:04d}",
                "about": {
                    "deal": DEAL,
                    "image": photo.photo.image,
                    "detection": item.detection,
                    "box": [float(edge) for edge in item.box],
                    "score": photo.of(SEGMENTATION).result.detections[item.detection].score,
                    "label": photo.of(SEGMENTATION).result.detections[item.detection].label,
                },
            }
            for photo in results
            for item in photo.of(REFINEMENT).items
        ]
    samples = list(webdataset.WebDataset(archive, shardshuffle=False, empty_check=False))
    read = [{"key": one["__key__"], "about": json.loads(one["json"])} for one in samples]
    assert read == expected
    assert [one["png"] for one in samples] == list(pictures(snapshot).values())
    rgba = [
        one["png"] for one in webdataset.WebDataset(archive, shardshuffle=False).decode("rgba8")
    ]
    assert [picture.shape[2] for picture in rgba] == [4] * len(expected)
    gc.collect()
    with tarfile.open(archive) as tar:
        assert {(member.mtime, member.uid) for member in tar} == {(0, 0)}


def test_a_part_of_the_tar_is_the_picture(store: DealStore) -> None:
    snapshot = run(store, "r1", TAR)
    data = snapshot.read("crops", CROPS_ARCHIVE)
    for row in table(snapshot).to_pylist():
        part = data[row["offset"] : row["offset"] + row["length"]]
        assert part.startswith(b"\x89PNG")
        assert part == StoredAsset(snapshot, "crops")[row["file"]]


def test_where_crops_are_files_the_table_is_that_of_earlier_releases(store: DealStore) -> None:
    later = [name for name in CROPS_SCHEMA.names if name in LATER_COLUMNS]
    as_files = table(run(store, "r1"))
    assert set(later).isdisjoint(as_files.column_names)
    packed = table(run(store, "r2", TAR))
    assert [*as_files.column_names, *later] == packed.column_names
    assert packed.select(as_files.column_names).equals(as_files)
    assert all(CROPS_SCHEMA.field(name).nullable for name in later)


@pytest.mark.parametrize("layout", [None, *CropsLayout])
def test_an_object_store_has_a_tar_unless_files_are_asked_for(layout: CropsLayout | None) -> None:
    store = DealStore(memory_root())
    for name, data in PHOTOS.items():
        store.root.storage().replace(f"deals/{DEAL}/images/{name}", data)
    snapshot = run(store, "r1", CropSettings(layout=layout))
    assert (CROPS_ARCHIVE in files(snapshot)) == (layout is not CropsLayout.FILES)
    assert all(data.startswith(b"\x89PNG") for data in pictures(snapshot).values())
    again = run(store, "r2", CropSettings(layout=layout))
    assert all(check.find(again, CheckSettings()).passed for check in CROPS.checks)


def test_a_damaged_picture_is_found_and_the_others_are_read(store: DealStore) -> None:
    snapshot = run(store, "r1", TAR)
    first, second = (crop for crop in all_crops(snapshot)[:2])
    assert first.member
    archive = Path(snapshot.path("crops", CROPS_ARCHIVE))
    data = bytearray(archive.read_bytes())
    data[first.member.offset + 60] ^= 1
    archive.write_bytes(data)
    with pytest.raises(CorruptVersionError, match="CRC"):
        read_crop(snapshot, "crops", first)
    assert read_crop(snapshot, "crops", second).startswith(b"\x89PNG")
    (damage,) = store.verify()
    assert (damage.file, damage.what) == (
        CROPS_ARCHIVE,
        "content changed: its sha256 differs",
    )
    archive.write_bytes(data[: first.member.offset + 10])
    with pytest.raises(CorruptVersionError, match="CRC"):
        read_crop(snapshot, "crops", first)
    archive.unlink()
    with pytest.raises(CorruptVersionError, match="missing"):
        read_crop(snapshot, "crops", first)


def test_a_crop_that_failed_has_no_picture(store: DealStore) -> None:
    snapshot = run(store, "r1", TAR)
    with pytest.raises(VersionNotFoundError, match="too thin"):
        read_crop(snapshot, "crops", ItemCrop(7, "png", reason="too thin"))


def test_a_tar_is_rolled_back_swept_and_led_to_as_files_are(store: DealStore) -> None:
    run(store, "r1", FILES)
    packed = run(store, "r2", TAR)
    folder = Path(store.root.at(f"deals/{DEAL}/current/{MODE}/crops"))
    assert crops_place(packed, "crops") == str(folder / CROPS_ARCHIVE)
    assert (folder / CROPS_ARCHIVE).read_bytes() == packed.read("crops", CROPS_ARCHIVE)
    store.rollback(DEAL, MODE, 1)
    assert not (folder / CROPS_ARCHIVE).exists()
    assert crops_place(current(store), "crops") == str(folder / "crops")
    store.rollback(DEAL, MODE, 2)
    assert pictures(current(store)) == pictures(packed)
    few = DealStore(store.root.at(""), keep_commits=1)
    assert few.sweep(min_age_s=0).versions == len(packed.commit.assets)
    left = leftovers(Path(store.root.at("")), few)
    assert {name for name in left if not name.startswith("images/")} == set()
    assert list(few.verify()) == []
    assert pictures(current(few)) == pictures(packed)


def test_crops_alone_are_packed_from_what_is_current(store: DealStore) -> None:
    before = run(store, "r1", FILES)
    tools = make_tools(FixedSegmenter(), FlowSettings(crops=TAR))
    task = DealTask(DEAL, "r2", stages=frozenset({"crops"}))
    asyncio.run(process_deal(store, task, tools))
    assert pictures(current(store)) == pictures(before)
    run(store, "r3", TAR)
    archives = [store.snapshot(DEAL, MODE, n).read("crops", CROPS_ARCHIVE) for n in (2, 3)]
    assert archives[0] == archives[1]

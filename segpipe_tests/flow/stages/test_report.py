"""The previews of a deal: files where people look into folders, one zip where each file costs."""

import asyncio
import zipfile
from pathlib import Path

import pytest

from segpipe.errors import CorruptVersionError, NotPromotedError, VersionNotFoundError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.stages.report import PREVIEWS_ARCHIVE, previews_place, read_preview
from segpipe.store.store import DealStore, Snapshot
from segpipe_tests.deals import DEAL, MODE, current, make_tools, memory_root, put_photos
from segpipe_tests.goods import FixedSegmenter, photo_of

PHOTOS = {"a.png": photo_of(True, 1), "שלום.png": photo_of(True, 2), "empty.png": photo_of(False)}
IMAGES = ("a", "שלום", "empty")


def run(store: DealStore, run_id: str, stages: frozenset[str] | None = None) -> Snapshot:
    task = DealTask(DEAL, run_id) if stages is None else DealTask(DEAL, run_id, stages=stages)
    asyncio.run(process_deal(store, task, make_tools(FixedSegmenter())))
    return current(store)


@pytest.fixture
def local(tmp_path: Path) -> DealStore:
    put_photos(tmp_path / "data", DEAL, PHOTOS)
    return DealStore(tmp_path / "data")


@pytest.fixture
def packed() -> DealStore:
    store = DealStore(memory_root())
    for name, data in PHOTOS.items():
        store.root.storage().replace(f"deals/{DEAL}/images/{name}", data)
    return store


def test_a_preview_is_the_same_as_a_file_and_in_the_zip(
    local: DealStore, packed: DealStore
) -> None:
    in_folder, in_zip = run(local, "r1"), run(packed, "r1")
    for image in IMAGES:
        assert read_preview(in_zip, image) == read_preview(in_folder, image)
    assert previews_place(in_folder).endswith("/deal_report/previews")
    assert previews_place(in_zip).endswith("/deal_report/previews.zip")
    assert [entry.path for entry in in_zip.files("deal_report")] == [
        "contact_sheet.jpg",
        PREVIEWS_ARCHIVE,
        "report.json",
    ]
    assert list(packed.verify()) == []


def test_people_and_other_programs_open_the_zip(packed: DealStore) -> None:
    snapshot = run(packed, "r1")
    with (
        snapshot.open("deal_report", PREVIEWS_ARCHIVE) as file,
        zipfile.ZipFile(file) as archive,
    ):
        assert archive.namelist() == [f"previews/{image}.jpg" for image in sorted(IMAGES)]
        assert archive.testzip() is None


def test_files_that_an_earlier_release_wrote_to_an_object_store_are_read(
    packed: DealStore,
) -> None:
    run(packed, "r1")
    with packed.stage(DEAL, MODE, run_id="old") as staging:
        staging.write("deal_report", "previews/a.jpg", b"jpeg")
        staging.seal("deal_report", made_from={})
        staging.promote()
    assert read_preview(current(packed), "a") == b"jpeg"


@pytest.mark.parametrize("where", ["local", "packed"])
def test_a_photo_without_a_preview_is_said(where: str, request: pytest.FixtureRequest) -> None:
    store: DealStore = request.getfixturevalue(where)
    with pytest.raises(VersionNotFoundError, match="other"):
        read_preview(run(store, "r1"), "other")


def test_no_report_is_said(packed: DealStore) -> None:
    with pytest.raises(NotPromotedError):
        read_preview(run(packed, "r1", frozenset({"segmentation"})), "a")


def test_a_damaged_zip_is_said(packed: DealStore) -> None:
    snapshot = run(packed, "r1")
    key = f"deals/{DEAL}/runs/r1.0/{MODE}/deal_report/{PREVIEWS_ARCHIVE}"
    data = bytearray(packed.root.storage().read(key))
    data[200] ^= 0xFF  # in the picture of the first photo
    packed.root.storage().replace(key, bytes(data))
    with pytest.raises(CorruptVersionError, match=PREVIEWS_ARCHIVE):
        read_preview(snapshot, min(IMAGES))
    packed.root.storage().replace(key, bytes(len(data)))
    with pytest.raises(CorruptVersionError, match=PREVIEWS_ARCHIVE):
        read_preview(snapshot, "a")

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from segpipe.errors import (
    BadPhotosError,
    DealNotFoundError,
    DuplicateImageError,
    EmptyDealError,
    InvalidIdError,
    PhotoError,
    PhotosChangedError,
    UnreadablePhotoError,
    UnsafePathError,
)
from segpipe.store.inputs import fingerprint
from segpipe.store.store import DealStore
from segpipe_tests.deals import DEAL, promote
from segpipe_tests.store.no_files import make_dangling_link, make_fifo, make_folder, make_socket


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "deals" / DEAL / "images"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def deal(tmp_path: Path) -> DealStore:
    return DealStore(tmp_path / "root")


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    """A folder outside the data root with two photos."""
    folder = tmp_path / "camera"
    folder.mkdir()
    (folder / "b.jpg").write_bytes(b"bb")
    (folder / "a.jpg").write_bytes(b"a")
    return folder


def test_photos_are_listed_by_name_with_their_ids(deal: DealStore, images: Path) -> None:
    for name in ("b.jpg", "a b.PNG", "\N{PILE OF POO}.webp"):
        (images / name).write_bytes(name.encode())
    os.utime(images / "b.jpg", ns=(0, 1_700_000_000_123_456_789))
    photos = deal.photos(DEAL)
    assert [photo.name for photo in photos] == ["a b.PNG", "b.jpg", "\N{PILE OF POO}.webp"]
    assert [photo.image for photo in photos] == ["a b", "b", "\N{PILE OF POO}"]
    assert (photos[1].size, photos[1].modified_ns) == (5, 1_700_000_000_123_456_789)
    assert [deal.read_photo(DEAL, photo) for photo in photos] == [
        photo.name.encode() for photo in photos
    ]


def test_photos_in_memory_are_listed_and_read(store: DealStore, camera: Path) -> None:
    added = store.add_photos(DEAL, [camera / "b.jpg", camera / "a.jpg"])
    assert [photo.name for photo in added] == ["b.jpg", "a.jpg"]
    assert store.photos(DEAL) == added[::-1]
    assert [store.read_photo(DEAL, photo) for photo in added] == [b"bb", b"a"]
    assert store.deals() == [DEAL]


def test_what_file_managers_leave_is_no_photo(deal: DealStore, images: Path) -> None:
    for name in (".DS_Store", ".segpipe-x.tmp", "Thumbs.db", "Desktop.ini", "a.jpg"):
        (images / name).write_bytes(b"x")
    (images / ".thumbnails").mkdir()
    assert [photo.name for photo in deal.photos(DEAL)] == ["a.jpg"]


def test_a_deal_that_is_not_there_is_told_from_one_without_photos(
    deal: DealStore, images: Path
) -> None:
    with pytest.raises(DealNotFoundError) as missing:
        deal.photos("d2")
    assert missing.value.deal == "d2"
    with pytest.raises(EmptyDealError) as empty:
        deal.photos(DEAL)
    assert empty.value.deal == DEAL
    images.rmdir()
    with pytest.raises(DealNotFoundError):
        deal.photos(DEAL)
    (images.parents[1] / "note.txt").write_bytes(b"")
    with pytest.raises(DealNotFoundError):
        deal.photos("note.txt")


def make_looping_link(path: Path) -> None:
    path.symlink_to(path)


def make_link_to_fifo(path: Path) -> None:
    os.mkfifo(path.parent.parent / "fifo")
    path.symlink_to(path.parent.parent / "fifo")


def make_bad_name(path: Path) -> None:
    Path(os.fsdecode(os.fsencode(path.parent) + b"/\xff.jpg")).write_bytes(b"")


@pytest.mark.parametrize(
    "make",
    [
        make_folder,
        make_fifo,
        make_socket,
        make_dangling_link,
        make_looping_link,
        make_link_to_fifo,
        make_bad_name,
    ],
)
def test_what_is_no_readable_file_is_named(
    deal: DealStore, images: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(images)
    (images / "good.jpg").write_bytes(b"good")
    make(images / "x.jpg")
    with pytest.raises(UnreadablePhotoError) as caught:
        deal.photos(DEAL)
    assert caught.value.deal == DEAL
    assert caught.value.image in {"x.jpg", "\udcff.jpg"}


def test_a_link_inside_the_root_is_followed(deal: DealStore, images: Path) -> None:
    target = images.parents[2] / "shared.jpg"
    target.write_bytes(b"shared")
    (images / "a.jpg").symlink_to(target)
    (photo,) = deal.photos(DEAL)
    assert photo.size == 6
    assert deal.read_photo(DEAL, photo) == b"shared"


def test_a_link_that_leaves_the_root_is_refused(
    deal: DealStore, images: Path, camera: Path
) -> None:
    (images / "x.jpg").symlink_to(camera / "a.jpg")
    with pytest.raises(UnsafePathError) as caught:
        deal.photos(DEAL)
    assert (caught.value.deal, caught.value.image) == (DEAL, "x.jpg")


@pytest.mark.parametrize("level", ["images", "deal"])
def test_a_folder_that_leads_out_of_the_root_is_refused(
    deal: DealStore, images: Path, camera: Path, level: str
) -> None:
    (camera / "images").mkdir()
    images.rmdir()
    if level == "images":
        images.symlink_to(camera)
    else:
        images.parent.rmdir()
        images.parent.symlink_to(camera)
        assert list(deal.invalid_deals()) == [DEAL]
        assert deal.deals() == []
    with pytest.raises(UnsafePathError) as caught:
        deal.photos(DEAL)
    assert caught.value.deal == DEAL


def test_two_photos_with_one_image_id_are_both_named(deal: DealStore, images: Path) -> None:
    for name in ("a.jpg", "a.png"):
        (images / name).write_bytes(b"same")
    with pytest.raises(DuplicateImageError, match=r"'a\.jpg' and 'a\.png'") as caught:
        deal.photos(DEAL)
    assert caught.value.deal == DEAL


def test_the_same_bytes_under_two_names_are_two_images(deal: DealStore, images: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (images / name).write_bytes(b"same")
    assert [photo.image for photo in deal.photos(DEAL)] == ["a", "b"]


def test_a_photo_deleted_after_listing_is_unreadable(deal: DealStore, images: Path) -> None:
    (images / "a.jpg").write_bytes(b"a")
    (photo,) = deal.photos(DEAL)
    (images / "a.jpg").unlink()
    with pytest.raises(UnreadablePhotoError, match="No such file") as caught:
        deal.read_photo(DEAL, photo)
    assert (caught.value.deal, caught.value.image) == (DEAL, "a.jpg")


@pytest.mark.parametrize("data", [b"aa", b"b"], ids=["size", "time"])
def test_a_photo_changed_after_listing_is_told(deal: DealStore, images: Path, data: bytes) -> None:
    (images / "a.jpg").write_bytes(b"a")
    os.utime(images / "a.jpg", (0, 0))
    (photo,) = deal.photos(DEAL)
    (images / "a.jpg").write_bytes(data)
    with pytest.raises(PhotosChangedError) as caught:
        deal.read_photo(DEAL, photo)
    assert caught.value.retryable
    assert caught.value.image == "a.jpg"


@pytest.mark.parametrize("make", [make_fifo, make_folder, make_dangling_link])
def test_a_photo_replaced_by_something_else_is_not_opened(
    deal: DealStore, images: Path, make: Callable[[Path], None]
) -> None:
    (images / "a.jpg").write_bytes(b"a")
    (photo,) = deal.photos(DEAL)
    (images / "a.jpg").unlink()
    make(images / "a.jpg")
    with pytest.raises(UnreadablePhotoError):
        deal.read_photo(DEAL, photo)


@pytest.mark.parametrize("level", ["photo", "folder"])
def test_a_photo_swapped_for_a_link_out_of_the_root_is_refused(
    deal: DealStore, images: Path, camera: Path, level: str
) -> None:
    (images / "a.jpg").write_bytes(b"a")
    (photo,) = deal.photos(DEAL)
    (images / "a.jpg").unlink()
    if level == "photo":
        (images / "a.jpg").symlink_to(camera / "a.jpg")
    else:
        images.rmdir()
        images.symlink_to(camera)
    with pytest.raises(UnsafePathError):
        deal.read_photo(DEAL, photo)


def test_a_root_that_is_itself_a_link_works(tmp_path: Path, images: Path) -> None:
    (images / "a.jpg").write_bytes(b"a")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    linked = DealStore(tmp_path / "link")
    (photo,) = linked.photos(DEAL)
    assert linked.read_photo(DEAL, photo) == b"a"


def test_deals_are_listed_and_unusable_folders_are_told(tmp_path: Path) -> None:
    deals = tmp_path / "deals"
    for name in ("b", "a", "שלום", " x", ".git", "cafe\N{COMBINING ACUTE ACCENT}", "x" * 200):
        (deals / name / "images").mkdir(parents=True)
    (deals / "README").write_bytes(b"")
    store = DealStore(tmp_path)
    assert store.deals() == ["a", "b", "שלום"]
    assert set(store.invalid_deals()) == {
        " x",
        ".git",
        "cafe\N{COMBINING ACUTE ACCENT}",
        "x" * 200,
    }


def test_a_root_without_deals_has_none(store: DealStore) -> None:
    assert store.deals() == []
    assert store.invalid_deals() == {}


def test_adding_copies_and_leaves_the_source_alone(
    deal: DealStore, images: Path, camera: Path
) -> None:
    deal.add_photos(DEAL, [camera / "a.jpg"])
    assert (images / "a.jpg").read_bytes() == b"a"
    assert (camera / "a.jpg").read_bytes() == b"a"
    assert os.listdir(images) == ["a.jpg"]  # noqa: PTH208 - dot files too


def test_adding_the_same_photo_again_changes_nothing(deal: DealStore, camera: Path) -> None:
    before = deal.add_photos(DEAL, [camera / "a.jpg"])
    assert deal.add_photos(DEAL, [camera / "a.jpg", camera / "a.jpg"]) == before * 2
    assert deal.photos(DEAL) == before


@pytest.mark.parametrize("name", ["a.jpg", "a.png"], ids=["name", "id"])
@pytest.mark.parametrize("present", [True, False])
def test_a_different_photo_of_the_same_name_or_id_is_never_overwritten(
    deal: DealStore, images: Path, camera: Path, name: str, present: bool
) -> None:
    other = camera / "other" / name
    other.parent.mkdir()
    other.write_bytes(b"different")
    first = [camera / "a.jpg"]
    if present:
        deal.add_photos(DEAL, first)
        first = []
    with pytest.raises(DuplicateImageError) as caught:
        deal.add_photos(DEAL, [*first, camera / "b.jpg", other])
    assert caught.value.image == name
    assert [path.read_bytes() for path in images.iterdir()] == [b"a"] * present


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("missing.jpg", UnreadablePhotoError),
        ("folder.jpg", UnreadablePhotoError),
        ("fifo.jpg", UnreadablePhotoError),
        (".hidden.jpg", InvalidIdError),
        ("Thumbs.db", InvalidIdError),
        ("x" * 300 + ".jpg", InvalidIdError),
        ("é" * 130 + ".jpg", InvalidIdError),
    ],
)
def test_a_file_that_cannot_be_added_stops_all_of_them(
    deal: DealStore, images: Path, camera: Path, name: str, error: type[PhotoError]
) -> None:
    (camera / "folder.jpg").mkdir()
    os.mkfifo(camera / "fifo.jpg")
    with pytest.raises(error) as caught:
        deal.add_photos(DEAL, [camera / "a.jpg", camera / name])
    assert caught.value.deal == DEAL
    assert list(images.iterdir()) == []


def test_a_name_gets_its_normal_form_on_the_way_in(
    deal: DealStore, images: Path, camera: Path
) -> None:
    source = camera / "cafe\N{COMBINING ACUTE ACCENT}.jpg"
    source.write_bytes(b"x")
    (photo,) = deal.add_photos(DEAL, [source])
    assert (photo.name, photo.image) == ("café.jpg", "café")
    assert (images / "café.jpg").exists()


@pytest.mark.parametrize("deal_id", ["..", "a/b", ""])
def test_an_unsafe_deal_id_gets_no_photos(
    deal: DealStore, tmp_path: Path, camera: Path, deal_id: str
) -> None:
    with pytest.raises(InvalidIdError):
        deal.add_photos(deal_id, [camera / "a.jpg"])
    assert not (tmp_path / "root").exists()


def test_a_fingerprint_changes_with_name_size_and_time(
    deal: DealStore, images: Path, camera: Path
) -> None:
    deal.add_photos(DEAL, [camera / "a.jpg"])
    os.utime(images / "a.jpg", (1, 1))
    seen = {fingerprint(deal.photos(DEAL))}
    assert fingerprint(deal.photos(DEAL)) in seen
    os.utime(images / "a.jpg", (2, 2))
    seen.add(fingerprint(deal.photos(DEAL)))
    (images / "a.jpg").rename(images / "c.jpg")
    seen.add(fingerprint(deal.photos(DEAL)))
    (images / "c.jpg").write_bytes(b"cc")
    os.utime(images / "c.jpg", (2, 2))
    seen.add(fingerprint(deal.photos(DEAL)))
    assert len(seen) == 4


def test_a_run_never_touches_the_photos(deal: DealStore, images: Path, camera: Path) -> None:
    before = deal.add_photos(DEAL, [camera / "a.jpg", camera / "b.jpg"])
    promote(deal, "r1")
    deal.rollback(DEAL, "find_all", 1)
    deal.sweep(min_age_s=0)
    assert deal.photos(DEAL) == before[:2]
    assert sorted(os.listdir(images)) == ["a.jpg", "b.jpg"]  # noqa: PTH208


def test_everything_that_is_wrong_with_the_photos_is_told_at_once(tmp_path: Path) -> None:
    images = tmp_path / "deals" / "lot" / "images"
    (images / "folder.jpg").mkdir(parents=True)
    (images / "nowhere.jpg").symlink_to(images / "missing.jpg")
    for name in ("a.jpg", "a.png"):
        (images / name).write_bytes(b"x")
    with pytest.raises(BadPhotosError) as caught:
        DealStore(tmp_path).photos("lot")
    kinds = {error.image: type(error) for error in caught.value.errors}
    assert kinds == {
        "a.png": DuplicateImageError,
        "folder.jpg": UnreadablePhotoError,
        "nowhere.jpg": UnreadablePhotoError,
    }
    assert {error.deal for error in caught.value.errors} == {"lot"}

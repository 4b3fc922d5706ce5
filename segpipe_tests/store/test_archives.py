"""A tar that every program reads, and of which each member is read alone."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import CorruptVersionError, StoreError, VersionNotFoundError
from segpipe.store.archives import ArchiveWriter, Member
from segpipe.store.store import DealStore
from segpipe_tests.deals import DEAL, MODE, current, memory_root

names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


def write(store: DealStore, members: dict[str, bytes]) -> dict[str, Member]:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        with ArchiveWriter(staging, "goods", "goods.tar") as archive:
            places = {name: archive.add(name, data) for name, data in members.items()}
        staging.seal("goods", made_from={})
        staging.promote()
    return places


@given(st.dictionaries(paths, st.binary(max_size=2000), max_size=6))
def test_members_come_back_alone_and_by_any_reader_of_tar(members: dict[str, bytes]) -> None:
    store = DealStore(memory_root())
    places = write(store, members)
    snapshot = current(store)
    for name, place in places.items():
        assert snapshot.read_member("goods", "goods.tar", place) == members[name]
    whole = snapshot.read("goods", "goods.tar")
    read = {}
    with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file
            read[member.name] = file.read()
    assert read == {name.rstrip("/"): data for name, data in members.items()}


@pytest.mark.parametrize("name", ["a.png", f"{'a' * 99}/b.png", "é/0001.png", "a" * 100])
def test_a_plain_header_is_the_one_that_python_writes(name: str) -> None:
    store = DealStore(memory_root())
    write(store, {name: b"123"})
    member = tarfile.TarInfo(name)
    member.size = 3
    expected = member.tobuf(tarfile.PAX_FORMAT, "utf-8")
    assert current(store).read("goods", "goods.tar").startswith(expected)


def test_a_place_that_is_none_of_its_members_is_no_member() -> None:
    store = DealStore(memory_root())
    places = write(store, {"a": b"gold", "b": b"ring"})
    snapshot = current(store)
    wrong = places["a"]._replace(crc32=places["b"].crc32)
    with pytest.raises(CorruptVersionError, match="CRC"):
        snapshot.read_member("goods", "goods.tar", wrong)
    with pytest.raises(VersionNotFoundError, match=r"no file 'rings\.tar'"):
        snapshot.read_member("goods", "rings.tar", places["a"])


def test_nothing_is_added_to_an_archive_that_is_not_open() -> None:
    with DealStore(memory_root()).stage(DEAL, MODE, run_id="r1") as staging:
        archive = ArchiveWriter(staging, "goods", "goods.tar")
        with pytest.raises(StoreError, match="with statement"):
            archive.add("a", b"")


def test_an_archive_that_fails_half_way_leaves_the_staging_without_it() -> None:
    def half_an_archive() -> None:
        with ArchiveWriter(staging, "goods", "goods.tar") as archive:
            archive.add("a", b"gold")
            raise RuntimeError("half way")

    store = DealStore(memory_root())
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        with pytest.raises(RuntimeError, match="half way"):
            half_an_archive()
        staging.write("goods", "other", b"x")
        staging.seal("goods", made_from={})
        staging.promote()
    assert [entry.path for entry in current(store).files("goods")] == ["other"]

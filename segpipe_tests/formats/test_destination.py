"""Files and folders that appear at their place whole."""

from collections.abc import Callable
from pathlib import Path

import pytest

from segpipe.errors import ConfigError, StoreError
from segpipe.formats.destination import EXPORT_FILE, new_file, new_folder
from segpipe_tests.flow.exports import tree


def make_file(path: Path, text: str, *, overwrite: bool = False) -> None:
    with new_file(path, overwrite=overwrite) as file:
        file.write(text.encode())


def make_folder(path: Path, text: str, *, overwrite: bool = False) -> None:
    with new_folder(path, overwrite=overwrite) as folder:
        folder.write(EXPORT_FILE, b"{}")
        folder.write("a/b.txt", text.encode())


def read_file(path: Path) -> str:
    return path.read_text()


def read_folder(path: Path) -> str:
    assert tree(path) == ["a/b.txt", EXPORT_FILE]
    return (path / "a/b.txt").read_text()


Make = Callable[..., None]
Read = Callable[[Path], str]
BOTH = pytest.mark.parametrize(
    ("make", "read"), [(make_file, read_file), (make_folder, read_folder)], ids=["file", "folder"]
)


@BOTH
def test_it_is_made_with_the_folders_above(tmp_path: Path, make: Make, read: Read) -> None:
    make(tmp_path / "x/y", "one")
    assert read(tmp_path / "x/y") == "one"
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["y"]


@BOTH
def test_what_is_there_is_kept_unless_it_may_be_overwritten(
    tmp_path: Path, make: Make, read: Read
) -> None:
    make(tmp_path / "x", "one")
    with pytest.raises(ConfigError, match="overwrite") as caught:
        make(tmp_path / "x", "two")
    assert caught.value.field == "out"
    assert read(tmp_path / "x") == "one"
    make(tmp_path / "x", "three", overwrite=True)
    assert read(tmp_path / "x") == "three"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@BOTH
@pytest.mark.parametrize("place", ["x", "x/y"])
def test_a_place_where_nothing_can_be_written_is_named(
    tmp_path: Path, make: Make, read: Read, place: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match="nothing can be written at ") as caught:
        make(tmp_path / "file" / place, "one")
    assert caught.value.field == "out"


@BOTH
def test_who_comes_second_does_not_overwrite_who_came_first(
    tmp_path: Path, make: Make, read: Read
) -> None:
    def race() -> None:
        maker = new_file if make is make_file else new_folder
        with maker(tmp_path / "x", overwrite=False):
            make(tmp_path / "x", "first")

    with pytest.raises(ConfigError):
        race()
    assert read(tmp_path / "x") == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("overwrite", [False, True])
@BOTH
def test_an_error_leaves_what_was_there(
    tmp_path: Path, make: Make, read: Read, overwrite: bool
) -> None:
    if overwrite:
        make(tmp_path / "x", "one")

    def fail() -> None:
        maker = new_file if make is make_file else new_folder
        with maker(tmp_path / "x", overwrite=overwrite):
            raise StoreError("no")

    with pytest.raises(StoreError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == (["x"] if overwrite else [])
    if overwrite:
        assert read(tmp_path / "x") == "one"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    make_folder(tmp_path / "x", "one")
    assert read_folder(tmp_path / "x") == "one"


def test_a_folder_of_something_else_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="no export"):
        make_folder(tmp_path / "x", "one", overwrite=True)
    assert tree(tmp_path) == ["x/thesis.txt"]


@pytest.mark.parametrize("moves", [1, 2])
def test_an_interrupt_while_a_folder_is_replaced_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    make_folder(tmp_path / "x", "one")
    rename = Path.rename
    done: list[Path] = []

    def interrupted(path: Path, target: Path) -> Path:
        done.append(path)
        if len(done) == moves:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_folder(tmp_path / "x", "two", overwrite=True)
    assert read_folder(tmp_path / "x") == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="is a file"):
        make_folder(tmp_path / "file", "one", overwrite=True)
    with pytest.raises(ConfigError, match="is a folder"):
        make_file(tmp_path / "folder", "one", overwrite=True)


def test_a_link_to_a_folder_leads_to_what_is_replaced(tmp_path: Path) -> None:
    make_folder(tmp_path / "real", "one")
    (tmp_path / "link").symlink_to("real")
    make_folder(tmp_path / "link", "two", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert read_folder(tmp_path / "real") == "two"


def test_files_of_what_failed_are_removed_with_their_folders(tmp_path: Path) -> None:
    with new_folder(tmp_path / "x", overwrite=False) as folder:

        def fail() -> None:
            with folder.all_or_nothing():
                folder.write("kept/b.txt", b"b")
                folder.write("gone/deep/c.txt", b"c")
                raise StoreError("no")

        folder.write("kept/a.txt", b"a")
        with pytest.raises(StoreError):
            fail()
    assert tree(tmp_path / "x") == ["kept/a.txt"]
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["kept"]

"""``segpipe add``: what is a photo by its content, and what is not."""

import json
from pathlib import Path
from unicodedata import normalize

from segpipe.store.store import DealStore
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.goods import camera_raw, goods_photo


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def names(root: Path, deal: str = "lot") -> list[str]:
    return [photo.name for photo in DealStore(root).photos(deal)]


def test_folders_are_searched_and_what_phones_and_disks_leave_is_skipped(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    camera = put(
        tmp_path / "camera",
        {
            "IMG_1.PNG": goods_photo(1),
            "IMG_1.AAE": b"<plist/>",
            "IMG_1.MOV": b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
            "clip.mp4": b"\0\0\0\x18ftypmp42",
            "2026/11/IMG_2.png": goods_photo(2),
            "@eaDir/IMG_1.PNG/SYNOPHOTO_THUMB_M.jpg": goods_photo(1),
            ".DS_Store": b"\0",
            "Thumbs.db": b"\0",
            "._IMG_1.PNG": b"\0\5\x16\7",
        },
    )
    added = cli("add", "lot", str(camera), "--json")
    assert added.exit_code == 0, added.output
    told = json.loads(added.stdout)
    assert told["new"] == ["IMG_1.PNG", "IMG_2.png"]
    assert {Path(path).name for path in told["skipped"]} == {
        *("IMG_1.AAE", "IMG_1.MOV", "clip.mp4", "@eaDir", ".DS_Store", "Thumbs.db", "._IMG_1.PNG"),
    }
    assert names(root) == ["IMG_1.PNG", "IMG_2.png"]


def test_new_same_skipped_and_all_are_told(cli: Cli, photos: list[Path], tmp_path: Path) -> None:
    one = cli("add", "lot", str(photos[0]))
    assert one.stdout == "1 photo is in deal lot: 1 new\n"
    put(tmp_path / "camera", {"a.AAE": b"x"})
    all_of_it = cli("add", "lot", str(photos[0].parent))
    assert all_of_it.stdout == "2 photos are in deal lot: 1 new, 1 there already, 1 skipped\n"
    assert "a.AAE" in all_of_it.stderr


def test_what_is_no_photo_is_refused_by_its_path_whatever_its_name(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    camera = put(
        tmp_path / "camera",
        {
            "README.md": b"# Photos",
            "fake.jpg": b"text",
            "half.png": goods_photo(1)[:20],
            "raw.jpg": camera_raw(),
        },
    )
    put(camera, {"a.png": goods_photo(1), "png-inside.txt": goods_photo(2)})
    result = cli("add", "lot", str(camera), str(tmp_path / "lost" / "x.png"))
    assert result.exit_code == 1
    for path in (
        camera / "README.md",
        camera / "fake.jpg",
        camera / "raw.jpg",
        tmp_path / "lost" / "x.png",
    ):
        assert str(path) in result.stderr
    assert "half.png" in result.stderr
    assert "png-inside.txt" not in result.stderr
    assert not (root / "deals" / "lot").exists()


def test_all_faults_come_in_one_round_and_nothing_is_added(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    camera = put(
        tmp_path / "camera",
        {
            "one/a.png": goods_photo(1),
            "two/a.png": goods_photo(2),
            "b.png": goods_photo(3),
            "B.png": goods_photo(4),
            "c.png": goods_photo(1),
            "c.jpg": goods_photo(2),
            "notes.txt": b"x",
        },
    )
    result = cli("add", "lot", str(camera))
    assert result.exit_code == 1
    for said in (
        "two/a.png' are different photos of one name",
        "differ in case only",
        "have the same image id 'c'",
        "notes.txt",
    ):
        assert said in result.stderr
    assert not (root / "deals" / "lot").exists()


def test_a_name_typed_in_either_unicode_form_is_one_photo(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    photo = goods_photo(1)
    decomposed = put(tmp_path / "mac", {normalize("NFD", "Ringe für Zoë.png"): photo})
    composed = put(tmp_path / "pc", {"Ringe für Zoë.png": photo})
    assert cli("add", "lot", str(decomposed), str(composed)).exit_code == 0
    assert names(root) == ["Ringe für Zoë.png"]
    again = json.loads(cli("add", "lot", str(composed), "--json").stdout)
    assert (again["new"], again["same"]) == ([], ["Ringe für Zoë.png"])
    assert (
        cli("prompt", "lot", normalize("NFD", "Ringe für Zoë.png"), "--text", "ring").exit_code == 0
    )

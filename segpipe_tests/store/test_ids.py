import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import InvalidIdError
from segpipe.store.ids import check_deal_id, check_file_name, check_id, image_id_of

FAMILY = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}"


def test_ordinary_names_are_deal_ids() -> None:
    for deal in ["2024-11 Berlin", "a.b", "x" * 128, "é" * 64, "\N{PILE OF POO}", "שלום", "a"]:
        assert check_deal_id(deal) == deal


def test_unsafe_names_are_refused_as_deal_ids() -> None:
    for deal in [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "a\\b",
        "/",
        " a",
        "a ",
        "\N{NO-BREAK SPACE}a",
        "a\nb",
        "a\0b",
        "a\x7fb",
        "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
        "\N{ZERO WIDTH SPACE}",
        "\N{LINE SEPARATOR}",
        "\udcff",
        "x" * 129,
        "é" * 65,
        "x" * 300,
    ]:
        with pytest.raises(InvalidIdError) as caught:
            check_deal_id(deal)
        assert caught.value.field == "deal"


def test_two_ways_to_write_a_letter_are_one_deal() -> None:
    assert check_deal_id("cafe\N{COMBINING ACUTE ACCENT}") == "café"


def test_relative_paths_name_files_of_a_version() -> None:
    for name in ["table.parquet", "crops/img/000.png", "a/b/c/d"]:
        assert check_file_name(name) == name


def test_paths_that_could_leave_a_version_are_refused() -> None:
    for name in ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a/.b", "a\\b"]:
        with pytest.raises(InvalidIdError):
            check_file_name(name)


def test_the_image_id_is_the_stem_made_safe() -> None:
    for file_name, image in [
        ("IMG_0001.JPG", "IMG_0001"),
        ("photo", "photo"),
        ("a.tar.gz", "a.tar"),
        (" a .jpg", "_a_"),
        ("..jpg", "_"),
        ("...jpg", "_."),
        ("a\nb\\c.png", "a_b_c"),
        ("cafe\N{COMBINING ACUTE ACCENT}.jpg", "café"),
        (f"{FAMILY}.png", "\N{MAN}_\N{WOMAN}"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe.png", "_gpj.exe"),
        ("תמונה.jpg", "תמונה"),
        ("\udcff.jpg", "_"),
    ]:
        assert image_id_of(file_name) == image


def test_long_stems_are_cut_and_stay_different() -> None:
    one, other = image_id_of("é" * 100 + "1.jpg"), image_id_of("é" * 100 + "2.jpg")
    assert one != other
    assert one[:50] == other[:50]
    assert len(one.encode()) <= 128


@given(st.text(st.characters(codec=None), min_size=1, max_size=200))
def test_every_file_name_gives_a_valid_image_id(file_name: str) -> None:
    image = image_id_of(file_name)
    assert check_id(image, field="image") == image
    assert image_id_of(file_name) == image


@given(st.text(max_size=140))
def test_an_accepted_id_is_one_safe_normal_path_part(value: str) -> None:
    try:
        accepted = check_id(value, field="deal")
    except InvalidIdError:
        return
    assert accepted == unicodedata.normalize("NFC", value)
    assert accepted not in {"", ".", ".."}
    assert not set(accepted) & set("/\\\0")
    assert len(accepted.encode()) <= 128
    assert check_id(accepted, field="deal") == accepted

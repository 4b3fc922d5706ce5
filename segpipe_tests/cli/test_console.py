"""Tables on a terminal, tab-separated lines elsewhere: nothing is cut, broken or false."""

import json
import os
from pathlib import Path

from segpipe_tests.cli.terminals import in_pipe, in_terminal
from segpipe_tests.deals import make_deal, put_photos, run_deal
from segpipe_tests.goods import goods_photo

LONG = "IMG_2026-11-28_consignment-of-rings_0001.png"


def test_at_80_columns_no_name_number_source_or_id_is_broken(tmp_path: Path) -> None:
    put_photos(tmp_path, "lot", {LONG: goods_photo(2)})
    image = LONG.removesuffix(".png")
    assert in_pipe(tmp_path, "prompt", "lot", LONG, "--box", "10.25,20.5,100,80.75").returncode == 0
    (told,) = json.loads(in_pipe(tmp_path, "prompts", "lot", "--json").stdout)["prompts"]
    code, shown = in_terminal(tmp_path, "prompts", "lot")
    assert code == 0
    for whole in (
        image,
        "10.25,20.5,100,80.75",
        "find_all",
        told["id"],
        "user",
        "positive_exemplar",
    ):
        assert whole in shown


def test_a_narrow_listing_of_deals_keeps_every_name_and_number_whole(tmp_path: Path) -> None:
    run_deal(tmp_path, "a-deal-whose-name-is-as-long-as-names-of-lots-become", ("a.png",))
    code, shown = in_terminal(tmp_path, "list")
    assert code == 0
    assert "a-deal-whose-name-is-as-long-as-names-of-lots-become" in shown
    code, shown = in_terminal(
        tmp_path, "versions", "a-deal-whose-name-is-as-long-as-names-of-lots-become"
    )
    assert "run-a-deal-w.0" in shown


def test_a_table_that_fits_is_drawn_on_a_terminal(tmp_path: Path) -> None:
    run_deal(tmp_path, "lot")
    code, shown = in_terminal(tmp_path, "list")
    assert code == 0
    assert "lot   find_all  " in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_piped_output_is_one_line_a_fact_with_tabs_between(tmp_path: Path) -> None:
    run_deal(tmp_path, "lot", (LONG, "b.png"))
    done = in_pipe(tmp_path, "show", "lot", COLUMNS="20")
    heading, *rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert heading[:4] == ["mode", "generation", "photo", "pixels"]
    assert [row[2] for row in rows] == [LONG, "b.png"]
    assert {len(row) for row in rows} == {len(heading)}


def test_an_ascii_terminal_shows_escapes_and_never_fails(tmp_path: Path) -> None:
    make_deal(tmp_path, "über", (1,))
    for variables in ({"PYTHONIOENCODING": "ascii"}, {"LANG": "C", "PYTHONUTF8": "0"}):
        code, shown = in_terminal(tmp_path, "list", variables=variables)
        assert code == 0, shown
        assert "Traceback" not in shown
        assert "find_all" in shown
    done = in_pipe(tmp_path, "list", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["deals"][0]["deal"] == "über"


def test_bidi_characters_and_newlines_in_file_names_never_break_the_output(tmp_path: Path) -> None:
    odd = ("a\u202egnp.exe.png", "b\nc\td.png", "tab\x1b[31mred.png")
    run_deal(tmp_path, "lot", odd)
    for shown in (
        in_pipe(tmp_path, "show", "lot").stdout.decode(),
        in_terminal(tmp_path, "show", "lot", columns=200)[1],
    ):
        assert "\u202e" not in shown
        assert "\x1b[31m" not in shown
        assert "a\\u202egnp.exe.png" in shown
        assert "b\\nc\\td.png" in shown


def test_a_name_that_is_no_text_is_told_and_breaks_nothing(tmp_path: Path) -> None:
    make_deal(tmp_path, "lot", (1,))
    images = tmp_path / "deals" / "lot" / "images"
    os.rename(images / "a.png", os.fsencode(images) + b"/\xff.png")  # noqa: PTH104
    for arguments in (("list",), ("show", "lot"), ("list", "--json")):
        done = in_pipe(tmp_path, *arguments)
        assert b"Traceback" not in done.stderr
        assert done.returncode == 0


def test_a_path_in_a_sentence_is_not_broken_either(tmp_path: Path) -> None:
    root = tmp_path / "a-data-root-whose-name-is-longer-than-a-column-of-the-doctor-would-be"
    make_deal(root, "lot", (1,))
    shown = in_terminal(root, "doctor")[1]
    assert f"{root}: 1 deal" in shown
    assert "1 deals" not in shown

"""The command line as an operator uses it."""

import json
import os
import shutil
import signal
from pathlib import Path

import httpx
import pytest

from segpipe.cli.run_deals import RunProgress
from segpipe.progress import DealDone, Event
from segpipe.prompt import Mode
from segpipe.segmenters.http import Attempt, Outcome
from segpipe.segmenters.sam3.segmind.call_ledger import Bill, Budget, Ledger
from segpipe.segmenters.sam3.segmind.ledger_folder import LedgerFolder
from segpipe.segmenters.sam3.segmind.segmind_settings import LEDGER_FOLDER
from segpipe.segmenters.segmenter import CallContext
from segpipe.store.store import DealStore
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.deals import put_photos

COMMANDS = (
    *("add", "samples", "run", "show", "verify", "versions", "rollback", "sweep"),
    *("costs", "export", "serve"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(cli: Cli, command: str) -> None:
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert f"Example: segpipe {command}" in " ".join(result.output.split())


def test_a_deal_goes_from_photos_to_crops_and_back_to_an_older_version(
    cli: Cli, photos: list[Path], tmp_path: Path
) -> None:
    assert cli("add", "lot", *map(str, photos)).exit_code == 0

    first = cli("run")
    assert first.exit_code == 0
    assert "lot" in first.stdout
    assert "contact_sheet.jpg" in first.stdout

    again = cli("run", "lot")
    assert again.exit_code == 0
    assert "up to date" in again.stdout
    store = DealStore(tmp_path / "data")
    assert len(store.commits("lot", Mode.FIND_ALL)) == 1

    assert cli("run", "lot", "--force").exit_code == 0
    commits = store.commits("lot", Mode.FIND_ALL)
    assert [commit.generation for commit in commits] == [1, 2]
    old = commits[0].assets["crops"].version

    shown = cli("show", "lot")
    assert shown.exit_code == 0
    assert "find_all\t2\ta.png" in shown.stdout
    listed = cli("versions", "lot")
    assert old in listed.stdout.replace("\n", "")

    rolled = cli("rollback", "lot", "1")
    assert rolled.exit_code == 0
    assert "generation 1 is current again, generation 3" in rolled.stdout
    one, two, last = store.commits("lot", Mode.FIND_ALL)
    assert last.assets == one.assets
    run = two.assets["dedup"].version.partition(".")[0]
    refused = cli("rollback", "lot", "dedup", run)
    assert refused.exit_code == 1
    assert "generation 2" in refused.stderr
    assert cli("rollback", "lot", "segmentation", run).exit_code == 0
    assert store.commits("lot", Mode.FIND_ALL)[-1].assets == two.assets
    assert cli("rollback", "lot", "crops").exit_code == 1
    assert cli("verify").exit_code == 0


def test_a_whole_folder_can_be_added(cli: Cli, photos: list[Path], tmp_path: Path) -> None:
    assert cli("add", "lot", str(photos[0].parent)).exit_code == 0
    assert len(DealStore(tmp_path / "data").photos("lot")) == 2


def test_settings_come_from_a_file_of_run_config(
    cli: Cli, photos: list[Path], tmp_path: Path
) -> None:
    cli("add", "lot", *map(str, photos))
    config = tmp_path / "run.yaml"
    config.write_text("ops: {find_all: {config: {crops: {format: JPG}}}}")
    assert cli("run", "--config", str(config)).exit_code == 0
    snapshot = DealStore(tmp_path / "data").current("lot", Mode.FIND_ALL)
    assert snapshot is not None
    settings = snapshot.manifest("crops").info.settings
    assert settings
    assert settings["format"] == "jpg"


def test_a_bad_deal_is_told_and_the_good_one_is_done(
    cli: Cli, photos: list[Path], tmp_path: Path
) -> None:
    cli("add", "good", *map(str, photos))
    put_photos(tmp_path / "data", "bad", {"x.jpg": b"text"})
    result = cli("run")
    assert result.exit_code == 1
    assert "x.jpg" in result.stderr
    store = DealStore(tmp_path / "data")
    assert store.current("good", Mode.FIND_ALL) is not None
    shown = cli("show", "bad")
    assert "UnsupportedFormatError" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "nobody"), "nobody"),
        (("run",), "there are no deals"),
        (("show", "nobody"), "nobody"),
        (("versions", "nobody"), "nobody"),
        (("verify", "nobody"), "holds no deals"),
        (("sweep",), "holds no deals"),
        (("costs",), "holds no deals"),
        (("list",), "holds no deals"),
        (("rollback", "nobody", "crops", "x"), "nobody"),
        (("add", "../escape", "x.png"), "../escape"),
        (("add", "lot", "missing.png"), "missing.png"),
        (("show", "a/b"), "a/b"),
        (("show", "a...b"), "..."),
        (("run", "--config", "missing.yaml"), "no deals"),
    ],
)
def test_errors_are_one_line_on_stderr_with_exit_code_1(
    cli: Cli, arguments: tuple[str, ...], says: str
) -> None:
    result = cli(*arguments)
    assert result.exit_code == 1
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_verify_names_a_damaged_file(cli: Cli, photos: list[Path], tmp_path: Path) -> None:
    cli("add", "lot", *map(str, photos))
    cli("run")
    (crop,) = (tmp_path / "data").glob("deals/lot/runs/*/find_all/crops/crops/a/0000.png")
    crop.write_bytes(crop.read_bytes()[:-1])
    result = cli("verify", "lot")
    assert result.exit_code == 1
    assert "crops/a/0000.png" in result.stderr


def test_sweep_says_what_it_removed(cli: Cli, photos: list[Path], tmp_path: Path) -> None:
    cli("add", "lot", *map(str, photos))
    staging = DealStore(tmp_path / "data").stage("lot", Mode.FIND_ALL, run_id="killed")
    staging.__enter__().write("crops", "half.png", b"half")
    dry = cli("sweep", "--min-age-hours", "0", "--dry-run")
    assert dry.exit_code == 0
    assert (tmp_path / "data" / "deals" / "lot" / "runs" / "killed.0").exists()
    wet = cli("sweep", "--min-age-hours", "0")
    assert wet.exit_code == 0
    assert not (tmp_path / "data" / "deals" / "lot" / "runs" / "killed.0").exists()


def test_the_samples_are_real_photos_and_adding_them_twice_is_fine(
    cli: Cli, tmp_path: Path
) -> None:
    assert cli("samples").exit_code == 0
    assert cli("samples").exit_code == 0
    store = DealStore(tmp_path / "data")
    assert store.deals() == ["sample-coins", "sample-cup", "sample-goods"]
    assert [photo.name for photo in store.photos("sample-coins")] == ["coins.png"]


def test_the_samples_have_boxes_that_the_other_mode_cuts_out(cli: Cli, tmp_path: Path) -> None:
    cli("samples")
    result = cli("run", "sample-coins", "--mode", "inside_box")
    assert result.exit_code == 0
    assert "inside_box\tsample-coins" in result.stdout
    crops = (tmp_path / "data").glob("deals/sample-coins/runs/*/inside_box/crops/crops/coins/*.png")
    assert len(list(crops)) == 3
    assert "inside_box\t1\tcoins.png" in cli("show", "sample-coins", "--mode", "inside_box").stdout
    nothing = cli("show", "sample-coins", "--mode", "FIND_ALL").stdout
    assert "nothing is promoted yet in mode find_all" in nothing


def test_inside_box_leaves_deals_without_boxes_alone_unless_they_are_named(
    cli: Cli, photos: list[Path]
) -> None:
    cli("add", "lot", *map(str, photos))
    nothing = cli("run", "--mode", "inside_box")
    assert nothing.exit_code == 1
    assert "has a box: draw one" in nothing.stderr
    named = cli("run", "lot", "--mode", "inside_box")
    assert named.exit_code == 1
    assert "no photo of the deal has a box" in named.stderr


def test_costs_adds_up_what_the_ledgers_hold(cli: Cli, tmp_path: Path) -> None:
    put_photos(tmp_path / "data", "other", {})
    assert "no paid call" in cli("costs").stdout
    budget = Budget()
    for run_id, deal, told in (("r1", "lot", 0.25), ("r1", "lot", 0.5), ("r2", "other", None)):
        ledger = Ledger(LedgerFolder(tmp_path / "data" / LEDGER_FOLDER), run_id)
        bill = Bill(ledger, budget, CallContext(run_id, deal, "a.png"))
        bill.observe(Attempt(1))
        if told is not None:
            headers = httpx.Headers({"x-cost": str(told), "x-remaining-credits": "7.5"})
            bill.observe(Attempt(1, Outcome.ANSWERED, 200, headers))

    rows = [line.split("\t") for line in cli("costs").stdout.splitlines()]
    assert rows[1][1:] == ["r1", "lot", "2", "0.7500", "0", "7.5000"]
    told = json.loads(cli("costs", "other", "--json").stdout)
    assert [(cost["run_id"], cost["calls_of_unknown_cost"]) for cost in told["costs"]] == [
        ("r2", 1)
    ]
    assert (told["calls"], told["credits"]) == (1, 0.0)
    nobody = cli("costs", "nobody")
    assert nobody.exit_code == 1
    assert "nobody" in nobody.stderr
    assert cli("costs", "lot").exit_code == 0, "a deal that was removed has been paid for"


def test_names_are_shown_as_they_are_and_never_as_markup(
    cli: Cli, photos: list[Path], tmp_path: Path
) -> None:
    odd = photos[0].with_name("[b]c.png")
    photos[0].rename(odd)
    added = cli("add", "lot [red]x", str(odd))
    assert "lot [red]x" in added.stdout
    ran = cli("run")
    assert ran.exit_code == 0
    assert "\tlot [red]x\t" in ran.stdout
    assert "[b]c.png" in cli("show", "lot [red]x").stdout


def test_a_deal_may_be_named_in_either_unicode_form(cli: Cli, photos: list[Path]) -> None:
    assert cli("add", "u\u0308ber", str(photos[0])).exit_code == 0
    assert cli("run", "u\u0308ber").exit_code == 0
    assert "find_all\t1\ta.png" in cli("show", "\u00fcber").stdout


def test_a_folder_without_photos_makes_no_deal(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "camera"
    folder.mkdir()
    (folder / "Thumbs.db").write_bytes(b"litter")
    result = cli("add", "lot", str(folder))
    assert result.exit_code == 1
    assert "no photos" in result.stderr


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("ops: 5", "'ops' must hold settings, got 5"),
        ("ops: {nope: {config: {}}}", "nope"),
        ("ops: {find_all: {config: {dedup: {iou_threshold: 1.5}}}}", "iou_threshold"),
        ("ops: [", "run.yaml cannot be read"),
        ("- a list", "run.yaml holds no run config"),
    ],
)
def test_a_bad_run_config_is_told_without_a_traceback(
    cli: Cli, photos: list[Path], tmp_path: Path, config: str, says: str
) -> None:
    cli("add", "lot", *map(str, photos))
    (tmp_path / "run.yaml").write_text(config)
    result = cli("run", "--config", str(tmp_path / "run.yaml"))
    assert result.exit_code == 1
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert "up to date" not in result.stdout


def test_sections_without_anything_in_them_are_the_defaults(
    cli: Cli, photos: list[Path], tmp_path: Path
) -> None:
    cli("add", "lot", *map(str, photos))
    (tmp_path / "run.yaml").write_text("ops:\n  find_all:\n")
    assert cli("run", "--config", str(tmp_path / "run.yaml")).exit_code == 0


def test_what_is_current_is_shown_even_when_the_photos_cannot_be_used(
    cli: Cli, photos: list[Path], tmp_path: Path
) -> None:
    cli("add", "lot", *map(str, photos))
    cli("run")
    (tmp_path / "data" / "deals" / "lot" / "images" / "x.jpg").mkdir()
    result = cli("show", "lot")
    assert "find_all\t1\ta.png" in result.stdout
    assert "x.jpg" in result.stderr


def test_a_folder_that_cannot_be_a_deal_is_told(
    cli: Cli, photos: list[Path], tmp_path: Path
) -> None:
    cli("add", "lot", *map(str, photos))
    (tmp_path / "data" / "deals" / " spaced").mkdir()
    result = cli("run")
    assert result.exit_code == 0
    assert "' spaced'" in result.stderr


def test_an_interrupted_run_ends_the_command(
    cli: Cli, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for deal in ("a", "b", "c"):
        cli("add", deal, *map(str, photos))
    cli("run", "b")  # so that a and c are two runs
    draw = RunProgress.__call__

    def interrupt(self: RunProgress, event: Event) -> None:
        draw(self, event)
        if isinstance(event, DealDone):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RunProgress, "__call__", interrupt)
    result = cli("run")
    assert result.exit_code == 130
    assert "running again goes on" in result.stderr
    store = DealStore(tmp_path / "data")
    promoted = [deal for deal in ("a", "c") if store.current(deal, Mode.FIND_ALL)]
    assert promoted == ["a"]


def test_the_root_is_data_when_none_is_named(
    cli: Cli, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGPIPE_ROOT")
    monkeypatch.chdir(tmp_path)
    result = cli("add", "lot", *map(str, photos))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "data" / "deals" / "lot" / "images" / "a.png").is_file()


def test_a_root_that_nothing_can_read_is_refused(cli: Cli) -> None:
    for root in ("ftp://host/goods", "s3://", "s3://bucket/a?b"):
        result = cli("list", "--root", root)
        assert result.exit_code == 2
        assert "cannot be a data root" in " ".join(result.stderr.replace("\u2502", "").split())


def test_sweep_says_what_it_had_to_leave(cli: Cli, photos: list[Path], tmp_path: Path) -> None:
    cli("add", "lot", *map(str, photos))
    (tmp_path / "data" / "deals" / "lot" / "commits").write_text("no folder")
    result = cli("sweep", "--min-age-hours", "0")
    assert result.exit_code == 1
    assert "removed 0 versions" in result.stdout
    assert "cannot be read: lot" in result.stderr


def test_a_root_of_any_name_holds_all_that_is_written_or_is_refused(
    cli: Cli, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("100%", "a#b", "a b&c=d", "a'b"):
        assert cli("add", "lot", str(photos[0]), "--root", name).exit_code == 0
        assert cli("run", "lot", "--root", name).exit_code == 0
        assert {path.name for path in folder.iterdir()} == {name}
        shutil.rmtree(folder / name)
    for name in ("a?b", "a%20b", "a/b?c"):
        refused = cli("add", "lot", str(photos[0]), "--root", name)
        assert refused.exit_code == 2
        assert "rename the folder" in " ".join(refused.stderr.replace("\u2502", "").split())
        assert list(folder.iterdir()) == []

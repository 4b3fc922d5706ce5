"""``segpipe settings``: what runs use, saved, compared and restored; and the runs that use it."""

import json
from pathlib import Path

import pytest

from segpipe.secret_names import enter_secret
from segpipe.store.store import DealStore
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.deals import current, make_deal, put_photos
from segpipe_tests.loopback.reply import json_reply
from segpipe_tests.loopback.server import Loopback

CANARY = "sg-canary-0123456789"


def test_settings_are_shown_saved_compared_reset_and_restored(cli: Cli) -> None:
    assert "the defaults" in cli("settings", "history").stdout
    shown = cli("settings", "show", "crops").stdout
    assert "crops.padding_px\t0" in shown
    assert "dedup" not in shown

    saved = cli("settings", "set", "crops.padding_px", "4", "refiner", "NONE", "--note", "wider")
    assert saved.exit_code == 0, saved.output
    assert "crops.padding_px 0 → 4" in saved.stdout
    assert "generation 1 is current" in saved.stdout
    assert "crops.padding_px\t4\t0" in cli("settings").stdout

    assert json.loads(cli("settings", "reset", "--json").stdout)["after"] == 2
    back = json.loads(cli("settings", "restore", "1", "--json").stdout)
    assert [change["field"] for change in back["changes"]] == ["crops.padding_px", "refiner"]
    told = json.loads(cli("settings", "history", "--json").stdout)["generations"]
    assert [(each["generation"], each["kind"], each["is_current"]) for each in told] == [
        (3, "save", True),
        (2, "reset", False),
        (1, "save", False),
    ]
    assert told[2]["note"] == "wider"
    assert told[2]["saved_by"]
    facts = json.loads(cli("settings", "show", "refiner", "--json").stdout)
    assert facts["settings"][0] == {
        "field": "refiner",
        "value": "none",
        "default": "grabcut",
        "is_default": False,
    }
    assert "the same" in cli("settings", "diff", "1", "3").stdout
    assert "crops.padding_px\t0\t4" in cli("settings", "diff").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("set", "crops.paddingpx", "4"), "did you mean 'crops.padding_px'?"),
        (("show", "crop"), "did you mean"),
        (("set", "crops.padding_px"), "each with its value"),
        (("set", "crops.padding_px", "wide"), "crops.padding_px"),
        (("set", "segmenter", "sam3"), "to one of segmind, internal, local"),
        (("restore",), "takes a generation"),
        (("restore", "4"), "no generation 4"),
        (("set", "crops.padding_px", "4", "--expect", "7"), "generation 0 is current"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_saved(
    cli: Cli, root: Path, words: tuple[str, ...], says: str
) -> None:
    result = cli("settings", *words)
    assert result.exit_code == 1
    assert says in result.stderr
    assert not (root / "settings").exists()


def test_nothing_is_cut_at_80_columns(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    cli("settings", "set", "segmenter", "sam3", "segmenter.backend", "internal")
    for words in (("show",), ("history",), ("diff",)):
        output = cli("settings", *words).stdout
        assert "…" not in output
        assert "segmenter.backend" in output


def test_a_plain_run_uses_the_saved_settings_and_the_list_compares_with_them(
    cli: Cli, root: Path
) -> None:
    make_deal(root, "lot", (1,))
    cli("settings", "set", "refiner", "none")
    assert cli("run").exit_code == 0
    store = DealStore(root)
    assert current(store, "lot").manifest("refinement").info.producer == "none"
    assert "up to date" in cli("list", "--mode", "find_all").stdout

    cli("settings", "set", "crops.padding_px", "4")
    listed = cli("list", "--mode", "find_all", "--needs-run").stdout
    assert "settings changed" in listed
    assert "crops.padding_px 0 → 4" in listed
    done = cli("run")
    assert done.exit_code == 0
    assert "crops.padding_px 0 → 4" in done.stderr
    info = current(store, "lot").manifest("crops").info
    assert (info.settings or {})["padding_px"] == 4
    assert info.settings_generation == 2
    assert current(store, "lot").version("segmentation").run_id != (
        current(store, "lot").version("crops").run_id
    )


def test_a_bad_photo_is_tried_again_once_after_a_save_that_may_help(cli: Cli, root: Path) -> None:
    put_photos(root, "bad", {"a.jpg": b"text"})
    cli("settings", "set", "crops.padding_px", "4")
    assert cli("run").exit_code == 1
    assert "known to be bad" in cli("list", "--mode", "find_all").stdout
    again = cli("run")
    assert again.exit_code == 1
    assert "nothing changed since" in again.stderr
    cli("settings", "set", "photos.max_megapixels", "90")
    assert "failed before" in cli("list", "--mode", "find_all").stdout
    assert "nothing changed since" not in cli("run").stderr
    assert "known to be bad" in cli("list", "--mode", "find_all").stdout


def test_settings_that_cannot_be_used_stop_commands_and_say_how_to_go_on(
    cli: Cli, root: Path
) -> None:
    make_deal(root, "lot", (1,))
    cli("settings", "set", "crops.padding_px", "4")
    path = root / "settings" / "0000000001.json"
    path.write_text(path.read_text().replace('"padding_px": 4', '"padding_px": -4'))
    for words in (("run",), ("list",), ("show", "lot"), ("settings",), ("settings", "diff")):
        result = cli(*words)
        assert result.exit_code == 1
        for said in ("generation 1", "crops.padding_px", "segpipe settings restore"):
            assert said in result.stderr
    assert "cannot be used" in cli("settings", "history").stdout
    assert cli("settings", "reset").exit_code == 0
    assert cli("list").exit_code == 0


def test_a_key_is_seen_nowhere_of_a_run(
    cli: Cli,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not in the data root, nor in Dagster's databases below it, nor in what commands say."""
    home = tmp_path / "home"
    monkeypatch.setenv("SEGPIPE_SECRETS_FILE", str(home / "secrets.json"))
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    enter_secret("SEGMIND_API_KEY", CANARY, data_root=root)
    make_deal(root, "lot", (1,))
    said = []
    with Loopback(json_reply({"masks": []}, headers={"x-cost": "0.01"})) as server:
        backend = ("segmenter", "sam3", "segmenter.backend", "segmind")
        endpoint = ("segmenter.backend.endpoint", server.url)
        for words in (
            ("settings", "set", *backend, *endpoint),
            ("run",),
            ("settings", "set", "segmenter.backend.api_key_env", CANARY),
            ("settings", "show", "--json"),
            ("settings", "history"),
            ("doctor",),
            ("costs",),
            ("settings", "set", "segmenter.backend.endpoint", "https://evil.example.org"),
            ("run", "--force"),
        ):
            result = cli(*words)
            said += [result.stdout, result.stderr]
        asked = [one.headers for one in server.requests]
    assert asked
    assert all(CANARY in str(headers) for headers in asked)
    assert "may not be sent to https://evil.example.org" in said[-1]
    out = capfd.readouterr()
    assert CANARY not in "".join([*said, out.out, out.err])
    assert (root / "dagster").is_dir()
    files = [path for path in root.rglob("*") if path.is_file()]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []

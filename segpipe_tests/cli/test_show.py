"""How deals stand: ``segpipe list`` and ``segpipe show``."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from segpipe.cli.instance import open_instance
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.partitions import run_tags
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.deals import make_deal, put_photos
from segpipe_tests.goods import goods_photo


def states(cli: Cli, *options: str) -> dict[tuple[str, str], dict[str, Any]]:
    told = json.loads(cli("list", "--json", *options).stdout)
    return {(each["deal"], each["mode"]): each for each in told["deals"]}


def test_the_list_says_what_is_current_out_of_date_and_failed_and_why(cli: Cli, root: Path) -> None:
    for deal in ("done", "changed"):
        make_deal(root, deal)
    put_photos(root, "bad", {"x.jpg": b"text"})
    assert cli("run").exit_code == 1
    put_photos(root, "changed", {"c.png": goods_photo(1)})
    make_deal(root, "new")
    cli("prompt", "new", "a", "--mode", "inside_box", "--box", "4,20,16,36")
    told = states(cli)
    assert told["done", "find_all"]["state"] == "up to date"
    assert told["done", "find_all"]["generation"] == 1
    assert told["done", "find_all"]["crops"] == 5
    assert told["changed", "find_all"]["reason"] == "its photos changed"
    assert told["changed", "find_all"]["needs_run"]
    assert told["bad", "find_all"]["state"] == "known to be bad"
    assert told["bad", "find_all"]["failure"]["errors"][0]["image"] == "x.jpg"
    assert told["new", "find_all"]["state"] == "never made"
    assert told["new", "inside_box"]["state"] == "never made"
    assert told["done", "inside_box"]["state"] == "nothing to ask"

    lines = [line.split("\t") for line in cli("list").stdout.splitlines()]
    assert [line[:3] for line in lines[1:]] == [
        ["bad", "find_all", "known to be bad"],
        ["changed", "find_all", "photos changed"],
        ["done", "find_all", "up to date"],
        ["new", "find_all", "never made"],
        ["new", "inside_box", "never made"],
    ]
    assert {deal for deal, _ in states(cli, "--needs-run")} == {"bad", "changed", "new"}
    assert {mode for _, mode in states(cli, "--mode", "Inside_Box")} == {"inside_box"}


def test_the_status_is_the_list_with_counts_and_what_waits_in_dagster(cli: Cli, root: Path) -> None:
    for deal in ("lot-1", "lot-2"):
        make_deal(root, deal)
    first = json.loads(cli("status", "--json").stdout)
    assert first["runs"] == []
    assert not (root / "dagster").exists()  # it was never used, so it is not made for that
    assert cli("run", "lot-1").exit_code == 0
    with open_instance(root) as instance:
        instance.create_run_for_job(
            build_defs().resolve_job_def("find_all_everything"),
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags={**run_tags(Mode.FIND_ALL, ["lot-1"]), "segpipe/asked_by": "Ada"},
        )
    told = json.loads(cli("status", "--json").stdout)
    assert told["deals"] == json.loads(cli("list", "--json").stdout)["deals"]
    (run,) = told["runs"]
    assert (run["status"], run["modes"], run["deals"]) == ("waits", ["find_all"], ["lot-1"])
    lines = cli("status", "--mode", "find_all").stdout.splitlines()
    assert lines[-2:] == [
        f"run {run['run_id']} waits, mode find_all: lot-1",
        "find_all: 1 up to date, 1 never made",
    ]


def test_a_folder_that_is_no_deal_is_told_by_the_list(cli: Cli, root: Path) -> None:
    make_deal(root, "lot")
    (root / "deals" / " spaced").mkdir()
    assert "' spaced'" in cli("list").stderr
    told = json.loads(cli("list", "--json").stdout)
    assert [each["name"] for each in told["no_deals"]] == [" spaced"]


def test_show_has_every_mode_with_something_and_names_the_crops(cli: Cli, root: Path) -> None:
    make_deal(root, "lot")
    assert "nothing is promoted yet" in cli("show", "lot").stdout
    cli("prompt", "lot", "a", "--mode", "inside_box", "--box", "4,20,40,60")
    cli("run", "lot")
    cli("run", "lot", "--mode", "inside_box")
    told = json.loads(cli("show", "lot", "--json").stdout)
    assert [mode["mode"] for mode in told["modes"]] == ["find_all", "inside_box"]
    assert told["photos"] == 2
    for mode in told["modes"]:
        crops = Path(mode["crops_folder"])
        assert crops.parts[-4:-2] == ("current", mode["mode"])
        assert sum(image["crops"] for image in mode["images"]) == len(list(crops.glob("*/*.png")))
        assert Path(mode["contact_sheet"]).is_file()
        folders = [image["crops_folder"] for image in mode["images"] if image["crops"]]
        assert all(Path(folder).is_dir() for folder in folders)
    alone = json.loads(cli("show", "lot", "--json", "--mode", "inside_box").stdout)
    assert [mode["mode"] for mode in alone["modes"]] == ["inside_box"]


def test_show_says_that_a_prompt_or_a_photo_changed_since(cli: Cli, root: Path) -> None:
    make_deal(root, "lot")
    cli("run", "lot")
    assert cli("show", "lot").stderr == ""
    cli("prompt", "lot", "a", "--box", "4,20,40,60")
    assert "its prompts changed" in cli("show", "lot").stderr
    put_photos(root, "lot", {"c.png": goods_photo(1)})
    assert "its photos changed" in cli("show", "lot").stderr


def test_show_warns_when_a_photo_that_had_items_has_none(cli: Cli, root: Path) -> None:
    put_photos(root, "lot", {"a.png": goods_photo(2), "b.png": goods_photo(3)})
    cli("run", "lot")
    put_photos(root, "lot", {"b.png": goods_photo(0)})
    cli("run", "lot")
    said = "b.png: nothing was found, where generation 1 had 3"
    assert said in cli("show", "lot").stderr
    assert json.loads(cli("show", "lot", "--json").stdout)["modes"][0]["warnings"] == [said]


def test_show_tells_what_is_current_after_a_rollback(cli: Cli, root: Path) -> None:
    put_photos(root, "lot", {"a.png": goods_photo(2)})
    cli("run", "lot")
    put_photos(root, "lot", {"a.png": goods_photo(3)})
    cli("run", "lot")
    store = DealStore(root)
    first = store.commits("lot", Mode.FIND_ALL)[0]
    rolled = json.loads(cli("rollback", "lot", "1", "--json").stdout)
    assert rolled["generation"] == 3
    assert rolled["versions"]["crops"] == first.assets["crops"].version
    (mode,) = json.loads(cli("show", "lot", "--json").stdout)["modes"]
    assert (mode["generation"], mode["kind"], mode["run_id"]) == (3, "rollback", first.run_id)
    assert mode["images"][0]["crops"] == 2
    assert "somebody rolled it back" in cli("show", "lot").stderr
    assert len(list(Path(mode["crops_folder"]).glob("a/*.png"))) == 2


def test_versions_as_json_say_what_each_generation_changed(cli: Cli, root: Path) -> None:
    make_deal(root, "lot", (1,))
    cli("run", "lot")
    cli("rollback", "lot", "1")
    told = json.loads(cli("versions", "lot", "--json").stdout)["generations"]
    assert [(each["generation"], each["kind"], each["is_current"]) for each in told] == [
        (2, "rollback", True),
        (1, "promote", False),
    ]
    assert told[0]["changed"] == []
    assert "crops" in told[1]["changed"]


def test_verify_and_sweep_have_json(cli: Cli, root: Path) -> None:
    make_deal(root, "lot", (1,))
    cli("run", "lot")
    assert json.loads(cli("verify", "--json").stdout) == {"deals": ["lot"], "problems": []}
    swept = json.loads(cli("sweep", "--dry-run", "--json").stdout)
    assert (swept["is_dry_run"], swept["versions"], swept["skipped"]) == (True, 0, [])
    (crop,) = root.glob("deals/lot/runs/*/find_all/crops/crops/a/0000.png")
    crop.write_bytes(b"")
    damaged = cli("verify", "lot", "--json")
    assert damaged.exit_code == 1
    (problem,) = json.loads(damaged.stdout)["problems"]
    assert (problem["asset"], problem["file"]) == ("crops", "crops/a/0000.png")


def test_a_deal_that_is_not_there_is_told_with_names_like_it(cli: Cli, root: Path) -> None:
    for deal in ("spring-lot", "Ketten"):
        make_deal(root, deal, (1,))
    for typed, meant in (("sprnig-lot", "spring-lot"), ("ketten", "Ketten")):
        result = cli("show", typed)
        assert result.exit_code == 1
        assert f"did you mean {meant!r}?" in result.stderr


def test_commands_and_options_that_are_not_there_are_told_with_names_like_them(cli: Cli) -> None:
    assert "Did you mean 'show'?" in cli("shwo").stderr
    assert "--force" in cli("run", "--forse").stderr

"""``segpipe remove``: a deal's folder and nothing else, and by choice what Dagster knows of it."""

import json
from pathlib import Path

import dagster as dg

from segpipe.cli.instance import open_instance
from segpipe.store.store import DealStore
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.deals import make_deal


def known(root: Path) -> tuple[list[str], int]:
    """The partitions, and how many runs there are."""
    with open_instance(root) as instance:
        return list(instance.get_dynamic_partitions("deals")), len(instance.get_runs())


def test_a_deal_is_removed_after_asking(cli: Cli, root: Path) -> None:
    for deal in ("lot", "other"):
        make_deal(root, deal, (1,))
        cli("run", deal)
    refused = cli("remove", "lot", stdin="n\n")
    assert refused.exit_code == 1
    assert "nothing was removed" in refused.stderr
    assert "lot" in DealStore(root).deals()

    removed = cli("remove", "lot", stdin="y\n")
    assert removed.exit_code == 0
    assert "deal lot is removed" in removed.stdout
    assert [path.name for path in (root / "deals").iterdir()] == ["other"]
    assert known(root) == (["other"], 2)
    assert cli("verify", "other").exit_code == 0


def test_partition_and_history_go_or_stay_by_choice(cli: Cli, root: Path) -> None:
    for deal, option in (("a", "--keep-partition"), ("b", "--history")):
        make_deal(root, deal, (1,))
        cli("run", deal)
        told = json.loads(cli("remove", deal, "--yes", option, "--json").stdout)
        assert told["is_partition_removed"] is (deal == "b")
        assert told["runs_removed"] == (1 if deal == "b" else 0)
    assert known(root) == (["a"], 1)


def test_links_are_removed_and_what_they_point_to_stays(
    cli: Cli, root: Path, tmp_path: Path
) -> None:
    make_deal(root, "lot", (1,))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    (root / "deals" / "lot" / "images" / "link").symlink_to(outside)
    (root / "deals" / "lot" / "note.txt").symlink_to(outside / "kept.txt")
    assert cli("remove", "lot", "--yes").exit_code == 0
    assert (outside / "kept.txt").read_text() == "kept"
    assert not (root / "deals" / "lot").exists()

    make_deal(root, "real", (1,))
    (root / "deals" / "linked").symlink_to(root / "deals" / "real")
    assert cli("remove", "linked", "--yes").exit_code == 1
    assert DealStore(root).photos("real")


def test_a_deal_that_a_run_works_on_is_not_removed(cli: Cli, root: Path) -> None:
    for deal in ("a", "b", "c"):
        make_deal(root, deal, (1,))
    cli("run")
    ends = {"start": "a", "end": "b"}
    tags = {f"dagster/asset_partition_range_{end}": deal for end, deal in ends.items()}
    status = dg.DagsterRunStatus.STARTED
    with open_instance(root) as instance:
        instance.add_run(dg.DagsterRun("find_all_everything", tags=tags, status=status))
    refused = cli("remove", "b", "--yes")
    assert refused.exit_code == 1
    assert "let it end" in refused.stderr
    assert cli("remove", "c", "--yes").exit_code == 0
